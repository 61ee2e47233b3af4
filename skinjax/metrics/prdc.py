"""Precision, recall, density and coverage of a set of features."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from skinjax.metrics import checks

# Rows of distances computed at a time.
_BLOCK = 1024


@dataclasses.dataclass(frozen=True)
class Prdc:
  """Fidelity and diversity, as fractions of images near the other set.

  For equal distributions density has expectation 1; it may exceed 1.
  """

  precision: float  # fake images near some real one
  recall: float  # real images near some fake one
  density: float  # real images that a fake one is near to, over `neighbours`
  coverage: float  # real images that have a fake one near


def precision_recall_density_coverage(
  real: np.ndarray, fake: np.ndarray, *, neighbours: int = 5
) -> Prdc:
  """Compute precision, recall, density and coverage of [n, d] and [m, d].

  An image is near another one if it is closer to it than that one's k-th
  nearest neighbour in its own set, k = `neighbours`. Precision and recall are
  from Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing
  Generative Models" (2019); density and coverage from Naeem et al., "Reliable
  Fidelity and Diversity Metrics for Generative Models" (2020). All but density
  depend on n and m: compare them at equal numbers of images.

  Raises:
    ValueError: see `checks.feature_pair`, with n, m > k.
  """
  real, fake = checks.feature_pair(real, fake, neighbours + 1)
  # Centring keeps more digits of the distances.
  centre = real.mean(0)
  real, fake = real - centre, fake - centre
  of_real, of_fake = _radii(real, neighbours), _radii(fake, neighbours)

  precise = np.zeros(len(fake), bool)
  recalled = covered = inside = 0
  for rows, distances in _squared_distances(real, fake):
    near_real = distances < of_real[rows, None]
    precise |= near_real.any(0)
    inside += near_real.sum()
    covered += near_real.any(1).sum()
    recalled += (distances < of_fake).any(1).sum()
  return Prdc(
    float(precise.mean()),
    float(recalled / len(real)),
    float(inside / (neighbours * len(fake))),
    float(covered / len(real)),
  )


def _radii(features, neighbours):
  """Compute the squared distance of rows to their k-th nearest other, [n]."""
  radii = np.empty(len(features))
  for rows, distances in _squared_distances(features, features):
    # Each row is its own nearest, so its k-th nearest other is at index k.
    radii[rows] = np.partition(distances, neighbours, axis=1)[:, neighbours]
  # Despite rounding, a copy of the k-th neighbour must not count as closer.
  return radii * (1 - 1e-9)


def _squared_distances(x, y) -> Iterator[tuple[slice, np.ndarray]]:
  """Yield slices of rows of x, and their distances [rows, m] to all of y."""
  norms = (y**2).sum(1)
  for start in range(0, len(x), _BLOCK):
    rows = slice(start, start + _BLOCK)
    block = x[rows]
    distances = (block**2).sum(1)[:, None] + norms - 2 * block @ y.T
    yield rows, np.maximum(distances, 0)
