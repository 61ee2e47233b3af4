"""What times of two frameworks come to: rows, and the table of them."""

import statistics
from typing import Any

# The most that a metric may differ by, relative to it, or to 1 where it is
# less. Steps are compared in float64: in float32 Adam's first updates, which
# have the size of the rate whatever the gradient's, make 1e-3 of rounding.
_TOLERANCE = 1e-7


class MismatchError(Exception):
  """The two frameworks do not compute the same."""


def compare(name: str, ours: dict, theirs: dict) -> None:
  """Check that both frameworks took the same steps.

  Args:
    name: of what is compared.
    ours: what skinjax_runner.Steps.reference returns.
    theirs: what torch_runner.Steps.follow returns.

  Raises:
    MismatchError: a network's number of parameters, or a metric, is another.
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
  """Return medians of (ours, PyTorch's) times and of their ratios."""
  ours, theirs = zip(*pairs, strict=True)
  return {
    "skinjax_ms": statistics.median(ours),
    "torch_ms": statistics.median(theirs),
    "ratio": statistics.median(a / b for a, b in pairs),
  }


COLUMNS = {
  "model": ("model", "{:<12}"),
  "width": ("width", "{:>5}"),
  "skinjax_ms": ("skinjax ms", "{:>10.1f}"),
  "torch_ms": ("torch ms", "{:>8.1f}"),
  "ratio": ("ratio", "{:>5.2f}"),
  "skinjax_mib": ("skinjax MiB", "{:>11.0f}"),
  "torch_mib": ("torch MiB", "{:>9.0f}"),
  "torch_variant": ("torch variant", "{}"),
}


def table(rows: list[dict[str, Any]]) -> str:
  """Return rows as text, a line each, under a line of names."""
  cells = [
    [form.format(row[k]) for k, (_, form) in COLUMNS.items()] for row in rows
  ]
  names = [
    name.ljust(len(cell)) if key == "model" else name.rjust(len(cell))
    for (key, (name, _)), cell in zip(COLUMNS.items(), cells[0], strict=True)
  ]
  names[-1] = COLUMNS["torch_variant"][0]
  return "\n".join("  ".join(line).rstrip() for line in [names, *cells])


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
