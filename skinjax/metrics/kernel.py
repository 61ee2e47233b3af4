"""Kernel distance (KID) of two sets of features, and its interval.

It has no bias of sample size: an estimate from 115 images is only noisier
than one from 1000. All images of a small class are used, so that there is no
subset size to choose for it.
"""

import dataclasses

import numpy as np

from skinjax.metrics import features
from skinjax.report import statistics


@dataclasses.dataclass(frozen=True)
class KernelInterval:
  """Kernel distance and its interval.

  Attributes:
    value: the distance, which is below 0 for half of equal distributions.
    low: lower end.
    high: upper end.
  """

  value: float
  low: float
  high: float


def kernel_distance(
  real: np.ndarray, fake: np.ndarray, *, groups: np.ndarray | None = None
) -> float:
  """Estimate the kernel distance (KID) without bias.

  The squared maximum mean discrepancy for the kernel (x.y / d + 1)^3: its
  mean over pairs of different real images, plus that of fake ones, less twice
  that over pairs of both (Bińkowski et al., "Demystifying MMD GANs", 2018).

  Real images of one group are not independent, no more than an image is of
  itself: pairs of them are left out too.

  Args:
    real: [n, d] floats, n >= 2. Memory is of n^2 + m^2 + n * m.
    fake: [m, d] floats, m >= 2.
    groups: [n] integers, the lesion of each real image; by default each image
      is of its own.

  Returns:
    A number that may be negative.

  Raises:
    ValueError: see `features.checked_pair`; or `groups` are not [n] integers
      or all the same.
  """
  real, fake = features.checked_pair(real, fake)
  kernels = _kernels(real, fake, _checked_groups(groups, len(real)))
  return float(_estimate(kernels, np.ones(len(real)), np.ones(len(fake))))


def kernel_distance_interval(
  real: np.ndarray,
  fake: np.ndarray,
  *,
  groups: np.ndarray | None = None,
  resamples: int = 500,
  seed: int = 0,
  level: float = 0.95,
  most_images: int = 2000,
) -> KernelInterval:
  """Estimate the kernel distance with a bootstrap interval.

  Groups of real images and single fake ones are resampled. Copies of a group
  are not a pair: they would count as alike what is the same.

  For distributions (nearly) alike the bootstrap is too wide, by sqrt(3) if
  they are equal: its part linear in the weights then is noise of its own, of
  twice the variance of the quadratic part, which alone is right (Arcones and
  Giné, "On the Bootstrap of U and V Statistics", 1992). The deviations are
  shrunk to the difference of the two variances, which is unbiased in both
  cases.

  Args:
    real: [n, d] floats, n >= 2.
    fake: [m, d] floats, m >= 2.
    groups: [n] integers, the lesion of each real image; by default each image
      is of its own.
    resamples: number of resamples.
    seed: seed of the resamples, and of the images of larger sets.
    level: part of such intervals that should hold the true value.
    most_images: of either set that is larger, so many images are used, drawn
      without replacement, in `value` too.

  Raises:
    ValueError: as `kernel_distance`.
  """
  real, fake = features.checked_pair(real, fake)
  groups = _checked_groups(groups, len(real))
  rng = np.random.default_rng(seed)
  kept = rng.permutation(len(real))[:most_images]
  real, groups = real[kept], _checked_groups(groups[kept], len(kept))
  fake = fake[rng.permutation(len(fake))[:most_images]]
  kernels = _kernels(real, fake, groups)
  value = _estimate(kernels, np.ones(len(real)), np.ones(len(fake)))

  of_real, of_fake = (
    statistics.bootstrap_weights(
      units, np.zeros(len(units), int), resamples, rng.integers(2**32)
    )
    for units in (groups, np.arange(len(fake)))
  )
  # What a constant adds to a kernel cancels out; float32 is better without.
  centre = kernels[2][0].mean()
  kernels = [
    (((kernel - centre) * pairs).astype(np.float32), pairs.astype(np.float32))
    for kernel, pairs in kernels
  ]
  drawn = _estimate(kernels, of_real, of_fake)
  # Weights reflected in 1 turn the sign of the linear part alone.
  mirrored = _estimate(kernels, 2 - of_real, 2 - of_fake)
  linear, quadratic = ((drawn - mirrored) / 2).var(), ((drawn + mirrored) / 2).var()
  deviation = drawn - drawn.mean()
  if deviation.any():
    variance = max(linear - quadratic, quadratic)
    deviation *= np.sqrt(variance / deviation.var())
  tail = (1 - level) / 2
  low, high = value + np.quantile(deviation, [tail, 1 - tail])
  return KernelInterval(float(value), float(low), float(high))


def _kernels(real, fake, groups):
  """Kernel matrices within real, within fake and across, and their pairs.

  Each is zero off its pairs, the 0-1 matrix that says which entries count.
  """
  result = []
  for x, y, pairs in (
    (real, real, groups[:, None] != groups),
    (fake, fake, ~np.eye(len(fake), dtype=bool)),
    (real, fake, np.ones((len(real), len(fake)), bool)),
  ):
    base = x @ y.T / x.shape[1] + 1
    result.append((base * base * base * pairs, pairs))
  return result


def _estimate(kernels, of_real, of_fake):
  """MMD^2 for weights [..., n] of real and [..., m] of fake images."""
  mean = lambda kernel, pairs, x, y: (
    ((x @ kernel) * y).sum(-1) / ((x @ pairs) * y).sum(-1)
  )
  within_real, within_fake, across = kernels
  return (
    mean(*within_real, of_real, of_real)
    + mean(*within_fake, of_fake, of_fake)
    - 2 * mean(*across, of_real, of_fake)
  )


def _checked_groups(groups, num):
  if groups is None:
    return np.arange(num)
  groups = np.asarray(groups)
  if groups.shape != (num,) or not np.issubdtype(groups.dtype, np.integer):
    raise ValueError(
      f"groups must be [{num}] integers, got {groups.dtype} "
      f"{list(groups.shape)}."
    )
  if (groups == groups[0]).all():
    raise ValueError("groups must be at least two, got one for all images.")
  return groups
