"""Floating-point operations of a training step, counted from layer shapes.

Convolutions and dense layers only; a multiplication and an addition are two.
What an algorithm needs is counted, not what a program happens to run: pixels
of padding count, as they do in the field's tables, and a convolution that is
fused with up- or downsampling counts at its 4x4 stride-2 size.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

_FLOAT = 4  # bytes


class Layer(NamedTuple):
  """A linear layer.

  Attributes:
    name: network and layer.
    flops: of one pass; the gradients by weights and by inputs take as many.
    inputs: bytes of its inputs.
    weights: bytes of its weights.
    outputs: bytes of its outputs.
  """

  name: str
  flops: int
  inputs: int
  weights: int
  outputs: int


class Operation(NamedTuple):
  """One pass of a layer, in the order of a training step.

  Attributes:
    name: the pass, and `forward`, `by weights` or `by inputs`.
    layer: of which it is a pass. Each kind of pass reads two of inputs,
      weights and outputs (or their gradients) and writes the third.
  """

  name: str
  layer: Layer

  @property
  def flops(self) -> int:
    """Returns the operations."""
    return self.layer.flops

  @property
  def moved(self) -> int:
    """Returns the bytes that are read or written at least."""
    return self.layer.inputs + self.layer.weights + self.layer.outputs


def dense(name: str, batch: int, inputs: int, outputs: int) -> Layer:
  """Returns a dense layer of [batch, inputs]."""
  return Layer(
    name,
    2 * batch * inputs * outputs,
    _FLOAT * batch * inputs,
    _FLOAT * inputs * outputs,
    _FLOAT * batch * outputs,
  )


def conv(
  name: str,
  batch: int,
  side: int,
  kernel: int,
  inputs: int,
  outputs: int,
  stride: float = 1,
) -> Layer:
  """Returns a convolution of [batch, side, side, inputs].

  At stride 1/2 it is a transposed one.
  """
  out = round(side / stride)
  # A kernel meets every pixel of the smaller of the two images.
  products = batch * min(side, out) ** 2 * kernel**2 * inputs * outputs
  return Layer(
    name,
    2 * products,
    _FLOAT * batch * side**2 * inputs,
    _FLOAT * kernel**2 * inputs * outputs,
    _FLOAT * batch * out**2 * outputs,
  )


def _widths(size, width):
  """Channels from the layer next to the image down to 4x4."""
  levels = size.bit_length() - 3
  return [width * 2 ** min(level, 4) for level in range(levels)]


def generator(
  size: int, width: int, channels: int, latents: int, classes: int, batch: int
) -> list[Layer]:
  """Lists the layers of ACGAN's generator."""
  features = [*_widths(size, width)[::-1], channels]
  first = dense("generator dense", batch, latents + classes, 16 * features[0])
  ups = [
    conv(f"generator up {i}", batch, 4 << i, 4, c, o, 1 / 2)
    for i, (c, o) in enumerate(itertools.pairwise(features))
  ]
  return [first, *ups]


def discriminator(
  size: int, width: int, channels: int, classes: int, batch: int
) -> list[Layer]:
  """Lists the layers of ACGAN's discriminator."""
  features = [channels, *_widths(size, width)]
  downs = [
    conv(f"discriminator down {i}", batch, size >> i, 4, c, o, 2)
    for i, (c, o) in enumerate(itertools.pairwise(features))
  ]
  head = dense("discriminator head", batch, 16 * features[-1], 1 + classes)
  return [*downs, head]


def residual(
  size: int, width: int, channels: int, classes: int, batch: int
) -> list[Layer]:
  """Lists the layers of the classifier."""
  layers = [conv("stem", batch, size, 4, channels, width, 2)]
  side, inputs, level = size // 2, width, 0
  while side > 4:
    level += 1
    outputs = width * 2 ** min(level, 3)
    name = f"block {level}"
    layers += [
      conv(f"{name} conv", batch, side, 3, inputs, outputs),
      conv(f"{name} down", batch, side, 4, outputs, outputs, 2),
    ]
    side //= 2
    if inputs != outputs:
      layers.append(conv(f"{name} shortcut", batch, side, 1, inputs, outputs))
    inputs = outputs
  return [*layers, dense("dense", batch, inputs, classes)]


def back(
  name: str,
  layers: list[Layer],
  by_weights: bool = True,
  by_images: bool = False,
) -> Iterator[Operation]:
  """Yields the passes back; the first layer's input is the images."""
  for layer in reversed(layers):
    if by_weights:
      yield Operation(f"{name}, by weights", layer)
    if by_images or layer is not layers[0]:
      yield Operation(f"{name}, by inputs", layer)


def there_and_back(
  name: str, layers: list[Layer], **which: bool
) -> Iterator[Operation]:
  """Yields a pass forwards and those back; see `back`."""
  yield from (Operation(f"{name}, forward", layer) for layer in layers)
  yield from back(name, layers, **which)


def acgan_operations(
  size: int, width: int, channels: int, latents: int, classes: int, batch: int
) -> list[Operation]:
  """Lists what a training step of an ACGAN computes.

  One pass through the generator serves both updates; the discriminator judges
  real and generated images apart, then the generated ones again.
  """
  draws = generator(size, width, channels, latents, classes, batch)
  judges = discriminator(size, width, channels, classes, batch)
  return [
    *there_and_back("generate", draws),
    *there_and_back("judge real", judges),
    *there_and_back("judge fake", judges),
    *there_and_back("guide", judges, by_weights=False, by_images=True),
  ]


def classifier_operations(
  size: int, width: int, channels: int, classes: int, batch: int
) -> list[Operation]:
  """Lists what a training step of a classifier computes."""
  layers = residual(size, width, channels, classes, batch)
  return list(there_and_back("classify", layers))


def acgan(
  size: int, width: int, channels: int, latents: int, classes: int, batch: int
) -> int:
  """Counts the operations of a training step of an ACGAN.

  Args:
    size: height and width of the images.
    width: of generator and discriminator.
    channels: of the images.
    latents: numbers that the generator is given, labels apart.
    classes: of images.
    batch: images a step.
  """
  operations = acgan_operations(size, width, channels, latents, classes, batch)
  return sum(operation.flops for operation in operations)


def classifier(
  size: int, width: int, channels: int, classes: int, batch: int
) -> int:
  """Counts the operations of a training step of a classifier; see `acgan`."""
  operations = classifier_operations(size, width, channels, classes, batch)
  return sum(operation.flops for operation in operations)
