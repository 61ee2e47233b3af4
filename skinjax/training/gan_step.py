"""The training step that the GANs share, whatever their networks are.

Both updates share one pass through the generator: the discriminator is trained
on the images, the generator on the gradient of the updated discriminator at the
same images. Generated images have the labels of the batch, so that both halves
have the label distribution of the sampler, unless the config's
`train.generated_labels` names another sampler for generated images.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from skinjax.data import augment, batches
from skinjax.models import layers
from skinjax.runtime import errors, parallel, randomness
from skinjax.training import losses, schedules
from skinjax.training.state import (
  GanState,
  Variables,
  ema_decay,
  ema_update,
  optimizer_update,
)

Values = dict[str, jax.Array]
EARLIER = (  # see tasks.Task
  ("model.discriminator", "own"),
  ("loss.class_loss", "cross_entropy"),
  ("loss.lecam", 0.0),
  ("augment.adapt_target", 0.0),
  ("train.decay", 0.0),
)


class Logits(NamedTuple):
  """A discriminator's outputs for images."""

  source: jax.Array  # high for real images, [batch] or [batch, heads]
  classes: jax.Array  # [batch, classes]; no column without a class head
  # Unit-norm features [batch, dims], for loss.class_loss="d2d_ce": `classes`
  # are then their cosines with the classes' proxies.
  features: jax.Array | None = None


class Networks(NamedTuple):
  """What a GAN's task supplies to a step: pure functions of variables.

  `changed` are the collections that a pass changes, such as batch statistics.

  Attributes:
    generate: `generate(variables, latents, labels) -> (images, changed)`.
    discriminate: `discriminate(variables, images, labels, keys, update_stats)
      -> (logits, changed)`, with the fields of Logits; the labels are those of
      real images, or those for which images were generated.
    features: `features(images) -> features`, the frozen part of the
      discriminator: arrays [batch, …] that discriminate takes instead of
      images. Images are then augmented once per step, so that one pass and one
      pullback serve both updates. It requires separate_passes.
    separate_passes: whether real and generated images go through the
      discriminator one after the other, as batch normalization needs.
    parts: number of parts of a batch over which the discriminator's gradient is
      averaged; see parallel.parts. Above 1 only if the output for each part is
      the same as in the whole batch.
  """

  generate: Callable
  discriminate: Callable
  features: Callable | None = None
  separate_passes: bool = False
  parts: int = 1


class _Batch(NamedTuple):
  """A step's images, or features of them, with their labels and keys."""

  real: Any
  fake: Any
  labels: jax.Array  # of real images
  asked: jax.Array  # of generated ones
  keys: jax.Array


class _Terms(NamedTuple):
  """The inputs that the losses of a step share."""

  networks: Networks
  config: Any
  class_weight: float
  class_loss: Callable  # `class_loss(logits, labels)`
  moving: Values  # numbers that track the logits, see init_state
  step: jax.Array


class Optimizers(NamedTuple):
  """One optax optimizer per network."""

  generator: optax.GradientTransformation
  discriminator: optax.GradientTransformation


def check(config) -> None:
  """Reject a config from which no step can be built.

  Raises:
    InputError: there is no such dtype, loss, penalty, augmentation, sampler or
      size, or the share of augmented images is to be adapted but cannot be.
  """
  loss, view = config.loss, config.augment
  for key, name, known in (
    ("model.dtype", config.model.dtype, layers.DTYPES),
    ("loss.adversarial", loss.adversarial, losses.ADVERSARIAL),
    ("loss.penalty", loss.penalty, losses.PENALTIES),
    ("loss.class_loss", loss.class_loss, losses.CLASS_LOSSES),
    ("augment.discriminator", view.discriminator, augment.DISCRIMINATOR),
    (
      "train.generated_labels",
      config.train.generated_labels,
      ["", *batches.SAMPLERS],
    ),
  ):
    errors.require_known(key, name, known)
  size = config.data.size
  try:
    level = layers.level_of(size)
  except ValueError:
    level = 0
  if level < 1:
    raise errors.InputError(
      f"data.size={size}: a GAN's images need a power of two from 8 on."
    )
  sizes = [4 << n for n in range(level + 1)]
  if config.model.conditional_from not in sizes:
    raise errors.InputError(
      f"model.conditional_from={config.model.conditional_from}: one of "
      f"{', '.join(map(str, sizes))} is expected."
    )
  if not view.adapt_target:
    return
  if not (
    view.discriminator
    or view.discriminator_turns
    or view.discriminator_brightness
  ):
    raise errors.InputError(
      f"augment.adapt_target={view.adapt_target} adapts the share of augmented "
      "images, but no augmentation is set: set augment.discriminator, for "
      "example to affine."
    )
  if loss.adversarial not in losses.CENTRED:
    raise errors.InputError(
      f"augment.adapt_target={view.adapt_target} counts real images with "
      "logits above 0, which means nothing with loss.adversarial="
      f"{loss.adversarial}: use {' or '.join(losses.CENTRED)}."
    )


def embedding(config) -> int:
  """Return the number of features of the class cosines; 0 without cosines."""
  cosines = config.loss.class_loss == "d2d_ce"
  return config.model.embedding if cosines else 0


def init_state(
  generator: Variables,
  discriminator: Variables,
  optimizers: Optimizers,
  config,
) -> GanState:
  """Make the state before the first step from the networks' variables."""
  names = ["augmented"] if config.augment.adapt_target else []
  names += ["real", "fake"] if config.loss.lecam else []
  if names:
    moving = {name: jnp.zeros(()) for name in names}
    discriminator = {**discriminator, "moving": moving}
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
  class_counts: tuple[int, ...],
  axis_name: str | None = None,
) -> tuple[GanState, Values]:
  """Update the discriminator, then the generator, on one batch.

  `real` is this device's part of the images, [batch, height, width, channels]
  in [-1, 1], with labels int32 [batch] and keys [batch]. The step reads these
  keys of the config: `model.latents`, `loss`, `augment`, `train.ema_images`,
  `train.steps`, `train.decay` and `train.generated_labels`. `class_weight` is
  the weight of the class losses, `batch_size` the number of images per step
  over all devices, `seen` [] the number of images seen after this step, and
  `class_counts` the number of training images per class.

  Returns:
    The state after the step; the means of the losses over the whole batch, and
    the gradients' Euclidean norms.
  """
  moving = state.discriminator.get("moving", {})
  share = moving.get("augmented", config.augment.discriminator_share)
  augmented = lambda images, keys: augment.for_discriminator(
    images, keys, config.augment, share
  )
  if networks.features:  # images are augmented once, before both updates
    see = lambda images, name: networks.features(
      augmented(images, randomness.stream(keys, name))
    )
    view = lambda features, keys: features
  else:  # and here in every pass through the discriminator
    see = lambda images, name: images
    view = augmented
  networks = networks._replace(
    discriminate=_viewing(networks.discriminate, view)
  )
  mean = lambda tree: parallel.mean(tree, axis_name)
  asked = labels  # of generated images
  if sampler := config.train.generated_labels:
    asked = batches.draw_labels(
      randomness.stream(keys, "generated labels"), class_counts, sampler
    )
  terms = _Terms(
    networks,
    config,
    class_weight,
    functools.partial(_class_loss, config=config, axis_name=axis_name),
    moving,
    state.step,
  )
  rates = schedules.decay(state.step, config.train.steps, config.train.decay)
  latents = randomness.normal(
    randomness.stream(keys, "latents"), (config.model.latents,)
  )

  def generate(params):
    images, changed = networks.generate(
      {**state.generator, "params": params}, latents, asked
    )
    return see(images, "fake"), changed

  real = see(real, "real")
  fake, backward, g_changed = jax.vjp(
    generate, state.generator["params"], has_aux=True
  )

  batch = _Batch(real, fake, labels, asked, keys)

  def discriminator_loss(params, batch, penalty):
    variables = {**state.discriminator, "params": params}
    values, metrics, changed = _discriminator_loss(
      variables, batch, terms, penalty
    )
    return jnp.mean(values), (jax.tree.map(jnp.mean, metrics), changed)

  def discriminator_gradients(penalty):
    return _mean_over_parts(
      lambda batch: jax.grad(discriminator_loss, has_aux=True)(
        state.discriminator["params"], batch, penalty
      ),
      # Its pairs come from the whole batch.
      1 if config.loss.class_loss == "d2d_ce" else networks.parts,
      batch,
    )

  penalty, every = config.loss.penalty, config.loss.penalty_every
  if every == 1 or penalty == "none":
    d_gradients, (d_metrics, d_changed) = discriminator_gradients(penalty)
  else:
    # Only one branch runs: a step without the penalty costs nothing extra.
    d_gradients, (d_metrics, d_changed) = jax.lax.cond(
      state.step % every == 0,
      lambda: discriminator_gradients(penalty),
      lambda: discriminator_gradients("none"),
    )
  d_gradients, d_metrics = mean((d_gradients, d_metrics))
  d_optimizer, discriminator = optimizer_update(
    optimizers.discriminator,
    d_gradients,
    state.discriminator_optimizer,
    {**state.discriminator, **d_changed},
    rates,
  )

  def generator_loss(fake):
    values, metrics = _generator_loss(
      discriminator, batch._replace(fake=fake), terms
    )
    return jnp.mean(values), jax.tree.map(jnp.mean, metrics)

  on_images, g_metrics = jax.grad(generator_loss, has_aux=True)(fake)
  g_gradients = mean(backward(on_images)[0])
  g_optimizer, generator = optimizer_update(
    optimizers.generator,
    g_gradients,
    state.generator_optimizer,
    {**state.generator, **g_changed},
    rates,
  )
  decay = ema_decay(seen, batch_size, config.train.ema_images)
  if moving:
    moving = _moved(moving, d_metrics, state.step, batch_size, config)
    discriminator = {**discriminator, "moving": moving}
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
  return state, {**d_metrics, **mean(g_metrics), **norms}


def _discriminator_loss(
  variables: Variables, batch: _Batch, terms: _Terms, penalty: str
) -> tuple[jax.Array, Values, Variables]:
  """Compute f(D(x), D(G)) - weight log p(c | x) [+ …], [batch]."""
  networks, config, class_weight, class_loss, moving, step = terms
  real, fake, labels, asked, keys = batch
  of_real, of_fake, changed = _both(networks, variables, batch)
  adversarial = losses.ADVERSARIAL[config.loss.adversarial]
  source = adversarial.discriminator(of_real.source, of_fake.source)
  total = source = _over_heads(source)
  metrics = {
    "d_loss": source,
    "d_real": of_real.source,
    "d_fake": of_fake.source,
  }
  if of_real.classes.shape[-1]:
    on_real = class_loss(of_real, labels)
    on_fake = class_loss(of_fake, asked)
    total += class_weight * (on_real + config.loss.class_on_fakes * on_fake)
    metrics["d_class_loss"] = on_real
    metrics["d_class_accuracy"] = jnp.argmax(of_real.classes, -1) == labels
  if config.loss.drift:
    total += config.loss.drift * _over_heads(of_real.source**2)
  if config.loss.penalty != "none":
    penalty_keys = randomness.stream(keys, "regularize")
    look = lambda images: networks.discriminate(
      variables, images, labels, penalty_keys, False
    )
    critic = lambda images: look(images)[0].source
    uniform = jax.vmap(jax.random.uniform)
    shares = uniform(randomness.stream(keys, "between")).astype(real.dtype)
    value = losses.penalty(penalty, critic, real, fake, shares)
    # Lazy regularization (StyleGAN2, Karras et al. 2020): every k steps, with k
    # times the weight.
    value *= config.loss.penalty_every
    total += config.loss.penalty_weight * value
    metrics["d_penalty"] = value
  if "augmented" in moving:
    metrics["d_sign"] = jnp.sign(of_real.source)
  if "real" in moving:
    held = losses.lecam(
      of_real.source, of_fake.source, moving["real"], moving["fake"]
    )
    # Before the first step there are no averages.
    total += jnp.where(step > 0, config.loss.lecam, 0) * _over_heads(held)
    metrics["d_lecam"] = held
  return total, metrics, changed


def _generator_loss(
  variables: Variables, batch: _Batch, terms: _Terms
) -> tuple[jax.Array, Values]:
  """Compute g(D(x), D(G)) - weight log p(c | G), [batch]."""
  networks, config, class_weight, class_loss, *_ = terms
  real, fake, labels, asked, keys = batch
  adversarial = losses.ADVERSARIAL[config.loss.adversarial]
  look = lambda images, labels, name: networks.discriminate(
    variables, images, labels, randomness.stream(keys, name), False
  )[0]
  of_fake, of_real = look(fake, asked, "generator"), None
  if adversarial.relativistic:
    of_real = look(real, labels, "generator's real").source
  source = adversarial.generator(of_real, of_fake.source)
  total = source = _over_heads(source)
  metrics = {"g_loss": source}
  if of_fake.classes.shape[-1]:
    on_fake = class_loss(of_fake, asked)
    total += class_weight * on_fake
    metrics["g_class_loss"] = on_fake
  return total, metrics


def _over_heads(values: jax.Array) -> jax.Array:
  """Average values [batch, heads] over heads; leave [batch] unchanged."""
  return values if values.ndim == 1 else jnp.mean(values, axis=1)


def _class_loss(logits: Logits, labels, *, config, axis_name) -> jax.Array:
  """Compute the class loss that the config names, [batch]."""
  if config.loss.class_loss == "cross_entropy":
    return losses.cross_entropy(logits.classes, labels)
  return losses.d2d_cross_entropy(
    logits.classes,
    labels,
    logits.features,
    *parallel.gather((logits.features, labels), axis_name),
    margin=config.loss.class_margin,
    temperature=config.loss.class_temperature,
  )


def _moved(moving, metrics, step, batch_size: int, config):
  """Update the state's `moving` with the logits of a step's whole batch."""
  moving = dict(moving)
  if "augmented" in moving:
    moving["augmented"] = augment.adapted(
      moving["augmented"],
      metrics["d_sign"],
      config.augment.adapt_target,
      batch_size / config.augment.adapt_images,
    )
  if "real" in moving:
    # At first a plain mean over the steps so far.
    decay = jnp.minimum(losses.LECAM_DECAY, step / (step + 1))
    before = {name: moving[name] for name in ("real", "fake")}
    after = {name: metrics[f"d_{name}"] for name in before}
    moving |= ema_update(before, after, decay)
  return moving


def _viewing(discriminate: Callable, view: Callable) -> Callable:
  """Wrap a discriminator so that it gets `view(images, keys)` of all images."""

  def viewing(variables, images, labels, keys, update_stats):
    logits, changed = discriminate(
      variables, view(images, keys), labels, keys, update_stats
    )
    logits = Logits(*logits)
    if logits.source.ndim not in (1, 2):
      raise ValueError(
        f"Source logits have shape {logits.source.shape}; [batch] or [batch, "
        "heads] is expected."
      )
    return logits, changed

  return viewing


def _both(
  networks: Networks, variables: Variables, batch: _Batch
) -> tuple[Logits, Logits, Variables]:
  """Return the logits of real and of generated images, and what changed."""
  real, fake = (batch.real, batch.labels), (batch.fake, batch.asked)
  keys = [randomness.stream(batch.keys, name) for name in ("real", "fake")]
  if networks.separate_passes:
    of_real, changed = networks.discriminate(variables, *real, keys[0], True)
    # Running statistics are those of real images, which evaluation is run on.
    of_fake, _ = networks.discriminate(
      {**variables, **changed}, *fake, keys[1], False
    )
    return of_real, of_fake, changed
  join = lambda *arrays: jnp.concatenate(arrays)
  logits, changed = networks.discriminate(
    variables, *map(join, real, fake), join(*keys), True
  )
  half = len(keys[0])
  of_real, of_fake = (
    jax.tree.map(lambda x, part=part: x[part], logits)
    for part in (slice(half), slice(half, None))
  )
  return of_real, of_fake, changed


def _mean_over_parts(function: Callable, parts: int, arrays: Any) -> Any:
  """Average the results of a function over the parts of a batch."""
  if parts == 1:
    return function(arrays)
  arrays = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), arrays)
  shapes = jax.eval_shape(function, jax.tree.map(lambda x: x[0], arrays))
  total = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  add = lambda total, part: (jax.tree.map(jnp.add, total, function(part)), ())
  total, _ = jax.lax.scan(add, total, arrays)
  return jax.tree.map(lambda x: x / parts, total)
