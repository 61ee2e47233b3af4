"""The task that trains an ACGAN (Odena, Olah, Shlens 2017)."""

import jax
import jax.numpy as jnp
import optax

from skinjax import augment, batches, errors, losses, parallel, randomness
from skinjax.models import acgan as models
from skinjax.models import layers
from skinjax.state import GanState, ema_decay, moved, updated


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
  return [optax.adam(rate, b1=config.train.beta1, b2=0.999) for rate in rates]


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
  generator, discriminator = layers.in_default_float((generator, discriminator))
  g_optimizer, d_optimizer = _optimizers(config)
  return GanState(
    step=jnp.zeros((), jnp.int32),
    generator=generator,
    discriminator=discriminator,
    generator_optimizer=g_optimizer.init(generator["params"]),
    discriminator_optimizer=d_optimizer.init(discriminator["params"]),
    average=jax.tree.map(jnp.copy, generator),
  )


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
  """Updates the discriminator, then the generator, on one batch.

  Both updates share one pass through the generator: the discriminator learns
  from the images, the generator from the gradient that the updated
  discriminator has on the same images. Generated images have the labels of
  the batch, so that both halves have one label distribution, the sampler's.

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
  g_optimizer, d_optimizer = _optimizers(config)
  labels = batch["label"]
  keys = randomness.by_example(key, len(labels), axis_name)
  stream = lambda name: randomness.stream(keys, name)
  mean = lambda tree: parallel.mean(tree, axis_name)

  real = augment.augment(
    batches.to_float(batch["image"]),
    stream("augment"),
    orientations=config.augment.orientations,
    jitter=config.augment.jitter,
  )
  latents = randomness.normal(stream("latents"), (config.model.latents,))

  def generate(params):
    return generator.apply(
      {**state.generator, "params": params},
      latents,
      labels,
      train=True,
      mutable=["batch_stats"],
    )

  fake, pullback, generator_stats = jax.vjp(
    generate, state.generator["params"], has_aux=True
  )

  def judge(variables, images, keys, update_stats=False):
    return discriminator.apply(
      variables,
      images,
      keys,
      train=True,
      update_stats=update_stats,
      mutable=["batch_stats"],
    )

  def judge_both(variables):
    if config.model.spectral:  # No batch statistics: one pass does.
      both = jnp.concatenate([real, fake])
      keys = jnp.concatenate([stream("real"), stream("fake")])
      judged, stats = judge(variables, both, keys, update_stats=True)
      halves = [jnp.split(logits, 2) for logits in judged]
      return *zip(*halves, strict=True), stats
    of_real, stats = judge(variables, real, stream("real"))
    of_fake, stats = judge({**variables, **stats}, fake, stream("fake"))
    return of_real, of_fake, stats

  def discriminator_loss(params):
    variables = {**state.discriminator, "params": params}
    (real_source, real_class), (fake_source, fake_class), stats = judge_both(
      variables
    )
    source = losses.DISCRIMINATOR[config.loss.adversarial](
      real_source, fake_source
    )
    on_real = losses.cross_entropy(real_class, labels)
    on_fake = losses.cross_entropy(fake_class, labels)
    auxiliary = on_real + config.loss.class_on_fakes * on_fake
    total = source + config.loss.class_weight * auxiliary
    metrics = {
      "d_loss": source,
      "d_class_loss": on_real,
      "d_real": real_source,
      "d_fake": fake_source,
      "d_class_accuracy": jnp.argmax(real_class, -1) == labels,
    }
    return jnp.mean(total), (jax.tree.map(jnp.mean, metrics), stats)

  gradients, (d_metrics, stats) = jax.grad(discriminator_loss, has_aux=True)(
    state.discriminator["params"]
  )
  d_gradients = mean(gradients)
  d_state, d_variables = updated(
    d_optimizer,
    d_gradients,
    state.discriminator_optimizer,
    {**state.discriminator, **stats},
  )

  def generator_loss(images):
    (source, classes), _ = judge(d_variables, images, stream("generator"))
    source = losses.GENERATOR[config.loss.adversarial](source)
    auxiliary = losses.cross_entropy(classes, labels)
    total = source + config.loss.class_weight * auxiliary
    metrics = {"g_loss": source, "g_class_loss": auxiliary}
    return jnp.mean(total), jax.tree.map(jnp.mean, metrics)

  cotangent, g_metrics = jax.grad(generator_loss, has_aux=True)(fake)
  (gradients,) = pullback(cotangent)
  g_gradients = mean(gradients)
  g_state, g_variables = updated(
    g_optimizer,
    g_gradients,
    state.generator_optimizer,
    {**state.generator, **generator_stats},
  )
  decay = ema_decay(
    state.step, config.train.batch_size, config.train.ema_images
  )
  state = GanState(
    step=state.step + 1,
    generator=g_variables,
    discriminator=d_variables,
    generator_optimizer=g_state,
    discriminator_optimizer=d_state,
    average=moved(state.average, g_variables, decay),
  )
  norms = {
    "d_gradient": optax.tree.norm(d_gradients),
    "g_gradient": optax.tree.norm(g_gradients),
  }
  return state, {**mean({**d_metrics, **g_metrics}), **norms}


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


def sample(
  state: GanState,
  labels: jax.Array,
  key: jax.Array,
  *,
  config,
  info,
  phase=None,
) -> jax.Array:
  """Draws an image of each asked class from the averaged generator.

  Args: as of train_step, with `labels` int32 [batch] and the latents' `key`.

  Returns:
    uint8 [batch, size, size, channels].
  """
  keys = randomness.by_example(key, len(labels))
  latents = randomness.normal(keys, (config.model.latents,))
  images = _generator(config, info).apply(
    state.average, latents, labels, train=False
  )
  return batches.to_uint8(images)
