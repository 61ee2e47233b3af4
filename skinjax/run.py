"""Which part of skinjax runs a config: the last stop before the work."""

import contextlib
import json
import os
import pathlib
import shlex
import sys
import time

import jax
import ml_collections

from skinjax.runtime import errors, processes, workdir
from skinjax.training import inference, loop, predictions, ranges


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path | None):
  """Runs a config in a workdir, and notes in `runs.jsonl` what that took.

  Args:
    config: `task` names the module of skinjax that it is for.
    path: the workdir; None for a task that can do without one.

  Returns:
    What the task returns.

  Raises:
    InputError: see the task; or the disk is full.
  """
  start = time.monotonic()
  try:
    return _run(config, path)
  except OSError as error:
    # Anything may fill a disk; a bug is to be seen as one.
    if error.errno not in errors.DISK:
      raise
    raise errors.InputError(
      f"{error.filename or path}: {error.strerror}. Once that is mended, the "
      "same command goes on from what is done."
    ) from error
  finally:  # interrupted runs count too; only a kill goes unnoted
    if path and processes.is_first() and workdir.is_of(path, config):
      _note(pathlib.Path(path), time.monotonic() - start)


def _note(path: pathlib.Path, seconds: float) -> None:
  note = {
    "command": shlex.join(["python", *sys.argv]),
    "seconds": round(seconds, 1),
    "devices": [device.device_kind for device in jax.devices()],
    "cores": os.cpu_count(),
  }
  # A note that does not fit on the disk is not worth an error.
  with (
    contextlib.suppress(OSError),
    (path / "runs.jsonl").open("a") as file,
  ):
    file.write(json.dumps(note) + "\n")


def _run(config, path):
  ranges.check(config)
  task = inference.task_named(config.task)
  if not hasattr(task, "train_step"):
    if jax.process_count() > 1:
      raise errors.InputError(
        f"task={config.task} is run by one process, and there are "
        f"{jax.process_count()}: start it without --coordinator. A study is "
        "divided with --config.shard=i/n."
      )
    return task.run(config, path)
  result = loop.train(task, config, path)
  if not hasattr(task, "sample") and processes.is_first():
    predictions.run(config, path, result)
  return result
