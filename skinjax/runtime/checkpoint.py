"""Checkpoints: the only module that uses Orbax.

Orbax usually restores a file with a flipped bit without an error. So each
checkpoint has a manifest of SHA-256 digests, written last and verified first. A
checkpoint without a manifest is unfinished.

If there are several processes, each saves and restores what its devices hold;
only the first writes manifests, verifies and deletes.
"""

import hashlib
import json
import math
import os
import pathlib
import shutil
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from skinjax.runtime import errors, files, processes

_MANIFEST = "manifest.json"


class _Manager(ocp.CheckpointManager):
  """Orbax's manager, which treats damaged metrics as missing.

  Orbax reads metrics on opening, and would fail.
  """

  def metrics(self, step: int) -> Any:
    try:
      return super().metrics(step)
    except (OSError, ValueError, RecursionError):  # `is_whole` detects it
      return None


class Checkpoints:
  """The checkpoints of a workdir, the latest and the best; a context manager.

  The latest `keep` are kept, and, if a metric `best` is given, the one with its
  highest value, or its lowest one if `lowest`. With two or more, a damaged
  latest one costs only the time since the one before it. With `read_only` the
  directory is not changed, as another process may be training there.

  Raises:
    InputError: there is a file where the directory should be.
  """

  def __init__(
    self,
    directory: str | os.PathLike,
    *,
    best: str | None = None,
    lowest: bool = False,
    keep: int = 2,
    read_only: bool = False,
  ):
    self._directory = pathlib.Path(directory).absolute()
    if self._directory.exists() and not self._directory.is_dir():
      raise errors.InputError(
        f"{self._directory} is a file, where the directory of checkpoints is "
        "expected: remove it, or use another workdir."
      )
    self._best, self._lowest = best, lowest
    policies = [checkpoint_managers.LatestN(keep)]
    if best:
      policies.append(
        checkpoint_managers.BestN(
          get_metric_fn=self._merit, n=1, keep_checkpoints_without_metrics=False
        )
      )
    self._manager = _Manager(
      self._directory,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
        best_fn=self._merit if best else None,  # else Orbax writes no metrics
        enable_async_checkpointing=False,
        create=not read_only,
        read_only=read_only,
      ),
    )

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *_) -> None:
    self._manager.close()

  def save(self, step: int, state: Any, metrics: dict[str, float]) -> None:
    """Write the checkpoint of a state of global arrays, then its manifest.

    Without the metric `best`, this checkpoint cannot be the best one.

    Raises:
      InputError: the disk is full or fails. Earlier checkpoints stay intact.
    """
    try:
      processes.together(lambda: self._save(step, state, metrics))
      processes.on_first(
        lambda: files.write_json(self._manifest(step), self._digests(step))
      )
    except (OSError, ValueError) as error:
      self._give_up(step, error)

  def restore(self, like: Any, *, best: bool = False) -> tuple[int, Any] | None:
    """Restore the latest checkpoint that is intact, or the best of those.

    Returns:
      The step and the state, shaped and sharded as the ShapeDtypeStructs of
      `like`; None if no checkpoint is finished yet or, for the best, none has
      the metric.

    Raises:
      InputError: no checkpoint is intact, or they hold another network.
    """
    step = processes.on_first(self._best_whole if best else self._latest_whole)
    if step is None:
      return None
    return step, processes.together(lambda: self._read(step, like))

  def drop_after(self, step: int) -> None:
    """Delete checkpoints that are unfinished or later than a step."""
    for later in processes.on_first(lambda: list(self._manager.all_steps())):
      if later > step:
        self._manager.delete(later)
    processes.on_first(self._drop_unfinished)

  def is_whole(self, step: int) -> bool:
    """Return whether the checkpoint of a step is complete and undamaged."""
    try:
      return json.loads(self._manifest(step).read_text()) == self._digests(step)
    except (FileNotFoundError, ValueError, RecursionError):
      return False
    except OSError as error:  # may be temporary: no reason to delete it
      raise errors.InputError(
        f"{self._manifest(step).parent} cannot be read: {error.strerror}."
      ) from error

  def latest(self) -> int | None:
    """Return the step of the latest checkpoint; None without any."""
    return self._manager.latest_step()

  def _manifest(self, step: int) -> pathlib.Path:
    return self._directory / str(step) / _MANIFEST

  def _save(self, step: int, state: Any, metrics: dict[str, float]) -> None:
    self._manager.save(
      step,
      args=ocp.args.StandardSave(state),
      metrics=metrics if self._best in metrics else None,
      force=True,
    )
    self._manager.wait_until_finished()

  def _whole(self) -> Iterator[int]:
    """Yield the steps of intact checkpoints, from the latest on."""
    for step in sorted(self._manager.all_steps(), reverse=True):
      if self.is_whole(step):
        yield step
      else:
        logging.warning(
          "The checkpoint of step %d in %s is damaged or unfinished: an "
          "earlier one is used.",
          step,
          self._directory,
        )

  def _latest_whole(self) -> int | None:
    step = next(self._whole(), None)
    steps = sorted(self._manager.all_steps())
    if step is None and any(self._manifest(s).exists() for s in steps):
      raise errors.InputError(
        f"None of the checkpoints in {self._directory} is intact (steps "
        f"{steps}): train again in an empty workdir."
      )
    return step

  def _best_whole(self) -> int | None:
    merits = {s: self._merit(self._manager.metrics(s)) for s in self._whole()}
    known = [step for step, merit in merits.items() if merit > -math.inf]
    # Of ties, max returns the first, which is the latest and the one kept.
    return max(known, key=merits.get, default=None)

  def _merit(self, metrics: Any) -> float:
    """Return a number that is higher if better; -inf if unknown."""
    value = metrics.get(self._best) if isinstance(metrics, dict) else None
    if not isinstance(value, int | float):
      return -math.inf
    return -value if self._lowest else value

  def _give_up(self, step: int, error: Exception) -> None:
    """Remove a checkpoint that could not be written, and report it."""
    # Tensorstore raises ValueErrors that contain the system's message.
    reasons = [os.strerror(number) for number in errors.DISK]
    reason = next((r for r in reasons if r in str(error)), None)
    if reason is None:
      raise error
    # Orbax drops coroutines of a write that failed: Python would warn of them
    # after this message, which is what the user has to read.
    warnings.filterwarnings(
      "ignore", "coroutine .* was never awaited", RuntimeWarning
    )
    if processes.is_first():
      self._drop_unfinished()
      if not self._manifest(step).exists():
        shutil.rmtree(self._directory / str(step), ignore_errors=True)
    before = [s for s in self._manager.all_steps() if s < step]
    kept = "There is no earlier one."
    if before:
      kept = f"That of step {max(before)} is intact."
    raise errors.InputError(
      f"The checkpoint of step {step} could not be written to "
      f"{self._directory}: {reason}. {kept} Once that is fixed, "
      "the same command resumes from there."
    ) from error

  def _drop_unfinished(self) -> None:
    for partial in self._directory.glob("*.orbax-checkpoint-tmp*"):
      shutil.rmtree(partial, ignore_errors=True)

  def _read(self, step: int, like: Any) -> Any:
    try:
      return self._manager.restore(step, args=ocp.args.StandardRestore(like))
    except (ValueError, KeyError, TypeError) as error:
      raise errors.InputError(
        f"The checkpoint of step {step} in {self._directory} holds another "
        "network than the config describes: use the config that it was "
        f"trained with. ({str(error).splitlines()[0][:200]})"
      ) from error

  def _digests(self, step: int) -> dict[str, str]:
    found = files.digests(self._directory / str(step))
    return {name: x for name, x in found.items() if name != _MANIFEST}


def steps_done(directory: pathlib.Path) -> int:
  """Return the step of the latest finished checkpoint; 0 without any."""
  names = [path.parent.name for path in directory.glob(f"*/{_MANIFEST}")]
  # Other folders, such as a user's copy 4.bak, are not checkpoints.
  return max((int(name) for name in names if name.isdecimal()), default=0)


def digest(tree: Any) -> str:
  """Compute the SHA-256 of a tree's arrays with their names, in hex."""
  whole = hashlib.sha256()
  for place, leaf in jax.tree_util.tree_leaves_with_path(tree):
    array = np.asarray(leaf)
    name = f"{jax.tree_util.keystr(place)} {array.dtype} {array.shape}"
    whole.update(name.encode() + array.tobytes())
  return whole.hexdigest()
