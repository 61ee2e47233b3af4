"""Trained networks: loading them from their workdirs, and running them.

Functions that run a network take its task, state, config and info, so that they
serve both a network in training and a `Trained` one.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
from absl import logging

from skinjax.data import batches, datasets, provenance
from skinjax.metrics import classification
from skinjax.runtime import (
  checkpoint,
  errors,
  parallel,
  randomness,
  workdir,
)
from skinjax.training import released, schedules, tasks

CHECKPOINTS = ("latest", "best")  # of a workdir
_BATCH = 256


class Trained(NamedTuple):
  """A network loaded from its workdir."""

  path: pathlib.Path  # the workdir
  task: tasks.Task  # what trained it
  config: ml_collections.FrozenConfigDict  # what it was trained with
  info: datasets.DataInfo  # of its training data
  step: int  # training steps done
  state: Any  # the state after them
  digest: str  # the SHA-256 of the state
  origin: dict[str, Any]  # what it was trained on; see provenance.read_origin


def checkpoints(
  path: pathlib.Path, best: str = "", **options: Any
) -> checkpoint.Checkpoints:
  """Open a workdir's checkpoints; `best` is the metric of its config, if any.

  `options` are those of `checkpoint.Checkpoints`.

  Raises:
    InputError: there is a file where the directory should be.
  """
  return checkpoint.Checkpoints(
    path / "checkpoints",
    best=best or None,
    lowest=best not in classification.HIGHEST,
    **options,
  )


def load(path: str | pathlib.Path, which: str = "latest") -> Trained:
  """Load the latest or the best (by its config's `best`) whole checkpoint.

  Or load a released network, by NAME or FOLDER/NAME; see training/released.py.

  Raises:
    InputError: the workdir has no such checkpoint, or trains no network.
  """
  errors.require_known("checkpoint", which, CHECKPOINTS)
  path = released.located(path)
  if released.is_member(path):
    return _load_released(path, which)
  task, config = _described(path, workdir.read_config(path))
  origin = provenance.read_origin(path)
  info = provenance.info_of(origin, config.data.size)
  like, known = _shapes(path, task, config, info), workdir.flat(config)
  best = known.get("best") if which == "best" else ""
  if which == "best" and not (best and isinstance(best, str)):
    raise errors.InputError(
      f"{path} has no best checkpoint, because it was trained with "
      f"best={best!r}: use the latest."
    )
  with checkpoints(path, best, read_only=True) as saved:
    found = saved.restore(parallel.like(like, "one"), best=bool(best))
  if found is None:
    what = f"checkpoint with a {best}" if best else "checkpoint"
    raise errors.InputError(f"{path} has no {what} yet: train there first.")
  step, state = found
  if best:
    logging.info("%s: the best checkpoint by %s: step %d.", path, best, step)
  else:
    _tell_unfinished(path, step, config)
  digest = checkpoint.digest(state)
  return Trained(path, task, config, info, step, state, digest, origin)


def _load_released(path: pathlib.Path, which: str) -> Trained:
  """Load a released network; its state has only the step and EMA weights.

  Raises:
    InputError: there is no such network, its files are damaged, or `which` is
      best.
  """
  if which == "best":
    raise errors.InputError(
      f"{path} is a released network, which has only one checkpoint: use the "
      "latest."
    )
  member = released.read(path)
  task, config = _described(path, member.config)
  step = member.step
  info = provenance.info_of(member.origin, config.data.size)
  like = _shapes(path, task, config, info)
  shapes = lambda tree: jax.tree.map(np.shape, tree)
  if shapes(member.average) != shapes(like.average):
    raise errors.InputError(
      f"{path.parent / released.WEIGHTS} holds another network than its config "
      "describes."
    )
  nothing = {field.name: None for field in dataclasses.fields(like)}
  kept = {"step": np.int32(step), "average": member.average}
  state = jax.device_put(like.replace(**nothing | kept))
  _tell_unfinished(path, step, config)
  digest = checkpoint.digest(state)
  return Trained(path, task, config, info, step, state, digest, member.origin)


def _described(
  path: pathlib.Path, config
) -> tuple[tasks.Task, ml_collections.FrozenConfigDict]:
  """Return a trained network's task and config, with keys of this version."""
  known = workdir.flat(config)
  for key, kind in (("task", str), ("data.size", int)):
    if not isinstance(known.get(key), kind):
      raise _undescribed(path, f"{key}={known.get(key)}")
  if config.task not in tasks.known():
    raise errors.InputError(
      f"{path} is the workdir of task={config.task}, which trains no network: "
      f"name one of {', '.join(tasks.known())}."
    )
  if not isinstance(known.get("train.steps"), int):
    raise _undescribed(path, f"train.steps={known.get('train.steps')}")
  task, made = tasks.named(config.task), ml_collections.ConfigDict(config)
  for key, value in task.earlier:
    section, name = key.split(".")
    if name not in made.get(section, (name,)):  # a missing section is reported
      made[section][name] = value
  return task, ml_collections.FrozenConfigDict(made)


def _shapes(path: pathlib.Path, task: tasks.Task, config, info) -> Any:
  """Return the shapes of the state that a config describes."""
  try:
    return jax.eval_shape(
      functools.partial(task.init_state, config, info), jax.random.key(0)
    )
  # Whatever an edited config raises when the network is built.
  except (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
  ) as error:
    raise _undescribed(path, str(error).splitlines()[0][:200]) from error


def _tell_unfinished(path: pathlib.Path, step: int, config) -> None:
  if step < config.train.steps:
    logging.warning(
      "%s has been trained for only %d of its %d steps.",
      path,
      step,
      config.train.steps,
    )


def _undescribed(path, what: str) -> errors.InputError:
  return errors.InputError(
    f"{path}/config.json does not describe a network ({what}): it is not as "
    "the run wrote it."
  )


def load_generator(path: str | pathlib.Path, which: str = "latest") -> Trained:
  """Load a network that generates images; see `load`.

  Raises:
    InputError: it generates no images, or there is no such checkpoint.
  """
  generator = load(path, which)
  if not generator.task.generates:
    raise errors.InputError(
      f"config.generator={path} is the workdir of "
      f"task={generator.config.task}, which generates no images: name that of "
      "a trained GAN."
    )
  return generator


def load_classifier(path: str | pathlib.Path) -> Trained:
  """Load a classifier; see `load`.

  Raises:
    InputError: it is not a classifier.
  """
  classifier = load(path)
  if classifier.task.generates:
    raise errors.InputError(
      f"config.classifier={path} is the workdir of a GAN: name that of a "
      "trained classifier."
    )
  return classifier


def require_source(network: Trained, config) -> None:
  """Reject a network of another data set than a config's, before that is read.

  Raises:
    InputError: the data sets' names in the configs differ.
  """
  own, name = network.config.data.name, config.data.name
  if own != name:
    raise errors.InputError(
      f"{network.path} was trained with data.name={own}, and this config has "
      f"{name}: add :dataset={own} to the config's name"
      f"{', and set data.folder' * (own == 'folder')}."
    )


def require_for(network: Trained, info: datasets.DataInfo) -> None:
  """Reject a network of another data set, another size or other classes.

  Data sets with the same training images count as the same, whatever their
  names: a folder is named after its directory, which may be renamed.

  Raises:
    InputError: the network does not fit the data set.
  """
  own = network.info
  same_data = info.name == own.name or info.fingerprint == own.fingerprint
  shape = lambda x: (x.size, x.class_names)
  if not same_data or shape(own) != shape(info):
    own, wanted = (
      f"{x.name} at {x.size}x{x.size} with {', '.join(x.class_names)}"
      for x in (own, info)
    )
    raise errors.InputError(
      f"{network.path} was trained for {own}, not for {wanted}: give one that "
      "was."
    )


def pretrained_networks(config) -> list[str]:
  """Name the pretrained networks that a training config trains through."""
  return tasks.named(config.task).through(config)


def is_trained(path: pathlib.Path, steps: int) -> bool:
  """Return whether a workdir has the checkpoint of its last step."""
  place = path / "checkpoints"
  if not place.is_dir():
    return False
  with checkpoint.Checkpoints(place, read_only=True) as saved:
    return saved.is_whole(steps)


@functools.partial(jax.jit, static_argnames=("function", "static"))
def _run(*arrays, function, static, **named):
  return function(*arrays, **named, **dict(static))


def _static(task: tasks.Task, state: Any, config, info) -> tuple:
  """Return the static arguments for running a state, including its phase."""
  phases = task.phases(config)
  phase = phases[0]
  if len(phases) > 1:
    phase = schedules.phase_at(phases, int(state.step))
  config = tasks.program_config(config)
  return (("config", config), ("info", info), ("phase", phase))


def outputs(
  task: tasks.Task,
  state: Any,
  split: datasets.Split,
  *,
  config,
  info,
  frozen: Any = None,
) -> dict[str, np.ndarray]:
  """Run a task's eval_step over each example of a split exactly once.

  `frozen` is what the task's `frozen` returns; None if that is empty.

  Returns:
    The arrays that eval_step returns, [examples, …], in the split's order.
  """
  parts, static = [], _static(task, state, config, info)
  for batch in batches.in_order(split, _BATCH):
    mask = batch.pop("mask")
    part = _run(
      state, batch, function=task.eval_step, static=static, frozen=frozen or {}
    )
    parts.append({name: np.asarray(x)[mask] for name, x in part.items()})
  return {
    name: np.concatenate([part[name] for part in parts]) for name in parts[0]
  }


def evaluate(
  task: tasks.Task,
  state: Any,
  split: datasets.Split,
  *,
  config,
  info,
  frozen: Any = None,
) -> dict[str, float]:
  """Score a state on a split, each example exactly once; see `outputs`.

  Returns:
    The scores of `probabilities` (see metrics/classification.py; recall by
    class is `recall/NAME`) and the means of eval_step's other outputs.
  """
  out = outputs(task, state, split, config=config, info=info, frozen=frozen)
  scores = classification.scores(out.pop("probabilities"), split.labels)
  metrics = {name: float(scores[name]) for name in classification.SCALARS}
  for name, recall in zip(info.class_names, scores["recall"], strict=True):
    metrics[f"recall/{name}"] = float(recall)
  return metrics | {name: float(x.mean()) for name, x in out.items()}


def probabilities(classifier: Trained, split: datasets.Split) -> np.ndarray:
  """Return a classifier's probabilities for a split, [images, classes]."""
  return outputs(
    classifier.task,
    classifier.state,
    split,
    config=classifier.config,
    info=classifier.info,
  )["probabilities"]


def agrees(classifier: Trained, split: datasets.Split) -> np.ndarray:
  """Return for each image [images] whether the predicted class is its label."""
  return probabilities(classifier, split).argmax(-1) == split.labels


def samples(
  task: tasks.Task,
  state: Any,
  labels,
  key: jax.Array,
  *,
  config,
  info,
  truncation: float = 0.0,
) -> np.ndarray:
  """Generate an image for each label, int32 [images], batch by batch.

  Image i depends only on the key, on i and on its label: asking for more images
  does not change the first ones. With a `truncation` above 0, latents are drawn
  from the normal distribution truncated at ±`truncation`: images are more
  typical and less diverse (Brock et al., "Large Scale GAN Training for High
  Fidelity Natural Image Synthesis", 2019).

  Returns:
    uint8 [images, size, size, channels].
  """
  parts = [np.empty((0, info.size, info.size, info.channels), np.uint8)]
  for start in range(0, len(labels), _BATCH):
    part = labels[start : start + _BATCH]
    padded = np.pad(part, (0, _BATCH - len(part)))
    keys = randomness.by_example(jax.random.fold_in(key, start), _BATCH)
    latents = randomness.normal(keys, (config.model.latents,), truncation)
    images = draw(task, state, latents, padded, config=config, info=info)
    parts.append(images[: len(part)])
  return np.concatenate(parts)


def draw(
  task: tasks.Task, state: Any, latents, labels, *, config, info
) -> np.ndarray:
  """Generate images, as `samples`, from given latents [images, dims]."""
  static = _static(task, state, config, info)
  return np.asarray(
    _run(state, latents, labels, function=task.draw, static=static)
  )


def pure_draw(network: Trained) -> Callable[[jax.Array, jax.Array], jax.Array]:
  """Return `draw` as a function of latents and labels, for JAX to transform."""
  task, state = network.task, network.state
  static = dict(_static(task, state, network.config, network.info))
  return lambda latents, labels: task.draw(state, latents, labels, **static)
