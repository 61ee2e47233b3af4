"""The Inception-v3 that the Fréchet inception distance is made of.

Heusel et al. 2017 took a TensorFlow graph of 2015 with 1008 classes (Szegedy
et al. 2016), which differs from later Inception-v3s: its mean pooling leaves
out the padding, and its very last block pools the maximum. Its weights are
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


class _Layer(nn.Module):
  """A convolution, its normalization and a ReLU.

  Attributes: as of folded.Conv.
  """

  features: int
  kernel_size: tuple[int, int]
  stride: int = 1
  padding: str = "SAME"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, height, width, channels]."""
    return nn.relu(
      folded.Conv(
        self.features, self.kernel_size, self.stride, self.padding, name="conv"
      )(x)
    )


def _max_pool(x: jax.Array) -> jax.Array:
  return nn.max_pool(x, (3, 3), (2, 2))


def mean_around(x: jax.Array) -> jax.Array:
  """Averages 3x3 pixels, those of them that are within the image."""
  return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def max_around(x: jax.Array) -> jax.Array:
  """Takes the maximum of 3x3 pixels, those of them that are within."""
  return nn.max_pool(x, (3, 3), padding="SAME")


_halving = functools.partial(_Layer, stride=2, padding="VALID")


class BlockA(nn.Module):
  """Branches of 1x1, 5x5 and two 3x3 convolutions.

  Attributes:
    pooled: channels of the branch that pools.
  """

  pooled: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, height, width, channels]; keeps height and width."""
    one = _Layer(64, (1, 1), name="branch1x1")(x)
    five = _Layer(48, (1, 1), name="branch5x5_1")(x)
    five = _Layer(64, (5, 5), name="branch5x5_2")(five)
    three = _Layer(64, (1, 1), name="branch3x3dbl_1")(x)
    three = _Layer(96, (3, 3), name="branch3x3dbl_2")(three)
    three = _Layer(96, (3, 3), name="branch3x3dbl_3")(three)
    pool = _Layer(self.pooled, (1, 1), name="branch_pool")(mean_around(x))
    return jnp.concatenate([one, five, three, pool], axis=-1)


class BlockB(nn.Module):
  """Halves the size by strided 3x3 convolutions and by pooling."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, height, width, channels]; halves height and width."""
    three = _halving(384, (3, 3), name="branch3x3")(x)
    double = _Layer(64, (1, 1), name="branch3x3dbl_1")(x)
    double = _Layer(96, (3, 3), name="branch3x3dbl_2")(double)
    double = _halving(96, (3, 3), name="branch3x3dbl_3")(double)
    return jnp.concatenate([three, double, _max_pool(x)], axis=-1)


class BlockC(nn.Module):
  """Branches of 7x7 convolutions, each factored into 1x7 and 7x1.

  Attributes:
    inner: channels within the branches.
  """

  inner: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, height, width, channels]; keeps height and width."""
    inner = self.inner
    one = _Layer(192, (1, 1), name="branch1x1")(x)
    seven = _Layer(inner, (1, 1), name="branch7x7_1")(x)
    seven = _Layer(inner, (1, 7), name="branch7x7_2")(seven)
    seven = _Layer(192, (7, 1), name="branch7x7_3")(seven)
    double = _Layer(inner, (1, 1), name="branch7x7dbl_1")(x)
    double = _Layer(inner, (7, 1), name="branch7x7dbl_2")(double)
    double = _Layer(inner, (1, 7), name="branch7x7dbl_3")(double)
    double = _Layer(inner, (7, 1), name="branch7x7dbl_4")(double)
    double = _Layer(192, (1, 7), name="branch7x7dbl_5")(double)
    pool = _Layer(192, (1, 1), name="branch_pool")(mean_around(x))
    return jnp.concatenate([one, seven, double, pool], axis=-1)


class BlockD(nn.Module):
  """Halves the size by strided 3x3 convolutions, one of them after 7x7."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, height, width, channels]; halves height and width."""
    three = _Layer(192, (1, 1), name="branch3x3_1")(x)
    three = _halving(320, (3, 3), name="branch3x3_2")(three)
    seven = _Layer(192, (1, 1), name="branch7x7x3_1")(x)
    seven = _Layer(192, (1, 7), name="branch7x7x3_2")(seven)
    seven = _Layer(192, (7, 1), name="branch7x7x3_3")(seven)
    seven = _halving(192, (3, 3), name="branch7x7x3_4")(seven)
    return jnp.concatenate([three, seven, _max_pool(x)], axis=-1)


class BlockE(nn.Module):
  """Branches that end in 1x3 and 3x1 convolutions side by side.

  Attributes:
    pool: what the branch that pools begins with.
  """

  pool: Callable[[jax.Array], jax.Array]

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, height, width, channels]; keeps height and width."""
    one = _Layer(320, (1, 1), name="branch1x1")(x)
    three = _Layer(384, (1, 1), name="branch3x3_1")(x)
    double = _Layer(448, (1, 1), name="branch3x3dbl_1")(x)
    double = _Layer(384, (3, 3), name="branch3x3dbl_2")(double)
    pool = _Layer(192, (1, 1), name="branch_pool")(self.pool(x))
    ends = [
      _Layer(384, (1, 3), name="branch3x3_2a")(three),
      _Layer(384, (3, 1), name="branch3x3_2b")(three),
      _Layer(384, (1, 3), name="branch3x3dbl_3a")(double),
      _Layer(384, (3, 1), name="branch3x3dbl_3b")(double),
    ]
    return jnp.concatenate([one, *ends, pool], axis=-1)


class Inception(nn.Module):
  """Inception-v3 up to its last pool; its layers have PyTorch's names."""

  @nn.compact
  def __call__(self, images: jax.Array) -> jax.Array:
    """Maps normalized images to features.

    Args:
      images: [batch, height, width, 3] in [-1, 1], of 75 pixels or more; the
        network was trained on 299.

    Returns:
      [batch, 2048], at least 0: the mean over all places.
    """
    x = _halving(32, (3, 3), name="Conv2d_1a_3x3")(images)
    x = _Layer(32, (3, 3), padding="VALID", name="Conv2d_2a_3x3")(x)
    x = _Layer(64, (3, 3), name="Conv2d_2b_3x3")(x)
    x = _Layer(80, (1, 1), name="Conv2d_3b_1x1")(_max_pool(x))
    x = _Layer(192, (3, 3), padding="VALID", name="Conv2d_4a_3x3")(x)
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
  """Reads the weights, without PyTorch.

  Args:
    path: of pt_inception-2015-12-05-6726825d.pth.
    digest: the file's SHA-256, in hex.

  Returns:
    As `from_torch`.

  Raises:
    InputError: there is no such file, or it is not the published one.
  """
  return from_torch(torch_weights.read(path, digest))


def from_torch(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Converts PyTorch's weights, by name.

  Returns:
    Variables of Inception: float32 arrays in the host's memory.
  """
  return folded.from_torch(Inception(), 75, arrays, _names, epsilon=_EPSILON)


def _names(path: tuple[str, ...]) -> tuple[str, str]:
  return ".".join(path), ".".join([*path[:-1], "bn"])
