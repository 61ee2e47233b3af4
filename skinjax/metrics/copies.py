"""Finds generated images that are copies of training images.

How near is too near is learnt from real images alone: those of other lesions
than training's are no copies, however alike, and hardly any may be flagged.
Pixels (pixels.py) find them without a network. Features are another criterion,
with thresholds of their own: those of all of pixels.orientations, extracted
one by one and stacked, are compared by neighbours.nearest likewise.
"""

import dataclasses

import numpy as np
from scipy import special

from skinjax.metrics import neighbours


@dataclasses.dataclass(frozen=True)
class Suspect:
  """A generated image that is nearer to a training image than real ones are.

  Attributes:
    synthetic: its index.
    training: the index of the training image.
    orientation: of the generated image, in which it is nearest; see
      pixels.orientations.
    kind: what was compared, "pixels" or "features".
    distance: of the two.
    threshold: that it is under.
  """

  synthetic: int
  training: int
  orientation: int
  kind: str
  distance: float
  threshold: float


def thresholds(
  distances: np.ndarray,
  labels: np.ndarray,
  groups: np.ndarray,
  num_classes: int,
  *,
  rate: float = 0.01,
  confidence: float = 0.95,
) -> np.ndarray:
  """Set by class the distance under which an image is suspected.

  The rate-quantile of real distances would be too high for half of all
  calibrations. So it is the largest order statistic below which less than
  `rate` of all lesions lies with the given confidence (a tolerance limit;
  Wilks, "Determination of Sample Sizes for Setting Tolerance Limits", 1941),
  whatever the distribution. Images of one lesion are alike: each lesion
  counts once, with the smallest of its distances.

  That takes 299 lesions for 1% at 95%. A class with fewer has the threshold of
  all classes together, or its own smallest distance, whichever is less; if
  all together are too few, that of the smallest of all, which promises less.

  Args:
    distances: [n] of real images that are not training images to the nearest
      training image; none of them shows a lesion of training.
    labels: [n] integers.
    groups: [n], the lesion of each.
    num_classes: K.
    rate: of real lesions that may be flagged, in (0, 1).
    confidence: that it is no more, in (0, 1).

  Returns:
    float64 [K].

  Raises:
    ValueError: no images, shapes that do not fit, distances that are not
      finite or negative, or labels out of range.
  """
  distances, labels = np.asarray(distances, np.float64), np.asarray(labels)
  neighbours.require_rows("labels", labels, distances.size)
  neighbours.require_rows("groups", groups, distances.size)
  if not distances.size or not np.isfinite(distances).all():
    raise ValueError("Expected distances that are finite, and at least one.")
  if distances.min() < 0 or not 0 <= labels.min() <= labels.max() < num_classes:
    raise ValueError(
      "Expected distances from 0 on, and labels from 0 to num_classes - 1."
    )
  if not (0 < rate < 1 and 0 < confidence < 1):
    raise ValueError("rate and confidence must be in (0, 1).")
  lesions = _least_by_group(distances, np.asarray(groups))
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


def suspects(
  found: neighbours.Nearest,
  labels: np.ndarray,
  limits: np.ndarray,
  kind: str,
) -> list[Suspect]:
  """List the generated images that are too near to a training image.

  Args:
    found: the nearest training image of each of m generated ones.
    labels: [m] integers, the classes that were asked for.
    limits: [K] from `thresholds`, of the same kind of distance.
    kind: of distance, "pixels" or "features".

  Returns:
    Those that are nearer than their class's threshold, in their order.

  Raises:
    ValueError: shapes that do not fit, labels out of range, another kind.
  """
  if kind not in ("pixels", "features"):
    raise ValueError(f"kind must be pixels or features, got {kind!r}.")
  labels = np.asarray(labels)
  neighbours.require_rows("labels", labels, len(found.distance))
  if labels.size and not 0 <= labels.min() <= labels.max() < len(limits):
    raise ValueError(f"labels must be from 0 to {len(limits) - 1}.")
  limit = np.asarray(limits, np.float64)[labels]
  return [
    Suspect(
      synthetic=int(i),
      training=int(found.index[i]),
      orientation=int(found.orientation[i]),
      kind=kind,
      distance=float(found.distance[i]),
      threshold=float(limit[i]),
    )
    for i in np.flatnonzero(found.distance < limit)
  ]


def _least_by_group(distances, groups):
  """Smallest distance of each group."""
  codes = np.unique(groups, return_inverse=True)[1]
  least = np.full(codes.max() + 1, np.inf)
  np.minimum.at(least, codes, distances)
  return least


def _rank(count: int, rate: float, confidence: float) -> int:
  """Finds which order statistic is a lower tolerance limit; 0 for none.

  The share of the distribution below the r-th of n is distributed as
  Beta(r, n - r + 1).
  """
  ranks = np.arange(1, count + 1)
  sure = special.betainc(ranks, count - ranks + 1, rate) >= confidence
  return int(sure.sum())
