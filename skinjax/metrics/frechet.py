"""Fréchet distance of two sets of features, and its sample-size bias.

The distance between two samples of one distribution is not zero but grows as
they get smaller. So values at different n must not be compared; hence the curve
over n, and its limit.
"""

import dataclasses

import numpy as np
from scipy import linalg

from skinjax.metrics import checks

# Images of the largest subset of a curve; beyond it the curve changes little.
MOST_IMAGES = 5000
_REPEATS = 5


@dataclasses.dataclass(frozen=True)
class FrechetCurve:
  """Fréchet distance by number of images, and its limit.

  The limit is the intercept of the line through `values` over 1 / `counts`: the
  distance at n = infinity. It is an estimate and may be below 0. The bias is
  linear in 1 / n only if n is well above the effective dimension of the
  features; for smaller n the limit is less biased than the values, but biased.
  """

  counts: tuple[int, ...]  # images taken from each of the two sets, ascending
  values: tuple[float, ...]  # mean distance of subsets of that many images
  limit: float
  spread: float  # about one standard error of the limit


def frechet(real: np.ndarray, fake: np.ndarray) -> float:
  """Compute the squared Fréchet distance of Gaussians fitted to two sets.

  |mean_r - mean_f|^2 + trace(S_r + S_f - 2 (S_r S_f)^(1/2)), with unbiased
  covariances S (Heusel et al., "GANs Trained by a Two Time-Scale Update Rule
  Converge to a Local Nash Equilibrium", 2017).

  If S = R^T R, the trace of the root is the sum of the singular values of
  R_r R_f^T, and scaled centred features are such an R. No matrix root is
  computed, so that singular covariances (fewer images than d) are no problem.

  Takes at least two rows, see `checks.feature_pair`; returns a number >= 0, in
  squared units of the features.
  """
  real, fake = checks.feature_pair(real, fake)
  shift = ((real.mean(0) - fake.mean(0)) ** 2).sum()
  real, fake = _scaled(real), _scaled(fake)
  traces = (real**2).sum() + (fake**2).sum()
  few, many = sorted((real, fake), key=len)
  if len(few) > few.shape[1]:
    few = np.linalg.qr(few, mode="r")  # another such R, with d rows
  product = few @ many.T
  # Squares of the singular values: twice as fast as the values themselves, each
  # wrong by 1e-8 of the largest at most.
  squares = linalg.eigvalsh(product @ product.T)
  common = np.sqrt(np.maximum(squares, 0)).sum()
  return float(max(shift + traces - 2 * common, 0.0))


def frechet_curve(
  real: np.ndarray, fake: np.ndarray, *, seed: int = 0
) -> FrechetCurve:
  """Compute the Fréchet distance at several n, and extrapolate it.

  Subsets of n images are sampled from both sets without replacement; the mean
  distance is linear in 1 / n to first order (Chong and Forsyth, "Effectively
  Unbiased FID and Inception Score and Where to Find Them", 2020; here both
  sets are finite, and have the same n).

  The limit's spread has two parts. Sampling of the images: the standard
  deviation of the distance over random halves of the largest count, since
  halves vary about their set as much as sets of its size vary about the true
  value (somewhat more, if the other set is much larger). Sampling of the
  subsets: the standard error of the limit over repeats.

  There are five counts (fewer for few images), from all images of the smaller
  set (at most 5000) to half of them, evenly spaced in 1 / n, with five subsets
  each.

  Raises:
    ValueError: see `checks.feature_pair`, with at least 10 rows.
  """
  real, fake = checks.feature_pair(real, fake, 10)
  largest = min(len(real), len(fake), MOST_IMAGES)
  counts = np.rint(largest / np.linspace(1, 2, 5))
  counts = np.unique(counts.astype(int))
  rng = np.random.default_rng(seed)
  draw = lambda sizes: np.array(
    [_nested(real, fake, sizes, rng) for _ in range(_REPEATS)]
  )
  values = draw(counts)
  limits = np.polyfit(1 / counts, values.T, 1)[1]
  halves = draw(counts[-1:] // 2)
  return FrechetCurve(
    tuple(counts.tolist()),
    tuple(values.mean(0).tolist()),
    float(limits.mean()),
    float(np.sqrt(halves.var(ddof=1) + limits.var(ddof=1) / _REPEATS)),
  )


def _scaled(features):
  """Centre features X, and scale them so that X^T X is their covariance."""
  return (features - features.mean(0)) / np.sqrt(len(features) - 1)


def _nested(real, fake, counts, rng):
  """Compute distances of random subsets, each within the next larger one."""
  real = real[rng.choice(len(real), counts[-1], replace=False)]
  fake = fake[rng.choice(len(fake), counts[-1], replace=False)]
  return [frechet(real[:n], fake[:n]) for n in counts]
