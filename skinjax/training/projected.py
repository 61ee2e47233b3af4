"""The projected discriminator of a GAN, if its config chooses one.

`config.model.discriminator` is `own`, the task's own discriminator, or
`projected` (see models/projected.py), with its keys in
`config.model.projected`. skinjax.training.tasks describes the arguments that
these functions share with tasks.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from skinjax.models import efficientnet
from skinjax.models import projected as models
from skinjax.runtime import errors, parallel, randomness
from skinjax.training import gan_step
from skinjax.training.state import GanState

DISCRIMINATORS = ("own", "projected")


def is_chosen(config) -> bool:
  """Return whether a GAN's discriminator is projected."""
  return config.model.discriminator == "projected"


def check(config) -> None:
  """Reject a config from which no discriminator can be built.

  Raises:
    InputError: there is no such discriminator, conditioning or input size, the
      config has the keys of another discriminator or a penalty on pixels, or
      the weights are not installed.
  """
  name = config.model.discriminator
  errors.require_known("model.discriminator", name, DISCRIMINATORS)
  if is_chosen(config) != ("projected" in config.model):
    variant = {"own": "paper", "projected": "projected"}[name]
    raise errors.InputError(
      f"model.discriminator={name} needs its own keys: use "
      f"--config=configs/{config.task}.py:variant={variant}"
    )
  if not is_chosen(config):
    return
  own = config.model.projected
  errors.require_known(
    "model.projected.conditioning", own.conditioning, models.CONDITIONING
  )
  class_loss = config.loss.class_loss
  if own.conditioning == "projection" and class_loss != "cross_entropy":
    raise errors.InputError(
      f"loss.class_loss={class_loss} has no effect without a class head: use "
      "model.projected.conditioning=class_head or both."
    )
  if own.input < 32 or own.input % 32:
    raise errors.InputError(
      f"model.projected.input={own.input}: a multiple of 32 is expected."
    )
  if config.loss.penalty != "none":
    raise errors.InputError(
      f"loss.penalty={config.loss.penalty} is on the discriminator's gradient "
      "with respect to images, but a projected one sees only features: use "
      "none."
    )
  efficientnet.weights_path()


def through(config) -> list[str]:
  """Name the pretrained network that the discriminator sees images through."""
  return [efficientnet.NAME] if is_chosen(config) else []


def frozen(config) -> dict[str, Any]:
  """Return the pretrained network and the projections; empty if not chosen.

  The projections are derived from `config.seed`.
  """
  if not is_chosen(config):
    return {}
  key = randomness.named(jax.random.key(config.seed), "projections")
  return models.load(config.model.projected.width, key)


def _heads(config, info, axis_name=None):
  return models.Heads(
    num_classes=info.num_classes,
    # Matters only for the head that sees pixels: other heads' inputs are wider.
    least=config.model.projected.width // 2,
    most=config.model.projected.most,
    conditioning=config.model.projected.conditioning,
    embedding=gan_step.embedding(config),
    axis_name=axis_name,
  )


def _features(config, info, frozen: dict[str, Any], images: jax.Array):
  """Compute the heads' inputs in parts of the batch; see parallel.parts."""
  own = config.model.projected
  compute = functools.partial(
    models.features,
    frozen,
    size=own.input,
    dtype=config.model.dtype,
    pixels=info.size if own.pixels else 0,
  )
  parts = parallel.parts(len(images), config.parallel)
  if parts == 1:
    return compute(images)
  join = lambda x: x.reshape(-1, *x.shape[2:])
  split = images.reshape(parts, -1, *images.shape[1:])
  return jax.tree.map(join, jax.lax.map(compute, split))


def init(config, info, key: jax.Array) -> dict[str, Any]:
  """Create the heads' variables."""
  own = config.model.projected
  shapes = models.shapes(own.width, own.input)
  if own.pixels:
    shapes.insert(0, (info.size, info.size, info.channels))
  zeros = [jnp.zeros((2, *shape)) for shape in shapes]
  labels = jnp.zeros(2, jnp.int32)
  return _heads(config, info).init(key, zeros, labels, train=False)


def networks(
  config,
  info,
  frozen: dict[str, Any],
  generate: Callable,
  axis_name: str | None,
) -> gan_step.Networks:
  """Return a step's networks; `generate` is the task's own."""
  heads = _heads(config, info, axis_name)

  def discriminate(variables, features, labels, keys, update_stats):
    del keys  # the heads are deterministic
    return heads.apply(
      variables,
      features,
      labels,
      train=True,
      update_stats=update_stats,
      mutable=["batch_stats"],
    )

  return gan_step.Networks(
    generate,
    discriminate,
    separate_passes=True,
    features=lambda images: _features(config, info, frozen, images),
  )


def look(
  state: GanState,
  images: jax.Array,
  labels: jax.Array,
  *,
  config,
  info,
  frozen: dict[str, Any],
) -> dict[str, jax.Array]:
  """Run the heads on real images [batch, …] in [-1, 1], with their labels.

  Returns, as a task's eval_step:
    `probabilities` [batch, classes], and `d_real` [batch], the mean of the
    source logits over heads. The probabilities are those of the class head.
    Without one they are the softmax, over classes, of the source logits that
    result with each class as the label, summed over heads.
  """
  heads = _heads(config, info)
  features = _features(config, info, frozen, images)
  judge = lambda labels: heads.apply(
    state.discriminator, features, labels, train=False
  )
  source, classes, *_ = judge(labels)
  if not classes.shape[-1]:
    # Terms that do not depend on the label cancel out.
    every = range(info.num_classes)
    classes = [judge(jnp.full_like(labels, label))[0].sum(1) for label in every]
    classes = jnp.stack(classes, 1)
  probabilities = jax.nn.softmax(classes)
  return {"probabilities": probabilities, "d_real": source.mean(1)}
