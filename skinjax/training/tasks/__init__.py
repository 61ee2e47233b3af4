"""The training tasks, one module each, and the contract they implement.

`config` is the task's config, a FrozenConfigDict, and `info` a
datasets.DataInfo; both are static. `phase` is the schedules.Phase of a step,
also static: one program is compiled for each phase. `axis_name` names the
device axis inside pmap, where a step sees this device's part of the batch; it
is None where a step sees the whole batch. A `state` is a tree of arrays with an
int32 `step`, the number of steps done. A `batch` has `image` uint8 [batch,
size, size, channels] and `label` int32 [batch].

All functions but `check`, `pretrained` and `frozen` are pure: no flags, clock,
global state or I/O. Their random numbers are derived from `key` and each
example's index in the whole batch.

To add a task, add a module here with a `TASK`; `named` finds it.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import jax
import ml_collections

from skinjax.runtime import errors
from skinjax.training import schedules


@dataclasses.dataclass(frozen=True)
class Task:
  """The functions of a task; hashable, so that programs can take it as static.

  Attributes:
    name: the name in configs.
    title: the name in reports.
    check: `check(config)` raises InputError if no step can be built from the
      config.
    init_state: `init_state(config, info, key, pretrained=None) -> state` before
      the first step, in JAX's default float type. `pretrained` is the tree of
      arrays that `pretrained(config)` returns; without it all weights are
      random, with the same shapes.
    train_step: `train_step(state, batch, key, *, config, info, phase,
      axis_name, frozen) -> (state, metrics)`; the key is the same on every
      device, and the metrics [] are means over the whole batch.
    eval_step: `eval_step(state, batch, *, config, info, phase, frozen) ->
      outputs`, one value per example: `probabilities` [batch, classes], and any
      other outputs that are averaged over a split.
    draw: `draw(state, latents, labels, *, config, info, phase) -> images`
      uint8 [batch, size, size, channels], generated from latents [batch,
      model.latents]; None for a task without a generator.
    pretrained: `pretrained(config) -> tree` of arrays in host memory, the
      weights that training starts with, read from files; raises InputError if
      they are missing. Empty for a task or network trained from scratch.
    frozen: `frozen(config) -> tree` of arrays in host memory that training uses
      but does not change; the steps get it as `frozen`. It is not part of the
      state. Empty for most tasks; otherwise a dict whose `pretrained` has the
      pretrained networks by name. Raises as `pretrained` does.
    through: `through(config)` -> the names of the pretrained networks that it
      trains through: those that it starts with, or that a discriminator sees
      images through.
    features: `features(variables, images, *, config, info) -> features` [batch,
      dims] of images in [-1, 1], from a state's `average`; None for a task
      whose features are not compared.
    phases: `phases(config)` -> the phases of its training, in order. Only the
      end of the last one depends on train.steps, unless `fixed_length` is set.
    earlier: pairs of a key that configs of earlier versions lack, and the value
      that describes what these versions did. Trained networks' configs are
      completed with it.
    fixed_length: why a longer training run differs from its first step on, in
      words. Empty if it starts like a shorter run and can resume that one; only
      `train.decay` makes a difference, at the end of the shorter run.
  """

  name: str
  title: str
  check: Callable[[Any], None]
  init_state: Callable[..., Any]
  train_step: Callable[..., tuple[Any, dict[str, jax.Array]]]
  eval_step: Callable[..., dict[str, jax.Array]]
  pretrained: Callable[[Any], Any] = lambda config: {}
  frozen: Callable[[Any], dict[str, Any]] = lambda config: {}
  through: Callable[[Any], list[str]] = lambda config: []
  draw: Callable[..., jax.Array] | None = None
  features: Callable[..., jax.Array] | None = None
  phases: Callable[..., tuple[schedules.Phase, ...]] = schedules.one_phase
  earlier: tuple[tuple[str, Any], ...] = ()
  fixed_length: str = ""

  @property
  def generates(self) -> bool:
    """Return whether the task trains an image generator."""
    return self.draw is not None


def program_config(config) -> ml_collections.FrozenConfigDict:
  """Return a config without the values that no compiled program depends on.

  These are the seed, which programs get as a key, and the choice of data, which
  they get as arguments.
  """
  made = ml_collections.ConfigDict(config.to_dict())
  if "seed" in made:
    made.seed = 0
  if "data" in made:
    made.data = {"size": made.data.size}
  return ml_collections.FrozenConfigDict(made)


def known() -> list[str]:
  """Return the names of the training tasks: the modules of this folder."""
  return sorted(module.name for module in pkgutil.iter_modules(__path__))


def named(name: str) -> Task:
  """Return the task of this name; only modules of this folder are found.

  Raises:
    InputError: there is no such task.
  """
  errors.require_known("task", str(name), known())
  return importlib.import_module(f"{__name__}.{name}").TASK


def gans() -> list[str]:
  """Return the names of the tasks that train an image generator."""
  return [name for name in known() if named(name).generates]


def gan(name: str) -> Task:
  """Return the task of this name, which must train a generator.

  Raises:
    InputError: there is no such task, or it trains no generator.
  """
  task = named(name)
  if not task.generates:
    raise errors.InputError(
      f"gan.task={name} trains no GAN: use {' or '.join(gans())}."
    )
  return task
