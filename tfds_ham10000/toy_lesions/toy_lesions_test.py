import collections
import math

import numpy as np

from tfds_ham10000.case_builder import divide
from tfds_ham10000.tables import CLASSES
from tfds_ham10000.toy_lesions.drawing import draw_lesion
from tfds_ham10000.toy_lesions.lesions import typical_look
from tfds_ham10000.toy_lesions.toy_lesions_dataset_builder import plan_pictures


def _draw(dx, lesion_seed=1, view_seed=2):
  image = draw_lesion(typical_look(dx), 64, lesion_seed, view_seed)
  return np.asarray(image).astype(int)


def test_plan():
  pictures = plan_pictures(0)
  cases = [picture.case for picture in pictures]
  ids = [f"TOY_{number:07}" for number in range(1, 2505)]
  assert [case.image_id for case in cases] == ids
  assert collections.Counter(case.dx for case in cases) == {
    "nv": 1676,
    "mel": 278,
    "bkl": 275,
    "bcc": 128,
    "akiec": 82,
    "vasc": 36,
    "df": 29,
  }
  views = collections.Counter(case.lesion_id for case in cases)
  shares = collections.Counter(views.values())
  assert len(views) == 1819
  assert 0.7 < shares[1] / len(views) < 0.8
  assert max(shares) == 6
  assert all(lesion_id.startswith("TOYL_") for lesion_id in views)
  assert len({(case.lesion_id, case.dx) for case in cases}) == len(views)
  assert 0 < sum(math.isnan(case.age) for case in cases) < 60


def test_splits():
  cases = [picture.case for picture in plan_pictures(0)]
  splits = divide(cases, {case.image_id: case.lesion_id for case in cases})
  sizes = {split: len(members) for split, members in splits.items()}
  assert sizes == {"train": 1758, "validation": 251, "test": 495}


def test_plan_follows_the_seed():
  key = lambda seed: repr([picture.case for picture in plan_pictures(seed)])
  assert key(0) == key(0)
  assert key(0) != key(1)


def test_pictures_follow_the_seeds():
  picture = _draw("nv")
  assert picture.shape == (64, 64, 3)
  assert np.array_equal(picture, _draw("nv"))
  assert np.abs(picture - _draw("nv", view_seed=3)).mean() > 3
  assert np.abs(picture - _draw("nv", lesion_seed=3)).mean() > 2


def test_sizes_agree():
  look = typical_look("mel")
  large = draw_lesion(look, 128, 5, 6).reduce(2)
  direct = draw_lesion(look, 64, 5, 6)
  difference = np.asarray(large).astype(int) - np.asarray(direct)
  assert np.abs(difference).mean() < 12


def test_classes_differ_in_colour():
  centres = [
    np.mean([_draw(dx, i, i)[24:40, 24:40] for i in range(8)], axis=(0, 1, 2))
    for dx in CLASSES
  ]
  for i, first in enumerate(centres):
    for second in centres[:i]:
      assert np.abs(first - second).max() > 4
