"""The task that trains a classifier.

Its functions implement the contract of skinjax.training.tasks.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from skinjax.data import augment, batches
from skinjax.models import classifier as models
from skinjax.models import efficientnet, layers
from skinjax.runtime import errors, parallel, randomness
from skinjax.training import losses, tasks
from skinjax.training.state import (
  ClassifierState,
  ema_decay,
  ema_update,
  optimizer_update,
)

BALANCES = ("none", "weights", "logit_adjustment")
NETWORKS = ("resnet", "efficientnet")


def _is_pretrained(config) -> bool:
  return config.model.network == "efficientnet"


def through(config) -> list[str]:
  """Name the pretrained network that training starts with."""
  return [efficientnet.NAME] if _is_pretrained(config) else []


def _network(config, info, axis_name=None):
  if _is_pretrained(config):
    return models.FineTuned(
      size=config.model.input,
      num_classes=info.num_classes,
      dropout=config.model.dropout,
      dtype=config.model.dtype,
    )
  return models.ResNet(
    width=config.model.width,
    num_classes=info.num_classes,
    dropout=config.model.dropout,
    dtype=config.model.dtype,
    axis_name=axis_name,
  )


def _optimizer(config):
  """Return AdamW (Loshchilov, Hutter 2019): warmup, then cosine decay to 0."""
  schedule = optax.warmup_cosine_decay_schedule(
    init_value=0.0,
    peak_value=config.train.rate,
    warmup_steps=config.train.steps // 20,
    decay_steps=config.train.steps,
  )
  # Weight decay is for two or more axes only, not for gains and biases.
  matrices = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
  return optax.adamw(
    schedule,
    b2=config.train.beta2,
    weight_decay=config.train.weight_decay,
    mask=matrices,
  )


def check(config) -> None:
  """Reject a config from which no step can be built.

  Raises:
    InputError: there is no such network, dtype or balance, the sampler already
      balances, or the network or mixup cannot use such images or batches.
  """
  network = config.model.network
  errors.require_known("model.network", network, NETWORKS)
  own = "input" if _is_pretrained(config) else "width"
  if own not in config.model:
    raise errors.InputError(
      f"model.network={network} needs its own keys, such as model.{own}: use "
      f"--config=configs/classifier.py:network={network}"
    )
  if _is_pretrained(config) and (
    config.model.input < 32 or config.model.input % 2
  ):
    raise errors.InputError(
      f"model.input={config.model.input}: an even number of at least 32 is "
      "expected."
    )
  if config.augment.mixup:
    share = parallel.share(config.train.batch_size, config.parallel)
    if share % 2:
      raise errors.InputError(
        f"augment.mixup mixes images in pairs: train.batch_size="
        f"{config.train.batch_size} gives a device {share} images, an odd "
        "number."
      )
  if network == "resnet":
    side = config.data.size
    while side > 4 and side % 2 == 0:
      side //= 2
    if side > 4 or config.data.size % 2:
      raise errors.InputError(
        f"data.size={config.data.size}: the network halves images until 4 "
        "pixels or less are left; a size such as 48, 64, 96 or 128 is expected."
      )
  errors.require_known("model.dtype", config.model.dtype, layers.DTYPES)
  errors.require_known("loss.balance", config.loss.balance, BALANCES)
  require_one_balance(config)


def require_one_balance(config) -> None:
  """Raise InputError if both the loss and the sampler balance the classes."""
  if config.loss.balance != "none" and config.train.sampler != "natural":
    raise errors.InputError(
      f"loss.balance={config.loss.balance} and train.sampler="
      f"{config.train.sampler} both balance the classes: use one of them."
    )


def pretrained(config) -> dict[str, Any]:
  """Read the weights of `extractor`, if the network is pretrained.

  Raises:
    InputError: the package that contains them is not installed.
  """
  if not _is_pretrained(config):
    return {}
  weights = efficientnet.load()["params"]
  del weights["_fc"]  # logits of ImageNet's classes
  return {"extractor": weights}


def init_state(
  config, info, key: jax.Array, pretrained: dict[str, Any] | None = None
) -> ClassifierState:
  """Create the state before the first step; see tasks.Task."""
  images = jnp.zeros((2, info.size, info.size, info.channels))
  variables = _network(config, info).init(key, images, None, train=False)
  params = {**variables["params"], **(pretrained or {})}
  variables = layers.in_default_float({**variables, "params": params})
  return ClassifierState(
    step=jnp.zeros((), jnp.int32),
    variables=variables,
    optimizer=_optimizer(config).init(variables["params"]),
    average=jax.tree.map(jnp.copy, variables),
  )


def train_step(
  state: ClassifierState,
  batch: dict[str, jax.Array],
  key: jax.Array,
  *,
  config,
  info,
  phase=None,
  axis_name: str | None = None,
  frozen=None,
) -> tuple[ClassifierState, dict[str, jax.Array]]:
  """Update the network on one batch.

  Returns:
    The state after the step; `loss` and `accuracy` over the whole batch, and
    the Euclidean norm of the `gradient`.
  """
  del frozen  # it is empty
  labels = batch["label"]
  keys = randomness.by_example(key, len(labels), axis_name)
  stream = lambda name: randomness.stream(keys, name)
  mean = lambda tree: parallel.mean(tree, axis_name)
  images = augment.seen_in_training(batch, keys, config)
  # Each example's weight in the loss; see batches.draw.
  weights = batch.get("weight", jnp.ones(len(labels), images.dtype))
  share = None
  if alpha := config.augment.mixup:
    images, share = augment.mixup(images, stream("mixup"), alpha)

  def loss_fn(params):
    logits, stats = _network(config, info, axis_name).apply(
      {**state.variables, "params": params},
      images,
      stream("dropout"),
      train=True,
      mutable=["batch_stats"],
    )
    adjusted = logits
    if config.loss.balance == "logit_adjustment":
      adjusted = logits + losses.log_prior(info.class_counts)

    def loss_of(labels, weights):
      loss = losses.cross_entropy(adjusted, labels, config.loss.smoothing)
      if config.loss.balance == "weights":
        loss *= losses.inverse_frequency(info.class_counts)[labels]
      return loss * weights

    loss = loss_of(labels, weights)
    if share is not None:
      others = augment.neighbours(labels), augment.neighbours(weights)
      loss = share * loss + (1 - share) * loss_of(*others)
    loss = jnp.mean(loss)
    accuracy = jnp.mean(jnp.argmax(logits, -1) == labels)
    return loss, (stats, {"loss": loss, "accuracy": accuracy})

  gradients, (stats, metrics) = jax.grad(loss_fn, has_aux=True)(
    state.variables["params"]
  )
  gradients = mean(gradients)
  optimizer, variables = optimizer_update(
    _optimizer(config), gradients, state.optimizer, {**state.variables, **stats}
  )
  batch_size = config.train.batch_size
  seen = (state.step + 1) * batch_size
  decay = ema_decay(seen, batch_size, config.train.ema_images)
  state = ClassifierState(
    step=state.step + 1,
    variables=variables,
    optimizer=optimizer,
    average=ema_update(state.average, variables, decay),
  )
  return state, {**mean(metrics), "gradient": optax.tree.norm(gradients)}


def eval_step(
  state: ClassifierState, batch, *, config, info, phase=None, frozen=None
) -> dict[str, jax.Array]:
  """Classify images with the EMA network: `probabilities`.

  With `augment.test_orientations`, they are the mean over an image's 8
  orientations.
  """
  del frozen  # it is empty

  def classify(images):
    logits = _network(config, info).apply(
      state.average, images, None, train=False
    )
    return jax.nn.softmax(logits)

  images = batches.to_float(batch["image"])
  if config.augment.test_orientations:
    views = augment.all_orientations(images)
    return {"probabilities": jnp.mean(jax.lax.map(classify, views), axis=0)}
  return {"probabilities": classify(images)}


def features(variables, images: jax.Array, *, config, info) -> jax.Array:
  """Compute the non-negative features that the last layer maps to logits."""
  return _network(config, info).apply(
    variables, images, None, train=False, pooled=True
  )


TASK = tasks.Task(
  name="classifier",
  title="classifier",
  check=check,
  init_state=init_state,
  pretrained=pretrained,
  through=through,
  train_step=train_step,
  eval_step=eval_step,
  features=features,
  earlier=(
    ("model.network", "resnet"),
    ("train.beta2", 0.999),
    ("augment.mixup", 0.0),
    ("augment.test_orientations", False),
  ),
  fixed_length="the learning rate decays over all steps",
)
