"""The task that trains a ProGAN (Karras, Aila, Laine, Lehtinen 2018).

Its functions implement the contract of skinjax.training.tasks.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from skinjax.data import augment, batches
from skinjax.models import layers
from skinjax.models import progan as models
from skinjax.runtime import errors, parallel, randomness
from skinjax.training import gan_step, projected, schedules, tasks
from skinjax.training.schedules import Phase
from skinjax.training.state import GanState

_GROUP = 4  # images per group of the minibatch deviation


def _generator(config, info):
  return models.Generator(
    size=info.size,
    channels=info.channels,
    base=config.model.base,
    most=config.model.most,
    num_classes=info.num_classes,
    conditional_from=layers.level_of(config.model.conditional_from),
    upsampling=config.model.upsampling,
    pixel_noise=config.model.pixel_noise,
    dtype=config.model.dtype,
  )


def _discriminator(config, info):
  return models.Discriminator(
    size=info.size,
    base=config.model.base,
    most=config.model.most,
    num_classes=info.num_classes,
    group=_GROUP,
    embedding=gan_step.embedding(config),
    dtype=config.model.dtype,
  )


def _optimizers(config, rate: float):
  # A projected discriminator has its own learning rate, not equalized.
  own = rate
  if projected.is_chosen(config):
    own = config.train.discriminator_rate
  b1, b2 = config.train.beta1, config.train.beta2
  return gan_step.Optimizers(
    *(optax.adam(r, b1=b1, b2=b2) for r in (rate, own))
  )


def phases(config) -> tuple[Phase, ...]:
  """Return the phases of training, one per resolution; see schedules.growth.

  Raises:
    InputError: the schedule is invalid.
  """
  return schedules.growth(**_schedule(config), steps=config.train.steps)


def steps_for(images: int, config) -> int:
  """Return the train.steps that a config needs; see schedules.steps_for."""
  return schedules.steps_for(images, **_schedule(config))


def _schedule(config) -> dict[str, Any]:
  growth = config.growth
  return {
    "first_size": growth.first_size,
    "last_size": config.data.size,
    "batch_sizes": growth.batch_sizes,
    "rates": growth.rates,
    "fade_images": growth.fade_images,
    "stable_images": growth.stable_images,
    "round_steps": growth.round_steps,
    "work": lambda level: models.products(
      level, config.model.base, config.model.most
    ),
  }


def check(config) -> None:
  """Reject a config from which no step can be built.

  Raises:
    InputError: the schedule is invalid, or there is no such upsampling; see
      also gan_step.check and projected.check.
  """
  errors.require_known(
    "model.upsampling", config.model.upsampling, models.UPSAMPLING
  )
  gan_step.check(config)
  projected.check(config)
  if config.growth.round_steps % config.log_every:
    raise errors.InputError(
      f"log_every={config.log_every} does not divide growth.round_steps="
      f"{config.growth.round_steps}: a resolution must end at a multiple of "
      "log_every steps."
    )
  projects = projected.is_chosen(config) and (
    config.model.projected.conditioning != "class_head"
  )
  if projects and config.growth.first_size < config.model.conditional_from:
    raise errors.InputError(
      f"model.conditional_from={config.model.conditional_from}: below it the "
      "generator gets no labels, but the discriminator's heads use them. Use a "
      "growth.first_size of at least that size, or "
      "model.projected.conditioning=class_head."
    )
  for phase in phases(config):
    share = parallel.share(phase.batch_size, config.parallel)
    if share % _GROUP and not projected.is_chosen(config):
      raise errors.InputError(
        f"growth.batch_sizes={config.growth.batch_sizes}: a device's part of "
        f"{phase.batch_size} images is {share}, but the minibatch deviation "
        f"needs a multiple of {_GROUP}."
      )


def init_state(config, info, key: jax.Array, pretrained=None) -> GanState:
  """Create the state before the first step, with all levels' weights."""
  g_key, d_key = jax.random.split(key)
  latents = jnp.zeros((2, config.model.latents))
  generator = _generator(config, info).init(
    g_key, latents, jnp.zeros(2, jnp.int32), method="all_levels"
  )
  if projected.is_chosen(config):
    discriminator = projected.init(config, info, d_key)
  else:
    images = jnp.zeros((_GROUP, info.size, info.size, info.channels))
    discriminator = _discriminator(config, info).init(
      d_key, images, method="all_levels"
    )
  networks = layers.in_default_float((generator, discriminator))
  rate = phases(config)[0].rate
  return gan_step.init_state(*networks, _optimizers(config, rate), config)


def _begun(state: GanState, phase: Phase, optimizers) -> GanState:
  """Reset the optimizers' state at the start of a phase, as the authors do."""
  begins = state.step == phase.first_step
  reset = lambda old, optimizer, variables: jax.tree.map(
    lambda a, b: jnp.where(begins, b, a),
    old,
    optimizer.init(variables["params"]),
  )
  return state.replace(
    generator_optimizer=reset(
      state.generator_optimizer, optimizers.generator, state.generator
    ),
    discriminator_optimizer=reset(
      state.discriminator_optimizer,
      optimizers.discriminator,
      state.discriminator,
    ),
  )


def _networks(config, info, generate, level, fade, parts) -> gan_step.Networks:
  """Return a step's networks, with the task's own discriminator."""
  discriminator = _discriminator(config, info)

  def discriminate(variables, images, labels, keys, update_stats):
    # The discriminator takes no labels, is deterministic, has no statistics.
    del labels, keys, update_stats
    return discriminator.apply(variables, images, level, fade), {}

  return gan_step.Networks(generate, discriminate, parts=parts)


def train_step(
  state: GanState,
  batch,
  key,
  *,
  config,
  info,
  phase: Phase,
  axis_name=None,
  frozen=None,
) -> tuple[GanState, dict[str, jax.Array]]:
  """Update both networks on one batch; see gan_step.train_step."""
  generator = _generator(config, info)
  level, fade = phase.level, schedules.fade(phase, state.step)
  labels = batch["label"]
  keys = randomness.by_example(key, len(labels), axis_name)
  real = augment.seen_in_training(batch, keys, config)

  def generate(variables, latents, labels):
    return generator.apply(variables, latents, labels, level, fade), {}

  if projected.is_chosen(config):
    networks = projected.networks(config, info, frozen, generate, axis_name)
  else:
    parts = parallel.parts(len(labels), config.parallel)
    networks = _networks(config, info, generate, level, fade, parts)
  conditional = phase.size >= config.model.conditional_from
  optimizers = _optimizers(config, phase.rate)
  return gan_step.train_step(
    _begun(state, phase, optimizers),
    models.at_level(real, level, fade),
    labels,
    keys,
    networks=networks,
    optimizers=optimizers,
    config=config,
    class_weight=config.loss.class_weight if conditional else 0.0,
    batch_size=phase.batch_size,
    seen=schedules.images_seen(phase, state.step + 1),
    class_counts=info.class_counts,
    axis_name=axis_name,
  )


def eval_step(
  state: GanState, batch, *, config, info, phase: Phase, frozen=None
) -> dict[str, jax.Array]:
  """Run the discriminator on real images, a multiple of 4.

  See acgan.eval_step; with a single class, `probabilities` are 1.
  """
  fade = schedules.fade(phase, state.step)
  images = models.at_level(batches.to_float(batch["image"]), phase.level, fade)
  if projected.is_chosen(config):
    return projected.look(
      state, images, batch["label"], config=config, info=info, frozen=frozen
    )
  source, classes, *_ = _discriminator(config, info).apply(
    state.discriminator, images, phase.level, fade
  )
  if info.num_classes == 1:
    classes = source[:, None]
  return {"probabilities": jax.nn.softmax(classes), "d_real": source}


def draw(
  state: GanState, latents, labels, *, config, info, phase: Phase
) -> jax.Array:
  """Generate an image from each latent, with the EMA generator.

  A network that has not yet grown to the full size generates smaller images,
  which are enlarged by repeating pixels.
  """
  fade = schedules.fade(phase, state.step)
  images = _generator(config, info).apply(
    state.average, latents, labels, phase.level, fade
  )
  while images.shape[1] < info.size:
    images = models.upsampled(images)
  return batches.to_uint8(images)


TASK = tasks.Task(
  name="progan",
  title="ProGAN",
  check=check,
  init_state=init_state,
  train_step=train_step,
  eval_step=eval_step,
  frozen=projected.frozen,
  through=projected.through,
  draw=draw,
  phases=phases,
  earlier=(
    *gan_step.EARLIER,
    ("model.upsampling", "nearest"),
    ("model.pixel_noise", False),
  ),
)
