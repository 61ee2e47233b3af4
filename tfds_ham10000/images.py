"""Checks JPEG images and turns them into small square PNG images.

Pixels are used as stored, as TensorFlow's decoder does for the original files:
metadata about orientation and colour space (EXIF, ICC) are ignored, and may be
wrong or damaged.
"""

import io

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from tfds_ham10000.errors import DataError
from tfds_ham10000.files import describe, show

# Published images have 600 x 450 pixels, the largest from dermatoscope cameras
# about 6000 x 4000. Without a limit, a small file could fill the memory.
SHORTEST, LONGEST = 8, 8192

# Raised by Pillow for bytes that it can't or won't decode.
_UNDECODABLE = (OSError, OverflowError, SyntaxError, ValueError)
_OTHER_FORMATS = ("PNG", "GIF", "BMP", "TIFF", "WEBP")
_EXPECTED = "a JPEG image of mode RGB is expected"


class _Jpeg(JpegImageFile):
  """A JPEG image whose EXIF block is ignored, so that it may be damaged."""

  def getexif(self) -> Image.Exif:
    """Return empty EXIF, as for an image without such a block."""
    return Image.Exif()


def check_jpeg(data: bytes, where: str) -> bytes:
  """Return the bytes of a JPEG image after decoding it completely, once.

  Args:
    data: the file's bytes.
    where: the file, for the message.

  Returns:
    The same bytes.

  Raises:
    DataError: the bytes are not a complete RGB JPEG image with sides of
      `SHORTEST` to `LONGEST` pixels; the message describes them.
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
    DataError: the bytes are not a complete RGB JPEG image with sides of
      `SHORTEST` to `LONGEST` pixels; the message describes them.
  """
  return encode_png(read_square(data, size, where))


def read_square(data: bytes, size: int, where: str) -> Image.Image:
  """Return the image that `reduce_to_square` encodes as PNG."""
  # The decoder may reduce the resolution, as long as twice the size remains for
  # the antialiasing filter.
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
  """Encode an image as the bytes of a PNG file."""
  buffer = io.BytesIO()
  # Level 4 takes under half the time of the default 6, for 3 % more bytes.
  # A colour profile would be larger than a small image.
  image.save(buffer, "PNG", compress_level=4, icc_profile=None)
  return buffer.getvalue()


def _decode(data: bytes, where: str, draft_size: int | None = None):
  """Decode a JPEG image, at draft_size or more if that is given."""
  if not data.startswith(b"\xff\xd8"):
    raise DataError(
      f"{where}: {_name(data)}; {_EXPECTED}: fetch the published file"
    )
  try:
    # Image.open would warn about a large image before we can check its size,
    # and would read on after a file's first image.
    image = _Jpeg(io.BytesIO(data))
    _check_header(image, where)
    if draft_size is not None:
      image.draft("RGB", (draft_size, draft_size))
    image.load()
  except DataError:
    raise
  except _UNDECODABLE as error:
    raise DataError(
      f"{where}: not a complete JPEG image ({show(error)}); fetch it again"
    ) from error
  return image


def _check_header(image: Image.Image, where: str) -> None:
  """Refuse an image by its mode or size, before it is decoded."""
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
  """Describe bytes that are not a JPEG image."""
  try:
    image = Image.open(io.BytesIO(data), formats=_OTHER_FORMATS)
    return f"a {image.format} image of mode {image.mode}"
  except Exception:  # No failure matters: this is only for a message.
    return describe(data) or "not an image"
