"""Trained networks at work: outputs over a split, and what a workdir holds."""

import functools
import hashlib
import importlib
import pathlib
from types import ModuleType
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
from absl import logging

from skinjax import (
  batches,
  checkpoint,
  data,
  errors,
  parallel,
  schedules,
  workdir,
)
from skinjax.metrics import classification

_BATCH = 256
# All that a config may name: one that was read must not import what it likes.
TASKS = (
  "acgan",
  "by_class",
  "classifier",
  "evaluate",
  "leaks",
  "progan",
  "study",
  "synthesize",
)
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
    origin: what it was trained on; see workdir.read_origin.
  """

  path: pathlib.Path
  task: ModuleType
  config: ml_collections.FrozenConfigDict
  info: data.DataInfo
  step: int
  state: Any
  digest: str
  origin: dict[str, Any]


def task_named(name: str) -> ModuleType:
  """Imports the module of a task.

  Raises:
    InputError: there is no such task.
  """
  errors.require_known("task", str(name), TASKS)
  return importlib.import_module(f"skinjax.{name}")


def load(
  path: str | pathlib.Path, info: data.DataInfo, which: str = "latest"
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
  origin = workdir.read_origin(path)
  trained_for = (origin["name"], config.data.size, tuple(origin["class_names"]))
  wanted = (info.name, info.size, info.class_names)
  if trained_for != wanted:
    raise errors.InputError(
      f"{path} was trained for {_words(*trained_for)}, not for "
      f"{_words(*wanted)}: give one that was."
    )
  task = task_named(config.task)
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


_compiled = functools.partial(
  jax.jit, static_argnames=("task", "config", "info", "phase")
)


@_compiled
def _eval_step(state, batch, *, task, **static):
  return task.eval_step(state, batch, **static)


@_compiled
def _sample(state, labels, key, *, task, **static):
  return task.sample(state, labels, key, **static)


@_compiled
def _draw(state, latents, labels, *, task, **static):
  return task.draw(state, latents, labels, **static)


def _phase(task: ModuleType, state: Any, config) -> Any:
  """Returns the phase of the training that a state is in."""
  if hasattr(task, "phase_of"):  # it is made of several networks
    return task.phase_of(state, config)
  phases = schedules.phases(task, config)
  if len(phases) == 1:
    return phases[0]
  return schedules.phase_at(phases, int(state.step))


def outputs(
  task: ModuleType, state: Any, split: data.Split, *, config, info
) -> dict[str, np.ndarray]:
  """Runs a task's eval_step over each example of a split exactly once.

  Returns:
    The arrays that eval_step returns, [examples, …], in the split's order.
  """
  parts, phase = [], _phase(task, state, config)
  for batch in batches.in_order(split, _BATCH):
    mask = batch.pop("mask")
    part = _eval_step(
      state, batch, task=task, config=config, info=info, phase=phase
    )
    parts.append({name: np.asarray(x)[mask] for name, x in part.items()})
  whole = {
    name: np.concatenate([part[name] for part in parts]) for name in parts[0]
  }
  for name, values in whole.items():
    if len(values) != len(split.labels):
      raise AssertionError(f"{name}: {len(values)} of {len(split.labels)}.")
  return whole


def evaluate(
  task: ModuleType, state: Any, split: data.Split, *, config, info
) -> dict[str, float]:
  """Scores a state on a split, each example exactly once.

  Returns:
    The scores of `probabilities` (see metrics/classification.py, recall by
    class as `recall/NAME`) and the means of what else eval_step returns.
  """
  out = outputs(task, state, split, config=config, info=info)
  scores = classification.scores(out.pop("probabilities"), split.labels)
  metrics = {name: float(scores[name]) for name in classification.SCALARS}
  for name, recall in zip(info.class_names, scores["recall"], strict=True):
    metrics[f"recall/{name}"] = float(recall)
  return metrics | {name: float(x.mean()) for name, x in out.items()}


def samples(
  task: ModuleType,
  state: Any,
  labels: np.ndarray,
  key: jax.Array,
  *,
  config,
  info,
) -> np.ndarray:
  """Draws an image for each label, batch by batch.

  Image i depends on the key, on i and on its label alone: asking for more
  images leaves the first ones as they are.

  Args:
    task: the module that trained the generator.
    state: its state.
    labels: int32 [images].
    key: the key of the latents.
    config: what the generator was trained with.
    info: data.DataInfo.

  Returns:
    uint8 [images, size, size, channels].
  """
  parts, phase = [], _phase(task, state, config)
  for start in range(0, len(labels), _BATCH):
    part = labels[start : start + _BATCH]
    padded = np.pad(part, (0, _BATCH - len(part)))
    images = _sample(
      state,
      padded,
      jax.random.fold_in(key, start),
      task=task,
      config=config,
      info=info,
      phase=phase,
    )
    parts.append(np.asarray(images)[: len(part)])
  return np.concatenate(parts)


def draw(
  generator: Trained, latents: jax.Array, labels: np.ndarray
) -> np.ndarray:
  """Draws an image of each latent [images, dims] and label int32 [images].

  Returns:
    uint8 [images, size, size, channels].
  """
  return np.asarray(
    _draw(
      generator.state,
      latents,
      labels,
      task=generator.task,
      config=generator.config,
      info=generator.info,
      phase=_phase(generator.task, generator.state, generator.config),
    )
  )
