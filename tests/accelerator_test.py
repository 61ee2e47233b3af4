"""Tests of benchmarks/accelerator.py, on a CPU and at tiny sizes."""

import contextlib
import importlib
import json
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from benchmarks import accelerator, flops, standins, workload
from benchmarks import accelerator_sections as sections
from benchmarks import budget as budgets
from configs import acgan, progan
from tests.conftest import ROOT

PLAN = accelerator.plan(small=True)
NAMES = list(accelerator.SECTIONS)


def plenty():
  return budgets.Budget(1000.0)


class Clock:
  """A clock that only the test advances."""

  def __init__(self):
    self.now = 0.0

  def __call__(self):
    return self.now


def test_an_item_is_skipped_if_similar_ones_took_longer_than_is_left():
  clock = Clock()
  items = budgets.Items(budgets.Budget(10.0, clock))

  def take(seconds):
    clock.now += seconds
    return seconds

  assert items.run("first", lambda: take(4.0)) == 4.0
  assert items.run("second", lambda: take(2.0), expected=7.0) is None
  assert items.run("third", lambda: take(3.0)) == 3.0
  assert items.run("fourth", lambda: take(1.0)) is None
  assert items.notes == {
    "second": "skipped: it takes about 7.0 s, and only 6.0 s were left",
    "fourth": "skipped: it takes about 3.5 s, and only 3.0 s were left",
  }


def test_an_item_that_fails_does_not_stop_the_others():
  items = budgets.Items(plenty())
  assert items.run("bad", lambda: 1 / 0) is None
  assert items.run("good", lambda: 3) == 3
  assert items.notes == {"bad": "failed: ZeroDivisionError: division by zero"}


def arguments(tmp_path, minutes=1.0):
  return types.SimpleNamespace(
    minutes=minutes, json=tmp_path / "found.json", plan=PLAN
  )


def test_the_file_is_whole_after_each_section_even_one_that_fails(tmp_path):
  args, seen = arguments(tmp_path), []

  def section(name):
    def call(plan, budget, before):
      assert plan is PLAN
      assert list(before) == NAMES[: len(seen)]
      assert 0 < budget.left() <= 60
      if seen:
        written = json.loads(args.json.read_text())
        assert list(written["sections"]) == seen
        assert not written["complete"]
      seen.append(name)
      if name == "speed":
        raise RuntimeError("out of memory")
      return {"rows": [{"x": 1.5}]}, {"y": "left out"}

    return call

  stubs = {name: (section(name), 0.5) for name in NAMES}
  document = accelerator.run(args, stubs)
  assert seen == NAMES
  written = json.loads(args.json.read_text())
  assert written["complete"]
  assert written == json.loads(json.dumps(document))
  assert written["sections"]["speed"]["notes"] == {
    "speed": "failed: RuntimeError: out of memory"
  }
  assert written["sections"]["data"]["rows"] == [{"x": 1.5}]
  shown = accelerator.show(document)
  assert "speed: failed: RuntimeError: out of memory" in shown
  assert "y: left out" in shown


def test_without_time_everything_is_skipped_with_a_reason(tmp_path):
  document = accelerator.run(arguments(tmp_path, minutes=1e-6))
  for name, section in document["sections"].items():
    assert section["notes"], name
    assert not section.get("rows")
  assert "skipped: it takes about" in accelerator.show(document)


def test_the_chip_is_measured():
  found, notes = sections.chip(PLAN, plenty(), {})
  assert not notes
  assert (found["platform"], found["devices"]) == ("cpu", 8)
  assert found["versions"]["jax"] == jax.__version__
  assert all(rate > 0 for rate in found["TFLOP/s"].values())
  assert found["copy GB/s"] > 0


def test_steps_are_compared_with_float64():
  found, notes = sections.exactness(
    PLAN._replace(exact=PLAN.exact[:1]), plenty(), {}
  )
  assert not notes
  by_numbers = {row["numbers"]: row for row in found["rows"]}
  assert list(by_numbers) == [
    "float32, default",
    "bfloat16",
    "float32, highest",
  ]
  assert by_numbers["float32, highest"]["first step"] < 1e-4
  assert 1e-5 < by_numbers["bfloat16"]["first step"] < 0.1


def test_every_row_has_its_config():
  for row in (*PLAN.exact, *accelerator.plan(small=False).speed):
    config = row.config()
    assert config.model.dtype == row.dtype
    assert config.log_every == row.steps
    assert workload.batch_size(config) == row.batch


def test_the_default_gans_are_timed_first_and_as_they_are():
  plan = accelerator.plan(small=False)
  assert plan.data == plan.devices == plan.speed[0]
  for row, shipped in zip(plan.speed, (acgan, progan), strict=False):
    found, wanted = row.config(), shipped.get_config("dataset=ham10000")
    for key in ("model", "loss", "data"):
      assert found[key].to_dict() == wanted[key].to_dict()
    assert workload.batch_size(found) == workload.batch_size(wanted)


def test_errors_are_relative_and_nan_is_the_worst():
  exact = [{"loss": 0.5, "d_gradient": 0.01, "accuracy": 1.0}] * 2
  other = [
    {"loss": 0.6, "d_gradient": 0.012, "accuracy": 0.0},
    {"loss": 0.5, "d_gradient": 0.01, "accuracy": 0.0},
  ]
  found = sections.largest_errors(exact, other)
  assert found["worst"] == "d_gradient"
  assert found["all steps"] == pytest.approx(0.2)
  other[1] = other[1] | {"loss": float("nan")}
  assert sections.largest_errors(exact, other)["worst"] == "loss"


def test_steps_are_compared_with_pytorch(monkeypatch):
  lines = [
    {
      "name": str(PLAN.speed[0]),
      "torch": "2",
      "device": "cuda",
      "ms": {"eager": 4.0, "compile": 2.0},
      "mib": {"eager": 9.0, "compile": 8.0},
      "notes": [],
    },
    {
      "name": str(PLAN.speed[1]),
      "torch": "2",
      "device": "cuda",
      "ms": {},
      "mib": {},
      "notes": ["eager: RuntimeError: no"],
    },
  ]
  text = (
    "a compiler's words\n"
    + "".join(json.dumps(line) + "\n" for line in lines)
    + '{"name": "cut'
  )

  def stopped(command, *, input, timeout, **_):
    assert f"--calls={PLAN.calls}" in command  # as many as skinjax's
    assert [row["model"] for row in json.loads(input)] == ["progan_plain"] * 2
    raise subprocess.TimeoutExpired(command, timeout, output=text.encode())

  monkeypatch.setattr(subprocess, "run", stopped)
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
  rates = {"float32, default": 2.0}
  before = {"chip": {"TFLOP/s": rates}}
  plan = PLAN._replace(speed=PLAN.speed[:2])
  found, notes = sections.speed(plan, plenty(), before)
  first, second = found["rows"]
  assert first["ratio"] == first["ms"] / 2.0
  assert first["images/s"] == pytest.approx(32e3 / first["ms"])
  assert first["share"] == pytest.approx(first["TFLOP/s"] / 2)
  assert first["GFLOP"] == second["GFLOP"] > 0
  assert first["compile s"] > 0
  assert first["MiB"] > 0
  assert second["share"] is None
  assert found["torch"] == [
    {
      "name": str(PLAN.speed[0]),
      "ms": 2.0,
      "variant": "compile",
      "MiB": 8.0,
      "device": "cuda",
      "torch": "2",
    }
  ]
  assert notes[f"PyTorch, {PLAN.speed[1]}"] == "eager: RuntimeError: no"
  assert "stopped after" in notes["PyTorch"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pytorch_runs_in_the_given_dtype(dtype):
  torch = pytest.importorskip("torch", reason="PyTorch is not installed")
  from benchmarks import torch_chip, torch_runner

  row = PLAN.speed[0]._replace(dtype=dtype)
  found = torch_chip.measure(torch, torch_runner, row, "cpu", 1, (False,))
  assert not found["notes"]
  (ms,) = found["ms"].values()
  assert ms > 0
  assert found["name"] == str(row)


def test_pytorch_is_timed_by_its_median():
  from benchmarks import torch_chip

  times = iter([0.4, 0.1, 0.2])
  steps = types.SimpleNamespace(
    build=lambda variant: None, run=lambda: next(times)
  )
  runner = types.SimpleNamespace(Steps=lambda *_: steps)
  torch = types.SimpleNamespace(
    __version__="2", autocast=lambda *_, **__: contextlib.nullcontext()
  )
  row = PLAN.speed[0]
  found = torch_chip.measure(torch, runner, row, "cpu", 3, (False,))
  assert list(found["ms"].values()) == [pytest.approx(200 / row.steps)]


def test_missing_pytorch_is_noted(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  plan = PLAN._replace(speed=())
  assert sections.speed(plan, plenty(), {})[1] == {"PyTorch": "not installed"}


def test_drawn_batches_are_compared_with_a_constant_one():
  found, notes = sections.data(PLAN._replace(calls=1), plenty(), {})
  assert not notes
  (row,) = found["rows"]
  assert row["drawn ms"] > 0
  assert row["constant ms"] > 0


def test_each_way_to_run_on_devices_is_timed():
  found, notes = sections.devices(PLAN._replace(calls=1), plenty(), {})
  assert not notes
  assert [(r["mode"], r["devices"]) for r in found["rows"]] == [
    ("one", 1),
    ("jit", 8),
    ("pmap", 8),
  ]


def test_trainings_in_one_program_are_timed():
  found, notes = sections.together(PLAN._replace(calls=1), plenty(), {})
  assert not notes
  assert [row["together"] for row in found["rows"]] == [1, 2]
  assert found["rows"][1]["speedup"] > 0


def _convolution(stride):
  return lambda x, kernel: lax.conv_general_dilated(
    x, kernel, (stride,) * 2, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
  ).sum()


@pytest.mark.parametrize("stride", [1, 2])
def test_operations_of_a_convolution_and_of_its_gradients(stride):
  x, kernel = jnp.zeros((2, 8, 8, 3)), jnp.zeros((3, 3, 3, 5))
  forward = 2 * (2 * (8 // stride) ** 2 * 5) * (3 * 3 * 3)
  call = _convolution(stride)
  assert flops.count(call, x, kernel) == forward
  assert flops.count(jax.grad(call, (0, 1)), x, kernel) == 3 * forward


def test_operations_of_loops_branches_and_calls():
  x = jnp.zeros((4, 4))
  product = 2 * 4**3
  twice = lambda x: jax.jit(lambda y: y @ y @ y)(x)
  assert flops.count(twice, x) == 2 * product
  loop = lambda x: lax.scan(lambda y, _: (y @ y, None), x, length=3)
  assert flops.count(loop, x) == 3 * product
  branch = lambda x: lax.cond(x[0, 0] > 0, twice, lambda x: x @ x, x)
  assert flops.count(branch, x) == 2 * product
  assert flops.count(jnp.sin, x) == 0


_ALONE = """
import json, sys
for name in {packages}:
  sys.modules[name] = None
from benchmarks import accelerator, skinjax_runner, train_step
from configs import acgan, classifier, progan
plan = accelerator.plan(small=True)
runner = skinjax_runner.Steps(plan.speed[0].config(), plan.speed[0].size)
shipped = acgan, classifier, progan
configs = [config.get_config("dataset=ham10000") for config in shipped]
row = plan.exact[1]
print(json.dumps([
  sorted(accelerator.ABSENT),
  runner.operations(),
  [config.to_dict() for config in configs],
  hash(row.config()) == hash(row.config()),
  row.config() == row.config(),
]))
"""


def test_the_only_packages_it_needs_are_jax_flax_optax_numpy_and_absl():
  code = _ALONE.format(packages=standins.PACKAGES)
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False
  )
  assert not done.returncode, done.stderr.decode()
  absent, operations, configs, *same = json.loads(done.stdout)
  assert absent == sorted(standins.PACKAGES)
  assert operations > 0
  for name, found in zip(
    ("acgan", "classifier", "progan"), configs, strict=True
  ):
    module = importlib.import_module(f"configs.{name}")
    wanted = module.get_config("dataset=ham10000").to_dict()
    assert found == json.loads(json.dumps(wanted))
  assert same == [True, True]


def test_a_stand_in_can_be_named_and_not_used():
  module = standins.Module("absent.part")
  module.package = "absent"

  class Made(module.Thing, option=1):
    pass

  assert isinstance(module.Thing.Other, type)
  assert Made | None
  with pytest.raises(ModuleNotFoundError, match="absent is not installed"):
    Made()
  assert not hasattr(module, "__path__")


def test_the_stand_in_for_configs_behaves_like_ml_collections():
  config = standins.ConfigDict({"a": {"b": 1, "c": (2,)}, "d": 3})
  config.e = standins.ConfigDict()
  config.e.f = [1]
  config.update_from_flattened_dict({"a.b": 5})
  config.update(a={"c": 7})
  del config.d
  assert config.to_dict() == {"a": {"b": 5, "c": 7}, "e": {"f": [1]}}
  with pytest.raises(KeyError, match=r"a\.x"):
    config.update_from_flattened_dict({"a.x": 5})
  frozen = standins.FrozenConfigDict(config)
  assert frozen.e.f == (1,)
  assert hash(frozen) == hash(standins.FrozenConfigDict(config))
  with pytest.raises(AttributeError, match="frozen"):
    frozen.e.f = 1
  assert standins.ConfigDict(frozen).a == config.a


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("--minutes=soon", "'soon' is not a number above 0"),
    ("--minutes=inf", "'inf' is not a number above 0"),
    ("--json=/no/such/file", "cannot be written"),
  ],
)
def test_bad_arguments_are_refused_in_one_line(argument, message, capsys):
  with pytest.raises(SystemExit, match="2"):
    accelerator.parse([argument])
  error = capsys.readouterr().err
  assert message in error
  assert error.count("\n") == 1


def test_without_an_accelerator_sizes_are_small():
  assert accelerator.parse([]).plan == PLAN
