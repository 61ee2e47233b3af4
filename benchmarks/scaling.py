r"""Time training steps against batch, resolution, width; bound them elsewhere.

  python -m benchmarks.scaling \
    [--models=acgan,classifier,progan,progan_plain] [--batches=16,32,64,128] \
    [--sizes=32,64,128] [--widths=16,32,64] [--json=FILE]

One factor varies at a time around a base: batch 64, 64x64, width 32. Each row
is the program that `main.py` runs, in a process that finds no compiled
programs: `ms` a step is the median over calls, `compile s` is what the first
call, tracing included, takes longer, `MiB` is how far the process's peak grew
by compiling and running it, and `x` is relative to the base. A ProGAN's width
is that at 64x64 whatever the size, so that sizes are stages of one network.
Then come bounds for an H100 and a TPU v4, computed and not measured.
"""

import argparse
import itertools
import os
import platform
import statistics
from typing import Any, NamedTuple

import jax

from benchmarks import (
  arguments,
  flops,
  measure,
  results,
  skinjax_runner,
  train_step,
  worker,
  workload,
)
from skinjax.runtime import files

# Steps a call; calls a row, and the seconds after which there are no more.
_STEPS, _CALLS, _SECONDS = 2, 7, 4.0
_BATCHES = 64, 1024  # of the roofline
_NOTE = """\
computed, not measured: a step at best on other chips, by a roofline. A pass of
a convolution or dense layer takes the longer of its arithmetic at peak and its
bytes through main memory. Left out: launches, how badly small matrices fill a
chip, normalization and all else that is no convolution or dense layer. So it is
a bound, but for bytes that caches spare. `ridge`: where arithmetic limits."""


class Point(NamedTuple):
  """What a row is timed at: images a step, their height, and channels."""

  batch: int
  size: int
  width: int


BASE = Point(batch=64, size=64, width=32)


class Chip(NamedTuple):
  """A chip on paper: FLOP/s at peak, bytes a second, bytes of a number."""

  name: str
  peak: float
  bandwidth: float
  number: int


# Dense peaks: half of the 989 (TF32) and 1979 (bf16) TFLOP/s with sparsity in
# NVIDIA's H100 datasheet (SXM), more digits from its architecture whitepaper;
# cloud.google.com/tpu/docs/v4, where JAX multiplies float32 as bf16 by default.
CHIPS = (
  Chip("H100 SXM, float32 (TF32)", 494.7e12, 3.35e12, 4),
  Chip("H100 SXM, bf16", 989.4e12, 3.35e12, 2),
  Chip("TPU v4, float32 (bf16 products)", 275e12, 1.2e12, 4),
  Chip("TPU v4, bf16", 275e12, 1.2e12, 2),
)


def configure() -> None:
  """Makes every compilation of a worker's process a cold one."""
  jax.config.update("jax_enable_compilation_cache", False)


Steps = skinjax_runner.Steps  # what a worker that is configured so serves


def points(*factors: list[int]) -> list[Point]:
  """Lists the base, then what differs in one of batch, size and width."""
  named = zip(Point._fields, factors, strict=True)
  others = [BASE._replace(**{k: v}) for k, values in named for v in values]
  return list(dict.fromkeys([BASE, *others]))


def model_config(name: str, point: Point):
  """Returns the config of a model at a point."""
  values = train_step.MODELS[name].values
  return values(point.width, point.size, point.batch)


def operations(name: str, point: Point) -> list[flops.Operation]:
  """Lists what a training step of a model computes at a point."""
  config = model_config(name, point)
  return train_step.MODELS[name].operations(
    config, point.size, point.width, point.batch
  )


def time_point(name: str, point: Point) -> tuple[dict[str, float], float]:
  """Returns a model's row at a point, and the machine's product rate then."""
  config = workload.changed(model_config(name, point), log_every=_STEPS)
  server = "benchmarks.scaling", "Steps", "torch"
  with worker.Remote(*server, config, point.size) as steps:
    first, times = steps.build(), []
    while len(times) < _CALLS and sum(times) < _SECONDS:
      times.append(steps.run())
    peak = steps.growth_mib()  # before the product's own matrices
    rate = steps.product_rate()
  call = statistics.median(times)
  gflop = sum(o.flops for o in operations(name, point)) / 1e9
  row = {
    "ms": call / _STEPS * 1e3,
    "GFLOP": gflop,
    "compile s": first - call,
    "MiB": peak,
  }
  return point._asdict() | row, rate


def grown(row: dict[str, float], base: dict, rate: float) -> dict[str, float]:
  """Adds what follows from a row beside its base, and a machine's FLOP/s."""
  speed = row["GFLOP"] / row["ms"] * 1e3
  growth = {f"{key} x": row[key] / base[key] for key in ("GFLOP", "ms")}
  return row | growth | {"GFLOP/s": speed, "share": speed * 1e9 / rate}


def compile_row(name: str, rows: list[dict[str, float]]) -> dict[str, Any]:
  """Summarizes the compile times of a model's rows, the base first."""
  took = [row["compile s"] for row in rows]
  return {"model": name, "base": took[0], "least": min(took), "most": max(took)}


def roofline(passes: list[flops.Operation], chip: Chip) -> dict[str, float]:
  """Bounds the time of operations that a chip does one after the other.

  Returns:
    `ms` at best; the share of it in which memory is the limit; FLOP/byte, of
    the operations and, as `ridge`, of the chip.
  """
  work = [(o.flops, o.moved * chip.number / 4) for o in passes]  # 4: float32
  times = [(f / chip.peak, m / chip.bandwidth) for f, m in work]
  total = sum(map(max, times))
  return {
    "ms": total * 1e3,
    "memory-bound": sum(m for a, m in times if m > a) / total,
    "FLOP/byte": sum(f for f, _ in work) / sum(m for _, m in work),
    "ridge": chip.peak / chip.bandwidth,
  }


def roofline_rows(name: str) -> list[dict[str, Any]]:
  """Returns a model's bounds on every chip, at the base but for the batch."""
  rows = []
  for batch, chip in itertools.product(_BATCHES, CHIPS):
    point = BASE._replace(batch=batch)
    bound = roofline(operations(name, point), chip)
    row = {"model": name, "chip": chip.name, **point._asdict(), **bound}
    rows.append(row | {"images/s": batch / bound["ms"] * 1e3})
  return rows


def table(rows: list[dict[str, Any]]) -> str:
  """Returns rows as text under a line of names; words to the left."""
  lines = [list(rows[0]), *([_text(v) for v in r.values()] for r in rows)]
  sides = ["<" if isinstance(v, str) else ">" for v in rows[0].values()]
  widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
  pad = lambda line: map("{:{}{}}".format, line, sides, widths)
  return "\n".join("  ".join(pad(line)).rstrip() for line in lines)


def _text(value):
  if not isinstance(value, float):
    return str(value)
  return f"{value:#.3g}" if value < 100 else f"{value:.0f}"


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Times and computes what the arguments ask for; returns the document."""
  steps, bounds, rate = {name: [] for name in args.models}, [], 0.0
  for name, rows in steps.items():
    for point in points(args.batches, args.sizes, args.widths):
      measure.say(f"{name}, {point}")
      row, product = time_point(name, point)
      rows.append(row)
      rate = max(rate, product)  # others' work only lowers it
    bounds += roofline_rows(name)
  return {
    "cpu": measure.cpu(),
    "cores": os.cpu_count(),
    "versions": {"jax": jax.__version__, "python": platform.python_version()},
    "product_gflops": rate / 1e9,
    "steps": {k: [grown(r, v[0], rate) for r in v] for k, v in steps.items()},
    "compile": [compile_row(*item) for item in steps.items()],
    "computed, not measured": bounds,
  }


def show(document: dict[str, Any]) -> str:
  """Returns the document as text."""
  steps = document["steps"].items()
  tables = {f"{k}, a step (x: times the first row)": v for k, v in steps}
  tables["seconds of cold compilation"] = document["compile"]
  tables[_NOTE] = document["computed, not measured"]
  texts = [f"{title}\n{table(rows)}" for title, rows in tables.items()]
  return "\n\n".join([results.heading(document | {"rows": []}), *texts])


def parse(argv: list[str] | None = None) -> argparse.Namespace:
  """Parses arguments, or exits with one line that says what is wrong."""
  parser = arguments.Parser("python -m benchmarks.scaling")
  add, counts = parser.add_argument, arguments.positives
  known = train_step.MODELS
  add("--models", type=arguments.names(known), default=",".join(known))
  add("--batches", type=counts, default="16,32,64,128", help="images a step")
  add("--sizes", type=arguments.sizes, default="32,64,128", help="pixels")
  add("--widths", type=counts, default="16,32,64", help="channels")
  add("--json", type=arguments.file, help="also write results here")
  args = parser.parse_args(argv)
  chosen = {name: known[name] for name in args.models}
  arguments.require(parser, chosen, args.sizes, args.batches)
  return args


def main() -> None:
  """Prints the tables."""
  args = parse()
  print(show(document := run(args)))
  if args.json:
    files.write_json(args.json, document)


if __name__ == "__main__":
  main()
