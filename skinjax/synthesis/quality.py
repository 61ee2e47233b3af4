"""Which synthetic images show their class, are near real ones, and no copies.

A criterion gives every image a score, and has for each class a limit that is
learnt from real images: what is asked of a synthetic image is what most images
of validation lesions have. Test lesions stay out of it.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from absl import logging

from skinjax.data import datasets
from skinjax.data.sources import Split
from skinjax.metrics import copies, features, neighbours, pixels
from skinjax.runtime import errors

_BLOCK = 1000  # images whose copies are looked for at a time
# Of training images, that nearness is measured to: one could be a copy.
_NEIGHBOURS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Criterion:
  """What tells which synthetic images may be used."""

  name: str  # of its scores, in metadata.csv
  failing: str  # what images are that fail, a plural
  score: Callable[[Split], np.ndarray]  # of each image of a split
  limits: np.ndarray | None = None  # by class; None: nothing fails
  high_fails: bool = False  # scores above the limit fail, else those below
  # What those learnt from that choose by it: pretrained networks, and lesions.
  pretrained: Sequence[str] = ()
  groups: Sequence[str] = ()
  digest: str = ""  # of the network that scores, a trained one

  def fails(self, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Tell by scores and labels [n] which images may not be used."""
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
  """Ask that an image shows its class, by what a classifier says.

  Args:
    probabilities: of a split, [n, classes], by a classifier that has learnt
      from training images.
    validation: the images that set the limits; None: there are none.
    share: of the validation images of a class, those that show it less than is
      asked of synthetic ones.
    **learnt: what the classifier has learnt from; see `Criterion`.
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
    "images that show their class too little",
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
  """Ask that an image is near training images of its class, by features.

  Its score is the distance to the fifth nearest. `share` of the validation
  images of a class are farther than is asked of synthetic ones.
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
) -> copies.Criterion:
  """Calibrate what a copy is on the pixels of validation images.

  `groups` are the lesions that the generator has learnt from, of any split:
  copies are of their images, and those of validation lesions are none.

  Raises:
    InputError: it has learnt from none of these images, or from all that are
      for validation.
  """
  whole = datasets.joined(dataset.splits)
  real = dataset.validation
  learnt, seen = (np.isin(x.groups, list(groups)) for x in (whole, real))
  if seen.all() or not learnt.any():
    which = "all validation lesions" if seen.all() else "none of the lesions"
    raise errors.InputError(
      f"The generator has learnt from {which} of {dataset.info.name}, and "
      "copies are told by training images and others: use "
      "config.drop_copies=False."
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
  """Ask that an image is no suspected copy; see copies_by_pixels.

  Its score is the distance to the nearest training image, by pixels.
  """
  criterion = copies_by_pixels(dataset, groups)

  def score(split):
    starts = range(0, len(split.labels), _BLOCK)
    parts = (split.images[start : start + _BLOCK] for start in starts)
    found = (criterion.nearest(pixels.oriented_vectors(p)) for p in parts)
    return np.concatenate([nearest.distance for nearest in found])

  return Criterion(
    "copy_distance",
    "suspected copies of training images",
    score,
    criterion.limits,
  )


def passes(criteria: Sequence[Criterion], synthetic: Split) -> np.ndarray:
  """Tell which synthetic images [n] may be used by all of some criteria."""
  failed = np.zeros(len(synthetic.labels), bool)
  for criterion in criteria:
    fails = criterion.fails(criterion.score(synthetic), synthetic.labels)
    logging.info("%d of %d: %s", fails.sum(), len(fails), criterion.failing)
    failed |= fails
  return ~failed


def _limits(scores, labels, share, num_classes, default) -> np.ndarray:
  """Return a quantile of each class's scores, and a default of none."""
  limits = np.full(num_classes, float(default))
  for label in np.unique(labels):
    limits[label] = np.quantile(scores[labels == label], share)
  return limits


def _distances(found: np.ndarray, real: np.ndarray) -> np.ndarray:
  """Measure how far features are from the fifth nearest of real ones."""
  if not len(real):
    return np.full(len(found), np.inf)
  away = neighbours.distances_by_group(found, real, np.arange(len(real)))
  nth = min(_NEIGHBOURS, len(real)) - 1
  return np.partition(away, nth, axis=1)[:, nth]
