"""Finds generated images that are copies of training images.

The distance thresholds are calibrated on real images alone: real images of
held-out lesions are no copies, however similar, so hardly any may be flagged.
Images are compared as vectors of pixels (pixels.py) or as features, in all 8
orientations; each kind of vector has its own thresholds.
"""

import dataclasses

import numpy as np
from scipy import special

from skinjax.metrics import neighbours

# The fraction of real lesions that one kind of vector may flag: two kinds flag
# at most 1%.
RATE = 0.005


@dataclasses.dataclass(frozen=True)
class Suspect:
  """A generated image that is nearer to training images than real ones are."""

  synthetic: int  # index
  training: int  # index
  orientation: int  # of the generated image; see pixels.orientations
  kind: str  # of the compared vectors, "pixels" or "features"
  distance: float
  threshold: float  # the distance is below it


@dataclasses.dataclass(frozen=True, eq=False)
class Detector:
  """A detector of copies of training images, by one kind of vector."""

  kind: str  # of vector, "pixels" or "features"
  training: np.ndarray  # float32 [n, d]
  real: np.ndarray  # float64 [h], distances of real images that are no copies
  limits: np.ndarray  # float64 [classes], images below them are suspected

  def nearest(self, oriented: np.ndarray, **options) -> neighbours.Nearest:
    """Find the nearest training image of each of [k, m, d] vectors.

    The options are those of `neighbours.nearest`.
    """
    return neighbours.nearest(oriented, self.training, **options)

  def suspects(
    self, found: neighbours.Nearest, labels: np.ndarray
  ) -> list[Suspect]:
    """List images with labels [m] that are nearer than their class's limit."""
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
) -> Detector:
  """Calibrate a detector of copies on real images of held-out lesions.

  `training` are [n, d] floats; `real` [8, h, d] are held-out real images in all
  orientations, with integer labels and lesions (groups) [h].
  """
  distances = neighbours.nearest(real, training).distance
  limits = thresholds(distances, labels, groups, num_classes)
  return Detector(kind, training, distances, limits)


def flagged(
  detector: Detector, labels: np.ndarray, groups: np.ndarray
) -> np.ndarray:
  """Find which real images are flagged by thresholds set on the other half.

  Thresholds set on the same images would flag too few. Takes labels and groups
  [h] of the images that the detector was calibrated on; returns booleans [h].
  """
  names, lesions = np.unique(groups, return_inverse=True)
  half = np.random.default_rng(0).integers(2, size=len(names))[lesions]
  result = np.zeros(len(labels), bool)
  columns = detector.real, labels, groups
  for side in (0, 1):
    mine, other = half == side, half != side
    if mine.any() and other.any():
      others = (column[other] for column in columns)
      limits = thresholds(*others, len(detector.limits))
      result[mine] = detector.real[mine] < limits[labels[mine]]
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
  """Compute each class's distance threshold for suspects, float64 [K].

  The rate-quantile of real distances would be too high for half of all
  calibrations. So the threshold is the largest order statistic below which less
  than `rate` of all lesions lie with the given confidence (a tolerance limit;
  Wilks, "Determination of Sample Sizes for Setting Tolerance Limits", 1941),
  for any distribution. Images of one lesion are alike: each lesion counts once,
  with its smallest distance.

  That takes 598 lesions for 0.5% at 95%. A class with fewer uses the threshold
  of all classes together, or its own smallest distance if that is less. If all
  classes together have too few, the smallest distance of all is used, which
  guarantees less.

  `distances` [n >= 1] are those from real images of held-out lesions to their
  nearest training images, with integer labels and groups (lesions) [n].
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
  """Find which order statistic is a lower tolerance limit; 0 if none is.

  The share of the distribution below the r-th of n values has the distribution
  Beta(r, n - r + 1).
  """
  ranks = np.arange(1, count + 1)
  sure = special.betainc(ranks, count - ranks + 1, rate) >= confidence
  return int(sure.sum())
