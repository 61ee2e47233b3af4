"""Renders templates, numbers, images and figures for a one-file HTML page."""

import base64
import functools
import io
import math
import pathlib
import re

import jinja2
import markupsafe
from matplotlib.figure import Figure
from PIL import Image

from skinjax.report import figures
from tfds_ham10000.images import encode_png

_TEMPLATES = pathlib.Path(__file__).parent / "templates"


@functools.cache
def environment() -> jinja2.Environment:
  """Return the Jinja environment of the templates, which escapes all text."""
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  formatted = lambda form: lambda x: "n/a" if x is None else format(x, form)
  environment.filters |= {
    "score": formatted(".3f"),
    "signed": signed,
    "number": number,
    "p": p_value,
    "percent": formatted(".1%"),
    "thousands": "{:,}".format,
    "with_flags": with_flags,
  }
  return environment


def with_flags(text: str) -> markupsafe.Markup:
  """Mark the flags in a text, such as --config.seeds=3, as code."""
  escaped = str(markupsafe.escape(text))
  return markupsafe.Markup(
    re.sub(r"--[\w.=,]*\w", r"<code>\g<0></code>", escaped)
  )


def jpeg_uri(image: Image.Image) -> str:
  """Embed a large image: a third of a PNG's size, and almost as exact."""
  stream = io.BytesIO()
  image.save(stream, format="JPEG", quality=95, subsampling=0)
  return _uri("jpeg", stream.getvalue())


def png_uri(image: Image.Image | bytes) -> str:
  """Embed an image, or the bytes of a PNG."""
  if isinstance(image, Image.Image):
    image = encode_png(image)
  return _uri("png", image)


def svg_uri(figure: Figure) -> str:
  """Embed a figure."""
  return _uri("svg+xml", figures.svg(figure))


def _uri(kind: str, data: bytes) -> str:
  return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def number(value: float | None) -> str:
  """Format a number of any size with about three significant digits."""
  if value is None:
    return "n/a"
  size = abs(value)
  if size >= 999.5:
    text = f"{value:,.0f}"
  elif size >= 1e-4 or not size:
    text = f"{value:#.3g}".rstrip(".")
  else:
    text = f"{value:.1e}"
  return text.replace("-", "−")


def p_value(value: float | None) -> str:
  """Format a p-value: three decimals, or an upper bound."""
  if value is None:
    return "n/a"
  return "< 0.001" if value < 0.001 else f"{value:.3f}"


def signed(value: float | None) -> str:
  """Format a difference with its sign, a typographic minus, three decimals."""
  if value is None or math.isnan(value):
    return "n/a"
  text = f"{value:+.3f}".replace("-", "−")
  return "0.000" if float(f"{value:.3f}") == 0 else text
