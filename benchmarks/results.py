"""Compares and summarizes two frameworks' results; shows rows as a table."""

import statistics
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


def table(rows: list[dict[str, Any]]) -> str:
  """Return rows as lines of text below their keys; strings are left-aligned.

  A row may lack keys that others have.
  """
  names = list(dict.fromkeys(key for row in rows for key in row))
  columns = [[row.get(name) for row in rows] for name in names]
  padded = []
  for name, column in zip(names, columns, strict=True):
    cells = [name, *map(text, column)]
    side = "<" if any(isinstance(value, str) for value in column) else ">"
    width = max(map(len, cells))
    padded.append([f"{cell:{side}{width}}" for cell in cells])
  lines = zip(*padded, strict=True)
  return "\n".join("  ".join(line).rstrip() for line in lines)


def text(value: Any) -> str:
  """Return a table's cell: three digits of a float, nothing for None."""
  if isinstance(value, float):
    return f"{value:#.3g}" if abs(value) < 100 else f"{value:.0f}"
  return "" if value is None else str(value)


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
