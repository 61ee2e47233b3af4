"""Kernel distance (KID) of two sets of features, and its interval.

It has no bias of sample size: an estimate from 115 images is only noisier
than one from 1000. So all images of a small class are used.
"""

import dataclasses

import numpy as np

from skinjax.metrics import checks, statistics

# Of the kernel's means within real, within fake, and across.
_SIGNS = (1, 1, -2)

# Groups of a set under which a bootstrap has too little to draw from.
_LEAST_DRAWN = 10


@dataclasses.dataclass(frozen=True)
class KernelInterval:
  """Kernel distance (below 0 for half of equal distributions) and interval."""

  value: float
  low: float
  high: float


def kernel_distance(
  real: np.ndarray,
  fake: np.ndarray,
  *,
  groups: np.ndarray | None = None,
  fake_groups: np.ndarray | None = None,
) -> float:
  """Estimate the kernel distance (KID) without bias.

  The squared maximum mean discrepancy for the kernel (x.y / d + 1)^3: its
  mean over pairs of different real images, plus that of fake ones, less twice
  that over pairs of both (Bińkowski et al., "Demystifying MMD GANs", 2018).

  Images of one group are not independent, no more than an image is of itself:
  pairs of them are left out too. Memory is of n^2 + m^2 + n * m.

  Args:
    real: [n, d] floats, n >= 2.
    fake: [m, d] floats, m >= 2.
    groups: [n] integers, the lesion of each real image; by default each image
      is of its own.
    fake_groups: [m] integers, the same for a second set that is real as well.

  Raises:
    ValueError: see `checks.feature_pair`; or `groups` are not [n] integers
      of at least two values.
  """
  real, fake = checks.feature_pair(real, fake)
  groups = _checked_groups(groups, len(real))
  fake_groups = _checked_groups(fake_groups, len(fake))
  return _distance(_kernels(real, fake, groups, fake_groups))


def kernel_distance_interval(
  real: np.ndarray,
  fake: np.ndarray,
  *,
  groups: np.ndarray | None = None,
  fake_groups: np.ndarray | None = None,
  resamples: int = 500,
  seed: int = 0,
  level: float = 0.95,
  most_images: int = 2000,
) -> KernelInterval:
  """Estimate the kernel distance with a bootstrap interval.

  Whole groups are resampled, of both sets. Copies of a group are not a pair:
  they would count as alike what is the same.

  Where the distributions are (nearly) alike, the bootstrap of such a mean over
  pairs fails (Arcones and Giné, "On the Bootstrap of U and V Statistics",
  1992): its part linear in the weights, zero in truth, has noise of twice the
  variance of the quadratic part, which alone is right. The variance linear
  less quadratic is right for distributions alike and apart; the deviations
  are scaled to it. (Unscaled, they are sqrt(3) too wide for equal ones.)

  Between alike and apart, intervals of 95% are too narrow and lie too low: of
  uniform variables shifted by 0.1 (one feature) they hold the true distance in
  0.83 of 1000 draws of 60 images, and in 0.87 of 600 draws of 120.

  Arguments and errors are as of `kernel_distance`, but that both sets have 10
  groups or more. `level` is the part of such intervals that should hold the
  true value. Of a set larger than `most_images` so many are drawn without
  replacement, for `value` too.
  """
  real, fake = checks.feature_pair(real, fake, _LEAST_DRAWN)
  rng = np.random.default_rng(seed)
  draw = lambda x, groups: _drawn(x, groups, most_images, resamples, rng)
  real, groups, of_real = draw(real, groups)
  fake, fake_groups, of_fake = draw(fake, fake_groups)
  kernels = _kernels(real, fake, groups, fake_groups)

  deviation, linear = np.zeros((2, resamples))
  for (kernel, pairs), x, y, sign in zip(
    kernels,
    (of_real, of_fake, of_real),
    (of_real, of_fake, of_fake),
    _SIGNS,
    strict=True,
  ):
    # About its mean, a kernel keeps its digits in float32.
    mean = kernel.sum() / pairs.sum()
    kernel = (kernel - pairs * mean).astype(np.float32)
    count = ((x @ pairs.astype(np.float32)) * y).sum(-1)
    deviation += sign * ((x @ kernel) * y).sum(-1) / count
    slope = x @ kernel.sum(1) + y @ kernel.sum(0)
    linear += sign * slope / pairs.sum()
  quadratic = (deviation - linear).var()
  deviation -= deviation.mean()
  if deviation.any():
    variance = max(linear.var() - quadratic, quadratic)
    deviation *= np.sqrt(variance / deviation.var())
  value = _distance(kernels)
  tail = (1 - level) / 2
  low, high = value + np.quantile(deviation, [tail, 1 - tail])
  return KernelInterval(value, float(low), float(high))


def _drawn(x, groups, most_images, resamples, rng):
  """Draw the images used of a set, with groups and weights of resamples."""
  groups = _checked_groups(groups, len(x))
  kept = rng.permutation(len(x))[:most_images]
  groups = _checked_groups(groups[kept], len(kept), _LEAST_DRAWN)
  weights = statistics.bootstrap_weights(
    groups, np.zeros(len(groups), int), resamples, rng.integers(2**32)
  )
  return x[kept], groups, weights


def _kernels(real, fake, groups, fake_groups):
  """Compute kernel matrices within real, within fake and across, with pairs.

  Each is zero off its pairs, the 0-1 matrix that says which entries count.
  """
  result = []
  for x, y, pairs in (
    (real, real, groups[:, None] != groups),
    (fake, fake, fake_groups[:, None] != fake_groups),
    (real, fake, np.ones((len(real), len(fake)), bool)),
  ):
    base = x @ y.T / x.shape[1] + 1
    result.append((base * base * base * pairs, pairs))
  return result


def _distance(kernels):
  means = (kernel.sum() / pairs.sum() for kernel, pairs in kernels)
  return float(sum(s * mean for s, mean in zip(_SIGNS, means, strict=True)))


def _checked_groups(groups, num, least=2):
  if groups is None:
    return np.arange(num)
  groups = np.asarray(groups)
  if groups.shape != (num,) or not np.issubdtype(groups.dtype, np.integer):
    raise ValueError(
      f"groups must be [{num}] integers, got {groups.dtype} "
      f"{list(groups.shape)}."
    )
  if len(np.unique(groups)) < least:
    raise ValueError(
      f"groups must be at least {least}, got {len(np.unique(groups))}."
    )
  return groups
