"""Trained networks at work: outputs over a split, samples."""

import functools
import importlib
from types import ModuleType
from typing import Any

import jax
import numpy as np

from skinjax.data import batches, datasets
from skinjax.metrics import classification
from skinjax.runtime import errors
from skinjax.training import schedules

_BATCH = 256
# All that a config may name: one that was read must not import what it likes.
TASKS = {
  "acgan": "skinjax.training.tasks.acgan",
  "by_class": "skinjax.synthesis.by_class",
  "classifier": "skinjax.training.tasks.classifier",
  "evaluate": "skinjax.judging.evaluate",
  "progan": "skinjax.training.tasks.progan",
  "study": "skinjax.study.study",
  "synthesize": "skinjax.synthesis.synthesize",
}


def task_named(name: str) -> ModuleType:
  """Imports the module of a task.

  Raises:
    InputError: there is no such task.
  """
  errors.require_known("task", str(name), TASKS)
  return importlib.import_module(TASKS[name])


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
  task: ModuleType, state: Any, split: datasets.Split, *, config, info
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
  task: ModuleType, state: Any, split: datasets.Split, *, config, info
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
  task: ModuleType,
  state: Any,
  latents: jax.Array,
  labels: np.ndarray,
  *,
  config,
  info,
) -> np.ndarray:
  """Draws an image of each latent.

  Args: as of `samples`, with `latents` [images, dims].

  Returns:
    uint8 [images, size, size, channels].
  """
  phase = _phase(task, state, config)
  return np.asarray(
    _draw(
      state, latents, labels, task=task, config=config, info=info, phase=phase
    )
  )
