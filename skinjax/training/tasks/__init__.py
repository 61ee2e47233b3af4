"""The tasks that train, one module each, and the contract that they keep.

`config` is a FrozenConfigDict of the task's config and `info` a
datasets.DataInfo, both static. `phase` is the schedules.Phase that a step is
in, static too: one program is compiled for each. `axis_name` names the device
axis inside pmap, where a step sees this device's part of the batch; None where
it sees all of it. A `state` is a tree of arrays with an int32 `step`, the steps
done. A `batch` has `image` uint8 [batch, size, size, channels] and `label`
int32 [batch].

All functions but `pretrained` and `frozen` are pure: no flags, clock, global
state or I/O. What they draw follows from `key`, by the examples' places in the
whole batch.

A new task is a new module here with a `TASK`; `named` finds it.
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
  """What a task can do; hashable, so that it can be static in a program.

  Attributes:
    name: as configs name it.
    title: as reports call it.
    check: `check(config)` raises InputError for a config that no step can be
      made of.
    init_state: `init_state(config, info, key, pretrained=None) -> state` before
      the first step, in JAX's default float type. `pretrained` is the tree of
      arrays that `pretrained(config)` returns; without it weights are random,
      and all shapes the same.
    train_step: `train_step(state, batch, key, *, config, info, phase,
      axis_name, frozen) -> (state, metrics)`; the key is the same on every
      device, and the metrics, [], are means over the whole batch.
    eval_step: `eval_step(state, batch, *, config, info, phase, frozen) ->
      outputs`, an example each: `probabilities` [batch, classes], and what else
      is to be averaged over a split.
    draw: `draw(state, latents, labels, *, config, info, phase) -> images`
      uint8 [batch, size, size, channels], of latents [batch, model.latents];
      None for a task that generates nothing.
    pretrained: `pretrained(config) -> tree` of arrays in the host's memory that
      a training begins with, read from files; raises InputError where there are
      none. Empty for a task or network that learns from random weights.
    frozen: `frozen(config, info) -> tree` of arrays in the host's memory that
      a training sees through and does not change, as `frozen` of its steps. It
      is no part of the state. Empty for most; else a dict, of which
      `pretrained` has the pretrained networks by their names. Raises as
      `pretrained` does.
    features: `features(variables, images, *, config, info) -> features` [batch,
      dims] of images in [-1, 1], from a state's `average`; None for a task
      whose features nobody compares.
    phases: `phases(config)` -> the phases of its training, in order. But for
      where the last one stops, they do not depend on train.steps, unless
      `fixed_length` says so.
    fixed_length: why a longer training is another one from its first step on,
      in words; empty if it begins as a shorter one does, and can go on from
      there, but for what `train.decay` does at the shorter one's end.
  """

  name: str
  title: str
  check: Callable[[Any], None]
  init_state: Callable[..., Any]
  train_step: Callable[..., tuple[Any, dict[str, jax.Array]]]
  eval_step: Callable[..., dict[str, jax.Array]]
  pretrained: Callable[[Any], Any] = lambda config: {}
  frozen: Callable[..., dict[str, Any]] = lambda config, info: {}
  draw: Callable[..., jax.Array] | None = None
  features: Callable[..., jax.Array] | None = None
  phases: Callable[..., tuple[schedules.Phase, ...]] = schedules.one_phase
  fixed_length: str = ""

  @property
  def generates(self) -> bool:
    """Return whether it trains a generator of images."""
    return self.draw is not None


def program_config(config) -> ml_collections.FrozenConfigDict:
  """Return a config as compiled programs have it.

  Without what no program depends on, so that runs which differ in nothing else
  share theirs: the seed, which comes as a key, and which data, which come as
  arguments.
  """
  made = ml_collections.ConfigDict(config.to_dict())
  if "seed" in made:
    made.seed = 0
  if "data" in made:
    made.data = {"size": made.data.size}
  return ml_collections.FrozenConfigDict(made)


def known() -> list[str]:
  """Return the names of the tasks that train: the modules of this folder."""
  return sorted(module.name for module in pkgutil.iter_modules(__path__))


def named(name: str) -> Task:
  """Return the task of a name, which nothing but a module here can have.

  Raises:
    InputError: there is no such task.
  """
  errors.require_known("task", str(name), known())
  return importlib.import_module(f"{__name__}.{name}").TASK


def gan(name: str) -> Task:
  """Return the task of a name, as `named`, that trains a generator.

  Raises:
    InputError: there is no such task, or it trains none.
  """
  task = named(name)
  if not task.generates:
    gans = [other for other in known() if named(other).generates]
    raise errors.InputError(
      f"gan.task={name} trains no GAN: use {' or '.join(gans)}."
    )
  return task
