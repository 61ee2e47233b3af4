"""Summarizes the times of two frameworks in rows and a table."""

import statistics
from collections.abc import Sequence
from typing import Any

# The largest allowed difference of a metric: relative, or absolute where the
# metric is below 1. Steps are compared in float64: in float32, Adam's first
# updates, as large as the learning rate whatever the gradient, make rounding
# errors of 1e-3.
_TOLERANCE = 1e-7


class MismatchError(Exception):
  """The results of the two frameworks differ."""


def compare(name: str, ours: dict, theirs: dict) -> None:
  """Check that both frameworks took the same steps.

  Args:
    name: the model's name, for the message.
    ours: the result of skinjax_runner.Steps.reference.
    theirs: the result of torch_runner.Steps.follow.

  Raises:
    MismatchError: a network's number of parameters, or a metric, differs.
  """
  if ours["parameters"] != theirs["parameters"]:
    raise MismatchError(
      f"{name}: skinjax has {ours['parameters']} parameters, PyTorch "
      f"{theirs['parameters']}"
    )
  steps = zip(ours["metrics"], theirs["metrics"], strict=True)
  for step, (metrics, others) in enumerate(steps, 1):
    for metric in metrics.keys() | others.keys():
      a, b = metrics.get(metric), others.get(metric)
      same = None not in (a, b) and abs(a - b) <= _TOLERANCE * max(abs(a), 1)
      if not same:
        raise MismatchError(
          f"{name}: {metric} of step {step} is {a} in skinjax, {b} in PyTorch"
        )


def summary(pairs: list[tuple[float, float]]) -> dict[str, float]:
  """Return medians of skinjax's and PyTorch's times, and of their ratios."""
  ours, theirs = zip(*pairs, strict=True)
  return {
    "skinjax_ms": statistics.median(ours),
    "torch_ms": statistics.median(theirs),
    "ratio": statistics.median(a / b for a, b in pairs),
  }


def aligned(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
  """Return one line per row; `sides` has < or > for each column."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  pad = lambda row: map("{:{}{}}".format, row, sides, widths)
  return ["  ".join(pad(row)).rstrip() for row in rows]


COLUMNS = {  # heading, format and alignment
  "model": ("model", "", "<"),
  "width": ("width", "", ">"),
  "skinjax_ms": ("skinjax ms", ".1f", ">"),
  "torch_ms": ("torch ms", ".1f", ">"),
  "ratio": ("ratio", ".2f", ">"),
  "skinjax_mib": ("skinjax MiB", ".0f", ">"),
  "torch_mib": ("torch MiB", ".0f", ">"),
  "torch_variant": ("torch variant", "", "<"),
}


def table(rows: list[dict[str, Any]]) -> str:
  """Return the rows as lines of text below a line of headings."""
  names, forms, sides = zip(*COLUMNS.values(), strict=True)
  cells = [
    [format(row[key], form) for key, form in zip(COLUMNS, forms, strict=True)]
    for row in rows
  ]
  return "\n".join(aligned([names, *cells], "".join(sides)))


def heading(document: dict[str, Any]) -> str:
  """Return the machine and the notes as lines above the table."""
  versions = ", ".join(f"{k} {v}" for k, v in document["versions"].items())
  notes = {
    f"{row['model']} {row['width']}: {note}"
    for row in document["rows"]
    for note in row["notes"]
  }
  machine = f"{document['cpu']}, {document['cores']} cores; {versions}"
  return "\n".join([machine, *sorted(notes)])
