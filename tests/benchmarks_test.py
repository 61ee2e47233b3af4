"""Tests of benchmarks/: counts, tables, and that PyTorch does the same."""

import importlib
import importlib.util
import json
import os

import pytest

from benchmarks import (
  evaluation,
  flops,
  flops_progan,
  results,
  skinjax_runner,
  train_step,
  worker,
  workload,
)
from skinjax.runtime import files
from skinjax.training.tasks import progan

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


def test_flops_of_a_step_of_the_smallest_acgan():
  # The generator, forwards: dense 5 -> 4*4*2, up from 4x4x2 to 8x8x1.
  assert [layer.flops for layer in flops.generator(8, 2, 1, 3, 2, 1)] == [
    2 * 5 * 32,
    2 * 16 * (4 * 4) * 2 * 1,
  ]
  # The discriminator: down from 8x8x1 to 4x4x2, dense 4*4*2 -> 1 + 2.
  assert [layer.flops for layer in flops.discriminator(8, 2, 1, 2, 1)] == [
    2 * 16 * (4 * 4) * 1 * 2,
    2 * 32 * 3,
  ]
  generate = 3 * 1344 - 320  # no gradient by latents and labels
  update = 2 * (3 * 1216 - 1024)  # real, fake; no gradient by images
  guide = 2 * 1216  # no gradient by weights
  assert generate + update + guide == 11392
  assert flops.acgan(8, 2, 1, 3, 2, 1) == 11392
  assert flops.acgan(8, 2, 1, 3, 2, 5) == 5 * 11392


def test_flops_of_a_step_of_the_smallest_classifier():
  layers = [
    ("stem", 2 * 8 * 8 * (4 * 4) * 1 * 1),
    ("block 1 conv", 2 * 8 * 8 * (3 * 3) * 1 * 2),
    ("block 1 down", 2 * 4 * 4 * (4 * 4) * 2 * 2),
    ("block 1 shortcut", 2 * 4 * 4 * 1 * 2),
    ("dense", 2 * 2 * 2),
  ]
  counted = flops.residual(16, 1, 1, 2, 1)
  assert [(layer.name, layer.flops) for layer in counted] == layers
  # Three passes of 2048 + 2304 + 2048 + 64 + 8; the images need no gradient.
  assert flops.classifier(16, 1, 1, 2, 1) == 3 * 6472 - 2048


def test_flops_of_a_step_of_the_smallest_progans():
  # The widths are 4 at 4x4 and 2 at 8x8; 1 channel, 3 latents, 2 classes.
  shape = {"base": 4, "most": 9, "channels": 1, "latents": 3, "classes": 2}
  draws, judges = flops_progan.networks(8, **shape, batch=1)
  assert [layer.flops for layer in draws] == [
    2 * 5 * 64,
    2 * 4 * 4 * (3 * 3) * 4 * 4,
    2 * 4 * 4 * (4 * 4) * 4 * 2,  # up, fused
    2 * 8 * 8 * (3 * 3) * 2 * 2,
    2 * 8 * 8 * 2 * 1,
  ]
  assert [layer.flops for layer in judges] == [
    2 * 8 * 8 * 1 * 2,
    2 * 8 * 8 * (3 * 3) * 2 * 2,
    2 * 4 * 4 * (4 * 4) * 2 * 4,  # down, fused
    2 * 4 * 4 * (3 * 3) * 5 * 4,
    2 * 64 * 4,
    2 * 4 * 3,
  ]
  generate = 3 * 14208 - 640  # no gradient by latents and labels
  update = 2 * (3 * 15256 - 256)  # real, fake; no gradient by images
  guide = 2 * 15256  # no gradient by weights
  plain = generate + update + guide
  # The head takes no part: the gradient's pass down, that back up, and the
  # gradients by weights.
  twice = 3 * (15256 - 24)
  # Images of its own: their way there, and back from the deviation.
  anew = (15256 - 24) + 2 * (256 + 4608 + 4096) - 256
  for penalty, count in {
    "none": plain,
    "r1": plain + twice,
    "gradient": plain + twice + anew,
  }.items():
    passes = flops_progan.operations(8, **shape, batch=5, penalty=penalty)
    assert sum(operation.flops for operation in passes) == 5 * count


def test_bytes_of_a_layer():
  up = flops.generator(8, 2, 1, 3, 2, 5)[1]
  assert up.inputs == 4 * 5 * (4 * 4) * 2
  assert up.weights == 4 * (4 * 4) * 2 * 1
  assert up.outputs == 4 * 5 * (8 * 8) * 1
  assert flops.Operation("", up).moved == 640 + 128 + 1280


def test_ratio_is_the_median_of_pairs_not_of_medians():
  pairs = [(10.0, 10.0), (40.0, 20.0), (30.0, 5.0)]
  assert results.summary(pairs) == {
    "skinjax_ms": 30.0,
    "torch_ms": 10.0,
    "ratio": 2.0,
  }


def test_row_is_rated_and_written_with_its_keys(tmp_path):
  row = results.rated(ROW, 4 * 10**9, 1e11)
  assert (row["gflops"], row["torch_gflops"], row["share"]) == (20, 40, 0.2)
  files.write_json(tmp_path / "rows.json", {"rows": [row]})
  (read,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
  assert {"model", "skinjax_ms", "torch_ms", "ratio", "gflops", "share"} <= set(
    read
  )


def test_table_lines_up():
  rows = [results.rated(ROW, 4 * 10**9, 1e11)] * 2
  names, *lines = results.table(rows).splitlines()
  assert (
    lines
    == [
      "acgan            32       200.0     100.0   2.00       20    20%"
      "          300        200  eager, fused"
    ]
    * 2
  )
  assert names.split("  ")[0] == "model"
  assert names.index("ratio") + len("ratio") == lines[0].index("2.00") + 4
  assert names.index("torch variant") == lines[0].index("eager")


def test_heading_tells_what_was_skipped():
  document = {
    "cpu": "a CPU",
    "cores": 2,
    "versions": {"jax": "1", "torch": "2"},
    "product_gflops": 99.6,
    "rows": [ROW],
  }
  assert results.heading(document).splitlines() == [
    "a CPU, 2 cores; jax 1, torch 2",
    "product of 2048x2048 matrices: 100 GFLOP/s (share is of it)",
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
def test_what_differs_is_refused(changes, message):
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
    ("--rounds=many", "'many' is not a positive integer"),
    ("--json=/no/such/file", "cannot be written"),
    ("--batches=3", "unrecognized arguments"),
    ("--size=8", "acgan takes sizes from 16 on, not 8"),
    ("--size=2", "2 is not a power of two from 4 on"),
    ("--size=512", "progan takes sizes up to 256, not 512"),
    ("--batch=6", "progan takes batches of a multiple of 4, not 6"),
    ("--models=progan_plan", "Did you mean 'progan_plain'"),
  ],
)
def test_bad_argument_is_refused_in_one_line(argument, message, capsys):
  with pytest.raises(SystemExit, match="2"):
    train_step.parse([argument])
  error = capsys.readouterr().err
  assert message in error
  assert error.count("\n") == 1


def test_missing_pytorch_is_told_in_one_line(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  monkeypatch.setattr("sys.argv", ["train_step"])
  with pytest.raises(SystemExit, match=r'pip install "\.\[bench\]"$'):
    train_step.main()


def test_what_a_model_does_not_take_is_only_refused_of_it():
  argv = ["--models=acgan,classifier", "--size=512", "--batch=6"]
  assert train_step.parse(argv).batch == 6
  assert train_step.parse(["--models=progan", "--size=4"]).size == 4


def test_what_grows_is_full_grown_from_the_first_step():
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
  """Takes three steps in both frameworks."""
  pytest.importorskip("torch", reason="PyTorch is not installed: [bench]")
  from benchmarks import torch_runner

  config = workload.to_compare(model.values(2, size, 8))
  ours = skinjax_runner.Steps(config, size).reference(config, 3)
  theirs = torch_runner.Steps(model.torch, config, size, 1)
  for fused in model.fusions:
    variant = workload.Variant(compiled=False, fused=fused)
    results.compare(model.config, ours, theirs.follow(config, variant, ours))


@pytest.mark.parametrize("name", list(train_step.MODELS))
def test_pytorch_reports_the_same_losses(name):
  compare(train_step.MODELS[name], 16)


@pytest.mark.parametrize(
  ("size", "changes"),
  [
    (8, {"loss.penalty": "r1", "loss.adversarial": "hinge"}),
    (16, {"model.conditional_from": 8, "loss.class_on_fakes": 0.5}),
    (4, {}),
  ],
)
def test_other_progans_report_the_same_losses(size, changes):
  compare(train_step.MODELS["progan"]._replace(changes=changes), size)


def test_each_framework_has_a_process_of_its_own():
  with worker.Remote("tests.benchmarks_test", "Counter", "torch", 3) as counter:
    assert counter.add(4) == 7
    assert counter.add(5) == 12
    assert counter.process() != os.getpid()
    with pytest.raises(worker.RemoteError, match="ModuleNotFoundError"):
      counter.load("torch")
    with pytest.raises(worker.RemoteError, match="ZeroDivisionError"):
      counter.fail()
    assert counter.add(0) == 12


def configure():
  """What worker.Remote calls first."""


class Counter:
  def __init__(self, first):
    self.value = first

  def add(self, number):
    self.value += number
    return self.value

  def process(self):
    return os.getpid()

  def load(self, name):
    importlib.import_module(name)

  def fail(self):
    return 1 / 0


def test_judging_is_timed():
  assert evaluation.extracting(32, 3) > 0
  assert evaluation.comparing((20, 12), (12, 12), 15) > 0
  assert sum(evaluation.TRAIN) + sum(evaluation.HELD_OUT) == 10_015
  args = evaluation.parse(["--sizes=64", "--images=5"])
  assert (args.sizes, args.images, args.synthetic) == ([64], 5, 1000)
