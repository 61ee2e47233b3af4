"""Finds generated images that are copies of training images.

How near is too near is learnt from real images alone: those of other lesions
than training's are no copies, however alike, and hardly any may be flagged.
Images are compared as vectors of pixels (pixels.py) or as features, in all 8
orientations; each kind of vector has thresholds of its own.
"""

import dataclasses

import numpy as np
from scipy import special

from skinjax.metrics import neighbours

# Real lesions that one kind of vector may flag: of two kinds, 1% at most.
RATE = 0.005


@dataclasses.dataclass(frozen=True)
class Suspect:
  """A generated image that is nearer to a training image than real ones are."""

  synthetic: int  # index
  training: int  # index
  orientation: int  # of the generated image; see pixels.orientations
  kind: str  # of vector that was compared, "pixels" or "features"
  distance: float
  threshold: float  # that the distance is under


@dataclasses.dataclass(frozen=True, eq=False)
class Criterion:
  """What tells copies of training images by one kind of vector."""

  kind: str  # of vector, "pixels" or "features"
  training: np.ndarray  # float32 [n, d]
  real: np.ndarray  # float64 [h], distances of real images that are no copies
  limits: np.ndarray  # float64 [classes], below which an image is suspected

  def nearest(self, oriented: np.ndarray) -> neighbours.Nearest:
    """Find the nearest training image of each of [8, m, d] vectors."""
    return neighbours.nearest(oriented, self.training)

  def suspects(
    self, found: neighbours.Nearest, labels: np.ndarray
  ) -> list[Suspect]:
    """List images nearer than the threshold of their class, of labels [m]."""
    limit = self.limits[labels]
    return [
      Suspect(
        synthetic=int(i),
        training=int(found.index[i]),
        orientation=int(found.orientation[i]),
        kind=self.kind,
        distance=float(found.distance[i]),
        threshold=float(limit[i]),
      )
      for i in np.flatnonzero(found.distance < limit)
    ]


def calibrate(
  kind: str,
  training: np.ndarray,
  real: np.ndarray,
  labels: np.ndarray,
  groups: np.ndarray,
  num_classes: int,
) -> Criterion:
  """Learn from real images how near to the training images is too near.

  `training` are [n, d] floats; `real` [8, h, d] those of real images of other
  lesions in all orientations, with integer labels and lesions (groups) [h].
  """
  distances = neighbours.nearest(real, training).distance
  limits = thresholds(distances, labels, groups, num_classes)
  return Criterion(kind, training, distances, limits)


def flagged(
  criterion: Criterion, labels: np.ndarray, groups: np.ndarray
) -> np.ndarray:
  """Tell which real images the thresholds of half of the others would flag.

  Thresholds of all of them would flag too few of themselves. Takes labels and
  groups [h] of the images that set the criterion; returns booleans [h].
  """
  names, lesions = np.unique(groups, return_inverse=True)
  half = np.random.default_rng(0).integers(2, size=len(names))[lesions]
  result = np.zeros(len(labels), bool)
  columns = criterion.real, labels, groups
  for side in (0, 1):
    mine, other = half == side, half != side
    if mine.any() and other.any():
      others = (column[other] for column in columns)
      limits = thresholds(*others, len(criterion.limits))
      result[mine] = criterion.real[mine] < limits[labels[mine]]
  return result


def thresholds(
  distances: np.ndarray,
  labels: np.ndarray,
  groups: np.ndarray,
  num_classes: int,
  *,
  rate: float = RATE,
  confidence: float = 0.95,
) -> np.ndarray:
  """Set by class the distance under which an image is suspected, float64 [K].

  The rate-quantile of real distances would be too high for half of all
  calibrations. So it is the largest order statistic below which less than
  `rate` of all lesions lies with the given confidence (a tolerance limit;
  Wilks, "Determination of Sample Sizes for Setting Tolerance Limits", 1941),
  whatever the distribution. Images of one lesion are alike: each lesion
  counts once, with the smallest of its distances.

  That takes 598 lesions for 0.5% at 95%. A class with fewer has that of
  all classes together, or its own smallest distance, whichever is less; if
  all together are too few, that of the smallest of all, which promises less.

  `distances` [n >= 1] are to the nearest training image, of real images of
  lesions that training has not, with integer labels and groups (lesions) [n].
  """
  lesions = _least_by_group(distances, groups)
  rank = _rank(len(lesions), rate, confidence)
  common = np.sort(lesions)[max(rank, 1) - 1]
  result = np.full(num_classes, common)
  for label in range(num_classes):
    mine = labels == label
    if mine.any():
      lesions = np.sort(_least_by_group(distances[mine], groups[mine]))
      rank = _rank(len(lesions), rate, confidence)
      result[label] = lesions[rank - 1] if rank else min(common, lesions[0])
  return result


def _least_by_group(distances, groups):
  """Find the smallest distance of each group."""
  codes = np.unique(groups, return_inverse=True)[1]
  least = np.full(codes.max() + 1, np.inf)
  np.minimum.at(least, codes, distances)
  return least


def _rank(count: int, rate: float, confidence: float) -> int:
  """Find which order statistic is a lower tolerance limit; 0 for none.

  The share of the distribution below the r-th of n is distributed as
  Beta(r, n - r + 1).
  """
  ranks = np.arange(1, count + 1)
  sure = special.betainc(ranks, count - ranks + 1, rate) >= confidence
  return int(sure.sum())
