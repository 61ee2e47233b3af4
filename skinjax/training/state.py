"""What training changes: everything in it is an array, nothing is random."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

Variables = dict[str, Any]  # flax collections: params, batch_stats


@flax.struct.dataclass
class ClassifierState:
  """The state of a classifier in training.

  Attributes:
    step: int32 [], training steps done.
    variables: the network's.
    optimizer: optax state.
    average: exponential moving average of `variables`; evaluation uses it.
  """

  step: jax.Array
  variables: Variables
  optimizer: Any
  average: Variables


@flax.struct.dataclass
class GanState:
  """The state of a GAN in training.

  Attributes:
    step: int32 [], training steps done.
    generator: the generator's variables.
    discriminator: the discriminator's variables.
    generator_optimizer: optax state.
    discriminator_optimizer: optax state.
    average: exponential moving average of the generator's variables, its
      running batch statistics included; sampling uses it.
  """

  step: jax.Array
  generator: Variables
  discriminator: Variables
  generator_optimizer: Any
  discriminator_optimizer: Any
  average: Variables


def ema_decay(seen: jax.Array, batch_size: int, half_life: float) -> jax.Array:
  """Computes the decay of a moving average whose half-life counts images.

  In the beginning the average follows faster, so that the random first weights
  are soon forgotten: the half-life is at most a twentieth of the images seen so
  far (as StyleGAN2-ADA's EMA ramp-up has it, Karras et al. 2020).

  Args:
    seen: images that training has seen, this step's included, [].
    batch_size: images a step, over all devices.
    half_life: in images.

  Returns:
    The share of the old average that stays, [].
  """
  return 0.5 ** (batch_size / jnp.minimum(half_life, 0.05 * seen))


def ema_update(
  average: Variables, new: Variables, decay: jax.Array
) -> Variables:
  """Updates a moving average: decay old + (1 - decay) new."""
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
) -> tuple[Any, Variables]:
  """Takes one step of an optimizer.

  Args:
    optimizer: any of optax.
    gradients: of `variables["params"]`.
    optimizer_state: the optimizer's state.
    variables: collections of which only `params` change.

  Returns:
    The optimizer's state and the variables after the step.
  """
  updates, optimizer_state = optimizer.update(
    gradients, optimizer_state, variables["params"]
  )
  params = optax.apply_updates(variables["params"], updates)
  return optimizer_state, {**variables, "params": params}
