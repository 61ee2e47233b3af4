"""Tests of study/arms.py: which images a classifier learns from."""

import types

import numpy as np
import pytest

from configs import study as config
from skinjax.data import image_folder
from skinjax.runtime import errors
from skinjax.study import arms, folds
from tests import shrunk


@pytest.fixture
def fold(tmp_path):
  """A fold whose folder has 4, 9 and 20 images."""
  split = shrunk.split("made", (4, 9, 20))
  groups = np.unique(shrunk.dataset().train.groups).tolist()
  origin = {"trained_on": {"groups": groups}}
  folder = image_folder.ImageFolder(tmp_path, split, origin)
  return folds.Fold(
    *(0, tmp_path, shrunk.dataset(), {0: folder}, {0: "digest"}),
    passes={0: split.labels != 1},
  )


def _learnt(fold, seed=0, steps=100, **recipe):
  arm = config.arm("in words", **recipe)
  taken = arms.taken(arm, fold, seed)
  return arms.learnt(arm, fold, seed, taken, steps)


@pytest.mark.parametrize(
  ("recipe", "counts"),
  [
    # 12, 7 and 5 real images; the largest class gets none.
    ({}, [0, 7, 5]),
    ({"dose": 0.5}, [0, 4, 2]),
    ({"dose": 10.0}, [0, 70, 50]),
    ({"total": 5}, [2, 2, 1]),
    # Training on synthetic images alone needs some of every class.
    ({"pretraining": 0.3}, [7, 7, 5]),
  ],
)
def test_how_many_synthetic_images_an_arm_needs(recipe, counts):
  arm = config.arm("in words", added="synthetic", **recipe)
  assert arms.wanted(arm, np.array([12, 7, 5])).tolist() == counts
  assert not arms.wanted(config.arm("in words"), np.array([12, 7, 5])).any()


def test_synthetic_images_are_taken_by_class_as_long_as_there_are_some(fold):
  learnt = _learnt(fold, added="synthetic", dose=2.0, share=0.3, weight=0.5)
  split, *how = learnt.added
  assert np.bincount(split.labels).tolist() == [0, 9, 10]
  assert len(set(split.image_ids)) == 19
  assert how == [0.3, 0.5, 0]
  assert set(learnt.inherited) == set(shrunk.dataset().train.groups)
  assert learnt.train is fold.dataset.train
  # More images include those; another seed takes others.
  more = _learnt(fold, added="synthetic", dose=3.0).added.split
  assert set(split.image_ids) < set(more.image_ids)
  other = _learnt(fold, seed=1, added="synthetic", dose=2.0).added.split
  assert set(split.image_ids) != set(other.image_ids)


def test_filtered_images_are_those_that_pass(fold):
  learnt = _learnt(fold, added="synthetic", filtered=True)
  assert np.bincount(learnt.added.split.labels, minlength=3).tolist() == [
    0, 0, 5,
  ]  # fmt: skip
  none = fold._replace(passes={0: np.zeros(33, bool)})
  assert _learnt(none, added="synthetic", filtered=True).added is None


def test_duplicates_are_real_images_again(fold):
  learnt = _learnt(fold, added="duplicates", dose=3.0)
  split = learnt.added.split
  assert np.bincount(split.labels).tolist() == [0, 21, 15]
  ids, times = np.unique(split.image_ids, return_counts=True)
  assert set(ids) <= set(fold.dataset.train.image_ids)
  assert set(times) == {3}
  assert learnt.inherited == ()


def test_a_part_of_the_steps_is_on_synthetic_images(fold):
  recipe = {"added": "synthetic", "pretraining": 0.3}
  assert _learnt(fold, steps=1100, **recipe).added.pretraining == 330


def test_a_fraction_is_of_lesions(fold):
  train = fold.dataset.train
  seen = set()
  for fraction in (0.1, 0.5, 1.0):
    part = _learnt(fold, fraction=fraction).train
    groups = set(part.groups)
    assert seen <= groups
    seen = groups
    for label in range(3):
      all_of = np.unique(train.groups[train.labels == label])
      some = np.unique(part.groups[part.labels == label])
      assert len(some) == np.ceil(fraction * len(all_of))
    # All images of a lesion, or none.
    assert len(part.labels) == np.isin(train.groups, list(groups)).sum()
  assert seen == set(train.groups)


def test_seeds_with_images_of_their_own_take_those(fold):
  other = fold.folders[0]._replace(split=shrunk.split("other", (9, 9, 9)))
  both = types.MappingProxyType({0: fold.folders[0], 1: other})
  own = fold._replace(folders=both, digests={0: "a", 1: "b"})
  ids = _learnt(own, seed=1, added="synthetic").added.split.image_ids
  assert set(ids) <= set(other.split.image_ids)


def test_only_synthetic_images_are_filtered():
  arms.check("mine", config.arm("x", added="synthetic", filtered=True))
  with pytest.raises(errors.InputError, match="filtered=True with"):
    arms.check("mine", config.arm("x", added="duplicates", filtered=True))
