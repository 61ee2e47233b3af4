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

from skinjax.runtime import parallel, randomness
from skinjax.training import losses
from skinjax.training.state import (
  GanState,
  Variables,
  ema_decay,
  moved,
  updated,
)

Values = dict[str, jax.Array]


class Players(NamedTuple):
  """What a GAN's task brings to a step: pure functions of variables.

  `changed` are the collections that a pass changes, batch statistics and the
  like; there may be none.

  Attributes:
    generate: `generate(variables, latents, labels) -> (images, changed)`.
    judge: `judge(variables, images, keys, update_stats) -> ((source, classes),
      changed)`; source logits [batch], class logits [batch, classes], with no
      column where there is one class only.
    apart: whether real and generated images are judged in passes of their own,
      as batch normalization wants it.
    regularize: `regularize(variables, real, fake, source_of_real, keys) ->
      (values, metrics)`, all [batch]: what the discriminator's loss has beside
      the adversarial and the class loss. None: nothing.
    parts: into how many parts of a batch the discriminator's gradient is
      divided, to be averaged; see parallel.parts. Only of what judges each
      part as it would in the whole batch.
  """

  generate: Callable
  judge: Callable
  apart: bool = False
  regularize: Callable | None = None
  parts: int = 1


class Optimizers(NamedTuple):
  """What moves the weights: an optimizer of optax for each network."""

  generator: optax.GradientTransformation
  discriminator: optax.GradientTransformation


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
  players: Players,
  optimizers: Optimizers,
  config,
  class_weight: float,
  batch_size: int,
  seen: jax.Array,
  axis_name: str | None = None,
) -> tuple[GanState, Values]:
  """Updates the discriminator, then the generator, on one batch.

  Args:
    state: the state before the step.
    real: real images [batch, height, width, channels] in [-1, 1]; this device's
      part of them.
    labels: int32 [batch].
    keys: the examples' keys [batch].
    players: the networks.
    optimizers: theirs.
    config: FrozenConfigDict with `model.latents`, `loss.adversarial`,
      `loss.class_on_fakes` and `train.ema_images`.
    class_weight: of the class losses.
    batch_size: images a step, over all devices.
    seen: images that training has seen after this step, [].
    axis_name: the device axis inside pmap; None where the batch is whole.

  Returns:
    The state after the step; the means of the losses over the whole batch, and
    the gradients' Euclidean norms.
  """
  stream = lambda name: randomness.stream(keys, name)
  mean = lambda tree: parallel.mean(tree, axis_name)
  latents = randomness.normal(stream("latents"), (config.model.latents,))

  fake, pullback, generator_stats = jax.vjp(
    lambda params: players.generate(
      {**state.generator, "params": params}, latents, labels
    ),
    state.generator["params"],
    has_aux=True,
  )

  def judge_both(variables, real, fake, keys):
    stream = lambda name: randomness.stream(keys, name)
    if players.apart:
      of_real, stats = players.judge(variables, real, stream("real"), False)
      of_fake, stats = players.judge(
        {**variables, **stats}, fake, stream("fake"), False
      )
      return of_real, of_fake, stats
    both = jnp.concatenate([real, fake])
    both_keys = jnp.concatenate([stream("real"), stream("fake")])
    judged, stats = players.judge(variables, both, both_keys, True)
    halves = [jnp.split(logits, 2) for logits in judged]
    return *zip(*halves, strict=True), stats

  def discriminator_loss(params, real, fake, labels, keys):
    variables = {**state.discriminator, "params": params}
    (real_source, real_class), (fake_source, fake_class), stats = judge_both(
      variables, real, fake, keys
    )
    total = source = losses.DISCRIMINATOR[config.loss.adversarial](
      real_source, fake_source
    )
    metrics = {"d_loss": source, "d_real": real_source, "d_fake": fake_source}
    if real_class.shape[-1]:
      on_real = losses.cross_entropy(real_class, labels)
      on_fake = losses.cross_entropy(fake_class, labels)
      auxiliary = on_real + config.loss.class_on_fakes * on_fake
      total = source + class_weight * auxiliary
      metrics["d_class_loss"] = on_real
      metrics["d_class_accuracy"] = jnp.argmax(real_class, -1) == labels
    if players.regularize:
      more, told = players.regularize(variables, real, fake, real_source, keys)
      total, metrics = total + more, metrics | told
    return jnp.mean(total), (jax.tree.map(jnp.mean, metrics), stats)

  gradients, (d_metrics, stats) = _mean_over_parts(
    lambda *part: jax.grad(discriminator_loss, has_aux=True)(
      state.discriminator["params"], *part
    ),
    players.parts,
    (real, fake, labels, keys),
  )
  d_gradients = mean(gradients)
  d_state, d_variables = updated(
    optimizers.discriminator,
    d_gradients,
    state.discriminator_optimizer,
    {**state.discriminator, **stats},
  )

  def generator_loss(images):
    (source, classes), _ = players.judge(
      d_variables, images, stream("generator"), False
    )
    total = source = losses.GENERATOR[config.loss.adversarial](source)
    metrics = {"g_loss": source}
    if classes.shape[-1]:
      auxiliary = losses.cross_entropy(classes, labels)
      total = source + class_weight * auxiliary
      metrics["g_class_loss"] = auxiliary
    return jnp.mean(total), jax.tree.map(jnp.mean, metrics)

  cotangent, g_metrics = jax.grad(generator_loss, has_aux=True)(fake)
  (gradients,) = pullback(cotangent)
  g_gradients = mean(gradients)
  g_state, g_variables = updated(
    optimizers.generator,
    g_gradients,
    state.generator_optimizer,
    {**state.generator, **generator_stats},
  )
  decay = ema_decay(seen, batch_size, config.train.ema_images)
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


def latents_of(labels: jax.Array, key: jax.Array, count: int) -> jax.Array:
  """Draws the latents [batch, count] of samples, each from its place's key."""
  keys = randomness.by_example(key, len(labels))
  return randomness.normal(keys, (count,))
