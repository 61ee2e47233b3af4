"""Tests of benchmarks/scaling.py: bounds, growth and arguments; no timing."""

import itertools
import json

import pytest

from benchmarks import flops, flops_progan, scaling
from skinjax.runtime import files

ROWS = [
  {"batch": 64, "ms": 200.0, "GFLOP": 40.0, "compile s": 10.0, "MiB": 512.0},
  {"batch": 128, "ms": 380.0, "GFLOP": 80.0, "compile s": 12.5, "MiB": 768.0},
  {"batch": 16, "ms": 60.0, "GFLOP": 10.0, "compile s": 9.0, "MiB": 99.5},
]


def passes():
  # The first waits for its arithmetic, the second for its 800 bytes.
  layers = [
    flops.Layer("a", 6000, inputs=100, weights=200, outputs=100),
    flops.Layer("b", 400, inputs=300, weights=400, outputs=100),
  ]
  return [flops.Operation(layer.name, layer) for layer in layers]


def test_roofline_of_two_operations_worked_by_hand():
  chip = scaling.Chip("float32", peak=1000.0, bandwidth=200.0, number=4)
  # Arithmetic takes 6 s and 0.4 s, memory 2 s and 4 s.
  assert scaling.roofline(passes(), chip) == {
    "ms": pytest.approx(10_000.0),
    "memory-bound": pytest.approx(0.4),
    "FLOP/byte": pytest.approx(6400 / 1200),
    "ridge": pytest.approx(5.0),
  }


def test_numbers_of_two_bytes_halve_what_is_moved():
  chip = scaling.Chip("bf16", peak=1000.0, bandwidth=200.0, number=2)
  # Memory takes 1 s and 2 s.
  assert scaling.roofline(passes(), chip) == {
    "ms": pytest.approx(8000.0),
    "memory-bound": pytest.approx(0.25),
    "FLOP/byte": pytest.approx(6400 / 600),
    "ridge": pytest.approx(5.0),
  }


@pytest.mark.parametrize(
  ("chip", "peak", "bandwidth", "number"),
  [
    ("H100 SXM, float32 (TF32)", 494.7e12, 3.35e12, 4),
    ("H100 SXM, bf16", 989.4e12, 3.35e12, 2),
    ("TPU v4, float32 (bf16 products)", 275e12, 1.2e12, 4),
    ("TPU v4, bf16", 275e12, 1.2e12, 2),
  ],
)
def test_chips_have_their_datasheets_numbers(chip, peak, bandwidth, number):
  assert scaling.Chip(chip, peak, bandwidth, number) in scaling.CHIPS


def test_bounds_tell_images_a_second_of_their_batch():
  rows = scaling.roofline_rows("classifier")
  assert [row["batch"] for row in rows] == [64] * 4 + [1024] * 4
  for row in rows:
    assert row["images/s"] * row["ms"] == pytest.approx(1000 * row["batch"])


def test_growth_is_relative_to_the_base():
  base, double, quarter = (scaling.grown(r, ROWS[0], 1e12) for r in ROWS)
  assert (base["GFLOP x"], base["ms x"]) == (1, 1)
  assert (double["GFLOP x"], double["ms x"]) == (2, pytest.approx(1.9))
  assert (quarter["GFLOP x"], quarter["ms x"]) == (0.25, pytest.approx(0.3))
  # 40 GFLOP in 0.2 s, of 1000 GFLOP/s.
  assert base["GFLOP/s"] == pytest.approx(200)
  assert base["share"] == pytest.approx(0.2)


def test_compile_times_are_summarized():
  assert scaling.compile_row("acgan", ROWS) == {
    "model": "acgan",
    "base": 10.0,
    "least": 9.0,
    "most": 12.5,
  }


def test_points_differ_from_the_base_in_one_factor_and_come_once():
  assert scaling.points([16, 64], [64, 128], [16]) == [
    (64, 64, 32),
    (16, 64, 32),
    (64, 128, 32),
    (64, 64, 16),
  ]


@pytest.mark.parametrize(
  ("name", "count"), [("acgan", flops.acgan), ("classifier", flops.classifier)]
)
def test_operations_are_those_of_a_step(name, count):
  shape = {"size": 32, "width": 16, "channels": 3, "classes": 7, "batch": 8}
  if name == "acgan":
    shape["latents"] = 100
  counted = scaling.operations(name, scaling.Point(8, 32, 16))
  assert sum(operation.flops for operation in counted) == count(**shape)


def test_sizes_of_a_progan_are_stages_of_one_network():
  args = scaling.parse(["--models=progan", "--sizes=4,8,16,32,64,128"])
  assert args.sizes == [4, 8, 16, 32, 64, 128]
  layers = []
  for size in args.sizes:
    model = scaling.model_config("progan", scaling.Point(8, size, 32)).model
    shape = size, model.base, model.most, 3, model.latents, 7
    layers.append(flops_progan.networks(*shape, batch=8)[0])
  # The last layer makes pixels of what the stage ends with.
  for small, large in itertools.pairwise(layers):
    assert small[:-1] == large[: len(small) - 1]
    assert len(large) == len(small) + 2
  assert layers[4][-2].inputs == 4 * 8 * 64**2 * 32


def test_document_is_shown_and_written(monkeypatch, tmp_path, capsys):
  rates = 0.9e12, 1e12, 0.5e12  # the highest counts
  timed = iter(zip(ROWS, rates, strict=True))
  monkeypatch.setattr(scaling, "time_point", lambda *_: next(timed))
  path = tmp_path / "rows.json"
  argv = ["--models=acgan", "--batches=128,16", "--sizes=64", "--widths=32"]
  document = scaling.run(scaling.parse(argv))
  files.write_json(path, document)
  (rows,) = json.loads(path.read_text())["steps"].values()
  assert [row["batch"] for row in rows] == [64, 128, 16]
  text = scaling.show(document)
  assert "computed, not measured" in text
  _, table = text.split("acgan, a step (x: times the first row)\n")
  assert table.splitlines()[:4] == [
    "batch    ms  GFLOP  compile s   MiB  GFLOP x   ms x  GFLOP/s  share",
    "   64   200   40.0       10.0   512     1.00   1.00      200  0.200",
    "  128   380   80.0       12.5   768     2.00   1.90      211  0.211",
    "   16  60.0   10.0       9.00  99.5    0.250  0.300      167  0.167",
  ]
  assert capsys.readouterr().err.count("\n") == 3  # progress


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("--models=acgn", "Did you mean 'acgan'"),
    ("--batches=16,0", "'0' is not a positive integer"),
    ("--sizes=64,48", "48 is not a power of two"),
    ("--widths=wide", "'wide' is not a positive integer"),
    ("--json=/no/such/file", "cannot be written"),
    ("--batches=3,", "not a positive integer"),
    ("--rounds=3", "unrecognized arguments"),
    ("--sizes=32,8", "acgan takes sizes from 16 on, not 8"),
    ("--sizes=512", "progan takes sizes up to 256, not 512"),
    ("--batches=16,10", "progan takes batches of a multiple of 4, not 10"),
  ],
)
def test_bad_argument_is_refused_in_one_line(argument, message, capsys):
  with pytest.raises(SystemExit, match="2"):
    scaling.parse([argument])
  error = capsys.readouterr().err
  assert error.startswith("scaling: ")
  assert message in error
  assert error.count("\n") == 1
