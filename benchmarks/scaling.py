r"""Time training steps against batch, resolution and width.

  python -m benchmarks.scaling \
    [--models=acgan,classifier,progan,progan_plain] [--batches=16,32,64,128] \
    [--sizes=32,64,128] [--widths=16,32,64] [--json=FILE]

One factor varies at a time around a base: batch 64, 64x64, width 32. Each row
runs the same program as `main.py`, in a process without cached compilations.
`ms` is the time per step, the median over calls; `compile s` is the extra time
of the first call, with tracing; `MiB` is the growth of the process's peak
memory by compiling and running; and `ms x` is `ms` relative to the base's. A
ProGAN's width is the width at 64x64 for every size, so that sizes are stages of
one network.
"""

import argparse
import os
import platform
import statistics
from typing import Any, NamedTuple

import jax

from benchmarks import (
  arguments,
  measure,
  results,
  skinjax_runner,
  train_step,
  worker,
  workload,
)
from skinjax.runtime import files

# Steps per call; calls per row at most, and seconds after which no call starts.
_STEPS, _CALLS, _SECONDS = 2, 7, 4.0


class Point(NamedTuple):
  """Where a row is timed: images per step, image size, and channels."""

  batch: int
  size: int
  width: int


BASE = Point(batch=64, size=64, width=32)


def configure() -> None:
  """Disable the compilation cache in a worker's process."""
  jax.config.update("jax_enable_compilation_cache", False)


Steps = skinjax_runner.Steps  # what a worker configured by `configure` serves


def points(*factors: list[int]) -> list[Point]:
  """List the base, then points that differ in batch, size or width."""
  named = zip(Point._fields, factors, strict=True)
  others = [BASE._replace(**{k: v}) for k, values in named for v in values]
  return list(dict.fromkeys([BASE, *others]))


def model_config(name: str, point: Point):
  """Return the config of a model at a point."""
  values = train_step.MODELS[name].values
  return values(point.width, point.size, point.batch)


def time_point(name: str, point: Point) -> dict[str, float]:
  """Return a model's row at a point."""
  config = workload.changed(model_config(name, point), log_every=_STEPS)
  server = "benchmarks.scaling", "Steps", "torch"
  with worker.Remote(*server, config, point.size) as steps:
    first, times = steps.build(), []
    while len(times) < _CALLS and sum(times) < _SECONDS:
      times.append(steps.run())
    peak = steps.growth_mib()
  call = statistics.median(times)
  row = {"ms": call / _STEPS * 1e3, "compile s": first - call, "MiB": peak}
  return point._asdict() | row


def compile_row(name: str, rows: list[dict[str, float]]) -> dict[str, Any]:
  """Summarize the compile times of a model's rows, the base first."""
  took = [row["compile s"] for row in rows]
  return {"model": name, "base": took[0], "least": min(took), "most": max(took)}


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Run the requested timings; return the document."""
  steps = {name: [] for name in args.models}
  for name, rows in steps.items():
    for point in points(args.batches, args.sizes, args.widths):
      measure.say(f"{name}, {point}")
      row = time_point(name, point)
      base = rows[0] if rows else row
      rows.append(row | {"ms x": row["ms"] / base["ms"]})
  return {
    "cpu": measure.cpu(),
    "cores": os.cpu_count(),
    "versions": {"jax": jax.__version__, "python": platform.python_version()},
    "steps": steps,
    "compile": [compile_row(*item) for item in steps.items()],
  }


def show(document: dict[str, Any]) -> str:
  """Return the document as text."""
  steps = document["steps"].items()
  tables = {f"{k}, a step (ms x: times the first row)": v for k, v in steps}
  tables["seconds of cold compilation"] = document["compile"]
  texts = [f"{title}\n{results.table(rows)}" for title, rows in tables.items()]
  return "\n\n".join([results.heading(document | {"rows": []}), *texts])


def parse(argv: list[str] | None = None) -> argparse.Namespace:
  """Parse arguments, or exit with a one-line error."""
  parser = arguments.Parser("python -m benchmarks.scaling")
  add, counts = parser.add_argument, arguments.positives
  # Those that have a width.
  known = {n: m for n, m in train_step.COMPARED.items() if m.width_keys}
  add("--models", type=arguments.names(known), default=",".join(known))
  add("--batches", type=counts, default="16,32,64,128", help="images per step")
  add("--sizes", type=arguments.sizes, default="32,64,128", help="pixels")
  add("--widths", type=counts, default="16,32,64", help="channels")
  add("--json", type=arguments.file, help="also write results here")
  args = parser.parse_args(argv)
  chosen = {name: known[name] for name in args.models}
  arguments.require(parser, chosen, args.sizes, args.batches)
  return args


def main() -> None:
  """Print the tables."""
  args = parse()
  print(show(document := run(args)))
  if args.json:
    files.write_json(args.json, document)


if __name__ == "__main__":
  main()
