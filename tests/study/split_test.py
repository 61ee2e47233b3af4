"""Tests of study/split.py: splits for generators of other projects."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from configs import split as split_config
from configs import study as study_config
from skinjax.runtime import errors
from skinjax.study import split, study

FOLDS = ("dataset=folder,size=16", {"folds": (0, 1), "data.num_folds": 3})
FIXED = ("dataset=folder,size=16", {})


def _draw(folder, count, seed=0):
  rng = np.random.default_rng(seed)
  for name in ("mole", "wart"):
    (folder / name).mkdir(parents=True)
    for i in range(count):
      pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
      Image.fromarray(pixels).save(folder / name / f"{i}.png")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
  folder = tmp_path_factory.mktemp("own")
  _draw(folder, 20)
  return folder


def _made(module, own, text, changes):
  config = module.get_config(text)
  config.update_from_flattened_dict({"data.folder": str(own), **changes})
  return config


def _splits(place):
  with (place / "split.csv").open() as file:
    return {row["image_id"]: row["split"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("case", [FOLDS, FIXED], ids=["folds", "fixed"])
def test_a_study_takes_the_images_of_a_generator_trained_on_them(
  case, own, tmp_path
):
  text, changes = case
  config = _made(split_config, own, text, changes)
  split.run(config, tmp_path)
  fixed = case is FIXED
  places = [tmp_path] if fixed else [tmp_path / "0", tmp_path / "1"]
  for place in places:
    parts = _splits(place)
    assert len(parts) == 40
    assert set(parts.values()) == {"train", "validation", "test"}
    record = json.loads((place / "provenance.json").read_text())
    learnt = set(record["trained_on"]["image_ids"])
    assert learnt == {name for name, part in parts.items() if part == "train"}
    _draw(place, 40, seed=1)
  split.run(config, tmp_path)  # again, next to the images
  given = tmp_path if fixed else tmp_path / "{fold}"
  changes |= {"dry_run": True, "synthetic": str(given)}
  assert (
    study.run(_made(study_config, own, text, changes), tmp_path / "s") is None
  )
  if not fixed:  # images for another fold have seen its held-out images
    changes["synthetic"] = str(places[0])
    changes["folds"] = (1,)
    with pytest.raises(
      errors.InputError, match=r"lesions of the (test|validation) split"
    ):
      study.run(_made(study_config, own, text, changes), tmp_path / "s")


def test_a_split_is_of_the_images_that_it_was_written_for(tmp_path):
  _draw(tmp_path / "own", 20)
  config = _made(split_config, tmp_path / "own", *FIXED)
  split.run(config, tmp_path / "run")
  before = (tmp_path / "run/provenance.json").read_bytes()
  (tmp_path / "own/mole/0.png").rename(tmp_path / "own/mole/new.png")
  with pytest.raises(errors.InputError, match=r"split\.csv is of other images"):
    split.run(config, tmp_path / "run")
  assert (tmp_path / "run/provenance.json").read_bytes() == before
