"""Checks JPEG images and turns them into small square PNG images.

Pixels are taken as they are stored, as TensorFlow's decoder takes those of the
original files: what a file says besides of how to turn them or of their colour
space (EXIF, ICC) is not looked at, and may be wrong or damaged.
"""

import io

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from tfds_ham10000.errors import DataError
from tfds_ham10000.files import describe, show

# The published images have 600 x 450 pixels, the largest that dermatoscopes'
# cameras take about 6000 x 4000. Beyond, a small file could fill the memory.
SHORTEST, LONGEST = 8, 8192

# What Pillow raises for bytes that it can't decode or won't.
_UNDECODABLE = (OSError, OverflowError, SyntaxError, ValueError)
_OTHER_FORMATS = ("PNG", "GIF", "BMP", "TIFF", "WEBP")
_EXPECTED = "a JPEG image of mode RGB is expected"


class _Jpeg(JpegImageFile):
  """A JPEG image whose EXIF block is not read, so that it may be damaged."""

  def getexif(self) -> Image.Exif:
    """Return what an image without such a block has."""
    return Image.Exif()


def check_jpeg(data: bytes, where: str) -> bytes:
  """Return the bytes of a JPEG image after decoding it once, whole.

  Args:
    data: the file's bytes.
    where: the file, for the message.

  Returns:
    The same bytes.

  Raises:
    DataError: the bytes are no whole JPEG image of mode RGB whose sides have
      `SHORTEST` to `LONGEST` pixels; the message says what they are.
  """
  _decode(data, where)
  return data


def reduce_to_square(data: bytes, size: int, where: str) -> bytes:
  """Cut the centre square out of a JPEG image and resize it, antialiased.

  Args:
    data: the bytes of a JPEG file.
    size: side of the result, pixels; a smaller image is enlarged.
    where: the file, for the message.

  Returns:
    The bytes of a PNG file, [size, size, 3] uint8 RGB.

  Raises:
    DataError: the bytes are no whole JPEG image of mode RGB whose sides have
      `SHORTEST` to `LONGEST` pixels; the message says what they are.
  """
  return encode_png(read_square(data, size, where))


def read_square(data: bytes, size: int, where: str) -> Image.Image:
  """Return the picture that `reduce_to_square` returns as a PNG file."""
  # The decoder may skip resolution, as long as twice the size remains for the
  # antialiasing filter to work on.
  image = _decode(data, where, draft_size=2 * size)
  return to_square(image, size)


def to_square(image: Image.Image, size: int) -> Image.Image:
  """Cut the centre square out of an image and resize it (Lanczos)."""
  side = min(image.size)
  left, top = (image.width - side) // 2, (image.height - side) // 2
  return image.resize(
    (size, size),
    Image.Resampling.LANCZOS,
    box=(left, top, left + side, top + side),
  )


def encode_png(image: Image.Image) -> bytes:
  """Return the bytes of a PNG file of the image."""
  buffer = io.BytesIO()
  # Level 4 takes under half the time of the default 6, for 3 % more bytes.
  # A colour profile, if there is one, is larger than a small image.
  image.save(buffer, "PNG", compress_level=4, icc_profile=None)
  return buffer.getvalue()


def _decode(data: bytes, where: str, draft_size: int | None = None):
  """Decode a JPEG image, at no less than draft_size if one is given."""
  if not data.startswith(b"\xff\xd8"):
    raise DataError(
      f"{where}: {_name(data)}; {_EXPECTED}: fetch the published file"
    )
  try:
    # Image.open would warn of a large image in its own words, after which
    # there is no asking for the size, and read on after the first image.
    image = _Jpeg(io.BytesIO(data))
    _check_header(image, where)
    if draft_size is not None:
      image.draft("RGB", (draft_size, draft_size))
    image.load()
  except DataError:
    raise
  except _UNDECODABLE as error:
    raise DataError(
      f"{where}: no whole JPEG image ({show(error)}); fetch it again"
    ) from error
  return image


def _check_header(image: Image.Image, where: str) -> None:
  """Refuse an image by its mode or its size, before it is decoded."""
  if image.mode != "RGB":
    raise DataError(
      f"{where}: a JPEG image of mode {image.mode}; {_EXPECTED}: fetch the "
      "published file, or save this one in RGB colours"
    )
  if min(image.size) < SHORTEST or max(image.size) > LONGEST:
    raise DataError(
      f"{where}: an image of {image.width} x {image.height} pixels; sides of "
      f"{SHORTEST} to {LONGEST} are expected: fetch the published file"
    )


def _name(data: bytes) -> str:
  """Say what bytes are that are no JPEG image."""
  try:
    image = Image.open(io.BytesIO(data), formats=_OTHER_FORMATS)
    return f"a {image.format} image of mode {image.mode}"
  except Exception:  # Whatever it trips over, this is for the message only.
    return describe(data) or "no image"
