"""Tests of benchmarks/: tables, arguments, the same losses in PyTorch."""

import argparse
import importlib.util
import os

import pytest

from benchmarks import (
  evaluation,
  pipeline,
  results,
  scaling,
  skinjax_runner,
  train_step,
  worker,
  workload,
)
from skinjax.models import efficientnet
from skinjax.training.tasks import progan
from tests import shrunk

ROW = {
  "model": "acgan",
  "width": 32,
  "skinjax_ms": 200.0,
  "torch_ms": 100.0,
  "ratio": 2.0,
  "skinjax_mib": 300.4,
  "torch_mib": 200.4,
  "torch_variant": "eager, fused",
  "notes": ["torch.compile skipped: there is no g++"],
}


def test_ratio_is_the_median_of_pairs_not_of_medians():
  pairs = [(10.0, 10.0), (40.0, 20.0), (30.0, 5.0)]
  assert results.summary(pairs) == {
    "skinjax_ms": 30.0,
    "torch_ms": 10.0,
    "ratio": 2.0,
  }


def test_table_lines_up():
  rows = [
    {"model": "acgan", "ms": 250.4, "error": 1.25e-5, "wide": None},
    {"model": "progan_plain", "ms": 2.0, "error": float("nan"), "note": "no"},
  ]
  assert results.table(rows).splitlines() == [
    "model           ms     error  wide  note",
    "acgan          250  1.25e-05",
    "progan_plain  2.00       nan        no",
  ]


def test_step_times_are_shown_without_notes_in_the_table(monkeypatch, capsys):
  document = {"cpu": "a CPU", "cores": 2, "versions": {}, "rows": [ROW]}
  monkeypatch.setattr(train_step, "run", lambda args: document)
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
  monkeypatch.setattr("sys.argv", ["train_step"])
  train_step.main()
  *_, names, row = capsys.readouterr().out.splitlines()
  assert names.split() == [key for key in ROW if key != "notes"]
  assert row.split()[:3] == ["acgan", "32", "200"]


def test_heading_tells_what_was_skipped():
  document = {
    "cpu": "a CPU",
    "cores": 2,
    "versions": {"jax": "1", "torch": "2"},
    "rows": [ROW],
  }
  assert results.heading(document).splitlines() == [
    "a CPU, 2 cores; jax 1, torch 2",
    "acgan 32: torch.compile skipped: there is no g++",
  ]


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"parameters": {"net": 4}}, "parameters"),
    ({"metrics": [{"loss": 1.0}, {"loss": 2.00001}]}, "loss of step 2"),
    ({"metrics": [{"loss": 1.0}, {"loss": float("nan")}]}, "loss of step 2"),
    ({"metrics": [{"loss": 1.0}, {}]}, "loss of step 2"),
  ],
)
def test_results_that_differ_are_refused(changes, message):
  ours = {"parameters": {"net": 3}, "metrics": [{"loss": 1.0}, {"loss": 2.0}]}
  results.compare("a net", ours, ours)
  with pytest.raises(results.MismatchError, match=message):
    results.compare("a net", ours, ours | changes)


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("--models=acgn", "Did you mean 'acgan'"),
    ("--widths=16,0", "'0' is not a positive integer"),
    ("--size=48", "48 is not a power of two"),
    ("--json=/no/such/file", "cannot be written"),
    ("--batches=3", "unrecognized arguments"),
    ("--size=8", "acgan takes sizes from 16 on, not 8"),
    ("--size=2", "2 is not a power of two from 4 on"),
    ("--size=512", "progan takes sizes up to 256, not 512"),
    ("--batch=6", "progan takes batches of a multiple of 4, not 6"),
  ],
)
def test_bad_argument_is_refused_in_one_line(argument, message, capsys):
  with pytest.raises(SystemExit, match="2"):
    train_step.parse([argument])
  error = capsys.readouterr().err
  assert message in error
  assert error.count("\n") == 1


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("--batches=16,0", "'0' is not a positive integer"),
    ("--sizes=32,8", "acgan takes sizes from 16 on, not 8"),
  ],
)
def test_bad_argument_of_scaling_is_refused(argument, message, capsys):
  with pytest.raises(SystemExit, match="2"):
    scaling.parse([argument])
  error = capsys.readouterr().err
  assert error.startswith("scaling: ")
  assert message in error


def test_missing_pytorch_is_an_error_of_one_line(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  monkeypatch.setattr("sys.argv", ["train_step"])
  with pytest.raises(SystemExit, match=r'pip install "\.\[bench\]"$'):
    train_step.main()


def test_a_value_is_refused_only_for_models_that_do_not_take_it():
  argv = ["--models=acgan,classifier", "--size=512", "--batch=6"]
  assert train_step.parse(argv).batch == 6
  assert train_step.parse(["--models=progan", "--size=4"]).size == 4


def test_a_progan_has_its_full_size_from_the_first_step():
  config = train_step.MODELS["progan_plain"].values(16, 32, 12)
  (phase,) = progan.phases(config)
  assert (phase.size, phase.batch_size, phase.fade_images) == (32, 12, 0)
  assert workload.batch_size(config) == 12
  assert (config.model.base, config.model.most) == (256, 128)
  assert (config.loss.adversarial, config.loss.penalty) == (
    "non_saturating",
    "none",
  )


def compare(model, size):
  """Take three steps in both frameworks."""
  pytest.importorskip("torch", reason="PyTorch is not installed: [bench]")
  from benchmarks import torch_runner

  config = workload.to_compare(model.values(2, size, 8))
  ours = skinjax_runner.Steps(config, size).reference(config, 3)
  theirs = torch_runner.Steps(model.torch, config, size, 1)
  for fused in model.fusions:
    variant = workload.Variant(compiled=False, fused=fused)
    results.compare(model.config, ours, theirs.follow(config, variant, ours))


@pytest.mark.parametrize("name", list(train_step.COMPARED))
def test_pytorch_reports_the_same_losses(name, request, monkeypatch):
  model = train_step.COMPARED[name]
  if name == "fine_tuned" and importlib.util.find_spec("torch"):
    from benchmarks import torch_models

    request.getfixturevalue("two_stages")
    monkeypatch.setattr(torch_models, "_STAGES", efficientnet._STAGES)
  compare(model, max(16, model.least))


def test_pytorch_reports_the_same_losses_at_the_smallest_size():
  compare(train_step.COMPARED["progan"], 4)


def test_each_framework_has_a_process_of_its_own():
  with worker.Remote("tests.counter", "Counter", "torch", 3) as counter:
    assert counter.add(4) == 7
    assert counter.add(5) == 12
    assert counter.process() != os.getpid()
    with pytest.raises(worker.RemoteError, match="ModuleNotFoundError"):
      counter.load("torch")
    with pytest.raises(worker.RemoteError, match="ZeroDivisionError"):
      counter.fail()
    assert counter.add(0) == 12


def test_evaluation_is_timed():
  assert evaluation.extracting(32, 3) > 0
  assert evaluation.comparing((20, 12), (12, 12), 15) > 0
  args = evaluation.parse(["--sizes=64", "--images=5"])
  assert (args.sizes, args.images, args.synthetic) == ([64], 5, 1000)


def test_reading_is_timed_only_for_prepared_data(monkeypatch, tmp_path):
  args = argparse.Namespace(data_dir=tmp_path, manual_dir=None, size=0)
  row = pipeline.reading_row("toy", args)
  assert row == {"data set": "toy", "note": "not prepared here"}
  monkeypatch.setattr(pipeline.sources, "is_prepared", lambda config: True)
  monkeypatch.setattr(
    pipeline.datasets, "load", lambda config: shrunk.dataset()
  )
  row = pipeline.reading_row("toy", args)
  assert row["images"] == sum(len(s.labels) for s in shrunk.dataset()[1:4])


def test_an_unknown_data_set_is_refused_in_one_line(capsys):
  with pytest.raises(SystemExit, match="2"):
    pipeline.parse(["--dataset=hma"])
  error = capsys.readouterr().err
  assert error.startswith("pipeline: argument --dataset: invalid choice: 'hma'")
  assert error.count("\n") == 1


def test_a_folder_without_ham10000_is_an_error_message(monkeypatch, tmp_path):
  argv = ["pipeline", f"--data_dir={tmp_path}", f"--manual_dir={tmp_path}"]
  monkeypatch.setattr("sys.argv", argv)
  with pytest.raises(SystemExit, match=rf"^pipeline: {tmp_path}: .*HAM10000"):
    pipeline.main()


def test_points_differ_from_the_base_in_one_factor_and_come_once():
  assert scaling.points([16, 64], [64, 128], [16]) == [
    (64, 64, 32),
    (16, 64, 32),
    (64, 128, 32),
    (64, 64, 16),
  ]


def test_sizes_of_a_progan_are_stages_of_one_network():
  models = [
    scaling.model_config("progan", scaling.Point(8, size, 32)).model
    for size in (4, 8, 16, 32, 64, 128)
  ]
  # The width at 64x64 is base / 2^4.
  assert {(model.base, model.most) for model in models} == {(512, 128)}


def test_scaling_is_shown_as_a_table(monkeypatch, capsys):
  rows = [
    {"batch": 64, "ms": 200.0, "compile s": 10.0, "MiB": 512.0},
    {"batch": 128, "ms": 380.0, "compile s": 12.5, "MiB": 768.0},
    {"batch": 16, "ms": 60.0, "compile s": 9.0, "MiB": 99.5},
  ]
  timed = iter(rows)
  monkeypatch.setattr(scaling, "time_point", lambda *_: next(timed))
  argv = ["--models=acgan", "--batches=128,16", "--sizes=64", "--widths=32"]
  text = scaling.show(scaling.run(scaling.parse(argv)))
  _, _, table = text.partition("acgan, a step (ms x: times the first row)\n")
  assert table.splitlines() == [
    "batch    ms  compile s   MiB   ms x",
    "   64   200       10.0   512   1.00",
    "  128   380       12.5   768   1.90",
    "   16  60.0       9.00  99.5  0.300",
    "",
    "seconds of cold compilation",
    "model  base  least  most",
    "acgan  10.0   9.00  12.5",
  ]
  assert capsys.readouterr().err.count("\n") == 3  # progress
