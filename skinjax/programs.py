"""Which part of skinjax runs a config: the last stop before the work."""

import json
import os
import pathlib
import shlex
import sys
import time

import jax
import ml_collections

from skinjax import inference, loop, scores


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path):
  """Runs a config in a workdir, and notes in `runs.jsonl` what that took.

  Args:
    config: `task` names the module of skinjax that it is for.
    path: the workdir.

  Returns:
    What the task returns.

  Raises:
    InputError: see the task.
  """
  start = time.monotonic()
  try:
    return _run(config, path)
  finally:  # interrupted runs count too; only a kill goes unnoted
    note = {
      "command": shlex.join(["python", *sys.argv]),
      "seconds": round(time.monotonic() - start, 1),
      "devices": [device.device_kind for device in jax.devices()],
      "cores": os.cpu_count(),
    }
    if (pathlib.Path(path) / "config.json").exists():
      with (pathlib.Path(path) / "runs.jsonl").open("a") as file:
        file.write(json.dumps(note) + "\n")


def _run(config, path):
  task = inference.task_named(config.task)
  if not hasattr(task, "train_step"):
    return task.run(config, path)
  result = loop.train(task, config, path)
  if not hasattr(task, "sample"):
    scores.run(path, result.dataset)
  return result
