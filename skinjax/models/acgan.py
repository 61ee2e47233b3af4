"""ACGAN's networks (Odena, Olah, Shlens 2017), for any power of two from 8.

The paper has one pair of networks for 32 pixels and one for 128. Here the
generator halves its channels as it doubles its size, and the discriminator does
the reverse. Strided layers are 4x4 (the paper's are 5x5 and 3x3): a kernel size
that the stride divides covers all pixels equally often (Odena, Dumoulin, Olah
2016). The weights can still learn a grid; see `upsampling` and
results/generators.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.models import convolution, layers
from skinjax.runtime import randomness

_Conv = functools.partial(
  layers.Conv, kernel_size=4, kernel_init=layers.dcgan_init
)
_Down = functools.partial(
  _Conv, form=functools.partial(convolution.conv, stride=2)
)


# How the generator doubles the size: by a transposed convolution, or by an
# ordinary one after nearest-neighbour or bilinear upsampling.
UPSAMPLING = {
  "transposed": functools.partial(_Conv, form=convolution.conv_transpose),
  "nearest": functools.partial(
    layers.Conv,
    kernel_init=layers.dcgan_init,
    form=convolution.upsample_conv,
  ),
  "bilinear": functools.partial(
    layers.Conv, kernel_init=layers.dcgan_init, form=layers.bilinear_conv
  ),
}


def widths(size: int, width: int) -> list[int]:
  """Return the channels from the layer next to the image down to 4x4.

  They double from `width`, to at most 16 times `width`. The size is as in
  layers.level_of.
  """
  levels = range(layers.level_of(size))
  return [width * 2 ** min(level, 4) for level in levels]


class Generator(nn.Module):
  """Generates images of given classes.

  Labels matter from `conditional_from` pixels on. At 4 the one-hot label is
  concatenated with the latent (as in the paper). Otherwise one vector per class
  is added to the input of each layer whose output has at least that many
  pixels, so that the coarser layers are trained on all classes (Shahbazi et al.
  2022; Khorram et al. 2024).

  With `nearest` or `bilinear` upsampling, a hidden layer of the images' size
  and a 3x3 convolution follow. They smooth over neighbouring pixels, which a
  transposed convolution generates with different weights (Odena, Dumoulin, Olah
  2016). With `pixel_noise`, texture is not tied to fixed positions; see
  layers.PixelNoise.
  """

  size: int  # height and width of the images, a power of two from 8
  channels: int  # of the images
  width: int  # channels of the hidden layer of half the images' size
  num_classes: int
  conditional_from: int = 4  # pixels, a power of two up to `size`
  upsampling: str = "transposed"  # of UPSAMPLING
  pixel_noise: bool = False  # after every normalization but the first
  dtype: str = "float32"  # of the convolutions, one of layers.DTYPES
  axis_name: str | None = None  # the device axis inside pmap

  @nn.compact
  def __call__(
    self, latents: jax.Array, labels: jax.Array, *, train: bool
  ) -> jax.Array:
    """Map latents [batch, dims] and labels [batch] to images in [-1, 1]."""
    norm = functools.partial(layers.BatchNorm, axis_name=self.axis_name)
    features = widths(self.size, self.width)[::-1]
    one_hot = jax.nn.one_hot(labels, self.num_classes, dtype=latents.dtype)
    x = latents
    if self.conditional_from == 4:
      x = jnp.concatenate([latents, one_hot], axis=-1)
    x = layers.Dense(16 * features[0], kernel_init=layers.dcgan_init)(x)
    x = layers.lowered(x.reshape(-1, 4, 4, features[0]), self.dtype)
    x = nn.relu(norm()(x, train=train))
    up = UPSAMPLING[self.upsampling]
    smooth = self.upsampling != "transposed"
    # Keys of the noise: images stay a function of their latents.
    keys = randomness.by_content(latents)
    for width in [
      *features[1:],
      *([max(1, self.width // 2)] if smooth else []),
    ]:
      x = up(width, use_bias=False)(self._joined(x, one_hot))
      x = norm()(x, train=train)
      x = nn.relu(layers.PixelNoise()(x, keys) if self.pixel_noise else x)
    if smooth:
      x = layers.Conv(self.channels, kernel_init=layers.dcgan_init)(x)
    else:
      x = up(self.channels)(self._joined(x, one_hot))
    return nn.tanh(x.astype(latents.dtype))

  def _joined(self, x, one_hot):
    size = 2 * x.shape[1]
    if not 4 < self.conditional_from <= size:
      return x
    join = layers.Dense(
      x.shape[-1],
      use_bias=False,
      kernel_init=layers.dcgan_init,
      name=f"join_{size}",
    )
    return x + join(one_hot)[:, None, None].astype(x.dtype)


class Discriminator(nn.Module):
  """Classifies images as real or generated, and by class.

  Attributes are as in Generator. `spectral` applies spectral normalization
  (Miyato et al. 2018) to every layer but the classes' proxies, instead of batch
  normalization to all convolutions but the first. With an `embedding`, class
  logits are the cosines of that many features with the classes' proxies,
  instead of a linear map (see layers.CosineLogits).
  """

  size: int
  width: int  # channels of the first layer
  num_classes: int
  dropout: float  # the rate after each convolution
  noise: float  # standard deviation of the noise added to the images
  spectral: bool
  embedding: int = 0
  dtype: str = "float32"
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    images: jax.Array,
    keys: jax.Array | None,
    *,
    train: bool,
    update_stats: bool = False,
  ) -> tuple[jax.Array, ...]:
    """Map images [batch, size, size, channels] in [-1, 1] to logits.

    `keys` [batch] are for noise and dropout, None in evaluation; `update_stats`
    is whether to update the estimates of spectral norms.

    Returns:
      Source logits [batch] (positive: real), class logits [batch, classes];
      with an embedding, also its unit vectors [batch, embedding].
    """

    def apply(layer, x):
      if not self.spectral:
        return layer(x)
      return nn.SpectralNorm(layer)(x, update_stats=update_stats)

    x = images
    if keys is not None and self.noise:
      noise = randomness.normal(randomness.stream(keys, "noise"), x.shape[1:])
      x += self.noise * noise.astype(x.dtype)
    x = layers.lowered(x, self.dtype)
    for level, width in enumerate(widths(self.size, self.width)):
      batch_norm = level > 0 and not self.spectral
      x = apply(_Down(width, use_bias=not batch_norm), x)
      if batch_norm:
        x = layers.BatchNorm(axis_name=self.axis_name)(x, train=train)
      x = nn.leaky_relu(x, 0.2)
      if keys is not None:
        layer_keys = randomness.stream(keys, f"dropout {level}")
        x = layers.dropout(x, layer_keys, self.dropout)
    x = x.reshape(len(x), -1).astype(images.dtype)
    outputs = self.embedding or self.num_classes
    head = layers.Dense(1 + outputs, kernel_init=layers.dcgan_init)
    logits = apply(head, x)
    if not self.embedding:
      return logits[:, 0], logits[:, 1:]
    cosines = layers.CosineLogits(self.num_classes, layers.dcgan_init)
    return logits[:, 0], *cosines(logits[:, 1:])
