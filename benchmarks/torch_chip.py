"""PyTorch's training steps on an accelerator, in a process of their own.

  python -m benchmarks.torch_chip --calls=3 < ROWS

Reads a JSON list of benchmarks.accelerator.Row, and prints a line of JSON for
each that ran: `ms` a step and `mib` at most held by variant, and what did not
run in `notes`. Its caller kills it when there is no time left.
"""

import argparse
import contextlib
import json
import sys

from benchmarks import standins


def main() -> None:
  """Time what is asked for, eager first and then compiled."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--calls", type=int, default=3, help="timed, a variant")
  calls = parser.parse_args().calls
  standins.install()
  import torch

  from benchmarks import accelerator, torch_runner

  device = "cuda" if torch.cuda.is_available() else "cpu"
  torch_runner.configure()
  torch.set_default_device(device)
  torch.set_float32_matmul_precision("high")  # TF32, as JAX has it by default
  torch.backends.cudnn.benchmark = True
  with contextlib.redirect_stdout(sys.stderr):
    rows = [accelerator.Row(**row) for row in json.load(sys.stdin)]
  for row in rows:
    with contextlib.redirect_stdout(sys.stderr):
      found = measure(torch, torch_runner, row, device, calls)
    print(json.dumps(found), flush=True)


def measure(
  torch, torch_runner, row, device: str, calls: int, variants=(False, True)
) -> dict:
  """Return what a line of output says of a row, compiled or not."""
  from benchmarks import train_step, workload

  config = row.config()
  dtype = torch.bfloat16 if row.dtype == "bfloat16" else None
  cast = torch.autocast(device, dtype=dtype, enabled=dtype is not None)
  model = train_step.MODELS[row.model]
  found = {"name": str(row), "torch": torch.__version__, "device": device}
  found |= {"ms": {}, "mib": {}, "notes": []}
  for compiled in variants:
    variant = workload.Variant(compiled, model.fusions[-1])
    try:
      steps = torch_runner.Steps(
        model.torch, config, row.size, config.log_every
      )
      if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
      with cast:
        steps.build(variant)
        best = min(steps.run() for _ in range(calls))
      found["ms"][str(variant)] = best / row.steps * 1e3
      if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
        found["mib"][str(variant)] = peak / 2**20
    # Whatever a compiler, a driver or a lack of memory makes of it.
    except Exception as error:
      found["notes"].append(f"{variant}: {type(error).__name__}: {error}"[:300])
  return found


if __name__ == "__main__":
  main()
