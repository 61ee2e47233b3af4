import numpy as np
import pytest

from skinjax.report import sheets


def _images(rows=2, columns=3, size=8, channels=3):
  rng = np.random.default_rng(0)
  shape = (rows, columns, size, size, channels)
  return rng.integers(0, 200, shape).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_is_in_its_place(channels):
  images = _images(channels=channels)
  sheet = np.asarray(
    sheets.contact_sheet(images, ["nv", "mel"], scale=3, gap=4)
  )
  # From the right and lower edges, the margins being 8 pixels of white.
  for row in range(2):
    for column in range(3):
      right = 8 + (2 - column) * (24 + 4)
      bottom = 8 + (1 - row) * (24 + 4)
      tile = sheet[
        -bottom - 24 : sheet.shape[0] - bottom,
        -right - 24 : sheet.shape[1] - right,
      ]
      expected = np.broadcast_to(images[row, column], (8, 8, 3))
      np.testing.assert_array_equal(tile[1::3, 1::3], expected)
      np.testing.assert_array_equal(tile[0::3, 2::3], expected)


def test_names_are_written_at_the_left():
  images = _images()
  sheet = np.asarray(sheets.contact_sheet(images, ["nv", "a longer name"]))
  left = sheet[:, : sheet.shape[1] - (3 * 18 + 8)]
  upper, lower = np.array_split(left.min(-1) < 128, 2)
  assert upper.any()
  assert lower.sum() > upper.sum()


def test_refuses():
  for images in (_images() / 255, _images()[0], _images(channels=2)):
    with pytest.raises(ValueError, match="uint8"):
      sheets.contact_sheet(images, ["nv", "mel"])
  with pytest.raises(ValueError, match="uint8"):
    sheets.contact_sheet(_images(), ["nv"])


def test_grid_leaves_the_end_of_its_last_row_white():
  images = _images()[0]
  sheet = np.asarray(sheets.grid(images, 2, gap=2))
  assert sheet.shape == (18, 18, 3)
  np.testing.assert_array_equal(sheet[:8, 10:], images[1])
  np.testing.assert_array_equal(sheet[10:, :8], images[2])
  assert (sheet[10:, 10:] == 255).all()
  for bad in (images[:0], images / 255, images[0]):
    with pytest.raises(ValueError, match="uint8"):
      sheets.grid(bad, 2)
