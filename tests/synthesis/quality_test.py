"""Tests of synthesis/quality.py: the criteria that filter synthetic images."""

import dataclasses

import numpy as np

from skinjax.data import datasets, sources
from skinjax.metrics import features
from skinjax.synthesis import quality
from tests import shrunk


def test_copies_and_images_that_do_not_show_their_class_are_left_out():
  dataset = shrunk.dataset()
  train, validation = dataset.train, dataset.validation
  synthetic = shrunk.split("made", (4, 4, 4))
  images = synthetic.images.copy()
  images[0] = np.rot90(train.images[0])  # of class 0
  synthetic = synthetic._replace(images=images)
  # Validation images of a class show it with 0.5 to 0.9.
  sure = np.linspace(0.5, 0.9, len(validation.labels))
  probabilities = lambda p, labels: (
    np.eye(3)[labels] * (1.5 * p - 0.5)[:, None] + (1 - p)[:, None] / 2
  )
  made = np.full(12, 0.95)
  made[5] = 0.1
  given = {
    "real": probabilities(sure, validation.labels),
    "made": probabilities(made, synthetic.labels),
  }
  says = lambda split: given["real" if split is validation else "made"]
  criteria = (
    quality.agreement(says, validation, 0.2),
    quality.originality(dataset, train.groups),
  )
  passes = quality.passes(criteria, synthetic)
  assert not passes[0]
  assert not passes[5]
  assert passes[[4, 6, 7]].all()


def _split(labels, images=None):
  labels = np.array(labels, np.int32)
  ids = np.arange(len(labels)).astype(str)
  images = (
    np.zeros((len(labels), 4, 4, 3), np.uint8) if images is None else (images)
  )
  return sources.Split(images, labels, ids, ids)


def test_agreement_by_hand():
  real, made = _split([0] * 5 + [2] * 5), _split([0, 0, 1, 2, 2])
  given = {
    5: [[0.3, 0, 0], [0.1, 0, 0], [0, 0, 0.9], [0, 0, 0.7], [0, 0, 0.2]],
    10: [[x, 0, 0] for x in (0.1, 0.2, 0.3, 0.4, 0.5)]
    + [[0, 0, x] for x in (0.3, 0.6, 0.7, 0.8, 0.9)],
  }
  says = lambda split: np.array(given[len(split.labels)])
  criterion = quality.agreement(says, real, 0.25)
  # A quarter of the way through each class's five; class 1 has no limit.
  np.testing.assert_allclose(criterion.limits, [0.2, 0, 0.6])
  scores = criterion.score(made)
  np.testing.assert_allclose(scores, [0.3, 0.1, 0, 0.7, 0.2])
  fails = criterion.fails(scores, made.labels)
  assert fails.tolist() == [False, True, False, False, True]
  for scored_only in (quality.agreement(says), quality.agreement(says, real)):
    assert scored_only.limits is None
    np.testing.assert_allclose(scored_only.score(made), scores)
    assert not scored_only.fails(scores, made.labels).any()


def _levels(values):
  """Return constant images, one for each value."""
  return np.broadcast_to(
    np.array(values, np.uint8)[:, None, None, None], (len(values), 4, 4, 1)
  )


def test_nearness_by_hand():
  extractor = features.Extractor(
    *("Level@4", 4, 1, 1),
    apply=lambda variables, images: images.mean((1, 2)),
    variables={},
    digest="",
    pretrained="A network",
  )
  # The fifth nearest of 10, 20, …, 70, and of class 1 the second of two.
  train = _split([0] * 7 + [1] * 2, _levels([*range(10, 71, 10), 100, 200]))
  validation = _split([0] * 3 + [1], _levels([10, 40, 85, 150]))
  info = dataclasses.replace(
    shrunk.dataset().info, class_names=("a", "b", "c"), size=4, channels=1
  )
  dataset = datasets.Dataset(info, train, validation, validation)
  criterion = quality.nearness(extractor, dataset, 0.5)
  # Of validation images 40, 20 and 55 away; of class 1, 50; none of class 2.
  np.testing.assert_allclose(criterion.limits, [40, 50, np.inf])
  made = _split([0, 0, 0, 1, 2], _levels([40, 71, 5, 255, 9]))
  scores = criterion.score(made)
  np.testing.assert_allclose(scores, [20, 41, 45, 155, np.inf])
  fails = criterion.fails(scores, made.labels)
  assert fails.tolist() == [False, True, True, True, False]
  assert criterion.pretrained == ["A network"]
  assert set(criterion.groups) == set(train.groups)
