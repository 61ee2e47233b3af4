"""Reads images of any size for networks.

All images are read here, so that a user's own images, a GAN's images and those
to be classified are resized as the training images were.
"""

import io
import os
import pathlib
from collections.abc import Callable, Sequence
from concurrent import futures

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from skinjax.runtime import errors
from tfds_ham10000 import images as ham10000

THREADS = min(4, os.cpu_count() or 1)
SUFFIXES = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")
# What Pillow raises for damaged images and for those of absurd size.
_UNREADABLE = (
  OSError,
  OverflowError,
  ValueError,
  SyntaxError,
  Image.DecompressionBombError,
)


def read(
  path: str | pathlib.Path, size: int, stored: int | None = None
) -> np.ndarray:
  """Read a PNG or JPEG file, turn it as its EXIF says, and resize it.

  Raises:
    InputError: it is not a complete PNG or JPEG image, or is nearly black
      because its values are below 4096 of 65535; see `resized`.
    OSError: it may not be read.
  """
  content = pathlib.Path(path).read_bytes()
  try:
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
      if image.format == "JPEG":  # as in the data set's builder
        image.draft(image.mode, (2 * (stored or size),) * 2)
      return resized(ImageOps.exif_transpose(image), size, stored)
  except _UNREADABLE as error:
    none = isinstance(error, UnidentifiedImageError)  # which names an object
    raise errors.InputError(
      f"{path} cannot be read as a PNG or JPEG image: "
      f"{'it is none' if none else error}."
    ) from error


def resized(
  image: Image.Image, size: int, stored: int | None = None
) -> np.ndarray:
  """Crop an image to its centre square and resize it, antialiased.

  An image of [size, size] is unchanged, but for one of 16 bits, which gets 8;
  12-bit values in 16 bits are a ValueError.
  `stored` is the side that the training images were stored at before they were
  reduced by an integer factor, or padded with zeros, to `size`; None if they
  were stored at `size`.

  Returns:
    uint8 [size, size, channels]; 1 channel if the image is grey, else 3.
  """
  if image.mode.startswith("I"):  # 16 bits, which `convert` would clip
    deep = np.asarray(image)
    if 0 < deep.max() < 1 << 12:
      raise ValueError(
        f"it has 16 bits, but its largest value is {deep.max()} of 65535, so "
        "it would be nearly black: scale it to 16 bits, or save it with 8"
      )
    image = Image.fromarray((deep >> 8).astype(np.uint8))
  grey = image.mode in ("1", "L", "LA")
  image = image.convert("L" if grey else "RGB")
  if image.size != (size, size):
    image = ham10000.to_square(image, stored or size)
  pixels = np.asarray(image).reshape(image.height, image.width, -1)
  if len(pixels) < size:
    margin = (size - len(pixels)) // 2
    return np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)))
  return reduce(pixels[None], len(pixels) // size)[0]


def in_channels(image: np.ndarray, channels: int) -> np.ndarray:
  """Convert uint8 [height, width, 1 or 3] to grey (ITU-R BT.601) or RGB."""
  if image.shape[-1] == channels:
    return image
  if channels == 3:
    return np.repeat(image, 3, axis=-1)
  return np.asarray(Image.fromarray(image).convert("L"))[..., None]


def reduce(images: np.ndarray, factor: int) -> np.ndarray:
  """Reduce uint8 images [n, h, w, c] by an integer factor, by box averages."""
  if factor == 1:
    return images
  n, height, width, channels = images.shape
  boxes = images.reshape(
    n, height // factor, factor, width // factor, factor, channels
  )
  return np.rint(boxes.mean((2, 4), dtype=np.float32)).astype(np.uint8)


def in_threads(call: Callable, items: Sequence) -> list:
  """Call a function on each item, in threads; Pillow releases the GIL."""
  with futures.ThreadPoolExecutor(THREADS) as pool:
    return list(pool.map(call, items))


def files_in(directory: pathlib.Path) -> list[pathlib.Path]:
  """List a folder's image files by name, except those that begin with a dot.

  Raises:
    InputError: an entry is not an image file, such as a folder or a broken
      link; the message has their number.
  """
  entries = sorted(p for p in directory.iterdir() if p.name[0] != ".")
  image = lambda path: path.is_file() and path.suffix.lower() in SUFFIXES
  odd = [path for path in entries if not image(path)]
  if odd:
    kind = "a folder" if odd[0].is_dir() else "a file of another kind"
    if odd[0].is_symlink() and not odd[0].exists():
      kind = "a broken link"
    raise errors.InputError(
      f"{directory} holds {len(entries) - len(odd)} images and {len(odd)} "
      f"other entries ({odd[0].name} is {kind}): only files of "
      f"{', '.join(SUFFIXES)} are expected there."
    )
  return entries
