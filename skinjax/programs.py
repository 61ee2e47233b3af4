"""Which part of skinjax runs a config: the last stop before the work."""

import pathlib

import ml_collections

from skinjax import inference, loop, scores


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path):
  """Runs a config in a workdir.

  Args:
    config: `task` names the module of skinjax that it is for.
    path: the workdir.

  Returns:
    What the task returns.

  Raises:
    InputError: see the task.
  """
  task = inference.task_named(config.task)
  if not hasattr(task, "train_step"):
    return task.run(config, path)
  result = loop.train(task, config, path)
  if not hasattr(task, "sample"):
    scores.run(path, result.dataset)
  return result
