"""The training step that the GANs share, whatever their networks are.

Both updates share one pass through the generator: the discriminator learns
from the images, the generator from the gradient that the updated discriminator
has on the same images. Generated images have the labels of the batch, so that
both halves have one label distribution, the sampler's.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from skinjax.data import augment
from skinjax.models import layers
from skinjax.runtime import errors, parallel, randomness
from skinjax.training import losses
from skinjax.training.state import (
  GanState,
  Variables,
  ema_decay,
  ema_update,
  optimizer_update,
)

Values = dict[str, jax.Array]


class Logits(NamedTuple):
  """What a discriminator says of images."""

  source: jax.Array  # high for real images, [batch] or [batch, heads]
  classes: jax.Array  # [batch, classes]; no column if there is one class only


class Networks(NamedTuple):
  """What a GAN's task brings to a step: pure functions of variables.

  `changed` are the collections that a pass changes, as batch statistics.

  Attributes:
    generate: `generate(variables, latents, labels) -> (images, changed)`.
    discriminate: `discriminate(variables, images, keys, update_stats) ->
      (logits, changed)`, the logits as of Logits.
    features: `features(images) -> features`, arrays [batch, …] that
      discriminate takes in the place of images: what it sees through and does
      not change. Then the images are augmented once a step, so that one pass
      and one pullback serve both updates. It goes with separate_passes.
    separate_passes: whether real and generated images go through the
      discriminator one after the other, as batch normalization wants it.
    regularize: `regularize(critic, real, fake, source_of_real, keys) ->
      (values, metrics)`, all [batch]: what the discriminator's loss has beside
      the adversarial and the class loss; `critic(images)` are source logits.
    parts: into how many parts of a batch the discriminator's gradient is
      divided, to be averaged; see parallel.parts. Only of what sees each part
      as it would in the whole batch.
  """

  generate: Callable
  discriminate: Callable
  features: Callable | None = None
  separate_passes: bool = False
  regularize: Callable | None = None
  parts: int = 1


class Optimizers(NamedTuple):
  """An optimizer of optax for each network."""

  generator: optax.GradientTransformation
  discriminator: optax.GradientTransformation


def check(config) -> None:
  """Refuses a config that no step can be made of.

  Raises:
    InputError: there is no such dtype, loss or augmentation.
  """
  errors.require_known("model.dtype", config.model.dtype, layers.DTYPES)
  loss, transform = config.loss.adversarial, config.augment.discriminator
  errors.require_known("loss.adversarial", loss, losses.ADVERSARIAL)
  errors.require_known(
    "augment.discriminator", transform, augment.DISCRIMINATOR
  )


def init_state(
  generator: Variables, discriminator: Variables, optimizers: Optimizers
) -> GanState:
  """Makes the state before the first step out of the networks' variables."""
  return GanState(
    step=jnp.zeros((), jnp.int32),
    generator=generator,
    discriminator=discriminator,
    generator_optimizer=optimizers.generator.init(generator["params"]),
    discriminator_optimizer=optimizers.discriminator.init(
      discriminator["params"]
    ),
    average=jax.tree.map(jnp.copy, generator),
  )


def train_step(
  state: GanState,
  real: jax.Array,
  labels: jax.Array,
  keys: jax.Array,
  *,
  networks: Networks,
  optimizers: Optimizers,
  config,
  class_weight: float,
  batch_size: int,
  seen: jax.Array,
  axis_name: str | None = None,
) -> tuple[GanState, Values]:
  """Updates the discriminator, then the generator, on one batch.

  `real` are this device's part of the images, [batch, height, width, channels]
  in [-1, 1], with labels int32 [batch] and keys [batch]. Of the config it reads
  `model.latents`, `loss.adversarial`, `loss.class_on_fakes`,
  `augment.discriminator` and `train.ema_images`. `class_weight` is that of the
  class losses; `batch_size` counts images a step over all devices, and `seen`
  [] those that training has seen after this step.

  Returns:
    The state after the step; the means of the losses over the whole batch, and
    the gradients' Euclidean norms.
  """
  transform = augment.DISCRIMINATOR[config.augment.discriminator]
  see = lambda images, name: images
  if networks.features:
    once, transform = transform, see
    see = lambda images, name: networks.features(
      once(images, randomness.stream(keys, name))
    )
  networks = networks._replace(
    discriminate=_augmented(networks.discriminate, transform)
  )
  mean = lambda tree: parallel.mean(tree, axis_name)
  latents = randomness.normal(
    randomness.stream(keys, "latents"), (config.model.latents,)
  )

  def generate(params):
    images, changed = networks.generate(
      {**state.generator, "params": params}, latents, labels
    )
    return see(images, "fake"), changed

  real = see(real, "real")
  fake, backward, g_changed = jax.vjp(
    generate, state.generator["params"], has_aux=True
  )

  def discriminator_loss(params, *batch):
    variables = {**state.discriminator, "params": params}
    values, metrics, changed = _discriminator_loss(
      variables, *batch, networks, config, class_weight
    )
    return jnp.mean(values), (jax.tree.map(jnp.mean, metrics), changed)

  d_gradients, (d_metrics, d_changed) = _mean_over_parts(
    lambda *batch: jax.grad(discriminator_loss, has_aux=True)(
      state.discriminator["params"], *batch
    ),
    networks.parts,
    (real, fake, labels, keys),
  )
  d_gradients = mean(d_gradients)
  d_optimizer, discriminator = optimizer_update(
    optimizers.discriminator,
    d_gradients,
    state.discriminator_optimizer,
    {**state.discriminator, **d_changed},
  )

  def generator_loss(fake):
    values, metrics = _generator_loss(
      discriminator, real, fake, labels, keys, networks, config, class_weight
    )
    return jnp.mean(values), jax.tree.map(jnp.mean, metrics)

  on_images, g_metrics = jax.grad(generator_loss, has_aux=True)(fake)
  g_gradients = mean(backward(on_images)[0])
  g_optimizer, generator = optimizer_update(
    optimizers.generator,
    g_gradients,
    state.generator_optimizer,
    {**state.generator, **g_changed},
  )
  decay = ema_decay(seen, batch_size, config.train.ema_images)
  state = GanState(
    step=state.step + 1,
    generator=generator,
    discriminator=discriminator,
    generator_optimizer=g_optimizer,
    discriminator_optimizer=d_optimizer,
    average=ema_update(state.average, generator, decay),
  )
  norms = {
    "d_gradient": optax.tree.norm(d_gradients),
    "g_gradient": optax.tree.norm(g_gradients),
  }
  return state, {**mean({**d_metrics, **g_metrics}), **norms}


def _discriminator_loss(
  variables, real, fake, labels, keys, networks, config, class_weight
) -> tuple[jax.Array, Values, Variables]:
  """Computes f(D(x), D(G)) - weight log p(c | x) [+ …], [batch]."""
  of_real, of_fake, changed = _both(networks, variables, real, fake, keys)
  adversarial = losses.ADVERSARIAL[config.loss.adversarial]
  source = adversarial.discriminator(of_real.source, of_fake.source)
  total = source = _over_heads(source)
  metrics = {
    "d_loss": source,
    "d_real": of_real.source,
    "d_fake": of_fake.source,
  }
  if of_real.classes.shape[-1]:
    on_real = losses.cross_entropy(of_real.classes, labels)
    on_fake = losses.cross_entropy(of_fake.classes, labels)
    total += class_weight * (on_real + config.loss.class_on_fakes * on_fake)
    metrics["d_class_loss"] = on_real
    metrics["d_class_accuracy"] = jnp.argmax(of_real.classes, -1) == labels
  if networks.regularize:
    between = randomness.stream(keys, "regularize")
    critic = lambda images: (
      networks.discriminate(variables, images, between, False)[0].source
    )
    more, shown = networks.regularize(critic, real, fake, of_real.source, keys)
    total, metrics = total + more, metrics | shown
  return total, metrics, changed


def _generator_loss(
  variables, real, fake, labels, keys, networks, config, class_weight
) -> tuple[jax.Array, Values]:
  """Computes g(D(x), D(G)) - weight log p(c | G), [batch]."""
  adversarial = losses.ADVERSARIAL[config.loss.adversarial]
  look = lambda images, name: networks.discriminate(
    variables, images, randomness.stream(keys, name), False
  )[0]
  of_fake, of_real = look(fake, "generator"), None
  if adversarial.relativistic:
    of_real = look(real, "generator's real").source
  source = adversarial.generator(of_real, of_fake.source)
  total = source = _over_heads(source)
  metrics = {"g_loss": source}
  if of_fake.classes.shape[-1]:
    on_fake = losses.cross_entropy(of_fake.classes, labels)
    total += class_weight * on_fake
    metrics["g_class_loss"] = on_fake
  return total, metrics


def _over_heads(values: jax.Array) -> jax.Array:
  """Averages values [batch, heads] over heads; [batch] stay as they are."""
  return values if values.ndim == 1 else jnp.mean(values, axis=1)


def _augmented(discriminate: Callable, transform: Callable) -> Callable:
  """Has a discriminator see all images, real or not, augmented."""

  def augmented(variables, images, keys, update_stats):
    logits, changed = discriminate(
      variables, transform(images, keys), keys, update_stats
    )
    logits = Logits(*logits)
    if logits.source.ndim not in (1, 2):
      raise ValueError(
        f"Source logits have shape {logits.source.shape}; [batch] or [batch, "
        "heads] is right."
      )
    return logits, changed

  return augmented


def _both(
  networks: Networks, variables, real, fake, keys
) -> tuple[Logits, Logits, Variables]:
  """Returns the logits of real and of generated images, and what changed."""
  keys = [randomness.stream(keys, name) for name in ("real", "fake")]
  if networks.separate_passes:
    of_real, changed = networks.discriminate(variables, real, keys[0], True)
    of_fake, changed = networks.discriminate(
      {**variables, **changed}, fake, keys[1], False
    )
    return of_real, of_fake, changed
  logits, changed = networks.discriminate(
    variables, jnp.concatenate([real, fake]), jnp.concatenate(keys), True
  )
  halves = [jnp.split(values, 2) for values in logits]
  of_real, of_fake = (Logits(*half) for half in zip(*halves, strict=True))
  return of_real, of_fake, changed


def _mean_over_parts(function: Callable, parts: int, arrays: tuple) -> Any:
  """Averages what a function makes of each of the parts of a batch."""
  if parts == 1:
    return function(*arrays)
  arrays = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), arrays)
  shapes = jax.eval_shape(function, *jax.tree.map(lambda x: x[0], arrays))
  total = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  add = lambda total, part: (jax.tree.map(jnp.add, total, function(*part)), ())
  total, _ = jax.lax.scan(add, total, arrays)
  return jax.tree.map(lambda x: x / parts, total)
