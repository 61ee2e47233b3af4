"""Time PyTorch's training steps on an accelerator, in a separate process.

  python -m benchmarks.torch_chip --calls=10 < ROWS

Reads a JSON list of benchmarks.accelerator.Row, and prints one line of JSON per
row: by variant the `ms` per step, the median over calls, and the peak memory in
`mib`, and failures in `notes`. The caller kills this process when there is no
time left.
"""

import argparse
import contextlib
import json
import statistics
import sys

from benchmarks import standins


def main() -> None:
  """Time the requested rows, first eager and then compiled."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--calls", type=int, required=True, help="per variant")
  calls = parser.parse_args().calls
  standins.install()
  import torch

  from benchmarks import accelerator, torch_runner

  device = "cuda" if torch.cuda.is_available() else "cpu"
  torch_runner.configure()
  torch.set_default_device(device)
  torch.set_float32_matmul_precision("high")  # TF32, JAX's default
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
  """Return a row's line of output."""
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
        took = statistics.median(steps.run() for _ in range(calls))
      found["ms"][str(variant)] = took / row.steps * 1e3
      if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
        found["mib"][str(variant)] = peak / 2**20
    # Compilers, drivers and lack of memory raise various errors.
    except Exception as error:
      found["notes"].append(f"{variant}: {type(error).__name__}: {error}"[:300])
  return found


if __name__ == "__main__":
  main()
