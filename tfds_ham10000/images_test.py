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
@pytest.mark.parametrize("case", ["cut", "text", "png", "grey", "empty"])
def test_refused(check, case):
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 255, (60, 80, 3), np.uint8)
  data = {
    "cut": _jpeg(pixels)[:-900],
    "text": b"<html>not found</html>",
    "png": _jpeg(pixels, kind="PNG"),
    "grey": _jpeg(pixels, mode="L"),
    "empty": b"",
  }[case]
  message = "x.jpg: a JPEG image of mode L" if case == "grey" else "x.jpg: no"
  with pytest.raises(DataError, match=message):
    check(data, "x.jpg")
