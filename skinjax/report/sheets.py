"""Sheets of images: one row per class, with its name on the left."""

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
  """Lay out images [rows, columns, H, W, C] uint8 in labelled rows on white.

  C is 1 (grey) or 3 (RGB). Each pixel becomes a sharp square with sides of
  `scale`, so that images of 32 or 64 pixels are visible; `gap` white pixels
  separate the images.

  Raises:
    ValueError: wrong shape or type, or different numbers of names and rows.
  """
  if images.ndim != 5 or len(row_names) != len(images):
    raise ValueError(
      f"Expected uint8 [{len(row_names)}, columns, H, W, 1 or 3], got "
      f"{images.dtype} {list(images.shape)}."
    )
  columns, height = images.shape[1:3]
  flat = images.reshape(-1, *images.shape[2:])
  tiles = grid(flat, columns, scale=scale, gap=gap)
  tile_height = height * scale
  font = ImageFont.load_default(size=int(np.clip(tile_height // 4, 10, 22)))
  boxes = [font.getbbox(name) for name in row_names]
  label_width = int(max(box[2] for box in boxes)) + 2 * _MARGIN
  size = (label_width + tiles.width + _MARGIN, 2 * _MARGIN + tiles.height)
  sheet = Image.new("RGB", size, _BACKGROUND)
  sheet.paste(tiles, (label_width, _MARGIN))
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
  return sheet


def grid(
  images: np.ndarray, columns: int, *, scale: int = 1, gap: int = 2
) -> Image.Image:
  """Lay out images [N, H, W, C] row by row on white, without names.

  The last row may be shorter than `columns`; see also `contact_sheet`.
  """
  if (
    images.dtype != np.uint8
    or images.ndim != 4
    or not len(images)
    or images.shape[-1] not in (1, 3)
  ):
    raise ValueError(
      "Expected uint8 [N >= 1, H, W, 1 or 3], got "
      f"{images.dtype} {list(images.shape)}."
    )
  columns = min(columns, len(images))
  rows = -(-len(images) // columns)
  height, width = (scale * side for side in images.shape[1:3])
  size = (columns * (width + gap) - gap, rows * (height + gap) - gap)
  result = Image.new("RGB", size, _BACKGROUND)
  for index, image in enumerate(images):
    row, column = divmod(index, columns)
    pixels = np.broadcast_to(image, (*image.shape[:2], 3))
    tile = Image.fromarray(np.ascontiguousarray(pixels))
    tile = tile.resize((width, height), Image.Resampling.NEAREST)
    result.paste(tile, (column * (width + gap), row * (height + gap)))
  return result
