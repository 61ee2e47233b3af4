"""The sections of benchmarks.accelerator, one function each.

Each takes the plan, its time budget and the results of earlier sections. It
returns its results, and notes on what it skipped, by name.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import budget as budgets
from benchmarks import measure, pipeline, skinjax_runner, train_step, workload
from skinjax.models import convolution

Found = tuple[dict[str, Any], dict[str, str]]
_ROOT = pathlib.Path(__file__).resolve().parents[1]
# Matrix products to measure: dtype and precision. By default a GPU multiplies
# float32 as TF32, and a TPU as bfloat16.
_PRODUCTS = {
  "float32, highest": (jnp.float32, "highest"),
  "float32, default": (jnp.float32, "default"),
  "bfloat16": (jnp.bfloat16, "default"),
}
_TIMED = 0.5  # seconds for measuring one throughput
_LEAST_TORCH = 10.0  # with fewer seconds left, PyTorch is not started


def chip(plan, budget: budgets.Budget, before) -> Found:
  """Describe the devices, and measure their throughput."""
  del before
  items = budgets.Items(budget)
  device = jax.devices()[0]
  known = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")
  found = {
    "platform": device.platform,
    "device": device.device_kind,
    "devices": jax.device_count(),
    "memory GiB": (_memory(device).get("bytes_limit") or 0) / 2**30 or None,
    "runtime": str(device.client.platform_version).strip().replace("\n", "; "),
    "cpu": measure.cpu(),
    "cores": os.cpu_count(),
    "versions": {n: v for n in known if (v := _version(n))},
    "product": plan.product,
    "TFLOP/s": {},
  }
  for name, (dtype, precision) in _PRODUCTS.items():
    call = lambda d=dtype, p=precision: _product_rate(plan.product, d, p)
    found["TFLOP/s"][name] = items.run(f"products in {name}", call)
  copy = lambda: _copy_rate(plan.copied)
  found["copy GB/s"] = items.run("copies", copy)
  return found, items.notes


def _memory(device) -> dict[str, int]:
  return device.memory_stats() or {}


def _version(name: str) -> str | None:
  with contextlib.suppress(importlib.metadata.PackageNotFoundError):
    return importlib.metadata.version(name)
  return None


def _normal(seed: int, shape: tuple[int, ...], dtype) -> jax.Array:
  return jax.random.normal(jax.random.key(seed), shape, dtype)


def _seconds(call: Callable[[], Any]) -> float:
  """Return the mean seconds of a call, of many dispatched at once."""
  jax.block_until_ready(call())
  once = workload.clocked(lambda: jax.block_until_ready(call()))
  count = max(3, min(200, int(_TIMED / max(once, 1e-6))))
  start = time.perf_counter()
  for _ in range(count):
    last = call()
  jax.block_until_ready(last)
  return (time.perf_counter() - start) / count


def _product_rate(side: int, dtype, precision: str) -> float:
  """Return 10**12 operations per second, for matrices of random numbers."""
  x, y = (_normal(seed, (side, side), dtype) for seed in range(2))
  product = jax.jit(lambda x, y: jnp.matmul(x, y, precision=precision))
  return 2 * side**3 / _seconds(lambda: product(x, y)) / 1e12


def _copy_rate(size: int) -> float:
  """Return 10**9 bytes per second, counting both reads and writes."""
  x = _normal(0, (size // 4,), jnp.float32)
  copied = jax.jit(lambda x: x + 1)
  return 2 * x.nbytes / _seconds(lambda: copied(x)) / 1e9


# Numerics of the compared steps: the config's dtype, and the precision of
# float32 matrix products.
NUMBERS = {
  "float32, default": ("float32", "default"),
  "bfloat16": ("bfloat16", "default"),
  "float32, highest": ("float32", "highest"),
}


def exactness(plan, budget: budgets.Budget, before) -> Found:
  """Compare training steps with the same steps in float64 on the CPU.

  Both have the same weights and random numbers. An error is relative to the
  metric, or absolute where the metric is below 1; a gradient norm's error is
  always relative.
  """
  del before
  items, rows, known = budgets.Items(budget), [], []

  def add(name, exact, numbers):
    config, runner, state, reference = exact
    dtype, precision = NUMBERS[numbers]
    config = workload.changed(config, model__dtype=dtype)
    take = lambda: _metrics(runner, config, state, plan.exact_steps, precision)
    if (metrics := items.run(f"{name}, {numbers}", take)) is not None:
      found = largest_errors(reference, metrics)
      rows.append({"model": name, "numbers": numbers, **found})

  for row in plan.exact:
    call = lambda row=row: _exact(row, plan.exact_steps)
    if (exact := items.run(f"{row.model}, float64", call)) is not None:
      known.append((row.model, exact))
      for numbers in ("float32, default", "bfloat16"):
        add(row.model, exact, numbers)
  for name, exact in known:  # last, as nobody trains with it
    add(name, exact, "float32, highest")
  return {"steps": plan.exact_steps, "rows": rows}, items.notes


def _native(x, kernel, *, cpu, native):
  """Convolve on the CPU as on the chip, which compiles faster."""
  del cpu
  return native(x, kernel)


def _exact(row, steps: int):
  """Return the config, runner, initial state and metrics in float64."""
  config = workload.to_compare(row.config())
  cpu = jax.local_devices(backend="cpu")[0]
  runner = skinjax_runner.Steps(config, row.size)
  state = runner.first_state(config)
  exact = jax.tree.map(_in_float64, state)
  with (
    mock.patch.object(convolution, "_by_platform", _native),
    jax.enable_x64(True),
    jax.default_device(cpu),
  ):
    taken = _taken(runner, config, exact, steps)
  return config, runner, state, taken


def _metrics(runner, config, state, steps: int, precision: str):
  """Return the metrics of each step on the chip."""
  with jax.default_matmul_precision(precision):
    return _taken(runner, config, state, steps)


def _taken(runner, config, state, steps: int) -> list[dict[str, float]]:
  with _drawn_in_float32():
    return [found[-1] for found in runner.take(config, state, steps)]


def _in_float64(x: np.ndarray) -> np.ndarray:
  return x.astype(np.float64) if x.dtype == np.float32 else x


@contextlib.contextmanager
def _drawn_in_float32() -> Iterator[None]:
  """Make float64 steps sample the same random numbers as float32 steps."""

  def rounded(draw):
    def call(key, shape=(), dtype=None, *more):
      drawn = draw(key, shape, jnp.float32, *more)
      return drawn.astype(dtype or jnp.result_type(float))

    return call

  with (
    mock.patch.object(jax.random, "normal", rounded(jax.random.normal)),
    mock.patch.object(jax.random, "uniform", rounded(jax.random.uniform)),
  ):
    yield


def largest_errors(reference, metrics) -> dict[str, Any]:
  """Return the largest errors of the first and of all steps, and the metric.

  Accuracies are left out, because they are not continuous.
  """
  found = []
  for exact, values in zip(reference, metrics, strict=True):
    by_name = {}
    for name in exact.keys() - {"accuracy", "d_class_accuracy"}:
      least = 0.0 if "gradient" in name else 1.0
      scale = max(abs(exact[name]), least)
      by_name[name] = abs(values[name] - exact[name]) / scale
    found.append(by_name)
  # np.max propagates NaN, which must be reported and counts as the worst.
  last = {name: np.max([e[name] for e in found]) for name in found[0]}
  worst = max(last, key=lambda name: np.nan_to_num(last[name], nan=np.inf))
  return {
    "first step": float(np.max(list(found[0].values()))),
    "all steps": float(last[worst]),
    "worst": worst,
  }


def speed(plan, budget: budgets.Budget, before) -> Found:
  """Time training steps, then PyTorch's if it is installed."""
  rates = before.get("chip", {}).get("TFLOP/s", {})
  has_torch = importlib.util.find_spec("torch") is not None
  items = budgets.Items(budget.share(0.6 if has_torch else 1.0))
  rows = []
  for row in plan.speed:
    call = lambda row=row: _speed_row(row, plan.calls, rates)
    if (found := items.run(str(row), call)) is not None:
      rows.append(found)
  timed = [row for row in plan.speed if row.model in train_step.COMPARED]
  torch, notes = [], {"PyTorch": "not installed"}
  if has_torch:
    torch, notes = _torch(timed, plan.calls, budget)
  for found in torch:
    row = next((r for r in rows if r["name"] == found["name"]), None)
    if row is not None:
      row |= {"torch ms": found["ms"], "ratio": row["ms"] / found["ms"]}
  peak = _memory(jax.devices()[0]).get("peak_bytes_in_use")
  found = {
    "rows": rows,
    "torch": torch,
    "peak GiB": peak / 2**30 if peak else None,
  }
  return found, items.notes | notes


def _speed_row(row, calls: int, rates: dict[str, float]) -> dict[str, Any]:
  config = row.config()
  runner = skinjax_runner.Steps(config, row.size)
  operations = runner.operations()
  built = runner.build_ahead()
  runner.run()
  times = [runner.run() / row.steps for _ in range(calls)]
  second = statistics.median(times)
  rate = "bfloat16" if row.dtype == "bfloat16" else "float32, default"
  tera = operations / second / 1e12
  known = rates.get(rate)
  batch = workload.batch_size(config)
  return {
    "name": str(row),
    "images/s": batch / second,
    "ms": second * 1e3,
    "GFLOP": operations / 1e9,
    "TFLOP/s": tera,
    "share": tera / known if known else None,
    "compile s": built["seconds"],
    "MiB": built["mib"],
  }


def _torch(rows, calls: int, budget: budgets.Budget) -> Found:
  """Time PyTorch in its own process within the budget."""
  left = budget.left()
  if left < _LEAST_TORCH:
    return [], {"PyTorch": f"skipped: only {max(left, 0):.1f} s were left"}
  budget.say("PyTorch")
  command = [sys.executable, "-m", "benchmarks.torch_chip", f"--calls={calls}"]
  note = {}
  try:
    done = subprocess.run(
      command,
      cwd=_ROOT,
      input=json.dumps([row._asdict() for row in rows]).encode(),
      capture_output=True,
      env={**os.environ, "JAX_PLATFORMS": "cpu"},
      timeout=left,
      check=False,
    )
    text = done.stdout
    if done.returncode:
      last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
      note["PyTorch"] = f"failed: {' '.join(last)}"[:500]
  except subprocess.TimeoutExpired as error:
    text = error.stdout or b""
    note["PyTorch"] = f"stopped after {left:.0f} s, its share"
  # Ignore a truncated line and compiler output.
  lines = text.decode(errors="replace").splitlines(keepends=True)
  lines = [line for line in lines if line[0] == "{" and line[-1] == "\n"]
  found = []
  for line in map(json.loads, lines):
    for what in line["notes"]:
      note[f"PyTorch, {line['name']}"] = what
    if line["ms"]:
      best = min(line["ms"], key=line["ms"].get)
      found.append(
        {
          "name": line["name"],
          "ms": line["ms"][best],
          "variant": best,
          "MiB": line["mib"].get(best),
          "device": line["device"],
          "torch": line["torch"],
        }
      )
  return found, note


def _compiling(before) -> float:
  """Return the shortest compilation so far in seconds, 0 if unknown."""
  rows = before.get("speed", {}).get("rows", [])
  return min((row["compile s"] for row in rows), default=0.0)


def data(plan, budget: budgets.Budget, before) -> Found:
  """Time steps on sampled batches and steps on one constant batch.

  The data set, on the device, is as large as four fifths of HAM10000.
  """
  items, row = budgets.Items(budget), plan.data

  def call():
    made = skinjax_runner.made_up(row.size, plan.images)
    config = row.config(train__sampler="tempered")
    times = np.array(pipeline.pairs(config, made, plan.calls))
    drawn, constant = np.median(times, 0) / row.steps * 1e3
    ratio = float(np.median(times[:, 0] / times[:, 1]))
    return {"drawn ms": drawn, "constant ms": constant, "ratio": ratio}

  found = items.run(f"{row}, drawn and constant", call, 2 * _compiling(before))
  rows = [] if found is None else [{"name": str(row), **found}]
  return {"images": plan.images, "rows": rows}, items.notes


def devices(plan, budget: budgets.Budget, before) -> Found:
  """Time each way to run a step on all devices, and on one."""
  items, rows, row = budgets.Items(budget), [], plan.devices
  for mode in ("one", "jit", "pmap"):

    def call(mode=mode):
      runner = skinjax_runner.Steps(row.config(parallel=mode), row.size)
      first = runner.build()
      return first, statistics.median(runner.run() for _ in range(plan.calls))

    found = items.run(f"{row}, {mode}", call, _compiling(before))
    if found is not None:
      first, took = found
      count = 1 if mode == "one" else jax.device_count()
      rows.append({"mode": mode, "devices": count})
      rows[-1] |= {"ms": took / row.steps * 1e3, "compile s": first - took}
  return {"name": str(row), "rows": rows}, items.notes


def together(plan, budget: budgets.Budget, before) -> Found:
  """Time training runs of several seeds in one program, and one by one."""
  items, rows = budgets.Items(budget), []
  row, most = plan.together
  for count in (1, most):

    def call(count=count):
      runner = skinjax_runner.Steps(row.config(), row.size)
      first = runner.build_many(count) if count > 1 else runner.build()
      return first, statistics.median(runner.run() for _ in range(plan.calls))

    found = items.run(f"{row}, {count} together", call, _compiling(before))
    if found is not None:
      first, took = found
      each = took / row.steps / count * 1e3
      rows.append({"together": count, "ms each": each})
      rows[-1]["compile s"] = first - took
  if len(rows) > 1:
    rows[1]["speedup"] = rows[0]["ms each"] / rows[1]["ms each"]
  return {"name": str(row), "rows": rows}, items.notes
