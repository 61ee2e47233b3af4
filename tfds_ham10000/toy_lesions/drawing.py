"""Draws a lesion on skin, as if through a dermatoscope.

A texture is a sum of plane waves in the lesion's own coordinates. A plane wave
that the view rotates, shifts and scales is still a plane wave, and on a grid it
is a product of a function of the row and a function of the column. So a texture
costs two matrix products.
"""

import dataclasses
import math

import numpy as np
from PIL import Image, ImageDraw

from tfds_ham10000.toy_lesions.lesions import Look

# Colours are [3, 1, 1], to broadcast over pictures [3, size, size]. All arrays
# are float32, which draws a data set in half the time.
_SKIN = np.array((0.82, 0.61, 0.60), np.float32)[:, None, None]
_BLOOD = np.array((0.70, 0.20, 0.22), np.float32)[:, None, None]
# Blotches of skin darken green and blue more than red.
_REDDER = np.array((0.6, 1.2, 1.1), np.float32)[:, None, None]
_NUM_SPOTS = 7


@dataclasses.dataclass(frozen=True)
class _Waves:
  """A texture: frequencies [n, 2], phases [n]."""

  frequencies: np.ndarray
  phases: np.ndarray


@dataclasses.dataclass(frozen=True)
class _View:
  """How a lesion is seen: lesion coordinates = matrix @ xy + offset.

  Attributes:
    matrix: [2, 2] rotation and zoom.
    offset: [2] shift.
    xs: [size] the picture's coordinates along a side, -1 to 1.
  """

  matrix: np.ndarray
  offset: np.ndarray
  xs: np.ndarray


def draw_lesion(look: Look, size: int, lesion_seed, view_seed) -> Image.Image:
  """Draw one picture of a lesion.

  Args:
    look: the lesion's look.
    size: side of the picture, pixels; a multiple of 8.
    lesion_seed: int or list of int, for what all pictures of the lesion share:
      its outline, its texture, the skin around it.
    view_seed: int or list of int, for what differs between them: rotation,
      shift, zoom, light, hair.

  Returns:
    [size, size] RGB image.
  """
  lesion_rng = np.random.default_rng(lesion_seed)
  view_rng = np.random.default_rng(view_seed)
  view = _choose_view(size, view_rng)
  skin = _paint_skin(view, lesion_rng)
  canvas = _paint_lesion(skin, look, view, lesion_rng)
  canvas = _light(canvas, view.xs, view_rng)
  pixels = np.clip(255 * canvas + 0.5, 0, 255).astype(np.uint8)
  image = Image.fromarray(np.moveaxis(pixels, 0, -1).copy())
  _draw_hair(image, view_rng)
  return image


def _choose_view(size: int, rng: np.random.Generator) -> _View:
  """Sample a rotation, a zoom and a shift."""
  turn, zoom = rng.uniform(0, 2 * np.pi), np.exp(rng.normal(0, 0.12))
  cos, sin = np.cos(turn) / zoom, np.sin(turn) / zoom
  return _View(
    matrix=np.array([[cos, -sin], [sin, cos]], np.float32),
    offset=rng.normal(0, 0.06, 2).astype(np.float32),
    xs=((2 * np.arange(size) + 1 - size) / size).astype(np.float32),
  )


def _make_waves(
  rng: np.random.Generator, count: int, low: float, high: float
) -> _Waves:
  """Sample waves of all directions, of low to high radians per unit."""
  angles, phases = rng.uniform(0, 2 * np.pi, (2, count))
  lengths = rng.uniform(low, high, count)
  directions = np.stack((np.cos(angles), np.sin(angles)), axis=1)
  frequencies = lengths[:, None] * directions
  return _Waves(frequencies.astype(np.float32), phases.astype(np.float32))


def _evaluate(waves: _Waves, view: _View) -> np.ndarray:
  """Return a texture in a view, [size, size], of mean 0 and variance 1."""
  along = waves.frequencies @ view.matrix
  phases = waves.phases + waves.frequencies @ view.offset
  columns = np.outer(along[:, 0], view.xs)
  rows = np.outer(along[:, 1], view.xs) + phases[:, None]
  left = np.concatenate((np.cos(rows), -np.sin(rows)))
  right = np.concatenate((np.cos(columns), np.sin(columns)))
  # In 8 blocks, each too small for BLAS to use threads: on a busy machine they
  # would wait for each other for longer than everything else takes.
  blocks = left.T.reshape(8, -1, len(left)) @ right
  return blocks.reshape(len(view.xs), -1) * math.sqrt(2 / len(phases))


def _paint_skin(view: _View, rng: np.random.Generator) -> np.ndarray:
  """Return skin with uneven tone, [3, size, size]."""
  tone = _SKIN + _vary(rng, 0.03, 0.012)
  blotches = _evaluate(_make_waves(rng, 8, 1, 4), view)
  pores = _evaluate(_make_waves(rng, 24, 20, 60), view)
  return tone * (1 + 0.025 * blotches * _REDDER + 0.02 * pores)


def _paint_lesion(
  canvas: np.ndarray, look: Look, view: _View, rng: np.random.Generator
) -> np.ndarray:
  """Return the canvas with the lesion over it."""
  x, y = np.meshgrid(view.xs, view.xs)
  u = view.matrix[0, 0] * x + view.matrix[0, 1] * y + view.offset[0]
  v = view.matrix[1, 0] * x + view.matrix[1, 1] * y + view.offset[1]
  outline = _evaluate(_make_waves(rng, 8, 2, 9), view)
  rays = np.cos(rng.integers(9, 17) * np.arctan2(v, u) + outline)
  reach = look.irregularity * outline + look.streaks * np.maximum(rays, 0)
  inside = look.radius * (1 + reach) - np.hypot(u, v / look.aspect)
  mask = _step(inside / look.softness)

  patches = _evaluate(_make_waves(rng, 10, 3, 9), view)
  second = look.patches * _step(3 * (patches - 0.2))
  colour = _mix(_column(look.colour), _column(look.second), second)
  spots = look.spots * _place_spots(look, u, v, rng)
  colour = _mix(colour, _column(look.spot_colour), spots)
  # Where a texture is near 0 it forms a net; its peaks form dots.
  vessels = _evaluate(_make_waves(rng, 12, 8, 16), view)
  colour = _mix(colour, _BLOOD, look.vessels * np.exp(-40 * vessels**2))
  net = _evaluate(_make_waves(rng, 24, 30, 42), view)
  dots = _evaluate(_make_waves(rng, 24, 20, 30), view)
  dark = look.network * 0.5 * np.exp(-6 * net**2)
  dark += look.globules * 0.5 * _step(6 * (dots - 1.1))
  colour *= 1 - dark
  return _mix(canvas, colour, mask)


def _place_spots(
  look: Look, u: np.ndarray, v: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """Return the mask of the spots, [size, size], 0 to 1."""
  depth = np.full_like(u, -np.inf)
  for x0, y0 in rng.normal(0, look.spot_spread * look.radius, (_NUM_SPOTS, 2)):
    width = look.spot_radius * look.radius * math.exp(rng.normal(0, 0.3))
    squared = (u - float(x0)) ** 2 + (v - float(y0)) ** 2
    depth = np.maximum(depth, 1 - squared / width**2)
  return _step(2 * depth)


def _light(
  canvas: np.ndarray, xs: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """Return the canvas under a lamp, with dark corners and grain."""
  colour = 1 + _vary(rng, 0.04, 0.015)
  slope_x, slope_y = rng.normal(0, 0.04, 2).tolist()
  x, y = np.meshgrid(xs, xs)
  corners = rng.uniform(0, 0.35) * ((x**2 + y**2) / 2) ** 2
  shade = 1 + slope_x * x + slope_y * y - corners
  grain = 0.012 * rng.standard_normal(canvas.shape, np.float32)
  return canvas * colour * shade + grain


def _draw_hair(image: Image.Image, rng: np.random.Generator) -> None:
  """Draw a few curved hairs over the picture; most pictures get none."""
  pen = ImageDraw.Draw(image)
  ts = np.linspace(0, 1, 12)[:, None]
  dark = rng.uniform(30, 110)
  for _ in range(rng.poisson(0.8) * rng.integers(0, 3)):
    start, bend, end = rng.uniform(-0.2, 1.2, (3, 2)) * image.width
    points = (1 - ts) ** 2 * start + 2 * ts * (1 - ts) * bend + ts**2 * end
    colour = tuple(int(dark * tint) for tint in (1.0, 0.8, 0.7))
    pen.line([tuple(point) for point in points], colour)


def _step(x: np.ndarray) -> np.ndarray:
  """Rise smoothly from 0 to 1 around 0."""
  return 0.5 + 0.5 * np.tanh(x)


def _mix(under: np.ndarray, over: np.ndarray, share: np.ndarray) -> np.ndarray:
  """Lay a colour over another, at a share [size, size] of opacity."""
  return under + share * (over - under)


def _vary(rng: np.random.Generator, shade: float, tint: float) -> np.ndarray:
  """Sample a colour change, [3, 1, 1]: a shared part and one per channel."""
  change = rng.normal(0, shade) + rng.normal(0, tint, (3, 1, 1))
  return change.astype(np.float32)


def _column(colour: np.ndarray) -> np.ndarray:
  """Reshape a colour [3] so that it broadcasts over a picture."""
  return colour.astype(np.float32)[:, None, None]
