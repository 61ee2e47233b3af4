"""Criteria for synthetic images: class agreement, nearness, and no copies.

A criterion scores each image, and has a limit for each class, calibrated on
real images: a synthetic image must score as most images of validation lesions
do. Test lesions are never used.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from absl import logging

from skinjax.data import datasets
from skinjax.data.sources import Split
from skinjax.metrics import copies, features, neighbours, pixels
from skinjax.runtime import errors

_BLOCK = 1000  # images searched for copies at a time
# Nearness is the distance to the training image of this rank, as the nearest
# could be the original of a copy.
_NEIGHBOURS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Criterion:
  """A criterion that synthetic images have to meet."""

  name: str  # of its scores, in metadata.csv
  failing: str  # words for images that fail, a plural
  score: Callable[[Split], np.ndarray]  # of each image of a split
  limits: np.ndarray | None = None  # by class; None: nothing fails
  high_fails: bool = False  # scores above the limit fail, else those below
  # What images filtered by it depend on: pretrained networks, and lesions.
  pretrained: Sequence[str] = ()
  groups: Sequence[str] = ()
  unknown_origin: bool = False  # whether more lesions than these are possible
  digest: str = ""  # of the trained network that computes the scores, if any

  def fails(self, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return which images with scores and labels [n] fail, as booleans [n]."""
    if self.limits is None:
      return np.zeros(len(scores), bool)
    limits = self.limits[labels]
    return scores > limits if self.high_fails else scores < limits


def agreement(
  probabilities: Callable[[Split], np.ndarray],
  validation: Split | None = None,
  share: float = 0.0,
  **learnt,
) -> Criterion:
  """Require that a classifier finds an image's class probable enough.

  Args:
    probabilities: computes [n, classes] for a split, by a classifier trained on
      the training images.
    validation: the images that the limits are calibrated on; None: no limits.
    share: the fraction of a class's validation images that are below the limit.
    **learnt: what the classifier was trained on; see `Criterion`.
  """

  def score(split):
    return probabilities(split)[np.arange(len(split.labels)), split.labels]

  limits = None
  if validation is not None and share:
    found = probabilities(validation)
    shown = found[np.arange(len(found)), validation.labels]
    limits = _limits(shown, validation.labels, share, found.shape[1], 0)
  return Criterion(
    "probability",
    "images that do not look enough like their class",
    score,
    limits,
    **learnt,
  )


def nearness(
  extractor: features.Extractor,
  dataset: datasets.Dataset,
  share: float,
  cache_dir: str | None = None,
) -> Criterion:
  """Require that an image is near training images of its class, by features.

  Its score is the distance to the fifth nearest. `share` is the fraction of a
  class's validation images that are above the limit.
  """
  extract = lambda images, place=None: features.extract(
    extractor, images, cache_dir=place
  )
  train, validation = dataset.train, dataset.validation
  real = extract(train.images, cache_dir)
  by_class = [
    real[train.labels == label] for label in range(dataset.info.num_classes)
  ]

  def score(split, place=None):
    found, result = extract(split.images, place), np.empty(len(split.labels))
    for label in np.unique(split.labels):
      mine = split.labels == label
      result[mine] = _distances(found[mine], by_class[label])
    return result

  limits = _limits(
    score(validation, cache_dir),
    validation.labels,
    1 - share,
    dataset.info.num_classes,
    np.inf,
  )
  return Criterion(
    "distance",
    "images that are far from real ones",
    score,
    limits,
    high_fails=True,
    pretrained=[extractor.pretrained],
    groups=np.unique(train.groups).tolist(),
  )


def copies_by_pixels(
  dataset: datasets.Dataset, groups: Sequence[str]
) -> copies.Detector:
  """Calibrate a detector of copies on the pixels of validation images.

  `groups` are the lesions that the generator was trained on, of any split.
  Copies are searched for among their images; images of other validation lesions
  are known to be no copies.

  Raises:
    InputError: the generator was trained on no lesion of this data set, or on
      all validation lesions.
  """
  whole = datasets.joined(dataset.splits)
  real = dataset.validation
  learnt, seen = (np.isin(x.groups, list(groups)) for x in (whole, real))
  if seen.all() or not learnt.any():
    which = "all validation lesions" if seen.all() else "none of the lesions"
    raise errors.InputError(
      f"The generator was trained on {which} of {dataset.info.name}, and the "
      "search for copies needs both lesions that it was trained on and others: "
      "use config.drop_copies=False."
    )
  return copies.calibrate(
    "pixels",
    pixels.vectors(whole.images[learnt]),
    pixels.oriented_vectors(real.images[~seen]),
    real.labels[~seen],
    real.groups[~seen],
    dataset.info.num_classes,
  )


def originality(dataset: datasets.Dataset, groups: Sequence[str]) -> Criterion:
  """Require that an image is no suspected copy; see copies_by_pixels.

  Its score is the distance to the nearest training image, by pixels.
  """
  detector = copies_by_pixels(dataset, groups)

  def score(split):
    starts = range(0, len(split.labels), _BLOCK)
    parts = (split.images[start : start + _BLOCK] for start in starts)
    found = (detector.nearest(pixels.oriented_vectors(p)) for p in parts)
    return np.concatenate([nearest.distance for nearest in found])

  return Criterion(
    "copy_distance",
    "suspected copies of training images",
    score,
    detector.limits,
  )


def passes(criteria: Sequence[Criterion], synthetic: Split) -> np.ndarray:
  """Return which synthetic images pass all criteria, as booleans [n]."""
  failed = np.zeros(len(synthetic.labels), bool)
  for criterion in criteria:
    fails = criterion.fails(criterion.score(synthetic), synthetic.labels)
    logging.info("%d of %d: %s", fails.sum(), len(fails), criterion.failing)
    failed |= fails
  return ~failed


def _limits(scores, labels, share, num_classes, default) -> np.ndarray:
  """Return a quantile of each class's scores; `default` if it has none."""
  limits = np.full(num_classes, float(default))
  for label in np.unique(labels):
    limits[label] = np.quantile(scores[labels == label], share)
  return limits


def _distances(found: np.ndarray, real: np.ndarray) -> np.ndarray:
  """Compute the distances of features to the fifth nearest of real ones."""
  if not len(real):
    return np.full(len(found), np.inf)
  away = neighbours.distances_by_group(found, real, np.arange(len(real)))
  nth = min(_NEIGHBOURS, len(real)) - 1
  return np.partition(away, nth, axis=1)[:, nth]
