"""Figures of the page of an evaluation: see `evaluation_page` for its schema.

Everywhere, a colour and a marker say what was compared with the training
images of a class, so that they are told apart in grey too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from skinjax.report.figures import (
  COLORS,
  FAINT,
  INK,
  WIDTH,
  legend,
  panel,
  whisker,
  wrapped,
)

# Of each comparison: its name, colour, marker, and where it is in a row.
_COMPARISONS = {
  "synthetic": ("synthetic images", COLORS[1], "o", 0.0),
  "floor": ("floor: held-out real images", COLORS[0], "s", -0.25),
  "ceiling": ("ceiling: another class", COLORS[6], "D", 0.25),
}
_SHARES = ("precision", "recall", "density", "coverage")
_ALL = "all classes"


def kernels(rows: Sequence[Mapping[str, Any]]) -> Figure:
  """Draw the kernel distances with intervals, a panel for each extractor."""
  extractors, classes = _names(rows)
  figure = Figure(figsize=(WIDTH, 1.1 + 0.42 * len(classes)))
  axes = figure.subplots(1, len(extractors), sharey=True, squeeze=False)[0]
  for axis, extractor in zip(axes, extractors, strict=True):
    of_extractor = [r for r in rows if r["extractor"] == extractor]
    panel(axis, wrapped(extractor, 3 * 24 // len(extractors)))
    axis.axvline(0, color=FAINT, linewidth=0.8)
    for row in of_extractor:
      _, color, marker, offset = _COMPARISONS[row["comparison"]]
      place = classes.index(row["class"]) + offset
      if not row.get("refused"):
        size = 6 if row["comparison"] == "synthetic" else 4
        whisker(
          axis, row["kernel"], place, color, size, vertical=False, marker=marker
        )
    _refusals(axis, of_extractor, classes)
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.set_xlabel("KID (0: alike)", fontsize=9)
  _class_rows(axes[0], classes)
  return _finished(figure, rows)


def shares(rows: Sequence[Mapping[str, Any]]) -> Figure:
  """Draw precision, recall, density and coverage: a row for each extractor."""
  extractors, classes = _names(rows)
  # Three rows at least, so that an extractor's name finds its place.
  inches = 0.3 * max(len(classes), 3)
  figure = Figure(figsize=(WIDTH, 0.6 + len(extractors) * (0.7 + inches)))
  axes = figure.subplots(len(extractors), 4, sharey=True, squeeze=False)
  for line, extractor in zip(axes, extractors, strict=True):
    of_extractor = [r for r in rows if r["extractor"] == extractor]
    for axis, share in zip(line, _SHARES, strict=True):
      panel(axis, share)
      for row in of_extractor:
        if not row.get("refused") and row["prdc"][share] is not None:
          _, color, marker, offset = _COMPARISONS[row["comparison"]]
          axis.plot(
            [row["prdc"][share]],
            [classes.index(row["class"]) + offset],
            marker,
            color=color,
            markersize=4.5,
          )
      # Density alone may exceed 1.
      axis.set_xlim(-0.08, max(1.08, 1.08 * axis.dataLim.x1))
      axis.xaxis.set_major_locator(MaxNLocator(3))
      axis.grid(axis="x", color=FAINT, linewidth=0.5)
    _refusals(line[0], of_extractor, classes)
    _class_rows(line[0], classes)
    if len(extractors) > 1:
      # Beside the names of the classes, never over the panels' titles.
      line[0].set_ylabel(wrapped(extractor, int(14 * inches)), fontsize=8)
  return _finished(figure, rows)


def frechet_curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
  """Draw Fréchet distances of one extractor over 1 / n, a panel a class."""
  _, classes = _names(rows)
  columns = min(4, len(classes))
  lines = -(-len(classes) // columns)
  figure = Figure(figsize=(WIDTH, 0.7 + 1.75 * lines))
  axes = figure.subplots(lines, columns, squeeze=False).ravel()
  for axis in axes[len(classes) :]:
    axis.set_axis_off()
  for axis, name in zip(axes, classes, strict=False):
    panel(axis, wrapped(name or _ALL, 80 // columns))
    right = 0.0
    for row in (r for r in rows if r["class"] == name):
      if row.get("refused") or row["curve"]["limit"] is None:
        continue
      _, color, marker, _ = _COMPARISONS[row["comparison"]]
      curve = row["curve"]
      inverse = 1 / np.array(curve["counts"], float)
      right = max(right, inverse.max())
      axis.plot(inverse, curve["values"], marker, color=color, markersize=3.5)
      slope = np.polyfit(inverse, np.array(curve["values"], float), 1)[0]
      ends = np.array([0, inverse.max()])
      axis.plot(ends, curve["limit"] + slope * ends, color=color, linewidth=0.9)
      axis.errorbar(
        [0],
        [curve["limit"]],
        [curve["spread"] or 0],
        fmt=marker,
        color=color,
        markerfacecolor="white",
        markersize=5,
        capsize=2,
        linewidth=1,
      )
    axis.set_xticks(right * np.array([0, 0.5, 1]))
    axis.xaxis.set_major_formatter(FuncFormatter(_one_over))
    axis.yaxis.set_major_locator(MaxNLocator(4))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.4g}"))
    axis.margins(x=0.08)
    if not right:
      axis.set_xticks([])
      axis.set_yticks([])
      axis.text(
        0.5,
        0.5,
        "too few images",
        transform=axis.transAxes,
        ha="center",
        fontsize=8,
        color=INK,
      )
  figure.supxlabel("1 / number of images", fontsize=9, color=INK)
  figure.supylabel("Fréchet distance", fontsize=9, color=INK)
  return _finished(figure, rows)


def _names(rows):
  """Names of extractors, and of classes with all of them (None) last."""
  extractors = list(dict.fromkeys(row["extractor"] for row in rows))
  classes = list(dict.fromkeys(row["class"] for row in rows))
  return extractors, sorted(classes, key=lambda name: name is None)


def _class_rows(axis, classes):
  axis.set_yticks(
    range(len(classes)), [wrapped(name or _ALL, 18) for name in classes]
  )
  axis.set_ylim(len(classes) - 0.5, -0.5)


def _refusals(axis, rows, classes):
  """Say in the row of a class that it was not measured."""
  for row in rows:
    if row.get("refused") and row["comparison"] == "synthetic":
      axis.text(
        0.03,
        classes.index(row["class"]),
        "too few images",
        transform=axis.get_yaxis_transform(),
        va="center",
        fontsize=8,
        color=INK,
      )


def _one_over(value, _):
  return "0" if value <= 0 else f"1/{1 / value:.0f}"


def _finished(figure, rows):
  """Lay the panels out, and say what the marks are."""
  figure.tight_layout()
  shown = [k for k in _COMPARISONS if any(r["comparison"] == k for r in rows)]
  axis = figure.axes[0]
  handles = [
    axis.plot([], [], _COMPARISONS[k][2], color=_COMPARISONS[k][1])[0]
    for k in shown
  ]
  legend(figure, handles, [_COMPARISONS[k][0] for k in shown])
  return figure
