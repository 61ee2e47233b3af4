"""Figures of the report, drawn from a summary, one matplotlib Figure each.

Made without pyplot: nothing global is changed, and no display is needed.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import (
  EngFormatter,
  FixedLocator,
  MaxNLocator,
  NullLocator,
)

from skinjax.report.figures import (
  COLORS,
  FAINT,
  INK,
  WIDTH,
  bare,
  literal,
  panel,
  whisker,
)
from skinjax.report.rendering import p_value, signed
from skinjax.study import verdict
from skinjax.study.arms import DEFAULTS
from skinjax.study.learning_curve import LEAST_FRACTION
from skinjax.study.scoring import HEADLINE_METRIC, WITH, WITHOUT

_ABOVE = {
  "loc": "lower center",
  "bbox_to_anchor": (0.5, 1.0),
  "frameon": False,
  "fontsize": 9,
}
_TONES = {verdict.HELPS: COLORS[2], verdict.HURTS: COLORS[1]}
_PANELS = 4  # per row in the plot of doses
LEAST_IN_BIN = 10  # predictions; smaller bins are not on the reliability line


def by_network(
  summary: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]
) -> dict[str, list[Mapping[str, Any]]]:
  """Group arms or differences by network.

  The verdict's network comes first; within a network, the procedures do.
  """
  first = summary["verdict"]["network"]
  names = [network["name"] for network in summary["networks"]]
  grouped = {name: [] for name in sorted(names, key=lambda n: n != first)}
  for row in rows:
    grouped[row["network"]].append(row)
  order = (WITH, WITHOUT)
  place = lambda name: order.index(name) if name in order else len(order)
  return {
    network: sorted(found, key=lambda r: place(r.get("arm", r.get("name"))))
    for network, found in grouped.items()
    if found
  }


def procedures(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
  """Return the arms of the verdict: WITHOUT and WITH of its network."""
  network = summary["verdict"]["network"]
  return [arm_of(summary, network, name) for name in (WITHOUT, WITH)]


def arm_of(
  summary: Mapping[str, Any], network: str, name: str
) -> Mapping[str, Any] | None:
  """Find an arm of a network; None if it has no such arm."""
  key = (network, name)
  found = (a for a in summary["arms"] if (a["network"], a["name"]) == key)
  return next(found, None)


def doses_of(summary: Mapping[str, Any], network: str) -> dict[str, float]:
  """Return a network's arms that differ only in dose, sorted by dose."""
  alike = {**DEFAULTS, "added": "synthetic"}
  del alike["dose"]
  compared = {
    d["arm"] for d in summary["differences"] if d["network"] == network
  }
  found = {
    arm["name"]: arm["recipe"]["dose"]
    for arm in summary["arms"]
    if arm["network"] == network
    and arm["name"] in compared
    and arm["recipe"]
    and all(arm["recipe"][key] == value for key, value in alike.items())
  }
  # Only arms of one training differ in nothing but the dose.
  changes = lambda name: arm_of(summary, network, name)["recipe"]["changes"]
  first = next(iter(found), None)
  found = {n: d for n, d in found.items() if changes(n) == changes(first)}
  return dict(sorted(found.items(), key=lambda item: item[1]))


def _colored(arms: Iterable) -> Iterator[tuple[str, Any]]:
  return zip(itertools.cycle(COLORS), arms, strict=False)


def forest(summary: Mapping[str, Any]) -> Figure:
  """Draw differences in balanced accuracy, one row per network and arm.

  The row of the verdict comes first, as a diamond. The other rows have their
  adjusted p-values on the right. An arm that every fold chose has the same
  comparison as the procedure, and no row of its own.
  """
  rows = by_network(
    summary,
    [d for d in summary["differences"] if d["metric"] == HEADLINE_METRIC],
  )
  chosen = {"arm": WITH}
  rows = {
    network: found[:1] + [d for d in found[1:] if d | chosen != found[0]]
    for network, found in rows.items()
  }
  lines = sum(1 + len(found) for found in rows.values())
  figure = Figure(figsize=(WIDTH, 0.8 + 0.23 * lines))
  axis = figure.subplots()
  bare(axis)
  axis.axvline(0, color=INK, linewidth=0.8)
  beside = {
    "transform": axis.get_yaxis_transform(),
    "va": "center",
    "fontsize": 8,
    "color": INK,
  }
  axis.text(1.02, -0.9, "adjusted p", **beside)
  names, place = [], itertools.count()
  for network, found in rows.items():
    heading = next(place)
    names.append("")
    axis.text(
      *(-0.02, heading, literal(network)), ha="right", weight="bold", **beside
    )
    axis.axhline(heading - 0.5, color=FAINT, linewidth=0.6)
    for row in found:
      decides = row is rows[summary["verdict"]["network"]][0]
      names.append(literal(row["arm"]))
      at = next(place)
      whisker(
        axis,
        row,
        at,
        _TONES.get(row["verdict"], INK),
        8 if decides else 4.5,
        vertical=False,
        hollow=row["verdict"] == verdict.CANNOT_TELL,
        marker="D" if decides else "o",
      )
      p = row["p_adjusted"]
      shown = "primary" if decides else "–" if p is None else p_value(p)
      axis.text(1.02, at, shown, **beside)
  axis.set_yticks(range(len(names)), names)
  axis.tick_params(axis="y", length=0)
  axis.set_ylim(len(names) - 0.4, -0.6)
  axis.grid(axis="x", color=FAINT, linewidth=0.4)
  # The ways from zero are below the tick labels, above the axis's own label.
  axis.set_xlabel("difference in balanced accuracy", fontsize=9, labelpad=16)
  for text, side, shift in (("← hurts", "right", -6), ("helps →", "left", 6)):
    axis.annotate(
      text,
      (0, 0),
      xytext=(shift, -18),
      xycoords=axis.get_xaxis_transform(),
      textcoords="offset points",
      ha=side,
      va="top",
      fontsize=9,
      color=INK,
    )
  return figure


def doses(summary: Mapping[str, Any], network: str) -> Figure:
  """Draw the effect of doses of synthetic images on a network, by class.

  One panel shows balanced accuracy, and one per class its recall, as
  differences from WITHOUT. The intervals of classes are Bonferroni-corrected.
  """
  given = doses_of(summary, network)
  panels = [(HEADLINE_METRIC, None)]
  panels += [("recall", c["name"]) for c in summary["classes"]]
  found = {
    (d["arm"], d["metric"], d["class"]): d
    for d in summary["differences"]
    if d["network"] == network and d["arm"] in given
  }
  lines = -(-len(panels) // _PANELS)
  figure = Figure(figsize=(WIDTH, 0.4 + 1.7 * lines))
  axes = figure.subplots(lines, _PANELS, sharex=True, sharey=True).ravel()
  for axis in axes[len(panels) :]:
    axis.set_axis_off()
  for axis, (metric, name) in zip(axes, panels, strict=False):
    title = "balanced accuracy" if name is None else literal(name)
    panel(axis, title)
    axis.title.set_fontweight("bold" if name is None else "normal")
    axis.axhline(0, color=INK, linewidth=0.8)
    # Doses grow by factors, so they are drawn at even distances.
    rows = [found[arm, metric, name] for arm in given]
    known = [
      (x, r["value"]) for x, r in enumerate(rows) if r["low"] is not None
    ]
    axis.plot(*zip(*known, strict=True) if known else ((), ()), color=FAINT)
    for x, row in enumerate(rows):
      tone = _TONES.get(row["verdict"], INK)
      whisker(axis, row, x, tone, 4.5, vertical=True)
    ticks = [f"{dose:g}".removeprefix("0") for dose in given.values()]
    axis.set_xticks(range(len(given)), ticks)
    axis.tick_params(labelbottom=True)
    axis.margins(x=0.15)
  figure.supxlabel("synthetic images per real image", fontsize=9, color=INK)
  figure.supylabel("difference", fontsize=9, color=INK)
  figure.tight_layout()
  return figure


def learning_curve(summary: Mapping[str, Any]) -> Figure:
  """Draw balanced accuracy against the number of real images, with its slope.

  A horizontal line marks the score with all real and synthetic images.
  """
  curve = summary["learning_curve"]
  points = curve["points"]
  figure = Figure(figsize=(WIDTH, 2.9))
  axis = figure.subplots()
  bare(axis)
  axis.set_xscale("log")
  for point in points:
    whisker(axis, point, point["images"], COLORS[0], 5, vertical=True)
  axis.plot([], [], "o-", color=COLORS[0], label="real images only")
  late = [p for p in points if p["fraction"] >= LEAST_FRACTION]
  if curve["per_doubling"] is not None:
    x = np.log2([p["images"] for p in late])
    middle = np.mean([p["value"] for p in late])
    fit = middle + curve["per_doubling"] * (x - x.mean())
    axis.plot(
      *(2.0**x, fit, "--"),
      color=COLORS[0],
      linewidth=1,
      label=f"{signed(curve['per_doubling'])} per doubling",
    )
  if rival := arm_of(summary, curve["network"], WITH):
    value = rival["scores"][HEADLINE_METRIC]["value"]
    label = "all real images plus synthetic images"
    axis.axhline(value, color=COLORS[1], linewidth=1, label=label)
  ticks = [p["images"] for p in points]
  axis.xaxis.set_major_locator(FixedLocator(ticks))
  axis.xaxis.set_minor_locator(NullLocator())
  axis.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
  axis.set_xlabel("real training images", fontsize=9)
  axis.set_ylabel("balanced accuracy", fontsize=9)
  axis.grid(axis="y", color=FAINT, linewidth=0.5)
  axis.legend(loc="lower right", frameon=False, fontsize=8)
  return figure


def recalls(summary: Mapping[str, Any]) -> Figure:
  """Draw each class's recall with the two procedures, with intervals."""
  classes = [c["name"] for c in summary["classes"]]
  figure = Figure(figsize=(WIDTH, 2.9))
  axis = figure.subplots()
  bare(axis)
  for offset, (color, arm) in zip(
    (-0.12, 0.12), _colored(procedures(summary)), strict=True
  ):
    for place, name in enumerate(classes):
      whisker(
        axis, arm["recall"][name], place + offset, color, 5, vertical=True
      )
    axis.plot([], [], "o", color=color, label=arm["name"])
  axis.set_xticks(
    range(len(classes)),
    [
      f"{literal(c['name'])}\n{c['test_lesions']:,} lesions"
      for c in summary["classes"]
    ],
  )
  axis.set_ylim(-0.03, 1.03)
  axis.set_ylabel("recall", fontsize=9)
  axis.grid(axis="y", color=FAINT, linewidth=0.5)
  axis.legend(ncols=2, **_ABOVE)
  return figure


def curves(
  runs: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
) -> Figure:
  """Draw scalars against steps: one panel per name, one colour per arm.

  An arm has runs (seeds). Each run is a list of records `{"step": …, name:
  value}`; a record need not have every name.
  """
  names = list(
    dict.fromkeys(
      name
      for arm in runs.values()
      for run in arm
      for record in run
      for name in record
      if name != "step"
    )
  )
  columns = min(len(names), 3)
  lines = -(-len(names) // columns) if names else 1
  figure = Figure(figsize=(WIDTH, 0.5 + 2.0 * lines))
  axes = np.atleast_1d(figure.subplots(lines, max(columns, 1))).ravel()
  for axis in axes[len(names) :]:
    axis.set_axis_off()
  for axis, name in zip(axes, names, strict=False):
    panel(axis, literal(name))
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    for color, arm in _colored(runs):
      for run in runs[arm]:
        points = [(r["step"], r[name]) for r in run if name in r]
        if points:
          axis.plot(*zip(*points, strict=True), color=color, linewidth=1.1)
  for color, arm in _colored(runs):
    axes[0].plot([], [], color=color, label=literal(arm))
  figure.supxlabel("step", fontsize=9, color=INK)
  figure.tight_layout()
  if runs:
    figure.legend(ncols=min(len(runs), 4), **_ABOVE)
  return figure


def diversity(
  lines: Mapping[str, Sequence[tuple[float, float]]], threshold: float
) -> Figure:
  """Draw ratios of diversity against steps, one line of points per class.

  Classes below the `threshold` have collapsed.
  """
  figure = Figure(figsize=(WIDTH, 2.5))
  axis = figure.subplots()
  bare(axis)
  axis.axhline(threshold, color=INK, linewidth=0.8, linestyle="--")
  for color, name in _colored(lines):
    axis.plot(
      *zip(*lines[name], strict=True),
      color=color,
      marker="o",
      markersize=4,
      linewidth=1.1,
      label=literal(name),
    )
  axis.set_ylim(bottom=0)
  axis.xaxis.set_major_formatter(EngFormatter(sep=""))
  axis.set_xlabel("step", fontsize=9)
  axis.set_ylabel("diversity / real", fontsize=9)
  axis.legend(ncols=min(len(lines), 7), **_ABOVE)
  return figure


def reliability(summary: Mapping[str, Any]) -> Figure:
  """Draw accuracy against confidence for both procedures.

  The area of a dot shows its share of the examples. Bins of fewer than
  `LEAST_IN_BIN` predictions are dots beside the line.
  """
  images = sum(item["test_images"] for item in summary["classes"])
  figure = Figure(figsize=(3.4, 3.4))
  axis = figure.subplots()
  bare(axis)
  axis.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
  for color, arm in _colored(procedures(summary)):
    bins = {
      key: np.array(values, float) for key, values in arm["reliability"].items()
    }
    many = np.rint(bins["share"] * images * arm["seeds"]) >= LEAST_IN_BIN
    line = bins["confidence"][many], bins["accuracy"][many]
    axis.plot(*line, color=color, linewidth=1.2)
    axis.scatter(
      bins["confidence"],
      bins["accuracy"],
      s=8 + 220 * bins["share"],
      color=color,
      alpha=0.65,
      linewidths=0,
    )
    axis.plot([], [], color=color, label=arm["name"])
  axis.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
  axis.set_xlabel("confidence", fontsize=9)
  axis.set_ylabel("accuracy", fontsize=9)
  axis.legend(**_ABOVE)
  return figure


def confusion(summary: Mapping[str, Any], arm: Mapping[str, Any]) -> Figure:
  """Draw an arm's confusion matrix, in percent of each true class."""
  names = [literal(c["name"]) for c in summary["classes"]]
  counts = np.array(arm["confusion"], float)
  shares = counts / np.maximum(counts.sum(1, keepdims=True), 1e-12)
  figure = Figure(figsize=(3.4, 3.4))
  axis = figure.subplots()
  axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
  for (row, column), share in np.ndenumerate(shares):
    color = "white" if share > 0.5 else INK
    axis.text(
      column,
      row,
      f"{100 * share:.0f}",
      ha="center",
      va="center",
      fontsize=8,
      color=color,
    )
  axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
  axis.set_yticks(range(len(names)), names)
  axis.tick_params(length=0, labelsize=8, labelcolor=INK)
  axis.spines[:].set_visible(False)
  axis.set_xlabel("predicted", fontsize=9)
  axis.set_ylabel("true", fontsize=9)
  axis.set_title(literal(arm["name"]), fontsize=10, color=INK)
  return figure
