"""The Inception-v3 of the Fréchet inception distance (FID).

Heusel et al. 2017 used a TensorFlow graph of 2015 with 1008 classes (Szegedy
et al. 2016), which differs from later Inception-v3s: its average pooling
excludes the padding, and its last block uses max pooling. Its weights are
published for PyTorch as pt_inception-2015-12-05-6726825d.pth; other weights
give other distances.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from skinjax.models import folded, torch_weights

DIMS = 2048
_CLASSES = 1008
_EPSILON = 1e-3  # of its batch normalization
_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


def _layer(x, name, features, height=1, width=1, stride=1, padding="SAME"):
  """Apply a convolution, with its normalization folded in, and a ReLU."""
  size = (height, width)
  return nn.relu(folded.Conv(features, size, stride, padding, name=name)(x))


def _branch(x, name, *layers):
  """Apply layers (features, height, width) called `name`_1, `name`_2, …."""
  for number, layer in enumerate(layers, 1):
    x = _layer(x, f"{name}_{number}", *layer)
  return x


def _max_pool(x: jax.Array) -> jax.Array:
  return nn.max_pool(x, (3, 3), (2, 2))


def mean_around(x: jax.Array) -> jax.Array:
  """Average 3x3 pixels, excluding those outside the image."""
  return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def max_around(x: jax.Array) -> jax.Array:
  """Take the maximum of 3x3 pixels, excluding those outside the image."""
  return nn.max_pool(x, (3, 3), padding="SAME")


_halving = functools.partial(_layer, stride=2, padding="VALID")


class BlockA(nn.Module):
  """Branches of 1x1, 5x5 and two 3x3 convolutions; keeps the size."""

  pooled: int  # channels of the branch that pools

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Map [batch, height, width, channels]."""
    one = _layer(x, "branch1x1", 64)
    five = _branch(x, "branch5x5", (48,), (64, 5, 5))
    three = _branch(x, "branch3x3dbl", (64,), (96, 3, 3), (96, 3, 3))
    pool = _layer(mean_around(x), "branch_pool", self.pooled)
    return jnp.concatenate([one, five, three, pool], axis=-1)


class BlockB(nn.Module):
  """Halves the size by strided 3x3 convolutions and by pooling."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Map [batch, height, width, channels]."""
    three = _halving(x, "branch3x3", 384, 3, 3)
    double = _branch(x, "branch3x3dbl", (64,), (96, 3, 3))
    double = _halving(double, "branch3x3dbl_3", 96, 3, 3)
    return jnp.concatenate([three, double, _max_pool(x)], axis=-1)


class BlockC(nn.Module):
  """Branches of 7x7 convolutions, as 1x7 and 7x1; keeps the size."""

  inner: int  # channels within the branches

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Map [batch, height, width, channels]."""
    across, down = (self.inner, 1, 7), (self.inner, 7, 1)
    one = _layer(x, "branch1x1", 192)
    seven = _branch(x, "branch7x7", (self.inner,), across, (192, 7, 1))
    double = (self.inner,), down, across, down, (192, 1, 7)
    double = _branch(x, "branch7x7dbl", *double)
    pool = _layer(mean_around(x), "branch_pool", 192)
    return jnp.concatenate([one, seven, double, pool], axis=-1)


class BlockD(nn.Module):
  """Halves the size by strided 3x3 convolutions, one of them after 7x7."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Map [batch, height, width, channels]."""
    three = _layer(x, "branch3x3_1", 192)
    three = _halving(three, "branch3x3_2", 320, 3, 3)
    seven = _branch(x, "branch7x7x3", (192,), (192, 1, 7), (192, 7, 1))
    seven = _halving(seven, "branch7x7x3_4", 192, 3, 3)
    return jnp.concatenate([three, seven, _max_pool(x)], axis=-1)


class BlockE(nn.Module):
  """Branches that end in 1x3 and 3x1 side by side; keeps the size."""

  pool: Callable[[jax.Array], jax.Array]

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Map [batch, height, width, channels]."""
    one = _layer(x, "branch1x1", 320)
    three = _layer(x, "branch3x3_1", 384)
    double = _branch(x, "branch3x3dbl", (448,), (384, 3, 3))
    pool = _layer(self.pool(x), "branch_pool", 192)
    ends = [
      _layer(three, "branch3x3_2a", 384, 1, 3),
      _layer(three, "branch3x3_2b", 384, 3, 1),
      _layer(double, "branch3x3dbl_3a", 384, 1, 3),
      _layer(double, "branch3x3dbl_3b", 384, 3, 1),
    ]
    return jnp.concatenate([one, *ends, pool], axis=-1)


class Inception(nn.Module):
  """Inception-v3 up to its last pool; its layers have PyTorch's names."""

  @nn.compact
  def __call__(self, images: jax.Array) -> jax.Array:
    """Map normalized images to features.

    Args:
      images: [batch, height, width, 3] in [-1, 1], of 75 pixels or more; the
        network was trained on 299.

    Returns:
      [batch, 2048], non-negative: the mean over all positions.
    """
    x = _halving(images, "Conv2d_1a_3x3", 32, 3, 3)
    x = _layer(x, "Conv2d_2a_3x3", 32, 3, 3, padding="VALID")
    x = _layer(x, "Conv2d_2b_3x3", 64, 3, 3)
    x = _layer(_max_pool(x), "Conv2d_3b_1x1", 80)
    x = _layer(x, "Conv2d_4a_3x3", 192, 3, 3, padding="VALID")
    x = _max_pool(x)
    for name, pooled in (("5b", 32), ("5c", 64), ("5d", 64)):
      x = BlockA(pooled, name=f"Mixed_{name}")(x)
    x = BlockB(name="Mixed_6a")(x)
    for name, inner in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
      x = BlockC(inner, name=f"Mixed_{name}")(x)
    x = BlockD(name="Mixed_7a")(x)
    x = BlockE(mean_around, name="Mixed_7b")(x)
    x = BlockE(max_around, name="Mixed_7c")(x)
    return jnp.mean(x, axis=(1, 2))


def load(path: str | pathlib.Path, digest: str = _SHA256) -> dict[str, Any]:
  """Read the weights of pt_inception-2015-12-05-6726825d.pth, without PyTorch.

  Returns:
    As `from_torch`.

  Raises:
    InputError: there is no such file, or its SHA-256 is not `digest`.
  """
  return from_torch(torch_weights.read(path, digest))


def from_torch(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Convert PyTorch's weights to variables of Inception; see folded.py."""
  return folded.from_torch(Inception(), 75, arrays, _names, epsilon=_EPSILON)


def _names(path: tuple[str, ...]) -> tuple[str, str]:
  return ".".join([*path, "conv"]), ".".join([*path, "bn"])
