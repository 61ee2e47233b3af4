"""Tests of benchmarks/train_folds.py and benchmarks/ham10000.py."""

import pathlib
import signal

import jax
import ml_collections
import numpy as np
import pytest

import skinjax
from benchmarks import budget as budgets
from benchmarks import ham10000, train_folds
from configs import progan
from skinjax.data import batches, datasets, sources
from skinjax.runtime import errors, files, interruption
from skinjax.training import released, tasks, trained
from tests import shrunk
from tests.bad_input import trained as runs


def read(data):
  """Return the tiny data set, whatever the fold."""
  del data
  return shrunk.dataset()


def train(out, seconds=1000.0, folds=(0, 1), names=("acgan", "progan")):
  configs = {name: shrunk.frozen(name) for name in names}
  return train_folds.run(configs, read, out, budgets.Budget(seconds), folds)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
  path = tmp_path_factory.mktemp("folds")
  rows = train(path)
  expected = [(n, f, 4) for n in ("acgan", "progan") for f in range(2)]
  assert [(r["folder"], r["fold"], r["steps"]) for r in rows] == expected
  return path


@pytest.mark.parametrize("name", ["acgan", "progan"])
def test_it_trains_as_the_loop_does(out, name):
  _, result = runs.finished(name)
  network = trained.load(out / name / "1")
  assert network.config.data.fold == 1
  assert network.origin["groups"] == sorted(
    set(shrunk.dataset().train.groups.tolist())
  )
  found = shrunk.leaves(network.state.average)
  for key, x in shrunk.leaves(result.state.average).items():
    wanted = x.astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(found[key], wanted, rtol=2e-3, atol=1e-6)


def test_its_folders_are_named_by_fold_and_are_few_files(out):
  generator = skinjax.load_generator(
    str(out / "acgan" / "{fold}").format(fold=0)
  )
  assert generator.sample(["disc", "stripes"]).shape == (2, 16, 16, 3)
  found = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
  assert found == {"plan.json"} | {
    f"{name}/{file}"
    for name in ("acgan", "progan")
    for file in (released.RECORD, released.WEIGHTS)
  }


def test_the_same_command_trains_nothing_twice(out, monkeypatch):
  monkeypatch.setattr(train_folds, "start", None)
  assert len(train(out)) == 4


def test_an_interrupted_training_resumes(out, tmp_path, monkeypatch):
  calls = []

  def advance_once(*arguments):
    advance, state = start(*arguments)

    def call(state, phase):
      calls.append(phase)
      if len(calls) == 1:
        signal.raise_signal(signal.SIGTERM)
      return advance(state, phase)

    return call, state

  start = train_folds.start
  files.write_json(
    tmp_path / "plan.json",
    files.read_json(out / "plan.json", "it was written"),
  )
  monkeypatch.setattr(train_folds, "start", advance_once)
  before = signal.getsignal(signal.SIGTERM)
  with pytest.raises(interruption.Interrupted, match="step 2 of acgan, fold 0"):
    train(tmp_path, folds=(0,), names=("acgan",))
  assert signal.getsignal(signal.SIGTERM) == before
  assert not (tmp_path / "acgan").exists()
  (row,) = train(tmp_path, folds=(0,), names=("acgan",))
  assert (row["steps"], len(calls)) == (4, 2)
  one, other = (trained.load(p / "acgan" / "0") for p in (tmp_path, out))
  assert one.digest == other.digest


def test_what_is_trained_is_released_when_time_is_up(out, tmp_path):
  files.write_json(
    tmp_path / "plan.json",
    files.read_json(out / "plan.json", "it was written"),
  )
  rows = train(tmp_path, seconds=0.0)
  assert [row["steps"] for row in rows] == [2, 2, 2, 2]
  generator = skinjax.load_generator(tmp_path / "progan" / "1")
  assert generator.sample([0, 1]).shape == (2, 16, 16, 3)


def test_folds_share_their_programs():
  folds = [
    train_folds.padded(batches.on_device(dataset.train.take(slice(n)), 3))
    for dataset, n in ((shrunk.dataset(), 23), (shrunk.dataset(), 24))
  ]
  shapes = [{name: x.shape for name, x in fold.items()} for fold in folds]
  assert shapes[0] == shapes[1]
  assert shapes[0]["images"] == (1024, 16, 16, 3)
  assert [fold["counts"].sum() for fold in folds] == [23, 24]
  np.testing.assert_array_equal(
    folds[1]["images"][:24], shrunk.dataset().train.images
  )


def shipped(folder):
  get_config, text = train_folds.TRAINED[folder]
  return ml_collections.FrozenConfigDict(get_config(text))


@pytest.mark.parametrize("share", [1.0, 0.5, 0.031, 0.001])
def test_a_shorter_training_is_a_part_of_the_whole(share):
  acgan = train_folds.shortened(shipped("acgan"), share)
  assert acgan.train.steps == max(50, int(share * 4500) // 50 * 50)
  whole, short = (
    tasks.named("progan").phases(config)
    for config in (
      shipped("progan"),
      train_folds.shortened(shipped("progan"), share),
    )
  )
  assert [p.size for p in short] == [p.size for p in whole]
  for one, other in zip(short, whole, strict=True):
    steps = share * (other.stop - other.first_step)
    # Rounded up to a multiple of growth.round_steps.
    assert 0 <= one.stop - one.first_step - steps <= 50
  assert short[-1].stop > short[-1].first_step
  tasks.named("progan").check(train_folds.shortened(shipped("progan"), share))


def test_the_steps_fill_the_time(monkeypatch):
  times = {"acgan": train_folds.Times(10.0, 0.01), "progan": (20.0, 0.02)}
  monkeypatch.setattr(
    train_folds,
    "timed",
    lambda config, *_: train_folds.Times(*times[config.task]),
  )
  configs = {"acgan": shipped("acgan")}
  # It compiles a program for each of its five sizes.
  configs["progan"] = progan.get_config("dataset=ham10000,variant=paper")
  budget = budgets.Budget(480.0, clock=lambda: 0.0)
  made = train_folds.plan(configs, read, range(5), budget)
  planned = sum(made["compiling"].values()) + 5 * sum(made["training"].values())
  assert made["compiling"] == {"acgan": 10.0, "progan": 100.0}
  assert planned == pytest.approx(0.9 * 480)
  assert 0 < made["share"] < 1
  short = budgets.Budget(60.0, clock=lambda: 0.0)
  with pytest.raises(errors.InputError, match=r"alone take 2\.0 minutes"):
    train_folds.plan(configs, read, range(5), short)
  quick = budgets.Budget(1e6, clock=lambda: 0.0)
  assert train_folds.plan(configs, read, range(5), quick)["share"] == 1.0


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--minutes=0"], "'0' is not a number above 0"),
    (["--out=x"], "--manual_dir"),
  ],
)
def test_bad_arguments_are_refused(arguments, message, capsys):
  with pytest.raises(SystemExit, match="2"):
    train_folds.parse(arguments)
  assert message in capsys.readouterr().err


def test_missing_files_are_refused(tmp_path, monkeypatch):
  argv = ["train_folds", f"--manual_dir={tmp_path}", f"--out={tmp_path}/out"]
  monkeypatch.setattr("sys.argv", argv)
  with pytest.raises(SystemExit, match="no table of cases found"):
    train_folds.main()
  with pytest.raises(errors.InputError, match="no size 48"):
    ham10000.read(tmp_path, 48)


def test_the_command_reads_trains_and_says_how_to_use_it(
  tmp_path, monkeypatch, capsys
):
  data, calls = shrunk.dataset(), []

  def archives(manual_dir, size):
    calls.append((manual_dir, size))
    splits = {k: getattr(data, k) for k in ("train", "validation", "test")}
    return sources.Raw("toy_lesions", shrunk.CLASSES, splits, True, 16, "")

  trained_here = {"acgan": (lambda _: shrunk.config("acgan"), "")}
  monkeypatch.setattr(ham10000, "read", archives)
  monkeypatch.setattr(train_folds, "TRAINED", trained_here)
  monkeypatch.setattr(train_folds, "FOLDS", range(2))
  monkeypatch.setattr(
    "sys.argv", ["train_folds", "--manual_dir=there", f"--out={tmp_path}"]
  )
  train_folds.main()
  assert calls == [(pathlib.Path("there"), 16)]
  shown = capsys.readouterr()
  assert f"--config.generator={tmp_path}/acgan/{{fold}}" in shown.out
  assert "acgan, fold 0: steps 0 to 4" in shown.err
  learnt = [
    set(released.read(tmp_path / "acgan" / str(fold)).origin["groups"])
    for fold in range(2)
  ]
  assert learnt[0] != learnt[1]
  for fold, groups in enumerate(learnt):
    config = shrunk.config("acgan", data__fold=fold).data
    raw = archives("", 16)
    assert groups == set(datasets.divided(raw, config).train.groups)


def test_archives_are_read_as_the_prepared_data_are(ham10000_dir, test_data):
  config = shrunk.config("classifier", "dataset=ham10000").data
  config.size, config.data_dir = 64, ham10000_dir
  raw = ham10000.read(test_data / "ham10000", 64)
  for fold in (-1, 0, 3):
    config.fold = fold
    ours, theirs = datasets.divided(raw, config), datasets.load(config)
    assert ours.info == theirs.info  # the fingerprint among it
    for name in ("train", "validation", "test"):
      jax.tree.map(
        np.testing.assert_array_equal,
        tuple(getattr(ours, name)),
        tuple(getattr(theirs, name)),
      )
