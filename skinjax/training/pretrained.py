"""Trained networks, as their workdirs hold them."""

import functools
import hashlib
import pathlib
from types import ModuleType
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
from absl import logging

from skinjax.data import datasets, provenance
from skinjax.runtime import checkpoint, errors, parallel, workdir
from skinjax.training import inference

CHECKPOINTS = ("latest", "best")  # of a workdir


class Trained(NamedTuple):
  """A network as its workdir holds it.

  Attributes:
    path: the workdir.
    task: the module that trained it.
    config: what it was trained with.
    info: data.DataInfo of its data.
    step: training steps done.
    state: the state after them.
    digest: the SHA-256 of the state.
    origin: what it was trained on; see provenance.read_origin.
  """

  path: pathlib.Path
  task: ModuleType
  config: ml_collections.FrozenConfigDict
  info: datasets.DataInfo
  step: int
  state: Any
  digest: str
  origin: dict[str, Any]


def load(
  path: str | pathlib.Path, info: datasets.DataInfo, which: str = "latest"
) -> Trained:
  """Loads the latest whole checkpoint of a workdir, or the best.

  Args:
    path: the workdir of a training task.
    info: the data to use it on.
    which: one of CHECKPOINTS; the best is that by its config's `best`.

  Raises:
    InputError: there is no such checkpoint, or it was trained on other classes,
      at another size or on another data set.
  """
  errors.require_known("checkpoint", which, CHECKPOINTS)
  path = pathlib.Path(path)
  config = workdir.read_config(path)
  known = workdir.flat(config)
  for key, kind in (("task", str), ("data.size", int)):
    if not isinstance(known.get(key), kind):
      raise _undescribed(path, f"{key}={known.get(key)}")
  origin = provenance.read_origin(path)
  trained_for = (origin["name"], config.data.size, tuple(origin["class_names"]))
  wanted = (info.name, info.size, info.class_names)
  if trained_for != wanted:
    raise errors.InputError(
      f"{path} was trained for {_words(*trained_for)}, not for "
      f"{_words(*wanted)}: give one that was."
    )
  task = inference.task_named(config.task)
  if hasattr(task, "load"):  # it is made of several networks
    return task.load(path, config, info, which)
  if not hasattr(task, "init_state"):
    raise errors.InputError(
      f"{path} is the workdir of task={config.task}, which trains no network: "
      "name one of acgan, progan or classifier."
    )
  if not isinstance(known.get("train.steps"), int):
    raise _undescribed(path, f"train.steps={known.get('train.steps')}")
  try:
    like = jax.eval_shape(
      functools.partial(task.init_state, config, info), jax.random.key(0)
    )
  # Whatever a changed file makes of building a network.
  except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
    raise _undescribed(path, str(error).splitlines()[0][:200]) from error
  best = known.get("best") if which == "best" else ""
  if which == "best" and not (best and isinstance(best, str)):
    raise errors.InputError(
      f"{path} has no best checkpoint, as it was trained with best={best!r}: "
      "use the latest."
    )
  with checkpoint.Checkpoints(
    path / "checkpoints", best=best or None, read_only=True
  ) as saved:
    found = saved.restore(parallel.like(like, "one"), best=bool(best))
  if found is None:
    what = f"checkpoint with a {best}" if best else "checkpoint"
    raise errors.InputError(f"{path} has no {what} yet: train there first.")
  step, state = found
  if best:
    logging.info("%s: the best by %s is that of step %d.", path, best, step)
  elif step < config.train.steps:
    logging.warning(
      "%s has been trained for %d of its %d steps only.",
      path,
      step,
      config.train.steps,
    )
  return Trained(path, task, config, info, step, state, digest(state), origin)


def is_trained(path: pathlib.Path, steps: int) -> bool:
  """Returns whether a workdir has the checkpoint of its last step."""
  place = path / "checkpoints"
  if not place.is_dir():
    return False
  with checkpoint.Checkpoints(place, read_only=True) as saved:
    return saved.is_whole(steps)


def digest(state: Any) -> str:
  """Computes the SHA-256 of a tree's arrays with their names, in hex."""
  whole = hashlib.sha256()
  for place, leaf in jax.tree_util.tree_leaves_with_path(state):
    array = np.asarray(leaf)
    name = f"{jax.tree_util.keystr(place)} {array.dtype} {array.shape}"
    whole.update(name.encode() + array.tobytes())
  return whole.hexdigest()


def _undescribed(path, what: str) -> errors.InputError:
  return errors.InputError(
    f"{path}/config.json does not describe a network ({what}): it is not as "
    "the run has written it."
  )


def _words(name: str, size: int, class_names: tuple[str, ...]) -> str:
  return f"{name} at {size}x{size} with {', '.join(class_names)}"


def load_generator(
  path: str | pathlib.Path, info: datasets.DataInfo, which: str = "latest"
) -> Trained:
  """Loads a network that draws; see inference.load.

  Raises:
    InputError: it does not, or there is no such checkpoint.
  """
  generator = load(path, info, which)
  if not hasattr(generator.task, "sample"):
    raise errors.InputError(
      f"config.generator={path} is the workdir of "
      f"task={generator.config.task}, which draws no images: name that of a "
      "trained GAN."
    )
  return generator


def load_classifier(
  path: str | pathlib.Path, info: datasets.DataInfo
) -> Trained:
  """Loads a network that judges; see inference.load.

  Raises:
    InputError: it does not.
  """
  trained = load(path, info)
  if hasattr(trained.task, "sample"):
    raise errors.InputError(
      f"config.classifier={path} is the workdir of a GAN: name that of a "
      "trained classifier."
    )
  return trained


def agrees(classifier: Trained, split: datasets.Split) -> np.ndarray:
  """Tells which of a split's images a classifier puts in the labelled class.

  Returns:
    Booleans [images].
  """
  probabilities = inference.outputs(
    classifier.task,
    classifier.state,
    split,
    config=classifier.config,
    info=classifier.info,
  )["probabilities"]
  return probabilities.argmax(-1) == split.labels
