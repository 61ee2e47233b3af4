"""The task that trains a ProGAN (Karras, Aila, Laine, Lehtinen 2018)."""

import jax
import jax.numpy as jnp
import optax

from skinjax.data import augment, batches
from skinjax.models import layers
from skinjax.models import progan as models
from skinjax.runtime import parallel, randomness
from skinjax.training import gan_step, growth, losses, schedules
from skinjax.training.schedules import Phase
from skinjax.training.state import GanState

NAME = "ProGAN"  # as reports call it
phases, check = growth.phases, growth.check


def _generator(config, info):
  return models.Generator(
    size=info.size,
    channels=info.channels,
    base=config.model.base,
    most=config.model.most,
    num_classes=info.num_classes,
    conditional_from=schedules.level_of(config.model.conditional_from),
    dtype=config.model.dtype,
  )


def _discriminator(config, info):
  return models.Discriminator(
    size=info.size,
    channels=info.channels,
    base=config.model.base,
    most=config.model.most,
    num_classes=info.num_classes,
    group=growth.GROUP,
    dtype=config.model.dtype,
  )


def _optimizers(config, rate: float):
  adam = optax.adam(rate, b1=config.train.beta1, b2=config.train.beta2)
  return gan_step.Optimizers(adam, adam)


def init_state(config, info, key: jax.Array) -> GanState:
  """Creates the state before the first step, the weights of all levels in it.

  Args:
    config: FrozenConfigDict of configs/progan.py.
    info: data.DataInfo.
    key: the key of the weights.

  Returns:
    GanState, in JAX's default float type.
  """
  g_key, d_key = jax.random.split(key)
  latents = jnp.zeros((2, config.model.latents))
  images = jnp.zeros((growth.GROUP, info.size, info.size, info.channels))
  generator = _generator(config, info).init(
    g_key, latents, jnp.zeros(2, jnp.int32), method="all_levels"
  )
  discriminator = _discriminator(config, info).init(
    d_key, images, method="all_levels"
  )
  networks = layers.in_default_float((generator, discriminator))
  rate = phases(config)[0].rate
  return gan_step.init_state(*networks, _optimizers(config, rate))


def _begun(state: GanState, phase: Phase, optimizers) -> GanState:
  """Resets the optimizers' state where a phase begins, as the authors do."""
  fresh = gan_step.init_state(state.generator, state.discriminator, optimizers)
  keep = lambda old, new: jax.tree.map(
    lambda a, b: jnp.where(state.step == phase.first_step, b, a), old, new
  )
  return state.replace(
    generator_optimizer=keep(
      state.generator_optimizer, fresh.generator_optimizer
    ),
    discriminator_optimizer=keep(
      state.discriminator_optimizer, fresh.discriminator_optimizer
    ),
  )


def train_step(
  state: GanState,
  batch: dict[str, jax.Array],
  key: jax.Array,
  *,
  config,
  info,
  phase: Phase,
  axis_name: str | None = None,
) -> tuple[GanState, dict[str, jax.Array]]:
  """Updates both networks on one batch; see adversarial.train_step.

  Args:
    state: the state before the step.
    batch: `image` uint8 [batch, size, size, channels], `label` int32 [batch];
      this device's part of it.
    key: the step's key, the same on every device.
    config: FrozenConfigDict of configs/progan.py.
    info: data.DataInfo.
    phase: the one of `phases` that the step is in.
    axis_name: the device axis inside pmap; None where the batch is whole.

  Returns:
    The state after the step; the means of the losses over the whole batch, and
    the gradients' Euclidean norms.
  """
  generator = _generator(config, info)
  discriminator = _discriminator(config, info)
  level, fade = phase.level, schedules.fade(phase, state.step)
  labels = batch["label"]
  keys = randomness.by_example(key, len(labels), axis_name)
  real = augment.seen_in_training(batch, keys, config)

  def generate(variables, latents, labels):
    return generator.apply(variables, latents, labels, level, fade), {}

  def judge(variables, images, keys=None, update_stats=False):
    del keys, update_stats  # it is not random, and has no statistics
    return discriminator.apply(variables, images, level, fade), {}

  def regularize(variables, real, fake, source_of_real, keys):
    uniform = jax.vmap(jax.random.uniform)
    penalty = losses.penalty(
      config.loss.penalty,
      lambda images: judge(variables, images)[0][0],
      real,
      fake,
      uniform(randomness.stream(keys, "between")).astype(real.dtype),
    )
    drift = source_of_real**2
    total = config.loss.penalty_weight * penalty + config.loss.drift * drift
    return total, {"d_penalty": penalty}

  conditional = phase.size >= config.model.conditional_from
  optimizers = _optimizers(config, phase.rate)
  return gan_step.train_step(
    _begun(state, phase, optimizers),
    models.at_level(real, level, fade),
    labels,
    keys,
    players=gan_step.Players(
      generate,
      judge,
      regularize=regularize,
      parts=parallel.parts(len(labels), config.parallel),
    ),
    optimizers=optimizers,
    config=config,
    class_weight=config.loss.class_weight if conditional else 0.0,
    batch_size=phase.batch_size,
    seen=schedules.images_seen(phase, state.step + 1),
    axis_name=axis_name,
  )


def eval_step(
  state: GanState,
  batch: dict[str, jax.Array],
  *,
  config,
  info,
  phase: Phase,
) -> dict[str, jax.Array]:
  """Judges real images that the discriminator has not seen.

  Args: as of train_step; the batch is a multiple of 4 images.

  Returns:
    An example each: `probabilities` [batch, classes] of the class head (1 where
    there is one class only), and `d_real` [batch], the source logits.
  """
  fade = schedules.fade(phase, state.step)
  images = batches.to_float(batch["image"])
  source, classes = _discriminator(config, info).apply(
    state.discriminator,
    models.at_level(images, phase.level, fade),
    phase.level,
    fade,
  )
  if info.num_classes == 1:
    classes = source[:, None]
  return {"probabilities": jax.nn.softmax(classes), "d_real": source}


def draw(
  state: GanState,
  latents: jax.Array,
  labels: jax.Array,
  *,
  config,
  info,
  phase: Phase,
) -> jax.Array:
  """Draws an image of each latent from the averaged generator.

  Args: as of train_step, with `latents` [batch, dims], `labels` int32 [batch].

  Returns:
    uint8 [batch, size, size, channels]; from a network that has not grown to
    this size yet, smaller images whose pixels are repeated.
  """
  fade = schedules.fade(phase, state.step)
  images = _generator(config, info).apply(
    state.average, latents, labels, phase.level, fade
  )
  while images.shape[1] < info.size:
    images = models.upsampled(images)
  return batches.to_uint8(images)


def sample(
  state: GanState,
  labels: jax.Array,
  key: jax.Array,
  *,
  config,
  info,
  phase: Phase,
) -> jax.Array:
  """Draws an image of each asked class, of latents drawn from a key.

  Args: as of `draw`, with the latents' `key`.

  Returns:
    uint8 [batch, size, size, channels].
  """
  latents = gan_step.latents_of(labels, key, config.model.latents)
  return draw(state, latents, labels, config=config, info=info, phase=phase)
