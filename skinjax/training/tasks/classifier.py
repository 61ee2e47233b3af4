"""The task that trains a classifier.

Its functions keep the contract of skinjax.training.tasks.
"""

import jax
import jax.numpy as jnp
import optax

from skinjax.data import augment, batches
from skinjax.models import classifier as models
from skinjax.models import layers
from skinjax.runtime import errors, parallel, randomness
from skinjax.training import losses, tasks
from skinjax.training.state import (
  ClassifierState,
  ema_decay,
  ema_update,
  optimizer_update,
)

BALANCES = ("none", "weights", "logit_adjustment")


def _network(config, info, axis_name=None):
  return models.ResNet(
    size=info.size,
    width=config.model.width,
    num_classes=info.num_classes,
    dropout=config.model.dropout,
    dtype=config.model.dtype,
    axis_name=axis_name,
  )


def _optimizer(config):
  """AdamW (Loshchilov, Hutter 2019), warmed up, then down to 0 by a cosine."""
  schedule = optax.warmup_cosine_decay_schedule(
    init_value=0.0,
    peak_value=config.train.rate,
    warmup_steps=config.train.steps // 20,
    decay_steps=config.train.steps,
  )
  # Gains and biases are not decayed: only what has two axes or more.
  matrices = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
  return optax.adamw(
    schedule, weight_decay=config.train.weight_decay, mask=matrices
  )


def check(config) -> None:
  """Refuses a config that no step can be made of.

  Raises:
    InputError: there is no such dtype or balance, or the sampler balances
      already.
  """
  errors.require_known("model.dtype", config.model.dtype, layers.DTYPES)
  errors.require_known("loss.balance", config.loss.balance, BALANCES)
  if config.loss.balance != "none" and config.train.sampler != "natural":
    raise errors.InputError(
      f"loss.balance={config.loss.balance} corrects what "
      f"train.sampler={config.train.sampler} has corrected: use one of them."
    )


def init_state(config, info, key: jax.Array) -> ClassifierState:
  """Creates the state before the first step."""
  images = jnp.zeros((2, info.size, info.size, info.channels))
  variables = layers.in_default_float(
    _network(config, info).init(key, images, None, train=False)
  )
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
) -> tuple[ClassifierState, dict[str, jax.Array]]:
  """Updates the network on one batch.

  Returns:
    The state after the step; `loss` and `accuracy` over the whole batch, and
    the Euclidean norm of the `gradient`.
  """
  labels = batch["label"]
  keys = randomness.by_example(key, len(labels), axis_name)
  stream = lambda name: randomness.stream(keys, name)
  mean = lambda tree: parallel.mean(tree, axis_name)
  images = augment.seen_in_training(batch, keys, config)

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
    loss = losses.cross_entropy(adjusted, labels, config.loss.smoothing)
    if config.loss.balance == "weights":
      loss *= losses.inverse_frequency(info.class_counts)[labels]
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
  state: ClassifierState, batch, *, config, info, phase=None
) -> dict[str, jax.Array]:
  """Classifies images with the averaged network: `probabilities`."""
  logits = _network(config, info).apply(
    state.average, batches.to_float(batch["image"]), None, train=False
  )
  return {"probabilities": jax.nn.softmax(logits)}


def features(variables, images: jax.Array, *, config, info) -> jax.Array:
  """Computes what the logits are a linear map of; none is under 0."""
  return _network(config, info).apply(
    variables, images, None, train=False, pooled=True
  )


TASK = tasks.Task(
  name="classifier",
  title="classifier",
  check=check,
  init_state=init_state,
  train_step=train_step,
  eval_step=eval_step,
  features=features,
  fixed_length="the learning rate falls over all of them",
)
