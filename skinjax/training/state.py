"""The state that training changes: arrays only, with no random state."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

Variables = dict[str, Any]  # flax collections: params, batch_stats


@flax.struct.dataclass
class ClassifierState:
  """The state of a classifier in training, after `step` (int32 []) steps.

  `average` is the exponential moving average (EMA) of the network's variables;
  evaluation uses it.
  """

  step: jax.Array
  variables: Variables
  optimizer: Any
  average: Variables


@flax.struct.dataclass
class GanState:
  """The state of a GAN in training, after `step` (int32 []) steps.

  `average` is the EMA of the generator's variables, its running batch
  statistics included; sampling uses it. If the config asks for them, the
  discriminator has a collection `moving` of numbers [] that track its logits:
  `augmented`, the share of images that it sees augmented, and the moving
  averages `real` and `fake`.
  """

  step: jax.Array
  generator: Variables
  discriminator: Variables
  generator_optimizer: Any
  discriminator_optimizer: Any
  average: Variables


def ema_decay(seen: jax.Array, batch_size: int, half_life: float) -> jax.Array:
  """Compute the decay [] of an EMA whose half-life is given in images.

  The half-life is at most a twentieth of the images seen so far, including this
  step's, so that the random initial weights are soon forgotten (as in the EMA
  ramp-up of StyleGAN2-ADA, Karras et al. 2020). `batch_size` is the total over
  all devices.
  """
  return 0.5 ** (batch_size / jnp.minimum(half_life, 0.05 * seen))


def ema_update(
  average: Variables, new: Variables, decay: jax.Array
) -> Variables:
  """Update an EMA: decay * old + (1 - decay) * new."""
  return jax.tree.map(
    lambda a, b: (b + decay.astype(b.dtype) * (a - b)).astype(b.dtype),
    average,
    new,
  )


def optimizer_update(
  optimizer: optax.GradientTransformation,
  gradients: Variables,
  optimizer_state: Any,
  variables: Variables,
  scale: jax.Array | float = 1.0,
) -> tuple[Any, Variables]:
  """Take one step of an optimizer; of `variables` only `params` change.

  `scale` multiplies the optimizer's update, as if it multiplied its learning
  rate.
  """
  updates, optimizer_state = optimizer.update(
    gradients, optimizer_state, variables["params"]
  )
  updates = optax.tree.scale(scale, updates)
  params = optax.apply_updates(variables["params"], updates)
  return optimizer_state, {**variables, "params": params}
