"""Divergence: numbers of a training step that are not finite."""

from collections.abc import Mapping

import numpy as np

from skinjax.runtime import errors


def finite_means(
  stacked: Mapping[str, np.ndarray], step: int, latest: int | None
) -> dict[str, float]:
  """Averages metrics over a call's steps, or says which one has diverged.

  Args:
    stacked: by name, losses and gradients [steps].
    step: the step before the call.
    latest: that of the last checkpoint; None if there is none yet.

  Raises:
    InputError: a number is not finite; names the first, and the checkpoint.
  """
  stacked = {name: np.asarray(values) for name, values in stacked.items()}
  bad = {
    name: int(np.argmin(np.isfinite(values)))
    for name, values in stacked.items()
    if not np.isfinite(values).all()
  }
  if bad:
    name = min(bad, key=bad.get)
    kept = "There is no checkpoint yet"
    if latest is not None:
      kept = f"The last good checkpoint is that of step {latest}"
    raise errors.InputError(
      f"{name} was {stacked[name][bad[name]]} at step {step + bad[name] + 1}: "
      f"training has diverged. {kept}; begin anew in another workdir, with a "
      "lower learning rate or a steadier loss."
    )
  return {name: float(values.mean()) for name, values in stacked.items()}
