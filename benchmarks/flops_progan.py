"""Floating-point operations of ProGAN's training step; see flops.py.

At full resolution, where nothing fades in.
"""

import itertools
from collections.abc import Iterator

from benchmarks import flops
from benchmarks.flops import Layer, Operation


def networks(
  size: int,
  base: int,
  most: int,
  channels: int,
  latents: int,
  classes: int,
  batch: int,
) -> tuple[list[Layer], list[Layer]]:
  """Lists the layers of ProGAN's generator and discriminator, labels joined."""
  count = size.bit_length() - 2
  widths = [max(1, min(base >> level, most)) for level in range(count)]
  draws = [
    flops.dense("generator dense", batch, latents + classes, 16 * widths[0]),
    flops.conv("generator 4", batch, 4, 3, widths[0], widths[0]),
  ]
  ends = [
    flops.conv("discriminator 4", batch, 4, 3, widths[0] + 1, widths[0]),
    flops.dense("discriminator dense", batch, 16 * widths[0], widths[0]),
    flops.dense("discriminator head", batch, widths[0], 1 + classes),
  ]
  for level, (low, high) in enumerate(itertools.pairwise(widths), 1):
    side = 4 << level
    draws += [
      flops.conv(
        f"generator up to {side}", batch, side // 2, 4, low, high, 1 / 2
      ),
      flops.conv(f"generator {side}", batch, side, 3, high, high),
    ]
    ends = [
      flops.conv(f"discriminator {side}", batch, side, 3, high, high),
      flops.conv(
        f"discriminator down from {side}", batch, side, 4, high, low, 2
      ),
      *ends,
    ]
  to_pixels = flops.conv(
    "generator pixels", batch, size, 1, widths[-1], channels
  )
  pixels = flops.conv(
    "discriminator pixels", batch, size, 1, channels, widths[-1]
  )
  return [*draws, to_pixels], [pixels, *ends]


def penalized(layers: list[Layer], anew: bool) -> Iterator[Operation]:
  """Yields what a penalty on the gradient by the images adds to a step.

  A discriminator's gradient by its images is one more network: the layers'
  `by inputs` passes from the head down, with the weights for parameters.
  Activations only switch it. To differentiate it by the weights, every layer
  is passed twice more: the penalty's gradient goes back up through it, from
  the images to the head, which is a pass like `forward`, and each layer has a
  gradient by its weights. Last, the minibatch deviation is the one place where
  the gradient depends on the images otherwise than by switches: from there an
  ordinary backward pass goes down to the images. The head takes no part: the
  gradient that comes down from it is a row of its weights.

  Args:
    layers: the discriminator's, from the images to the head. The last three
      come after the deviation.
    anew: whether images are penalized that are not judged otherwise. Where
      they are, the first pass and the last are those of the judgement.
  """
  body, before = layers[:-1], layers[:-3]
  if anew:
    yield from (Operation("penalty, forward", layer) for layer in body)
  for layer in reversed(body):
    yield Operation("penalty, by inputs", layer)
  for layer in body:
    yield Operation("penalty, by inputs, back", layer)
    yield Operation("penalty, by inputs, by weights", layer)
  if anew:
    yield from flops.back("penalty", before)


def operations(
  size: int,
  base: int,
  most: int,
  channels: int,
  latents: int,
  classes: int,
  batch: int,
  penalty: str,
) -> list[Operation]:
  """Lists what a training step of a ProGAN computes.

  One pass through the generator serves both updates.

  Args:
    size: height and width of the images.
    base: of the widths, as in configs/progan.py.
    most: likewise.
    channels: of the images.
    latents: numbers that the generator is given, labels apart.
    classes: of images.
    batch: images a step.
    penalty: none, gradient or r1.
  """
  draws, judges = networks(size, base, most, channels, latents, classes, batch)
  more = penalized(judges, anew=penalty == "gradient")
  return [
    *flops.there_and_back("generate", draws),
    *flops.there_and_back("judge real", judges),
    *flops.there_and_back("judge fake", judges),
    *(() if penalty == "none" else more),
    *flops.there_and_back("guide", judges, by_weights=False, by_images=True),
  ]
