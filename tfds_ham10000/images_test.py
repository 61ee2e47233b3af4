import io

import numpy as np
import pytest
from PIL import Image

from tfds_ham10000.errors import DataError
from tfds_ham10000.images import check_jpeg, reduce_to_square


def _jpeg(pixels, mode="RGB", kind="JPEG"):
  buffer = io.BytesIO()
  Image.fromarray(pixels).convert(mode).save(buffer, kind, quality=95)
  return buffer.getvalue()


def _decode(data):
  image = Image.open(io.BytesIO(data))
  assert image.format == "PNG"
  return np.asarray(image)


def test_centre_square():
  pixels = np.zeros((450, 600, 3), np.uint8)
  pixels[:, :75] = pixels[:, 525:] = (255, 0, 0)
  pixels[:, 75:525] = (0, 200, 0)
  square = _decode(reduce_to_square(_jpeg(pixels), 64, ""))
  assert square.shape == (64, 64, 3)
  assert np.abs(square[:, 2:-2].astype(int) - (0, 200, 0)).max() < 6


def test_antialiased():
  # Stripes too fine for the size must become their mean, not other stripes.
  pixels = np.zeros((450, 600, 3), np.uint8)
  pixels[:, ::2] = 255
  square = _decode(reduce_to_square(_jpeg(pixels), 64, ""))
  assert np.abs(square[4:-4, 4:-4].astype(int) - 127).max() < 8


def test_original_bytes_are_kept():
  data = _jpeg(np.full((30, 40, 3), 99, np.uint8))
  assert check_jpeg(data, "") is data


@pytest.mark.parametrize(
  "check", [check_jpeg, lambda data, where: reduce_to_square(data, 64, where)]
)
@pytest.mark.parametrize(
  ("case", "message"),
  [
    ("cut", "not a complete JPEG image"),
    ("header", "not a complete JPEG image"),
    ("noise", "not an image; a JPEG image of mode RGB is expected"),
    ("deep", "a TIFF image of mode I;16; a JPEG"),
    ("bomb", "an image of 60000 x 60000 pixels; sides of 8 to 8192"),
    ("text", "a web page, .*; a JPEG image of mode RGB is expected"),
    ("png", "a PNG image of mode RGB; a JPEG image of mode RGB"),
    ("grey", "a JPEG image of mode L; a JPEG image of mode RGB"),
    ("flat", "an image of 80 x 7 pixels; sides of 8 to 8192"),
    ("long", "an image of 8193 x 8 pixels"),
    ("empty", "an empty file"),
  ],
)
def test_refused(check, case, message):
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 255, (60, 80, 3), np.uint8)
  whole = _jpeg(pixels)
  size = whole.index(b"\xff\xc0") + 5
  data = {
    "cut": whole[:-900],
    "header": whole.replace(b"\xff\xc0", b"\xff\xcf"),
    "noise": b"image",
    "deep": _jpeg(np.full((60, 80), 257, np.uint16), "I;16", "TIFF"),
    "bomb": whole[:size] + b"\xea\x60" * 2 + whole[size + 4 :],
    "text": b"<html>not found</html>",
    "png": _jpeg(pixels, kind="PNG"),
    "grey": _jpeg(pixels, mode="L"),
    "flat": _jpeg(pixels[:7]),
    "long": _jpeg(np.zeros((8, 8193, 3), np.uint8)),
    "empty": b"",
  }[case]
  with pytest.raises(DataError, match=f"x.jpg: {message}"):
    check(data, "x.jpg")


def _insert(data, marker, block):
  size = (len(block) + 2).to_bytes(2, "big")
  return data[:2] + b"\xff" + marker + size + block + data[2:]


def test_pixels_are_taken_as_stored():
  # What says how to turn or to colour them changes nothing, even if damaged.
  pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
  data = _jpeg(pixels)
  exif = Image.Exif()
  exif[0x0112] = 6  # orientation: turned by a quarter
  turned = exif.tobytes()
  expected = reduce_to_square(data, 64, "")
  for block in (turned, turned[:-5], turned[:9], b"Exif\0\0" + bytes(99)):
    other = _insert(data, b"\xe1", block)
    assert reduce_to_square(other, 64, "") == expected
    assert check_jpeg(other, "") is other
  profile = _insert(data, b"\xe2", b"ICC_PROFILE\0\1\1" + bytes(999))
  assert reduce_to_square(profile, 64, "") == expected
