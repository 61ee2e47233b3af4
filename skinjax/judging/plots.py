"""Figures of the page of an evaluation; see judging/page.py for its schema.

Colours and markers show what was compared with the training images of a class,
so that they can be distinguished in grey, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from skinjax.metrics import checks
from skinjax.report.figures import (
  COLORS,
  FAINT,
  INK,
  WIDTH,
  panel,
  whisker,
  wrapped,
)

# Name, marker, colour and offset within a row of each comparison.
_COMPARISONS = {
  "synthetic": ("synthetic images", "o", COLORS[1], 0.0),
  "floor": ("floor: held-out real images", "s", COLORS[0], -0.25),
  "ceiling": ("reference: nearest other class", "D", COLORS[6], 0.25),
}
_SHARES = ("precision", "recall", "density", "coverage")
_ALL = "all classes"
_MOST_POINTS = 1500  # of each set; more would only overlap


class Projection(NamedTuple):
  """Points of two sets, in the plane in which the real ones vary most."""

  real: np.ndarray  # [n, 2] floats, of mean zero
  synthetic: np.ndarray  # [m, 2] floats
  explained: tuple[float, float]  # shares of the real images' variance


def kernels(rows: Sequence[Mapping[str, Any]]) -> Figure:
  """Draw the kernel distances with intervals, a panel for each extractor."""
  extractors, classes = _names(rows)
  figure = Figure(figsize=(WIDTH, 1.1 + 0.42 * len(classes)))
  axes = figure.subplots(1, len(extractors), sharey=True, squeeze=False)[0]
  for axis, extractor in zip(axes, extractors, strict=True):
    of_extractor = [r for r in rows if r["extractor"] == extractor]
    panel(axis, wrapped(extractor, 3 * 24 // len(extractors)))
    axis.axvline(0, color=FAINT, linewidth=0.8)
    for row, marker, color, place in _measured(axis, of_extractor, classes):
      size = 6 if row["comparison"] == "synthetic" else 4
      mark = {"marker": marker, "vertical": False}
      whisker(axis, row["kernel"], place, color, size, **mark)
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.set_xlabel("KID (0: same distribution)", fontsize=9)
  _class_rows(axes[0], classes)
  return _finished(figure, _marks(rows))


def shares(rows: Sequence[Mapping[str, Any]]) -> Figure:
  """Draw precision, recall, density and coverage: a row for each extractor."""
  extractors, classes = _names(rows)
  # At least three rows, so that an extractor's name fits.
  inches = 0.3 * max(len(classes), 3)
  figure = Figure(figsize=(WIDTH, 0.6 + len(extractors) * (0.7 + inches)))
  axes = figure.subplots(len(extractors), 4, sharey=True, squeeze=False)
  for line, extractor in zip(axes, extractors, strict=True):
    of_extractor = [r for r in rows if r["extractor"] == extractor]
    for axis, share in zip(line, _SHARES, strict=True):
      panel(axis, share)
      for row, marker, color, place in _measured(axis, of_extractor, classes):
        if (value := row["prdc"][share]) is not None:
          axis.plot([value], [place], marker, color=color, markersize=4.5)
      # Density alone may exceed 1.
      axis.set_xlim(-0.08, max(1.08, 1.08 * axis.dataLim.x1))
      axis.xaxis.set_major_locator(MaxNLocator(3))
      axis.grid(axis="x", color=FAINT, linewidth=0.5)
    _class_rows(line[0], classes)
    if len(extractors) > 1:
      # Next to the class names, and never over the panels' titles.
      line[0].set_ylabel(wrapped(extractor, int(14 * inches)), fontsize=8)
  return _finished(figure, _marks(rows))


def frechet_curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
  """Draw Fréchet distances in one extractor over 1 / n, one panel per class."""
  _, classes = _names(rows)
  figure, axes = _panels([name or _ALL for name in classes])
  for axis, name in zip(axes, classes, strict=True):
    right = 0.0
    for row in (r for r in rows if r["class"] == name):
      if row.get("refused") or row["curve"]["limit"] is None:
        continue
      _, marker, color, _ = _COMPARISONS[row["comparison"]]
      curve = row["curve"]
      inverse = 1 / np.array(curve["counts"])
      right = max(right, inverse.max())
      axis.plot(inverse, curve["values"], marker, color=color, markersize=3.5)
      slope = np.polyfit(inverse, curve["values"], 1)[0]
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
    axis.xaxis.set_major_formatter(
      FuncFormatter(lambda v, _: "0" if v <= 0 else f"1/{1 / v:.0f}")
    )
    axis.yaxis.set_major_locator(MaxNLocator(4))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.4g}"))
    axis.margins(x=0.08)
    if not right:
      axis.set_xticks([])
      axis.set_yticks([])
      _say_too_few(axis, 0.3, 0.5, axis.transAxes)
  figure.supxlabel("1 / number of images", fontsize=9, color=INK)
  figure.supylabel("Fréchet distance", fontsize=9, color=INK)
  return _finished(figure, _marks(rows))


def project(real: np.ndarray, synthetic: np.ndarray) -> Projection:
  """Project features on the first two principal components of real ones.

  The plane depends on the real images alone, so unusual synthetic images cannot
  rotate it. Features are as in `checks.feature_pair`.
  """
  real, synthetic = checks.feature_pair(real, synthetic, least=1)
  mean = real.mean(0)
  centred = real - mean
  variances, axes = np.linalg.eigh(centred.T @ centred)
  axes = axes.T[:-3:-1]
  # The sign of an axis is arbitrary: make its largest component positive.
  largest = axes[[0, 1], np.abs(axes).argmax(1)]
  axes = axes * np.where(largest < 0, -1, 1)[:, None]
  shares = variances[:-3:-1] / max(variances.sum(), np.finfo(float).tiny)
  return Projection(
    centred @ axes.T, (synthetic - mean) @ axes.T, tuple(shares.tolist())
  )


def embedding(
  points: Projection,
  real_labels: np.ndarray,
  synthetic_labels: np.ndarray,
  classes: Sequence[str],
) -> Figure:
  """Draw a map of images: one panel per class, all real images in grey.

  Labels are integers [n] of the real and [m] of the synthetic points.
  """
  labels = sorted({*real_labels, *synthetic_labels})
  figure, axes = _panels(
    [classes[label] for label in labels], sharex=True, sharey=True
  )
  kinds = (
    ("all real images", ".", FAINT, 2),
    ("real images of the class", "s", COLORS[0], 2.5),
    ("synthetic images of the class", "o", COLORS[1], 2.5),
  )
  for axis, label in zip(axes, labels, strict=True):
    axis.set_xticks([])
    axis.set_yticks([])
    real = points.real[real_labels == label]
    fake = points.synthetic[synthetic_labels == label]
    for of_kind, (_, marker, color, size) in zip(
      (points.real, real, fake), kinds, strict=True
    ):
      # Rasterized, as thousands of vector marks would make a large page.
      step = -(-len(of_kind) // _MOST_POINTS) or 1
      axis.plot(
        *of_kind[::step].T,
        marker,
        color=color,
        markersize=size,
        markeredgewidth=0,
        alpha=0.75,
        rasterized=True,
      )
  first, second = points.explained
  figure.supxlabel(f"first axis ({first:.0%} of the variance)", fontsize=9)
  figure.supylabel(f"second axis ({second:.0%})", fontsize=9)
  return _finished(figure, [kind[:3] for kind in kinds])


def _names(rows):
  """Return the names of extractors and of classes, all of them (None) last."""
  extractors = list(dict.fromkeys(row["extractor"] for row in rows))
  classes = list(dict.fromkeys(row["class"] for row in rows))
  return extractors, sorted(classes, key=lambda name: name is None)


def _class_rows(axis, classes):
  axis.set_yticks(
    range(len(classes)), [wrapped(name or _ALL, 18) for name in classes]
  )
  axis.set_ylim(len(classes) - 0.5, -0.5)


def _measured(axis, rows, classes):
  """Yield rows with marker, colour and position; label classes without one."""
  for row in rows:
    _, marker, color, offset = _COMPARISONS[row["comparison"]]
    place = classes.index(row["class"])
    if not row.get("refused"):
      yield row, marker, color, place + offset
    elif row["comparison"] == "synthetic":
      _say_too_few(axis, 0.03, place, axis.get_yaxis_transform())


def _say_too_few(axis, x, y, transform):
  style = {"va": "center", "fontsize": 8, "color": INK}
  axis.text(x, y, "too few images", transform=transform, **style)


def _panels(titles, **options):
  """Make a figure with a panel for each title, four in a row."""
  columns = min(4, len(titles))
  lines = -(-len(titles) // columns)
  figure = Figure(figsize=(WIDTH, 0.7 + 1.75 * lines), dpi=144)
  axes = figure.subplots(lines, columns, squeeze=False, **options).ravel()
  for axis in axes[len(titles) :]:
    axis.set_axis_off()
  for axis, title in zip(axes, titles, strict=False):
    panel(axis, wrapped(title, 80 // columns))
  return figure, axes[: len(titles)]


def _finished(figure, marks):
  """Lay out the panels, and add a legend of the marks."""
  figure.tight_layout()
  axis = figure.axes[0]
  handles = [
    axis.plot([], [], marker, color=color, markersize=5)[0]
    for _, marker, color in marks
  ]
  figure.legend(
    handles,
    [name for name, _, _ in marks],
    loc="lower center",
    bbox_to_anchor=(0.5, 1.0),
    ncols=len(marks),
    frameon=False,
    fontsize=9,
  )
  return figure


def _marks(rows):
  """Return name, marker and colour of each comparison in the rows."""
  there = {row["comparison"] for row in rows}
  return [mark[:3] for kind, mark in _COMPARISONS.items() if kind in there]
