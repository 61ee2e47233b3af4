"""Layers that the networks share.

Parameters are created in JAX's default float type, so that a test can run
everything in float64. Convolutions compute in the type of their input: that of
the parameters, or bfloat16, which networks lower theirs to (`lowered`).
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax import randomness
from skinjax.models import convolution

Initializer = Callable[..., jax.Array]

# Weights of DCGAN and ACGAN (Radford et al. 2016): N(0, 0.02).
dcgan_init = nn.initializers.normal(0.02)

# What a config's `model.dtype` may be.
DTYPES = ("float32", "bfloat16")


def lowered(x: jax.Array, dtype: str) -> jax.Array:
  """Casts to bfloat16 where that is asked for; float32 means as it is."""
  return x.astype(jnp.bfloat16) if dtype == "bfloat16" else x


class Conv(nn.Module):
  """A convolution with bias; see convolution.py for the shapes it takes.

  Attributes:
    features: output channels.
    kernel_size: 1, 3, 4 or 5.
    form: the function of convolution.py, which sets the output's size.
    use_bias: False where a normalization that subtracts the mean follows.
    kernel_init: of the kernel [size, size, inputs, features].
  """

  features: int
  kernel_size: int = 3
  form: Callable = convolution.conv
  use_bias: bool = True
  kernel_init: Initializer = nn.initializers.he_normal()

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, height, width, channels] as `form` does."""
    shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    x = self.form(x, kernel.astype(x.dtype))
    if self.use_bias:
      zeros = nn.initializers.zeros_init()
      x += self.param("bias", zeros, (self.features,)).astype(x.dtype)
    return x


class Dense(nn.Module):
  """A linear map of the last axis, with bias, in the parameters' type."""

  features: int
  kernel_init: Initializer = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, inputs] to [batch, features]."""
    kernel = self.param(
      "kernel", self.kernel_init, (x.shape[-1], self.features)
    )
    bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
    return x @ kernel + bias


class BatchNorm(nn.Module):
  """Batch normalization over the whole batch, whatever devices hold it.

  Attributes:
    axis_name: the device axis inside pmap; None where the batch is whole.
    momentum: of the running statistics that evaluation uses.
  """

  axis_name: str | None = None
  momentum: float = 0.9

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Normalizes the last axis: by the batch in training, else by running.

    Statistics are float32 or better, the result has the type of the input.
    """
    return nn.BatchNorm(
      use_running_average=not train,
      axis_name=self.axis_name,
      momentum=self.momentum,
      dtype=x.dtype,
      param_dtype=jnp.result_type(float),
    )(x)


def in_default_float(variables):
  """Casts variables: flax creates running statistics in float32."""
  return jax.tree.map(lambda x: x.astype(jnp.result_type(float)), variables)


def dropout(x: jax.Array, keys: jax.Array, rate: float) -> jax.Array:
  """Drops elements and scales up what is kept (Srivastava et al. 2014).

  Args:
    x: [batch, …].
    keys: keys [batch].
    rate: the share to drop, in [0, 1), rounded to 1/256.

  Returns:
    As x.
  """
  if not rate:
    return x
  kept = 1 - round(256 * rate) / 256
  mask = randomness.keep_mask(keys, x.shape[1:], rate)
  return jnp.where(mask, x / kept, 0)
