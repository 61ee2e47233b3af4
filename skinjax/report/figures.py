"""Shared by all figures of the reports: colours, axes, and SVG output."""

import io
import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colours: distinguishable with colour blindness and in print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
COLORS += ("#7F7F7F", "#882255", "#332288", "#999933")  # ten, for the digits
INK = "#202124"
FAINT = "#c4c7cc"
WIDTH = 7.2


def svg(figure: Figure) -> bytes:
  """Return a figure as SVG, always the same bytes, with text as outlines."""
  stream = io.BytesIO()
  with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "0"}):
    figure.savefig(
      stream, format="svg", bbox_inches="tight", metadata={"Date": None}
    )
  return stream.getvalue()


def whisker(
  axis: Axes,
  estimate: Mapping[str, Any],
  place: float,
  color: str,
  size: float,
  *,
  vertical: bool,
  hollow: bool = False,
  marker: str = "o",
) -> None:
  """Draw one estimate: a dot and its interval; nothing if it is null."""
  if estimate["value"] is None:
    return
  dot, ends = [estimate["value"]], [estimate["low"], estimate["high"]]
  point = {
    "marker": marker,
    "color": color,
    "markersize": size,
    "markerfacecolor": "white" if hollow else color,
  }
  for values, places, style in (
    (ends, [place, place], {"color": color, "linewidth": 1.5}),
    (dot, [place], point),
  ):
    across = (places, values) if vertical else (values, places)
    axis.plot(*across, **style)


def bare(axis: Axes) -> None:
  """Style an axis: no frame, faint ticks, small labels."""
  axis.spines[["top", "right"]].set_visible(False)
  axis.spines[["left", "bottom"]].set_color(FAINT)
  axis.tick_params(labelsize=8, color=FAINT, labelcolor=INK)


def literal(text: str) -> str:
  """Escape dollar signs, which matplotlib would read as mathematics."""
  return text.replace("$", r"\$")


def panel(axis: Axes, title: str) -> None:
  """Style an axis with `bare`, and give it a title."""
  bare(axis)
  axis.set_title(title, fontsize=9, color=INK)


def wrapped(text: str, width: int) -> str:
  """Wrap a title to fit its panel: at most two lines, the rest cut off."""
  lines = textwrap.wrap(text, max(width, 8)) or [""]
  if len(lines) > 2:
    lines = [lines[0], lines[1][:-1] + "…"]
  return literal("\n".join(lines))
