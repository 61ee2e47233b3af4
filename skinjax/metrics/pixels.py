"""Pixel vectors of images, robust to JPEG, colour shifts and rotations."""

import numpy as np

# Height and width of the thumbnails that are compared.
_THUMBNAIL = 16
# Images reduced at a time.
_BLOCK = 512


def orientations(images: np.ndarray) -> np.ndarray:
  """Return all 8 flips and rotations of images [n, size, size, channels].

  Returns:
    [8, n, size, size, channels]: number k of the first four is the image after
    k quarter turns counter-clockwise; number k of the last four is its
    transposition after k - 4 of them. The first is the unchanged image.
  """
  return np.stack(
    [
      np.rot90(flipped, turns, (1, 2))
      for flipped in (images, images.swapaxes(1, 2))
      for turns in range(4)
    ]
  )


def vectors(images: np.ndarray) -> np.ndarray:
  """Describe images by their coarse structure, as vectors to compare.

  An image is reduced to 16x16 by area averaging, which removes most of JPEG's
  changes. Each channel is shifted to mean 0, which removes colour shifts, and
  the thumbnail is scaled to standard deviation 1, which removes contrast.
  (Channels are not scaled separately: one that varies little is mostly JPEG
  noise, which would hide copies.) Variation below one grey level is rounding,
  and stays near 0.

  The Euclidean distance of two vectors is the root mean square difference of
  their thumbnails: 0 for equal ones, about sqrt(2) for unrelated ones, at most
  2. Reduction commutes with flips and rotations.

  Images are uint8 [n, size, size, channels].

  Returns:
    float32 [n, d], d = min(16, size)^2 * channels.
  """
  pictures = _thumbnails(images)
  return pictures.reshape(len(pictures), -1)


def oriented_vectors(images: np.ndarray) -> np.ndarray:
  """Describe images as `vectors` does, in all `orientations`: [8, n, d]."""
  pictures = orientations(_thumbnails(images))
  return pictures.reshape(*pictures.shape[:2], -1)


def _thumbnails(images: np.ndarray) -> np.ndarray:
  """Reduce and standardize: float32 [n, side, side, channels]."""
  size = images.shape[1]
  reduce = _areas(size, min(_THUMBNAIL, size))
  pictures = np.empty((len(images), *[len(reduce)] * 2, images.shape[3]), "f4")
  for start in range(0, len(images), _BLOCK):
    rows = slice(start, start + _BLOCK)
    part = np.moveaxis(images[rows].astype(np.float32), 3, 1)
    pictures[rows] = np.moveaxis(reduce @ part @ reduce.T, 1, 3)
  pictures -= pictures.mean((1, 2), keepdims=True)
  pictures /= np.maximum(pictures.std((1, 2, 3), keepdims=True), 1)
  return pictures / np.float32(np.sqrt(pictures[0].size if len(images) else 1))


def _areas(size: int, side: int) -> np.ndarray:
  """Compute weights float32 [side, size] that average over equal parts."""
  edges = np.linspace(0, size, side + 1)
  low, high = edges[:-1, None], edges[1:, None]
  pixel = np.arange(size)
  overlap = np.minimum(high, pixel + 1) - np.maximum(low, pixel)
  return (np.maximum(overlap, 0) / (size / side)).astype(np.float32)
