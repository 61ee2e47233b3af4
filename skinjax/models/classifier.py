"""Classifiers: a residual network, and a pretrained one to be fine-tuned."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from skinjax.models import convolution, efficientnet, layers

_Conv = functools.partial(layers.Conv, use_bias=False)


class Block(nn.Module):
  """A residual block of two 3x3 convolutions, with `features` output channels.

  Where it halves the size, the second convolution is followed by a mean over
  2x2 pixels, and the shortcut by the same mean (He et al. 2019, ResNet-D).
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
  """Tells the class of an image of 32 to 128 pixels (He et al. 2016).

  A strided 4x4 convolution halves the image; the blocks halve it further, down
  to 4x4, with channels that double each time, to at most 8 times `width`.
  """

  size: int  # height and width of the images, a power of two from 16
  width: int  # channels of the first layer
  num_classes: int
  dropout: float  # the rate before the last layer
  dtype: str = "float32"  # of layers.DTYPES, what the convolutions compute in
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

    `keys` [batch] are of dropout, None in evaluation.

    Returns:
      Logits [batch, num_classes]; with `pooled`, what these are computed from,
      features [batch, channels], at least 0: the mean over all places.
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
  """Tells the class of an image by a network pretrained on ImageNet.

  EfficientNet-Lite0 with its batch statistics frozen, as they are folded into
  its weights, and a new last layer, which begins at 0.
  """

  size: int  # pixels that images are resized to, even, from 32 on
  num_classes: int
  dropout: float  # the rate before the last layer
  dtype: str = "float32"  # of layers.DTYPES, what the convolutions compute in

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

    `keys` and `pooled` are as of ResNet; `train` changes nothing. The features
    are 1280, those of the layer `extractor`.
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
  """Make images what the pretrained network takes; see EfficientNet."""
  if images.shape[1] != size:
    shape = (len(images), size, size, images.shape[3])
    images = jnp.clip(jax.image.resize(images, shape, "bicubic"), -1, 1)
  return efficientnet.normalized(images)
