"""Numbers, pictures and figures as a page that is one file shows them."""

import base64
import functools
import io
import math
import pathlib

import jinja2
from matplotlib.figure import Figure
from PIL import Image

from skinjax.report import figures

_TEMPLATES = pathlib.Path(__file__).parent / "templates"


@functools.cache
def environment() -> jinja2.Environment:
  """Return the environment of the templates, which escapes all text."""
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters["score"] = _score
  environment.filters["signed"] = signed
  environment.filters["number"] = number
  environment.filters["percent"] = lambda share: (
    "n/a" if share is None else f"{share:.1%}"
  )
  environment.filters["thousands"] = lambda count: f"{count:,}"
  return environment


def jpeg_uri(image: Image.Image) -> str:
  """Embed many pictures: a third of a PNG's size, and all but the same."""
  stream = io.BytesIO()
  image.save(stream, format="JPEG", quality=95, subsampling=0)
  data = base64.b64encode(stream.getvalue()).decode("ascii")
  return "data:image/jpeg;base64," + data


def png_uri(image: Image.Image | bytes) -> str:
  """Embed an image, or the bytes of a PNG."""
  if isinstance(image, Image.Image):
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    image = stream.getvalue()
  return "data:image/png;base64," + base64.b64encode(image).decode("ascii")


def svg_uri(figure: Figure) -> str:
  """Embed a figure."""
  data = base64.b64encode(figures.svg(figure)).decode("ascii")
  return "data:image/svg+xml;base64," + data


def number(value: float | None) -> str:
  """Format a number of any size with three digits that mean something."""
  if value is None:
    return "n/a"
  size = abs(value)
  if size >= 1000:
    text = f"{value:,.0f}"
  elif size >= 1e-4 or not size:
    text = f"{value:#.3g}".rstrip(".")
  else:
    text = f"{value:.1e}"
  return text.replace("-", "−")


def _score(value):
  return "n/a" if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
  """Format a difference: sign always shown, a true minus, three decimals."""
  if value is None or math.isnan(value):
    return "n/a"
  text = f"{value:+.3f}".replace("-", "−")
  return "0.000" if float(f"{value:.3f}") == 0 else text
