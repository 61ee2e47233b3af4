"""A projected discriminator (Sauer et al. 2021).

It sees images through EfficientNet-Lite0, trained on ImageNet, and through
random projections, both frozen: features of several scales are mixed across
channels, then from coarse to fine. Small heads are trained to distinguish real
from generated images by the mixed features. Heads see labels too (Miyato,
Koyama 2018, cGANs with Projection Discriminator).
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from skinjax.models import convolution, efficientnet, layers
from skinjax.runtime import randomness

# How heads see the class: in the source logits, by a class head, or both.
CONDITIONING = ("projection", "class_head", "both")
_HEADS = 3  # of the finest scales; the coarsest is only mixed into them
_DIMS = 64  # of a head's features
_Dense = functools.partial(layers.Dense, use_bias=False)
_Down = functools.partial(
  layers.Conv,
  kernel_size=4,
  form=functools.partial(convolution.conv, stride=2),
  use_bias=False,
)


def load(width: int, key: jax.Array) -> dict[str, Any]:
  """Read the pretrained network and draw the projections.

  Projected features have `width` channels at the finest scale, twice as many at
  the next, and so on. Weights are normal with the variance 2 / inputs (He et
  al. 2015).

  Returns:
    float32 arrays in host memory: `pretrained`, by the network's name, and the
    `projections`: `channels`, one matrix per scale, and `scales`, one matrix
    per scale but the last, which maps the features of the next scale.

  Raises:
    InputError: the package with the network's weights is not installed.
  """
  weights = efficientnet.load()["params"]
  weights = {k: x for k, x in weights.items() if k not in ("_conv_head", "_fc")}
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  taps = jax.eval_shape(efficientnet.Taps().apply, {"params": weights}, image)
  inputs = [tap.shape[-1] for tap in taps]
  widths = [width << scale for scale in range(len(taps))]

  def draw(name, shape):
    normal = jax.random.normal(randomness.named(key, name), shape, jnp.float32)
    return np.asarray(normal * math.sqrt(2 / shape[0]))

  pairs = lambda a, b: enumerate(zip(a, b, strict=True))
  projections = {
    "channels": [
      draw(f"channels {n}", shape) for n, shape in pairs(inputs, widths)
    ],
    "scales": [
      draw(f"scales {n}", shape) for n, shape in pairs(widths[1:], widths[:-1])
    ],
  }
  return {
    "pretrained": {efficientnet.NAME: weights},
    "projections": projections,
  }


def features(
  frozen: dict[str, Any],
  images: jax.Array,
  *,
  size: int,
  dtype: str,
  pixels: int = 0,
) -> list[jax.Array]:
  """Compute the inputs of the heads.

  Args:
    frozen: what `load` returns.
    images: [batch, height, width, 1 or 3] in [-1, 1].
    size: pixels that they are resized to, bilinearly; a multiple of 32.
    dtype: of the network's computations, one of layers.DTYPES.
    pixels: size of the images themselves, which come first and are resized
      likewise; 0: without them.

  Returns:
    [batch, size / n, size / n, channels] for n = 4, 8 and 16, after the images
    if `pixels` is not 0.
  """
  own = []
  if pixels:
    own.append(layers.lowered(_resized(images, pixels), dtype))
  images = efficientnet.normalized(_resized(images, size))
  images = layers.lowered(images, dtype)
  weights = frozen["pretrained"][efficientnet.NAME]
  taps = efficientnet.Taps().apply({"params": weights}, images)
  return own + mixed(taps, frozen["projections"])[:_HEADS]


def _resized(images: jax.Array, size: int) -> jax.Array:
  if images.shape[1] == size:
    return images
  shape = (len(images), size, size, images.shape[3])
  return jax.image.resize(images, shape, "bilinear")


def shapes(width: int, size: int) -> list[tuple[int, int, int]]:
  """Return the height, width and channels of `features` without pixels."""
  scales = range(_HEADS)
  return [(size >> 2 + n, size >> 2 + n, width << n) for n in scales]


def mixed(
  taps: Sequence[jax.Array], projections: dict[str, Any]
) -> list[jax.Array]:
  """Mix features across channels, then those of each scale into the finer one.

  Maps [batch, height, width, channels] of each scale, each half the size of the
  one before; the projections are as in `load`.
  """
  apply = lambda x, matrix: x @ jnp.asarray(matrix, x.dtype)
  outputs = [
    apply(x, matrix)
    for x, matrix in zip(taps, projections["channels"], strict=True)
  ]
  for scale in reversed(range(len(taps) - 1)):
    above = apply(outputs[scale + 1], projections["scales"][scale])
    shape = (*outputs[scale].shape[:3], above.shape[-1])
    outputs[scale] += jax.image.resize(above, shape, "bilinear")
  return outputs


class Heads(nn.Module):
  """Classifies images as real or generated, and by class, at each scale.

  Every layer but labels' embeddings and classes' proxies has spectral
  normalization (Miyato et al. 2018).
  """

  num_classes: int
  least: int  # fewest features of a layer
  most: int
  conditioning: str  # of CONDITIONING; unused with a single class
  embedding: int = 0  # features of the class head's cosines; 0: it is linear
  axis_name: str | None = None  # the device axis inside pmap

  @nn.compact
  def __call__(
    self,
    features: Sequence[jax.Array],
    labels: jax.Array,
    *,
    train: bool,
    update_stats: bool = False,
  ) -> tuple[jax.Array, ...]:
    """Map features [batch, height, width, channels] of each scale to logits.

    Labels are int32 [batch]. The statistics of batch normalization are those of
    all given images. `update_stats` is whether to update the estimates of
    spectral norms, by one power iteration.

    Returns:
      Source logits [batch, scales], psi(x) + e_label · phi(x) / 8 of a head's
      64 features phi(x), positive for real images; class logits [batch,
      classes] of all heads' features together, with no column if there is no
      class head; with an embedding, also its unit vectors (see
      layers.CosineLogits).
    """
    normalized = lambda layer, x: nn.SpectralNorm(layer)(
      x, update_stats=update_stats
    )
    source, found = [], []
    for number, x in enumerate(features):
      width = x.shape[-1]
      while x.shape[1] > 4 and x.shape[1] % 2 == 0:
        width = min(max(2 * width, self.least), self.most)
        x = normalized(_Down(width), x)
        x = layers.BatchNorm(axis_name=self.axis_name)(x, train=train)
        x = nn.leaky_relu(x, 0.2)
      # From here on in the type of the parameters.
      x = normalized(_Dense(_DIMS), x.reshape(len(x), -1))
      logits = normalized(layers.Dense(1), x)[:, 0]
      if self.num_classes > 1 and self.conditioning != "class_head":
        shape = (self.num_classes, _DIMS)
        normal = nn.initializers.normal(1.0)
        embedding = self.param(f"embedding_{number}", normal, shape)
        logits += jnp.sum(embedding[labels] * x, -1) / math.sqrt(_DIMS)
      source.append(logits)
      found.append(x)
    source = jnp.stack(source, 1)
    if self.num_classes == 1 or self.conditioning == "projection":
      return source, source[:, :0]
    head = layers.Dense(self.embedding or self.num_classes)
    outputs = normalized(head, jnp.concatenate(found, 1))
    if not self.embedding:
      return source, outputs
    return source, *layers.CosineLogits(self.num_classes)(outputs)
