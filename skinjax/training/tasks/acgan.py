"""The task that trains an ACGAN (Odena, Olah, Shlens 2017).

Its functions implement the contract of skinjax.training.tasks.
"""

import functools

import jax
import jax.numpy as jnp
import optax

from skinjax.data import augment, batches
from skinjax.models import acgan as models
from skinjax.models import layers
from skinjax.runtime import errors, randomness
from skinjax.training import gan_step, projected, tasks
from skinjax.training.state import GanState


def _generator(config, info, axis_name=None):
  return models.Generator(
    size=info.size,
    channels=info.channels,
    width=config.model.generator_width,
    num_classes=info.num_classes,
    conditional_from=config.model.conditional_from,
    upsampling=config.model.upsampling,
    pixel_noise=config.model.pixel_noise,
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
    embedding=gan_step.embedding(config),
    dtype=config.model.dtype,
    axis_name=axis_name,
  )


def _optimizers(config):
  rates = config.train.generator_rate, config.train.discriminator_rate
  b1, b2 = config.train.beta1, config.train.beta2
  return gan_step.Optimizers(
    *(optax.adam(rate, b1=b1, b2=b2) for rate in rates)
  )


def check(config) -> None:
  """Reject a config from which no step can be built.

  Raises:
    InputError: there is no such upsampling; see also gan_step.check and
      projected.check.
  """
  errors.require_known(
    "model.upsampling", config.model.upsampling, models.UPSAMPLING
  )
  gan_step.check(config)
  projected.check(config)


def init_state(config, info, key: jax.Array, pretrained=None) -> GanState:
  """Create the state before the first step."""
  g_key, d_key = jax.random.split(key)
  latents = jnp.zeros((2, config.model.latents))
  generator = _generator(config, info).init(
    g_key, latents, jnp.zeros(2, jnp.int32), train=False
  )
  if projected.is_chosen(config):
    discriminator = projected.init(config, info, d_key)
  else:
    images = jnp.zeros((2, info.size, info.size, info.channels))
    discriminator = _discriminator(config, info).init(
      d_key, images, None, train=False
    )
  networks = layers.in_default_float((generator, discriminator))
  return gan_step.init_state(*networks, _optimizers(config), config)


def _networks(config, info, axis_name) -> gan_step.Networks:
  """Return a step's networks, with the task's own discriminator."""
  discriminator = _discriminator(config, info, axis_name)

  def discriminate(variables, images, labels, keys, update_stats):
    del labels  # the discriminator does not take them
    return discriminator.apply(
      variables,
      images,
      keys,
      train=True,
      update_stats=update_stats,
      mutable=["batch_stats"],
    )

  return gan_step.Networks(
    _generate(config, info, axis_name),
    discriminate,
    # With spectral normalization there are no batch statistics, so one pass
    # is enough.
    separate_passes=not config.model.spectral,
  )


def _generate(config, info, axis_name):
  return functools.partial(
    _generator(config, info, axis_name).apply,
    train=True,
    mutable=["batch_stats"],
  )


def train_step(
  state: GanState,
  batch,
  key,
  *,
  config,
  info,
  phase=None,
  axis_name=None,
  frozen=None,
) -> tuple[GanState, dict[str, jax.Array]]:
  """Update both networks on one batch; see gan_step.train_step."""
  labels = batch["label"]
  keys = randomness.by_example(key, len(labels), axis_name)
  if projected.is_chosen(config):
    generate = _generate(config, info, axis_name)
    networks = projected.networks(config, info, frozen, generate, axis_name)
  else:
    networks = _networks(config, info, axis_name)
  batch_size = config.train.batch_size
  return gan_step.train_step(
    state,
    augment.seen_in_training(batch, keys, config),
    labels,
    keys,
    networks=networks,
    optimizers=_optimizers(config),
    config=config,
    class_weight=config.loss.class_weight,
    batch_size=batch_size,
    seen=(state.step + 1) * batch_size,
    class_counts=info.class_counts,
    axis_name=axis_name,
  )


def eval_step(
  state: GanState, batch, *, config, info, phase=None, frozen=None
) -> dict[str, jax.Array]:
  """Run the discriminator on real images that it was not trained on.

  Returns:
    `probabilities` [batch, classes] of the class head, and `d_real` [batch],
    the source logits. If these are far below those of training images, the
    discriminator has memorized its training set. See also projected.look.
  """
  images = batches.to_float(batch["image"])
  if projected.is_chosen(config):
    return projected.look(
      state, images, batch["label"], config=config, info=info, frozen=frozen
    )
  source, classes, *_ = _discriminator(config, info).apply(
    state.discriminator, images, None, train=False
  )
  return {"probabilities": jax.nn.softmax(classes), "d_real": source}


def draw(
  state: GanState, latents, labels, *, config, info, phase=None
) -> jax.Array:
  """Generate an image from each latent, with the EMA generator."""
  images = _generator(config, info).apply(
    state.average, latents, labels, train=False
  )
  return batches.to_uint8(images)


TASK = tasks.Task(
  name="acgan",
  title="ACGAN",
  check=check,
  init_state=init_state,
  train_step=train_step,
  eval_step=eval_step,
  frozen=projected.frozen,
  through=projected.through,
  draw=draw,
  earlier=(
    *gan_step.EARLIER,
    ("model.conditional_from", 4),
    ("model.upsampling", "transposed"),
    ("model.pixel_noise", False),
    ("train.beta2", 0.999),
  ),
)
