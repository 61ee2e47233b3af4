"""Tests of training/testing.py: predictions and scores of a classifier."""

import csv
import json

import pytest

from skinjax import run
from skinjax.data import datasets
from skinjax.runtime import errors
from skinjax.training import loop
from tests import shrunk
from tests.data import external_test


@pytest.fixture(autouse=True)
def _tiny_data(monkeypatch):
  monkeypatch.setattr(datasets, "load", lambda config: shrunk.dataset())


def _rows(path):
  with path.open(newline="") as file:
    return list(csv.DictReader(file))


def test_an_external_test_set_is_scored_too(tmp_path, absl_log):
  # The internal test images under another name score what they score.
  own, path = shrunk.dataset().test, tmp_path / "run"
  folder = external_test.write(tmp_path / "clinic", own)
  config = shrunk.config("classifier", external=str(folder))
  run.run(config, path)
  assert _rows(path / "external_scores.csv") == _rows(path / "scores.csv")
  predicted, again = (
    [{**row, "image_id": ""} for row in _rows(path / name)]
    for name in ("predictions.csv", "external_predictions.csv")
  )
  assert predicted == again
  assert "On clinic (external): 13 of 13 images could be traced, 13" in (
    absl_log.text
  )
  record = json.loads((path / "external.json").read_text())
  assert (record["name"], record["traced"]) == ("clinic", 13)

  # Another set, and none, may be scored by what is trained.
  other = external_test.write(tmp_path / "b", external_test.elsewhere())
  run.run(shrunk.config("classifier", external=str(other)), path)
  assert len(_rows(path / "external_predictions.csv")) == 7
  assert _rows(path / "external_scores.csv") != _rows(path / "scores.csv")
  before = (path / "external_scores.csv").read_bytes()
  run.run(shrunk.config("classifier"), path)
  assert (path / "external_scores.csv").read_bytes() == before


def test_a_leak_is_refused_before_training(tmp_path, monkeypatch):
  monkeypatch.setattr(loop, "train", pytest.fail)
  folder = external_test.write(tmp_path, shrunk.dataset().validation)
  config = shrunk.config("classifier", external=str(folder))
  with pytest.raises(
    errors.InputError, match="12 of 12 images of external"
  ) as refusal:
    run.run(config, tmp_path / "run")
  assert "use a fold that tests on them" in str(refusal.value)
