"""Tests of judging/synthetic_training.py: agreement, accuracy scores."""

import numpy as np
import pytest

from skinjax.judging import synthetic_training
from skinjax.training import loop, trained
from tests import shrunk
from tests.bad_input import trained as runs


@pytest.fixture(scope="module")
def classifier():
  return trained.load(runs.network("classifier"))


def test_agreement_is_a_share_with_an_interval(classifier, monkeypatch):
  right = np.array([0, 0, 0, 1, 1, 0, 2, 2, 2, 2])
  split = shrunk.split("more", (4, 4, 2))
  monkeypatch.setattr(
    trained,
    "outputs",
    lambda *args, **kwargs: {"probabilities": np.eye(3)[right]},
  )
  found = synthetic_training.agreement(classifier, split)
  assert found["disc"]["value"] == 0.75
  # Wilson's interval of 3 of 4, by hand: (p + z²/2n ± …) / (1 + z²/n).
  assert found["disc"]["low"] == pytest.approx(0.3006, abs=1e-3)
  assert found["disc"]["high"] == pytest.approx(0.9544, abs=1e-3)
  assert found["square"] == found["square"] | {"value": 0.25, "images": 4}
  assert found["stripes"]["value"] == 1.0


def test_both_learn_from_as_many_images_and_are_tested_on_real_lesions(
  tmp_path, monkeypatch
):
  seen = {}
  train = loop.train

  def watched(task, config, path, dataset):
    seen[path.name] = dataset
    return train(task, config, path, dataset)

  monkeypatch.setattr(loop, "train", watched)
  config, real = shrunk.config("classifier"), shrunk.dataset()
  synthetic = shrunk.split("synthetic", (4, 20, 5))
  run = lambda: synthetic_training.classification_accuracy_score(
    config, tmp_path, real, synthetic, ("lesion_1",)
  )
  found = run()
  assert found["images"] == {"disc": 4, "square": 7, "stripes": 5}
  for name in synthetic_training.KINDS:
    assert seen[name].info.class_counts == (4, 7, 5)
    assert seen[name].test is real.test
  assert set(seen["real"].train.image_ids) <= set(real.train.image_ids)
  assert set(seen["synthetic"].train.image_ids) <= set(synthetic.image_ids)
  assert seen["synthetic"].inherited == ("lesion_1",)
  assert seen["real"].inherited == ()
  for row in [*found["classes"].values(), found["balanced_accuracy"]]:
    for interval in row.values():
      assert 0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1
  assert found["majority"] == pytest.approx(1 / 3)
  seen.clear()
  assert run() == found  # a finished training is read, not repeated
  assert not seen
  # The scores are those of the predictions that are read.
  table = tmp_path / "real" / "predictions.csv"
  lines = table.read_text().splitlines()
  names = shrunk.CLASSES
  for place, label in enumerate(real.test.labels, 1):
    kept = lines[place].split(",")[:3]
    lines[place] = ",".join([*kept, *(f"{n == names[label]:d}" for n in names)])
  table.write_text("\n".join(lines) + "\n")
  assert run()["balanced_accuracy"]["real"]["value"] == 1.0
