"""Sheets of images for the eye: a row for each class, its name at the left."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_MARGIN = 8
_BACKGROUND = (255, 255, 255)
_INK = (32, 33, 36)


def contact_sheet(
  images: np.ndarray,
  row_names: Sequence[str],
  *,
  scale: int = 2,
  gap: int = 2,
) -> Image.Image:
  """Lay images out in labelled rows on white.

  Args:
    images: [rows, columns, H, W, C] uint8, C = 1 (grey) or 3 (RGB).
    row_names: the rows' names, usually those of the classes.
    scale: each pixel becomes a square of this side, unblurred, so that
      pictures of 32 or 64 pixels can be seen.
    gap: pixels of white between images.

  Returns:
    An RGB image.

  Raises:
    ValueError: another shape or type, or another number of names than rows.
  """
  images = np.asarray(images)
  if (
    images.dtype != np.uint8
    or images.ndim != 5
    or images.shape[-1] not in (1, 3)
    or len(row_names) != images.shape[0]
  ):
    raise ValueError(
      f"Expected uint8 [{len(row_names)}, columns, H, W, 1 or 3], got "
      f"{images.dtype} {list(images.shape)}."
    )
  rows, columns, height, width, _ = images.shape
  tile_height, tile_width = height * scale, width * scale
  font = ImageFont.load_default(size=int(np.clip(tile_height // 4, 10, 22)))
  boxes = [font.getbbox(name) for name in row_names]
  label_width = int(max(box[2] for box in boxes)) + 2 * _MARGIN
  sheet = Image.new(
    "RGB",
    (
      label_width + columns * (tile_width + gap) - gap + _MARGIN,
      2 * _MARGIN + rows * (tile_height + gap) - gap,
    ),
    _BACKGROUND,
  )
  pen = ImageDraw.Draw(sheet)
  for row, name in enumerate(row_names):
    top = _MARGIN + row * (tile_height + gap)
    pen.text(
      (label_width - _MARGIN, top + tile_height // 2),
      name,
      fill=_INK,
      font=font,
      anchor="rm",
    )
    for column in range(columns):
      pixels = np.broadcast_to(images[row, column], (height, width, 3))
      tile = Image.fromarray(np.ascontiguousarray(pixels))
      tile = tile.resize((tile_width, tile_height), Image.Resampling.NEAREST)
      sheet.paste(tile, (label_width + column * (tile_width + gap), top))
  return sheet
