"""Layers that the networks share.

Parameters are created in JAX's default float type, so that a test can run
everything in float64. Convolutions compute in the type of their input: that of
the parameters, or bfloat16 if a network casts its input with `lowered`.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.models import convolution
from skinjax.runtime import randomness

Initializer = Callable[..., jax.Array]

# Initial weights of DCGAN and ACGAN (Radford et al. 2016): N(0, 0.02).
dcgan_init = nn.initializers.normal(0.02)

# What a config's `model.dtype` may be.
DTYPES = ("float32", "bfloat16")


def level_of(size: int) -> int:
  """Return how often 4 is doubled to give a size: 0 for 4, 4 for 64.

  Raises:
    ValueError: the size is not a power of two from 4 on.
  """
  if size < 4 or size & (size - 1):
    raise ValueError(f"Size {size} is not a power of two from 4 on.")
  return size.bit_length() - 3


def lowered(x: jax.Array, dtype: str) -> jax.Array:
  """Cast to bfloat16 if that is the dtype; float32 leaves `x` unchanged."""
  return x.astype(jnp.bfloat16) if dtype == "bfloat16" else x


def _kernel(layer: nn.Module, shape: tuple[int, ...]) -> jax.Array:
  """Create a layer's kernel; scale it if the layer has a gain."""
  if layer.gain is None:
    return layer.param("kernel", layer.kernel_init, shape)
  kernel = layer.param("kernel", nn.initializers.normal(1.0), shape)
  return kernel * (layer.gain / math.sqrt(math.prod(shape[:-1])))


class Conv(nn.Module):
  """A convolution with bias; see convolution.py for the shapes it takes.

  A `gain` is for an equalized learning rate (Karras et al. 2018, section 4.1):
  the kernel is drawn from N(0, 1), and multiplied by gain / sqrt(fan-in)
  whenever it is used, so that Adam's steps have the same size relative to the
  weights of every layer. None: the kernel is used as it is.
  """

  features: int
  kernel_size: int = 3  # 1, 3, 4 or 5
  form: Callable = convolution.conv  # determines the output's size
  use_bias: bool = True  # False if the next layer subtracts the mean
  kernel_init: Initializer = nn.initializers.he_normal()
  gain: float | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Map [batch, height, width, channels] as `form` does."""
    shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
    x = self.form(x, _kernel(self, shape).astype(x.dtype))
    if self.use_bias:
      zeros = nn.initializers.zeros_init()
      x += self.param("bias", zeros, (self.features,)).astype(x.dtype)
    return x


class PixelNoise(nn.Module):
  """Adds noise to every pixel, with a learned weight for each feature.

  Karras et al. 2019 (StyleGAN), section 3.2. The noise is N(0, 1), and the
  same for all features.
  """

  @nn.compact
  def __call__(self, x: jax.Array, keys: jax.Array) -> jax.Array:
    """Map [batch, height, width, features]; keys are [batch]."""
    weights = self.param("weight", nn.initializers.zeros_init(), x.shape[-1:])
    keys = randomness.stream(keys, f"noise {x.shape[1]}")
    noise = randomness.normal(keys, (*x.shape[1:3], 1))
    return x + noise.astype(x.dtype) * weights.astype(x.dtype)


def smoothed(images: jax.Array) -> jax.Array:
  """Blur with the kernel [1/4, 1/2, 1/4] along both axes.

  Maps [batch, height, width, channels]; edges are repeated. It removes the
  highest frequency, which changes sign at each pixel.
  """
  for axis in (1, 2):
    size = images.shape[axis]
    part = lambda start, stop, x=images, axis=axis: jax.lax.slice_in_dim(
      x, start, stop, axis=axis
    )
    before = jnp.concatenate([part(0, 1), part(0, size - 1)], axis)
    after = jnp.concatenate([part(1, size), part(size - 1, size)], axis)
    images = images / 2 + (before + after) / 4
  return images


def bilinear_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Double the size bilinearly and convolve with a kernel [3, 3, C, O].

  Computed as: repeat pixels, convolve, smooth. All of these are linear, so only
  pixels next to an edge differ.
  """
  return smoothed(convolution.upsample_conv(x, kernel))


class Dense(nn.Module):
  """A linear map, in the parameters' type; attributes as in Conv."""

  features: int
  use_bias: bool = True
  kernel_init: Initializer = nn.initializers.lecun_normal()
  gain: float | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Map [batch, inputs] to [batch, features]."""
    x = x @ _kernel(self, (x.shape[-1], self.features))
    if self.use_bias:
      zeros = nn.initializers.zeros_init()
      x += self.param("bias", zeros, (self.features,))
    return x


class CosineLogits(nn.Module):
  """Cosines of features and the classes' proxies (ReACGAN, Kang et al. 2021).

  Both are divided by their norms, so that no class gains from long vectors.
  """

  num_classes: int
  kernel_init: Initializer = nn.initializers.normal(1.0)

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Map [batch, dims] to cosines [batch, classes] and unit vectors."""
    shape = (x.shape[-1], self.num_classes)
    proxies = self.param("kernel", self.kernel_init, shape)
    x = _unit(x, axis=-1)
    return x @ _unit(proxies, axis=0), x


def _unit(x: jax.Array, axis: int) -> jax.Array:
  # A zero vector has no direction: it stays 0, with a finite gradient.
  squares = jnp.sum(x**2, axis=axis, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(squares, 1e-24))


def pixel_norm(x: jax.Array) -> jax.Array:
  """Divide each pixel's features by their root mean square.

  x / sqrt(mean(x^2) + 1e-8) over the last axis (Karras et al. 2018, section
  4.2), of [batch, …, features].
  """
  # In float32 or better: bfloat16 would lose the epsilon.
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  scale = jax.lax.rsqrt(jnp.mean(wide**2, axis=-1, keepdims=True) + 1e-8)
  return (wide * scale).astype(x.dtype)


def minibatch_deviation(x: jax.Array, group: int = 4) -> jax.Array:
  """Append a feature that measures how much the images of a group differ.

  Karras et al. 2018, section 3: the standard deviation of every feature over
  the group, averaged over features and positions. Groups are consecutive
  examples, so that the devices that share a batch do not split them.

  Maps [batch, height, width, features] to [batch, height, width, features + 1].

  Raises:
    ValueError: `group` does not divide the batch.
  """
  batch, height, width, features = x.shape
  if batch % group:
    raise ValueError(f"A batch of {batch} has no groups of {group}.")
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  groups = wide.reshape(batch // group, group, height, width, features)
  deviation = jnp.sqrt(jnp.var(groups, axis=1) + 1e-8).mean((1, 2, 3))
  plane = jnp.repeat(deviation.astype(x.dtype), group)
  plane = jnp.broadcast_to(plane[:, None, None, None], (*x.shape[:3], 1))
  return jnp.concatenate([x, plane], axis=-1)


def downsampled(images: jax.Array) -> jax.Array:
  """Halve [batch, height, width, channels]: means of 2x2 pixels."""
  batch, height, width, channels = images.shape
  boxes = images.reshape(batch, height // 2, 2, width // 2, 2, channels)
  return boxes.mean((2, 4))


class BatchNorm(nn.Module):
  """Batch normalization of the last axis over the whole batch."""

  axis_name: str | None = None  # the device axis inside pmap
  momentum: float = 0.9  # of the running statistics that evaluation uses

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Normalize by the batch in training, else by running statistics.

    The statistics are float32 or better; the result has the input's type.
    """
    return nn.BatchNorm(
      use_running_average=not train,
      axis_name=self.axis_name,
      momentum=self.momentum,
      dtype=x.dtype,
      param_dtype=jnp.result_type(float),
    )(x)


def in_default_float(variables):
  """Cast variables, because flax creates running statistics in float32."""
  return jax.tree.map(lambda x: x.astype(jnp.result_type(float)), variables)


def dropout(x: jax.Array, keys: jax.Array, rate: float) -> jax.Array:
  """Drop elements and scale up the others (Srivastava et al. 2014).

  `x` is [batch, …], `keys` are [batch]; `rate` is in [0, 1), rounded to 1/256.
  """
  if not rate:
    return x
  kept = 1 - round(256 * rate) / 256
  mask = randomness.keep_mask(keys, x.shape[1:], rate)
  return jnp.where(mask, x / kept, 0)
