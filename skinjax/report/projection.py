"""Features of images as points of a plane."""

import dataclasses

import numpy as np

from skinjax.metrics import checks


@dataclasses.dataclass(frozen=True)
class Projection:
  """Points of two sets, in the plane in which the real ones vary most.

  Attributes:
    real: [n, 2] floats, of mean zero.
    synthetic: [m, 2] floats.
    explained: shares of the real images' variance along the two axes.
  """

  real: np.ndarray
  synthetic: np.ndarray
  explained: tuple[float, float]


def project(real: np.ndarray, synthetic: np.ndarray) -> Projection:
  """Project features on the first two principal components of real ones.

  The plane is that of the real images alone: synthetic ones, however odd,
  cannot turn it towards themselves.

  Args:
    real: [n, d] floats, n >= 2.
    synthetic: [m, d] floats, m >= 2.

  Raises:
    ValueError: see `checks.feature_pair`.
  """
  real, synthetic = checks.feature_pair(real, synthetic)
  mean = real.mean(0)
  # Of R^T R = X^T X, R has d rows at most: cheaper where images are many.
  rows = np.linalg.qr(real - mean, mode="r")
  _, values, axes = np.linalg.svd(rows, full_matrices=False)
  # A single feature has but one axis.
  values, axes = (
    np.concatenate([x, np.zeros((2, *x.shape[1:]))])[:2] if len(x) < 2 else x
    for x in (values, axes)
  )
  axes = axes[:2]
  # The sign of an axis is free: its largest part is made positive.
  largest = axes[[0, 1], np.abs(axes).argmax(1)]
  axes = axes * np.where(largest < 0, -1, 1)[:, None]
  variances = values**2
  shares = variances[:2] / max(variances.sum(), np.finfo(float).tiny)
  return Projection(
    (real - mean) @ axes.T, (synthetic - mean) @ axes.T, tuple(shares.tolist())
  )
