"""Classifiers: a residual network, and a pretrained one for fine-tuning."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.models import convolution, efficientnet, layers

_Conv = functools.partial(layers.Conv, use_bias=False)


class Block(nn.Module):
  """A residual block of two 3x3 convolutions, with `features` output channels.

  If it halves the size, the second convolution is followed by average pooling
  over 2x2 pixels, and the shortcut is pooled in the same way (He et al. 2019,
  ResNet-D).
  """

  features: int
  halve: bool
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Map [batch, height, width, channels]."""
    norm = functools.partial(layers.BatchNorm, axis_name=self.axis_name)
    form = convolution.conv_downsample if self.halve else convolution.conv
    y = nn.relu(norm()(_Conv(self.features)(x), train=train))
    y = norm()(_Conv(self.features, form=form)(y), train=train)
    if self.halve:
      x = layers.downsampled(x)
    if x.shape[-1] != self.features:
      x = norm()(_Conv(self.features, kernel_size=1)(x), train=train)
    return nn.relu(x + y)


class ResNet(nn.Module):
  """Classifies square images (He et al. 2016).

  A strided 4x4 convolution halves the image; the blocks halve it further, until
  4 pixels or less are left, with channels that double each time, to at most 8
  times `width`.
  """

  width: int  # channels of the first layer
  num_classes: int
  dropout: float  # the rate before the last layer
  dtype: str = "float32"  # of the convolutions, one of layers.DTYPES
  axis_name: str | None = None  # the device axis inside pmap

  @nn.compact
  def __call__(
    self,
    images: jax.Array,
    keys: jax.Array | None,
    *,
    train: bool,
    pooled: bool = False,
  ) -> jax.Array:
    """Map images [batch, size, size, channels] in [-1, 1] to logits.

    `keys` [batch] are for dropout, None in evaluation.

    Returns:
      Logits [batch, num_classes]; with `pooled`, the features that these are
      computed from, [batch, channels], non-negative: the mean over all
      positions.
    """
    stem = functools.partial(convolution.conv, stride=2)
    x = layers.lowered(images, self.dtype)
    x = _Conv(self.width, kernel_size=4, form=stem)(x)
    norm = layers.BatchNorm(axis_name=self.axis_name)
    x = nn.relu(norm(x, train=train))
    level = 0
    while x.shape[1] > 4:
      level += 1
      features = self.width * 2 ** min(level, 3)
      x = Block(features, halve=True, axis_name=self.axis_name)(x, train=train)
    x = jnp.mean(x.astype(images.dtype), axis=(1, 2))
    if pooled:
      return x
    if keys is not None:
      x = layers.dropout(x, keys, self.dropout)
    return layers.Dense(self.num_classes)(x)


class FineTuned(nn.Module):
  """Classifies images with a network pretrained on ImageNet.

  EfficientNet-Lite0 with frozen batch statistics, which are folded into its
  weights, and a new last layer, initialized to 0.
  """

  size: int  # pixels that images are resized to, even, from 32 on
  num_classes: int
  dropout: float  # the rate before the last layer
  dtype: str = "float32"  # of the convolutions, one of layers.DTYPES

  @nn.compact
  def __call__(
    self,
    images: jax.Array,
    keys: jax.Array | None,
    *,
    train: bool,
    pooled: bool = False,
  ) -> jax.Array:
    """Map square images [batch, height, width, 1 or 3] in [-1, 1] to logits.

    `keys` and `pooled` are as in ResNet; `train` has no effect. The 1280
    features are those of the layer `extractor`.
    """
    del train
    x = layers.lowered(_as_pretrained(images, self.size), self.dtype)
    x, _ = efficientnet.EfficientNet(head=False, name="extractor")(x)
    x = x.astype(images.dtype)
    if pooled:
      return x
    if keys is not None:
      x = layers.dropout(x, keys, self.dropout)
    zeros = nn.initializers.zeros_init()
    return layers.Dense(self.num_classes, kernel_init=zeros)(x)


def _as_pretrained(images, size):
  """Resize and normalize images for the network; see EfficientNet."""
  if images.shape[1] != size:
    shape = (len(images), size, size, images.shape[3])
    images = jnp.clip(jax.image.resize(images, shape, "bicubic"), -1, 1)
  return efficientnet.normalized(images)
