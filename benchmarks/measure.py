"""Check, choose and time: two frameworks, each in its own process."""

import math
import os
import pathlib
import platform
import shutil
import sys
import types
from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks import results, worker, workload

_OURS = "benchmarks.skinjax_runner", "Steps", "torch"
_THEIRS = "benchmarks.torch_runner", "Steps", "jax"
_STEPS = 3  # compared steps


class Model(NamedTuple):
  """A model to time.

  Attributes:
    config: its module in configs/, and further arguments after a colon.
    width_keys: the config keys that the width sets, each with the factor by
      which the width is multiplied.
    widths: the widths timed by default.
    torch: its class in PyTorch, as `module.Class`; empty if it has none.
    fusions: the values of Variant.fused that make a difference.
    changes: other changed values of the config, by key.
    least: smallest image size (height and width).
    most: largest image size.
    multiple: a batch must be a multiple of this.
  """

  config: str
  width_keys: dict[str, int]
  widths: tuple[int, ...]
  torch: str = ""
  fusions: tuple[bool, ...] = ()
  changes: Mapping[str, Any] = types.MappingProxyType({})
  least: int = 16
  most: float = math.inf
  multiple: int = 1

  def values(self, width: int, size: int, batch: int):
    """Return the config for a width, image size and batch size."""
    return workload.config(
      self.config, self.width_keys, width, size, batch, self.changes
    )


def say(text: str) -> None:
  """Print a line of progress."""
  print(text, file=sys.stderr, flush=True)


def cpu() -> str:
  """Return the processor's name."""
  path = pathlib.Path("/proc/cpuinfo")
  lines = path.read_text().splitlines() if path.exists() else []
  names = [
    line.split(":")[1] for line in lines if line.startswith("model name")
  ]
  return names[0].strip() if names else platform.processor()


def check(name, model, config, size, variants) -> None:
  """Compare variants with skinjax.

  Raises:
    MismatchError: a variant's results differ.
  """
  config = workload.to_compare(config)
  with worker.Remote(*_OURS, config, size) as ours:
    reference = ours.reference(config, _STEPS)
  with worker.Remote(*_THEIRS, model.torch, config, size, 1) as theirs:
    for variant in variants:
      followed = theirs.follow(config, variant, reference)
      results.compare(f"{name} ({variant})", reference, followed)


def fastest(model, config, size, steps) -> tuple[workload.Variant, list[str]]:
  """Return PyTorch's fastest variant, and notes on variants that fail."""
  times, notes = {}, []
  compiler = shutil.which(os.environ.get("CXX", "g++"))
  if not compiler:
    notes.append("torch.compile skipped: there is no g++")
  with worker.Remote(*_THEIRS, model.torch, config, size, steps) as theirs:
    for compiled in (False, True)[: 1 + bool(compiler)]:
      for fused in model.fusions:
        variant = workload.Variant(compiled, fused)
        try:
          theirs.build(variant)
        except worker.RemoteError as error:
          if not compiled:
            raise
          last = str(error).strip().splitlines()[-1]
          notes.append(f"torch, {variant}, skipped: {last}")
          continue
        times[variant] = min(theirs.run() for _ in range(4))
        say(f"  torch, {variant}: {times[variant] / steps * 1e3:.0f} ms")
  return min(times, key=times.get), notes


def duel(model, config, size, variant, rounds) -> dict[str, Any]:
  """Time both frameworks in turn; return the results for a table row."""
  steps = config.log_every
  with (
    worker.Remote(*_OURS, config, size) as ours,
    worker.Remote(*_THEIRS, model.torch, config, size, steps) as theirs,
  ):
    ours.build()
    theirs.build(variant)
    for side in (ours, theirs):
      side.run()  # warm-up, after the other was built
    pairs = []
    for number in range(rounds):
      # Alternate the order, so that neither always runs on a cooler processor.
      order = (ours, theirs) if number % 2 else (theirs, ours)
      times = {side: side.run() / steps * 1e3 for side in order}
      pairs.append((times[ours], times[theirs]))
      say(f"  round {number + 1}: {pairs[-1][0]:.1f}, {pairs[-1][1]:.1f} ms")
    return results.summary(pairs) | {
      "skinjax_mib": ours.growth_mib(),
      "torch_mib": theirs.growth_mib(),
      "torch_variant": str(variant),
      "versions": ours.versions() | theirs.versions(),
    }
