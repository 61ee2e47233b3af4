"""Schedules of training, as pure functions of the steps done.

A growing network is trained in phases, one per resolution: the newest level
fades in, then the whole network trains on (Karras et al. 2018). A phase is
static, so each has its own compiled program; the fade within it is a number.
"""

import math
import sys
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from skinjax.models import layers
from skinjax.runtime import errors


class Phase(NamedTuple):
  """A stretch of training at one resolution."""

  level: int | None  # 0 at 4x4, 1 at 8x8, …; None where nothing grows
  batch_size: int  # images per step, over all devices
  first_step: int  # steps done before it
  stop: int  # steps done after it
  first_image: int  # images seen before it
  fade_images: int  # images over which the level fades in; 0: no fade
  rate: float | None  # the learning rate; None: phases do not set it
  work: float  # cost of a step, in a unit that the phases share

  @property
  def size(self) -> int:
    """Return height and width in pixels."""
    return 4 << self.level


def growth(
  *,
  first_size: int,
  last_size: int,
  batch_sizes: tuple[int, ...],
  rates: tuple[float, ...],
  fade_images: int,
  stable_images: int,
  round_steps: int,
  steps: int,
  work: Callable[[int], float] = lambda level: 1.0,
) -> tuple[Phase, ...]:
  """Divide training into phases, from step 0 to `steps` without a gap.

  Batch sizes and rates are for 4x4, 8x8 and so on, at least up to `last_size`.
  Every level but the first fades in over `fade_images`, then trains on for
  `stable_images`, the last level to the end. A phase's steps are rounded up to
  a multiple of `round_steps`, so that a phase ends together with a call of
  several steps. `work` is the cost of an image at a level, in any unit.

  Raises:
    InputError: doubling `first_size` does not lead to `last_size`, a size has
      no batch size or rate, or there are too few steps for the last level to
      fade in.
  """
  try:
    levels = range(layers.level_of(first_size), layers.level_of(last_size) + 1)
  except ValueError:
    levels = ()
  if not levels:
    raise errors.InputError(
      f"growth.first_size={first_size} does not lead to data.size={last_size} "
      "by doubling: both are powers of two, from 4 and from 8 on."
    )
  for key, values in (("batch_sizes", batch_sizes), ("rates", rates)):
    if len(values) <= levels[-1]:
      raise errors.InputError(
        f"growth.{key}={values} has none for {4 << len(values)}x"
        f"{4 << len(values)}: one for each size from 4x4 to "
        f"{last_size}x{last_size} is expected."
      )
  phases, step, image = [], 0, 0
  for level in levels:
    batch_size = batch_sizes[level]
    fading = fade_images if phases else 0
    stop = steps
    if level < levels[-1]:
      calls = (fading + stable_images) / (batch_size * round_steps)
      stop = step + math.ceil(calls) * round_steps
    phases.append(
      Phase(
        level=level,
        batch_size=batch_size,
        first_step=step,
        stop=stop,
        first_image=image,
        fade_images=fading,
        rate=rates[level],
        work=batch_size * work(level),
      )
    )
    image += (stop - step) * batch_size
    step = stop
  last = phases[-1]
  needed = last.first_step + math.ceil(last.fade_images / last.batch_size)
  if steps < needed:
    raise errors.InputError(
      f"train.steps={steps} ends before {last_size}x{last_size} has faded in: "
      f"use at least {needed} steps, or shorter phases."
    )
  return tuple(phases)


def steps_for(images: int, **schedule) -> int:
  """Return the steps with which the last size trains on for `images` images.

  These images come after the fade-in. `schedule` has the arguments of `growth`
  except `steps`; the last phase is rounded up like the others.

  Raises:
    InputError: see `growth`.
  """
  last = growth(**schedule, steps=sys.maxsize)[-1]
  rounding = schedule["round_steps"]
  calls = (last.fade_images + images) / (last.batch_size * rounding)
  return last.first_step + math.ceil(calls) * rounding


def one_phase(config) -> tuple[Phase, ...]:
  """Return the whole training as one phase, in which nothing grows."""
  train = config.train
  return (Phase(None, train.batch_size, 0, train.steps, 0, 0, None, 1.0),)


def phase_at(phases: tuple[Phase, ...], step: int) -> Phase:
  """Return the phase of the step after `step` steps; at the end, the last."""
  for phase in phases:
    if step < phase.stop:
      return phase
  return phases[-1]


def steps_left(phases: tuple[Phase, ...], step: int) -> float:
  """Return the work left, in steps that take as long as the last one."""
  last = phase_at(phases, step - 1)
  return sum(
    max(phase.stop - max(step, phase.first_step), 0) * phase.work / last.work
    for phase in phases
  )


def images_seen(phase: Phase, step: jax.Array) -> jax.Array:
  """Compute the number of images seen before the step that follows `step`."""
  return phase.first_image + (step - phase.first_step) * phase.batch_size


def decay(step: jax.Array, steps: int, share: float) -> jax.Array | float:
  """Compute the factor of the learning rates in the next step.

  It is 1, then falls linearly over the last `share` of all `steps`; it would
  reach 0 in the step after the last.
  """
  if not share:
    return 1.0
  return jnp.minimum((steps - step) / (share * steps), 1.0)


def fade(phase: Phase, step: jax.Array) -> jax.Array:
  """Compute the newest level's share in the step that follows `step`.

  From 0, at the phase's first step, to 1; [] in JAX's default float type.
  """
  done = (step - phase.first_step) * phase.batch_size
  if not phase.fade_images:
    return jnp.ones_like(done, jnp.result_type(float))
  return jnp.clip(done / phase.fade_images, 0.0, 1.0)
