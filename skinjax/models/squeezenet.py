"""SqueezeNet 1.1, trained on ImageNet (Iandola et al. 2016).

Its weights come with a Python package, so they are available offline. They are
Caffe's of 2016: the authors, the architecture and the input differ from those
of EfficientNet-Lite0, so SqueezeNet can evaluate generators trained through
EfficientNet-Lite0.
"""

import pathlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from skinjax.models import folded, numpy_weights, pretrained

NAME = "SqueezeNet 1.1"
DIMS = 512
# Subtracted from images in [0, 255]. The blue channel comes first: in this
# order the package's example picture, a pot plant and books in front of a
# window, is classified as furniture, shoji, pot and window shade; with red
# first, as a sewing machine.
MEAN_BGR = (104.0, 117.0, 123.0)
_PACKAGE, _VERSION = "ndf", "0.1.4"
_FILE = "example_models/weights/squeezenet_weights.pkl"
_SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"
_CLASSES = 1000
# The features that each fire module squeezes to; it expands them to four times
# as many, twice. None is a max pool.
_SQUEEZED = (None, 16, 16, None, 32, 32, None, 48, 48, 64, 64)


class Fire(nn.Module):
  """Convolutions of 1x1 and 3x3 side by side, on few features."""

  squeezed: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Map [batch, height, width, channels] to 8 * `squeezed` channels."""
    layer = lambda name, features, k: nn.relu(
      folded.Conv(features, (k, k), name=name)(x)
    )
    x = layer("squeeze1x1", self.squeezed, 1)
    wide = 4 * self.squeezed
    sides = [layer("expand1x1", wide, 1), layer("expand3x3", wide, 3)]
    return jnp.concatenate(sides, -1)


class SqueezeNet(nn.Module):
  """SqueezeNet 1.1; its layers have Caffe's names."""

  @nn.compact
  def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Map images to features and logits.

    Args:
      images: [batch, height, width, 3] of 32 pixels or more, BGR in [0, 255]
        minus `MEAN_BGR`.

    Returns:
      Non-negative features [batch, 512], the mean over all positions of the
      last fire module's output; logits [batch, 1000] of ImageNet's classes.
    """
    stem = folded.Conv(64, (3, 3), 2, padding="VALID", name="conv1")
    x, number = nn.relu(stem(images)), 2
    for squeezed in _SQUEEZED:
      if squeezed is None:
        x = _max_pool(x)
      else:
        x = Fire(squeezed, name=f"fire{number}")(x)
        number += 1
    last = nn.relu(folded.Conv(_CLASSES, (1, 1), name="conv10")(x))
    return jnp.mean(x, (1, 2)), jnp.mean(last, (1, 2))


def _max_pool(x):
  """Pool 3x3 at stride 2, including a partial last window (ceil mode)."""
  behind = [(0, (size - 3) % 2) for size in x.shape[1:3]]
  return nn.max_pool(x, (3, 3), (2, 2), behind)


def weights_path() -> pathlib.Path:
  """Find the weights file; see pretrained.find."""
  return pretrained.find(NAME, _PACKAGE, _VERSION, _PACKAGE, _FILE)


def load(
  path: str | pathlib.Path | None = None, digest: str = _SHA256
) -> dict[str, Any]:
  """Read the weights of a file, by default the package's.

  Returns:
    Variables of SqueezeNet: float32 arrays in the host's memory.

  Raises:
    InputError: there is no such file, or its SHA-256 is not `digest`.
  """
  params: dict[str, Any] = {}
  read = numpy_weights.read(path or weights_path(), digest)
  for name, (kernel, bias) in read.items():
    *fire, layer = name.split("/")
    place = params.setdefault(fire[0], {}) if fire else params
    place[layer] = {"kernel": np.ascontiguousarray(kernel), "bias": bias}
  return {"params": params}
