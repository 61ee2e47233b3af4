"""The task that trains an ACGAN (Odena, Olah, Shlens 2017)."""

import jax
import jax.numpy as jnp
import optax

from skinjax.data import augment, batches
from skinjax.models import acgan as models
from skinjax.models import layers
from skinjax.runtime import errors, randomness
from skinjax.training import gan_step, losses
from skinjax.training.state import GanState

NAME = "ACGAN"  # as reports call it


def _generator(config, info, axis_name=None):
  return models.Generator(
    size=info.size,
    channels=info.channels,
    width=config.model.generator_width,
    num_classes=info.num_classes,
    dtype=config.model.dtype,
    axis_name=axis_name,
  )


def _discriminator(config, info, axis_name=None):
  return models.Discriminator(
    size=info.size,
    width=config.model.discriminator_width,
    num_classes=info.num_classes,
    dropout=config.model.dropout,
    noise=config.model.noise,
    spectral=config.model.spectral,
    dtype=config.model.dtype,
    axis_name=axis_name,
  )


def _optimizers(config):
  rates = config.train.generator_rate, config.train.discriminator_rate
  return gan_step.Optimizers(
    *(optax.adam(rate, b1=config.train.beta1, b2=0.999) for rate in rates)
  )


def check(config) -> None:
  """Refuses a config that no step can be made of.

  Raises:
    InputError: there is no such dtype or loss.
  """
  errors.require_known("model.dtype", config.model.dtype, layers.DTYPES)
  errors.require_known(
    "loss.adversarial", config.loss.adversarial, losses.DISCRIMINATOR
  )


def init_state(config, info, key: jax.Array) -> GanState:
  """Creates the state before the first step.

  Args:
    config: FrozenConfigDict of configs/acgan.py.
    info: data.DataInfo.
    key: the key of the weights.

  Returns:
    GanState, in JAX's default float type.
  """
  g_key, d_key = jax.random.split(key)
  latents = jnp.zeros((2, config.model.latents))
  images = jnp.zeros((2, info.size, info.size, info.channels))
  generator = _generator(config, info).init(
    g_key, latents, jnp.zeros(2, jnp.int32), train=False
  )
  discriminator = _discriminator(config, info).init(
    d_key, images, None, train=False
  )
  networks = layers.in_default_float((generator, discriminator))
  return gan_step.init_state(*networks, _optimizers(config))


def train_step(
  state: GanState,
  batch: dict[str, jax.Array],
  key: jax.Array,
  *,
  config,
  info,
  phase=None,
  axis_name: str | None = None,
) -> tuple[GanState, dict[str, jax.Array]]:
  """Updates both networks on one batch; see adversarial.train_step.

  Args:
    state: the state before the step.
    batch: `image` uint8 [batch, size, size, channels], `label` int32 [batch];
      this device's part of it.
    key: the step's key, the same on every device.
    config: FrozenConfigDict of configs/acgan.py.
    info: data.DataInfo.
    phase: unused; an ACGAN has one phase only.
    axis_name: the device axis inside pmap; None where the batch is whole.

  Returns:
    The state after the step; the means of the losses over the whole batch, and
    the gradients' Euclidean norms.
  """
  generator = _generator(config, info, axis_name)
  discriminator = _discriminator(config, info, axis_name)
  labels = batch["label"]
  keys = randomness.by_example(key, len(labels), axis_name)
  real = augment.seen_in_training(batch, keys, config)

  def generate(variables, latents, labels):
    return generator.apply(
      variables, latents, labels, train=True, mutable=["batch_stats"]
    )

  def judge(variables, images, keys, update_stats):
    return discriminator.apply(
      variables,
      images,
      keys,
      train=True,
      update_stats=update_stats,
      mutable=["batch_stats"],
    )

  batch_size = config.train.batch_size
  return gan_step.train_step(
    state,
    real,
    labels,
    keys,
    # Spectral normalization instead of batch statistics: one pass does.
    players=gan_step.Players(generate, judge, apart=not config.model.spectral),
    optimizers=_optimizers(config),
    config=config,
    class_weight=config.loss.class_weight,
    batch_size=batch_size,
    seen=(state.step + 1) * batch_size,
    axis_name=axis_name,
  )


def eval_step(
  state: GanState, batch: dict[str, jax.Array], *, config, info, phase=None
) -> dict[str, jax.Array]:
  """Judges real images that the discriminator has not seen.

  Args: as of train_step.

  Returns:
    An example each: `probabilities` [batch, classes] of the class head, and
    `d_real` [batch], the source logits (far under those of training images:
    the discriminator has learnt its training set by heart).
  """
  source, classes = _discriminator(config, info).apply(
    state.discriminator, batches.to_float(batch["image"]), None, train=False
  )
  return {"probabilities": jax.nn.softmax(classes), "d_real": source}


def draw(
  state: GanState,
  latents: jax.Array,
  labels: jax.Array,
  *,
  config,
  info,
  phase=None,
) -> jax.Array:
  """Draws an image of each latent from the averaged generator.

  Args: as of train_step, with `latents` [batch, dims], `labels` int32 [batch].

  Returns:
    uint8 [batch, size, size, channels].
  """
  images = _generator(config, info).apply(
    state.average, latents, labels, train=False
  )
  return batches.to_uint8(images)


def sample(
  state: GanState,
  labels: jax.Array,
  key: jax.Array,
  *,
  config,
  info,
  phase=None,
) -> jax.Array:
  """Draws an image of each asked class, of latents drawn from a key.

  Args: as of `draw`, with the latents' `key`.

  Returns:
    uint8 [batch, size, size, channels].
  """
  latents = gan_step.latents_of(labels, key, config.model.latents)
  return draw(state, latents, labels, config=config, info=info, phase=phase)
