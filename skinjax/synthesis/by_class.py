"""The task that trains a GAN of its own for each class, one after the other.

Trained, they are one generator to those who draw from them: an image of a class
comes from that class's network.
"""

import dataclasses
import hashlib
import pathlib
from typing import Any

import flax
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from skinjax.data import datasets, provenance
from skinjax.report import sheets
from skinjax.runtime import errors, randomness, workdir
from skinjax.training import loop, schedules, tasks, trained

NAME = "By-class GAN"  # as reports call it
_COLUMNS = 10  # of the sheet


@flax.struct.dataclass
class State:
  """The states of the classes' GANs.

  Attributes:
    step: int32 [], training steps that every one of them has done at least.
    classes: the states, by label.
  """

  step: jax.Array
  classes: tuple[Any, ...]


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path) -> None:
  """Trains a GAN on each class in turn, in WORKDIR/CLASS.

  What is done is not done again. Beside the classes' workdirs there is
  `sheet.png` at the end, a row a class.

  Args:
    config: of configs/by_class.py.
    path: the workdir.

  Raises:
    InputError: bad config, data or workdir, or a training that has diverged.
    Interrupted: SIGTERM or Ctrl-C has come; the state is saved.
  """
  config = ml_collections.FrozenConfigDict(config)
  task = _task(config)
  loop.check(part(config, "any"))
  with workdir.claim(path, config) as path:
    dataset = datasets.load(config.data)
    provenance.write_origin(path, dataset)
    names = dataset.info.class_names
    for number, name in enumerate(names):
      if trained.is_trained(path / name, config.gan.train.steps):
        continue
      logging.info("%s, %d of %d classes", name, number + 1, len(names))
      loop.train(task, part(config, name), path / name)
    generator = load(path, config, dataset.info)
    _sheet(generator, config.seed).save(path / "sheet.png")
    logging.info(
      "%d GANs are trained; %s/sheet.png shows them", len(names), path
    )


def _sheet(generator: trained.Trained, seed: int):
  """Draws a row of images of each class."""
  names = generator.info.class_names
  labels = np.repeat(np.arange(len(names), dtype=np.int32), _COLUMNS)
  key = randomness.named(jax.random.key(seed), "sheet")
  images = trained.samples(
    generator.task,
    generator.state,
    labels,
    key,
    config=generator.config,
    info=generator.info,
  )
  rows = images.reshape(len(names), _COLUMNS, *images.shape[1:])
  return sheets.contact_sheet(rows, names)


def _task(config):
  task = tasks.named(config.gan.task)
  if not task.generates:
    raise errors.InputError(f"gan.task={config.gan.task} trains no GAN.")
  return task


def part(config, name: str) -> ml_collections.FrozenConfigDict:
  """Makes the config of one class's GAN."""
  made = ml_collections.ConfigDict(config.gan.to_dict())
  made.seed, made.parallel = config.seed, config.parallel
  made.data = ml_collections.ConfigDict(config.data.to_dict())
  made.data.classes = (name,)
  return ml_collections.FrozenConfigDict(made)


def _alone(info: datasets.DataInfo, label: int) -> datasets.DataInfo:
  """Describes the data of one class."""
  return dataclasses.replace(
    info,
    class_names=info.class_names[label : label + 1],
    class_counts=info.class_counts[label : label + 1],
  )


def load(
  path: pathlib.Path, config, info: datasets.DataInfo, which: str = "latest"
) -> trained.Trained:
  """Loads what `run` has trained, as one generator; see trained.load.

  Args:
    path: the workdir.
    config: the run's.
    info: the data to use it on.
    which: the checkpoint of each class, one of trained.CHECKPOINTS.

  Raises:
    InputError: a class is not trained yet, or on other data, or has no such
      checkpoint.
  """
  parts = [trained.load(path / name, which) for name in info.class_names]
  step = min(part.step for part in parts)
  digests = "".join(part.digest for part in parts)
  groups = {group for part in parts for group in part.origin["groups"]}
  origin = provenance.read_origin(path) | {"groups": sorted(groups)}
  state = State(jnp.int32(step), tuple(part.state for part in parts))
  digest = hashlib.sha256(digests.encode()).hexdigest()
  return trained.Trained(
    path,
    None,
    config,
    info,
    step,
    state,
    digest,
    origin,
  )


def phase_of(state: State, config) -> tuple[schedules.Phase, ...]:
  """Returns the phase that each class's network is in, by label.

  The best checkpoints of classes are not of one step.
  """
  phases = _task(config).phases(part(config, "any"))
  return tuple(
    schedules.phase_at(phases, int(alone.step)) for alone in state.classes
  )


def draw(
  state: State,
  latents: jax.Array,
  labels: jax.Array,
  *,
  config,
  info: datasets.DataInfo,
  phase: tuple[schedules.Phase, ...],
) -> jax.Array:
  """Draws an image of each latent from its class's network.

  Every network draws all images, of which its own are taken.

  Args:
    state: of all of them.
    latents: [batch, dims].
    labels: int32 [batch].
    config: FrozenConfigDict of configs/by_class.py.
    info: data.DataInfo of all classes.
    phase: of each class's network, as `phase_of` has them.

  Returns:
    uint8 [batch, size, size, channels].
  """
  images = [
    _task(config).draw(
      state.classes[label],
      latents,
      jnp.zeros_like(labels),
      config=part(config, name),
      info=_alone(info, label),
      phase=phase[label],
    )
    for label, name in enumerate(info.class_names)
  ]
  return jnp.stack(images)[labels, jnp.arange(len(labels))]


def sample(
  state: State,
  labels: jax.Array,
  key: jax.Array,
  *,
  config,
  info: datasets.DataInfo,
  phase: tuple[schedules.Phase, ...],
) -> jax.Array:
  """Draws an image of each asked class, of latents drawn from a key.

  Args: as of `draw`, with the latents' `key`.

  Returns:
    uint8 [batch, size, size, channels].
  """
  keys = randomness.by_example(key, len(labels))
  latents = randomness.normal(keys, (config.gan.model.latents,))
  return draw(state, latents, labels, config=config, info=info, phase=phase)
