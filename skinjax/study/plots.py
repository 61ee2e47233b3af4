"""Figures of the report, drawn from a summary, one matplotlib Figure each.

Made without pyplot: nothing global is changed, and no display is needed.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

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
from skinjax.study import verdict

_ABOVE = {
  "loc": "lower center",
  "bbox_to_anchor": (0.5, 1.0),
  "frameon": False,
  "fontsize": 9,
}
_TONES = {verdict.HELPS: COLORS[2], verdict.HURTS: COLORS[1]}


def pairs(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
  """List the pairs (arm, rival) of a summary, the one that decides first."""
  return list(
    dict.fromkeys((d["arm"], d["rival"]) for d in summary["differences"])
  )


def _colored(arms: Iterable) -> Iterator[tuple[str, Any]]:
  return zip(itertools.cycle(COLORS), arms, strict=False)


def forest(summary: Mapping[str, Any]) -> Figure:
  """Draw the paired differences with their intervals, one panel a pair.

  The first row of a panel is balanced accuracy, the others the classes'
  recall at their wider, Bonferroni-corrected level.
  """
  metric = summary["verdict"]["metric"]
  rows = [
    d for d in summary["differences"] if d["metric"] in (metric, "recall")
  ]
  classes = [c["name"] for c in summary["classes"]]
  names = ["balanced accuracy", *map(literal, classes)]
  figure = Figure(figsize=(WIDTH, 0.9 + 0.3 * len(names)))
  columns = pairs(summary)
  axes = figure.subplots(1, len(columns), sharex=True, sharey=True)
  for axis, pair in zip(np.atleast_1d(axes), columns, strict=True):
    panel(axis, literal("{}\n\N{MINUS SIGN} {}".format(*pair)))
    axis.axvline(0, color=INK, linewidth=0.8)
    for row in (d for d in rows if (d["arm"], d["rival"]) == pair):
      place = 0 if row["class"] is None else 1 + classes.index(row["class"])
      whisker(
        axis,
        row,
        place,
        _TONES.get(row["verdict"], INK),
        8 if place == 0 else 5,
        vertical=False,
        hollow=row["verdict"] == verdict.CANNOT_TELL,
      )
    axis.axhline(0.5, color=FAINT, linewidth=0.8)
    axis.set_xlabel("← hurts      difference      helps →", fontsize=9)
    axis.set_yticks(range(len(names)), names)
  figure.axes[0].invert_yaxis()
  figure.axes[0].get_yticklabels()[0].set_fontweight("bold")
  return figure


def recalls(summary: Mapping[str, Any]) -> Figure:
  """Draw each class's recall by arm, with intervals."""
  classes = [c["name"] for c in summary["classes"]]
  arms = summary["arms"]
  figure = Figure(figsize=(WIDTH, 2.9))
  axis = figure.subplots()
  bare(axis)
  step = 0.6 / max(len(arms) - 1, 1)
  for index, (color, arm) in enumerate(_colored(arms)):
    for place, name in enumerate(classes):
      offset = place - 0.3 + step * index if len(arms) > 1 else place
      whisker(axis, arm["recall"][name], offset, color, 5, vertical=True)
    axis.plot([], [], "o", color=color, label=literal(arm["name"]))
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
  axis.legend(ncols=min(len(arms), 4), **_ABOVE)
  return figure


def curves(
  runs: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
) -> Figure:
  """Draw scalars against steps: a panel for each name, a colour for each arm.

  An arm has runs (seeds), each a list of `{"step": …, name: value}`, which may
  lack names.
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


def reliability(summary: Mapping[str, Any]) -> Figure:
  """Draw accuracy against confidence; dot areas are shares of examples."""
  figure = Figure(figsize=(3.4, 3.4))
  axis = figure.subplots()
  bare(axis)
  axis.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
  for color, arm in _colored(summary["arms"]):
    bins = {
      key: np.array(values, float) for key, values in arm["reliability"].items()
    }
    seen = bins["share"] > 0
    confidence, accuracy = bins["confidence"][seen], bins["accuracy"][seen]
    axis.plot(confidence, accuracy, color=color, linewidth=1.2)
    axis.scatter(
      confidence,
      accuracy,
      s=8 + 220 * bins["share"][seen],
      color=color,
      alpha=0.65,
      linewidths=0,
    )
    axis.plot([], [], color=color, label=literal(arm["name"]))
  axis.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
  axis.set_xlabel("confidence", fontsize=9)
  axis.set_ylabel("accuracy", fontsize=9)
  axis.legend(loc="upper left", frameon=False, fontsize=8)
  return figure


def confusion(summary: Mapping[str, Any], arm_name: str) -> Figure:
  """Draw an arm's confusion matrix: shares of each true class, in percent."""
  names = [literal(c["name"]) for c in summary["classes"]]
  (arm,) = (a for a in summary["arms"] if a["name"] == arm_name)
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
  axis.set_title(literal(arm_name), fontsize=10, color=INK)
  return figure
