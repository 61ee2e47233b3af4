"""Input checks of the distances between two sets of features."""

import numpy as np


def feature_pair(
  real: np.ndarray, fake: np.ndarray, least: int = 2
) -> tuple[np.ndarray, np.ndarray]:
  """Check features real [n, d] and fake [m, d], and return them as float64.

  Raises:
    ValueError: a set is not of rank 2, has fewer than `least` rows or numbers
      that are not finite, or the sets differ in d.
  """
  real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
  for name, features in (("real", real), ("fake", fake)):
    if features.ndim != 2 or features.shape[1] == 0:
      raise ValueError(
        f"{name} features must be [n, d], got {list(features.shape)}."
      )
    if len(features) < least:
      raise ValueError(
        f"{name} features need at least {least} rows, got {len(features)}."
      )
    if not np.isfinite(features).all():
      raise ValueError(f"{name} features must be finite.")
  if real.shape[1] != fake.shape[1]:
    raise ValueError(
      "real and fake features must have the same d, got "
      f"{real.shape[1]} and {fake.shape[1]}."
    )
  return real, fake
