"""ProGAN's networks (Karras, Aila, Laine, Lehtinen 2018), from 4x4 upwards.

A network has the weights of all its levels from the start; level n works at
4 * 2^n pixels. Two arguments of a call define how far it has grown: `level`,
which is static, and `fade`, which is not, so that each resolution needs only
one compiled program. At fade 0 the newest level has no influence.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.models import convolution, layers
from skinjax.models.layers import downsampled
from skinjax.runtime import randomness

_GAIN = math.sqrt(2)  # of layers before a leaky_relu (He et al. 2015)
_Conv = functools.partial(layers.Conv, gain=_GAIN)
_DownConv = functools.partial(_Conv, form=convolution.conv_downsample)
# How the generator doubles the size, before a 3x3 convolution.
UPSAMPLING = {
  "nearest": convolution.upsample_conv,
  "bilinear": layers.bilinear_conv,
}
_activation = functools.partial(nn.leaky_relu, negative_slope=0.2)


def levels(size: int) -> int:
  """Return the number of levels from 4x4 to a size; see layers.level_of."""
  return layers.level_of(size) + 1


def width(level: int, base: int, most: int) -> int:
  """Return the number of features of a level: min(base / 2^level, most).

  In the paper, `most` = 512 applies from 4x4 to 32x32; `base` = 4096 halves the
  features from 64x64 on.
  """
  return max(1, min(base >> level, most))


def upsampled(images: jax.Array) -> jax.Array:
  """Double [batch, height, width, channels]: every pixel becomes 2x2."""
  return jnp.repeat(jnp.repeat(images, 2, axis=1), 2, axis=2)


def _mixed(old: jax.Array, new: jax.Array, fade: jax.Array) -> jax.Array:
  return old + jnp.asarray(fade, new.dtype) * (new - old)


def at_level(images: jax.Array, level: int, fade: jax.Array) -> jax.Array:
  """Return real images as a network that has grown to a level sees them.

  Maps images of that size or more to [batch, 4 * 2^level, 4 * 2^level,
  channels]; `fade` is the share of the newest level's detail, from 0 to 1.
  """
  while images.shape[1] > 4 << level:
    images = downsampled(images)
  if not level:
    return images
  return _mixed(upsampled(downsampled(images)), images, fade)


def products(level: int, base: int, most: int) -> int:
  """Count an image's products in the 3x3 convolutions of a grown generator.

  The time of a step is roughly proportional to it.
  """
  widths = [width(n, base, most) for n in range(level + 1)]
  sides = [16 * 4**n for n in range(level + 1)]
  begin = 9 * sides[0] * widths[0] ** 2
  return begin + sum(
    # The first of a level, fused with upsampling: 16/4 products per pixel.
    sides[n] * widths[n] * (4 * widths[n - 1] + 9 * widths[n])
    for n in range(1, level + 1)
  )


class Generator(nn.Module):
  """Generates images of given classes.

  Labels matter from level `conditional_from` on. At 0 the one-hot label is
  concatenated with the latent (as in the paper). Otherwise one vector per class
  is added to the input features of this level and of those above it, so that
  coarser levels are the same for all classes and trained on all of them (as in
  UTLO, Khorram et al. 2024). With a single class, labels are not used.

  The paper repeats pixels; with `bilinear` upsampling, no layer can distinguish
  the copies of a pixel. With `pixel_noise`, texture is not tied to fixed
  positions; see layers.PixelNoise. Both are from StyleGAN (Karras et al. 2019).
  """

  size: int  # height and width at the last level, a power of two from 4
  channels: int  # of the images
  base: int  # features of level 0 if `most` allowed them; see `width`
  most: int  # the most features of a level
  num_classes: int
  conditional_from: int = 0
  upsampling: str = "nearest"  # of UPSAMPLING
  pixel_noise: bool = False  # at each level but the first
  dtype: str = "float32"  # of the convolutions, one of layers.DTYPES

  def setup(self):
    """Create the layers of all levels."""
    widths = [width(n, self.base, self.most) for n in range(levels(self.size))]
    up = functools.partial(_Conv, form=UPSAMPLING[self.upsampling])
    # A quarter of the usual gain, and a bias per feature, not per position, as
    # in the authors' code.
    self.dense = layers.Dense(16 * widths[0], use_bias=False, gain=_GAIN / 4)
    zeros = nn.initializers.zeros_init()
    self.bias = self.param("bias", zeros, (widths[0],))
    self.first = [_Conv(widths[0])] + [up(w) for w in widths[1:]]
    self.second = [_Conv(w) for w in widths[1:]]
    if self.pixel_noise:
      self.noise = [layers.PixelNoise() for _ in widths[1:]]
    self.to_pixels = [
      layers.Conv(self.channels, kernel_size=1, gain=1.0) for _ in widths
    ]
    if self.num_classes > 1 and self.conditional_from:
      # One of the inputs is 1, the others are 0.
      gain = math.sqrt(self.num_classes)
      self.join = [
        layers.Dense(w, use_bias=False, gain=gain)
        for w in widths[self.conditional_from - 1 : -1]
      ]

  def __call__(
    self, latents: jax.Array, labels: jax.Array, level: int, fade: jax.Array
  ) -> jax.Array:
    """Generate images from latents [batch, dims] and labels, int32 [batch].

    The network has grown to `level`, from 0; `fade` is the share of the newest.

    Returns:
      [batch, 4 * 2^level, 4 * 2^level, channels]; the output is linear, and
      training keeps it near [-1, 1].
    """
    x = self._begin(latents, labels)
    # Keys of the noise: images stay a function of their latents.
    keys = randomness.by_content(latents)
    before = None
    for n in range(1, level + 1):
      before, x = x, self._grow(x, n, labels, keys)
    images = self.to_pixels[level](x).astype(latents.dtype)
    if before is None:
      return images
    old = self.to_pixels[level - 1](before).astype(latents.dtype)
    return _mixed(upsampled(old), images, fade)

  def all_levels(self, latents: jax.Array, labels: jax.Array) -> None:
    """Use every layer once, which creates all weights."""
    x, keys = self._begin(latents, labels), randomness.by_content(latents)
    for n, to_pixels in enumerate(self.to_pixels):
      x = self._grow(x, n, labels, keys) if n else x
      to_pixels(x)

  def _begin(self, latents, labels):
    if self.num_classes > 1 and not self.conditional_from:
      one_hot = jax.nn.one_hot(labels, self.num_classes, dtype=latents.dtype)
      latents = jnp.concatenate([latents, one_hot], axis=-1)
    x = self.dense(layers.pixel_norm(latents))
    x = x.reshape(x.shape[0], 4, 4, -1) + self.bias
    x = layers.lowered(x, self.dtype)
    x = layers.pixel_norm(_activation(x))
    return layers.pixel_norm(_activation(self.first[0](x)))

  def _grow(self, x, n, labels, keys):
    if self.num_classes > 1 and 0 < self.conditional_from <= n:
      join = self.join[n - self.conditional_from]
      one_hot = jax.nn.one_hot(labels, self.num_classes)
      x += join(one_hot)[:, None, None].astype(x.dtype)
    x = self.first[n](x)
    if self.pixel_noise:
      x = self.noise[n - 1](x, keys)
    x = layers.pixel_norm(_activation(x))
    return layers.pixel_norm(_activation(self.second[n - 1](x)))


class Discriminator(nn.Module):
  """Classifies images as real or generated, and by class.

  Attributes are as in Generator. With an `embedding`, class logits are the
  cosines of that many features with the classes' proxies, instead of a linear
  map (see layers.CosineLogits).
  """

  size: int
  base: int
  most: int
  num_classes: int
  group: int = 4  # of the minibatch deviation
  embedding: int = 0
  dtype: str = "float32"

  def setup(self):
    """Create the layers of all levels."""
    widths = [width(n, self.base, self.most) for n in range(levels(self.size))]
    self.from_pixels = [_Conv(w, kernel_size=1) for w in widths]
    # Level n ends with the features of level n - 1; 4x4 keeps its own.
    self.first = [_Conv(w) for w in widths]
    self.second = [_DownConv(w) for w in widths[:-1]]
    self.dense = layers.Dense(widths[0], gain=_GAIN)
    classes = self.num_classes if self.num_classes > 1 else 0
    self.cosines = None
    if classes and self.embedding:
      classes, self.cosines = self.embedding, layers.CosineLogits(classes)
    self.head = layers.Dense(1 + classes, gain=1.0)

  def __call__(
    self, images: jax.Array, level: int, fade: jax.Array
  ) -> tuple[jax.Array, ...]:
    """Map images [batch, 4 * 2^level, 4 * 2^level, channels] to logits.

    `level` and `fade` are as in Generator.

    Returns:
      Source logits [batch], class logits [batch, classes] (no columns with a
      single class); with an embedding, also its unit vectors [batch,
      embedding].
    """
    x = self._read(images, level)
    for n in range(level, 0, -1):
      x = self._shrink(x, n)
      if n == level:
        x = _mixed(self._read(downsampled(images), n - 1), x, fade)
    return self._end(x, images.dtype)

  def all_levels(self, images: jax.Array) -> None:
    """Use every layer once, which creates all weights."""
    x = self._read(images, len(self.from_pixels) - 1)
    for n in range(len(self.from_pixels) - 1, 0, -1):
      images, x = downsampled(images), self._shrink(x, n)
      self._read(images, n - 1)
    self._end(x, images.dtype)

  def _read(self, images, n):
    return _activation(self.from_pixels[n](layers.lowered(images, self.dtype)))

  def _shrink(self, x, n):
    x = _activation(self.first[n](x))
    return _activation(self.second[n - 1](x))

  def _end(self, x, dtype):
    x = layers.minibatch_deviation(x, self.group)
    x = _activation(self.first[0](x)).astype(dtype)
    x = _activation(self.dense(x.reshape(len(x), -1)))
    logits = self.head(x)
    if self.cosines is None:
      return logits[:, 0], logits[:, 1:]
    return logits[:, 0], *self.cosines(logits[:, 1:])
