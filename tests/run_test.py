"""Tests of run.py: ranges of a config's values, errors of files, its log."""

import contextlib
import importlib
import math
import os
import pathlib
import tempfile

import ml_collections
import pytest

from skinjax import run
from skinjax.data import image_folder, images, own_images, sources
from skinjax.runtime import errors, workdir
from tests import shrunk

NAMES = (
  *("acgan", "by_class", "classifier", "evaluate", "progan"),
  *("progan_paper", "quickstart", "study", "synthesize"),
)


def _get(name, arguments="", **changes):
  config = importlib.import_module(f"configs.{name}").get_config(arguments)
  changes = {key.replace("__", "."): value for key, value in changes.items()}
  config.update_from_flattened_dict(changes)
  return config


@pytest.mark.parametrize("name", NAMES)
def test_shipped_configs_are_in_range(name):
  run.check(_get(name))


def test_every_range_is_of_a_key():
  keys = set()
  for name in NAMES:
    keys |= workdir.flat(_get(name)).keys()
  keys |= workdir.flat(_get("acgan", "variant=projected")).keys()
  ends = {".".join(key.split(".")[-2:]) for key in keys}
  assert run.RANGES.keys() <= ends


@pytest.mark.parametrize(
  ("key", "values"),
  [
    ("seed", (0, 7, 2**32 - 1)),
    ("train.batch_size", (1, 10**6)),
    ("train.rate", (0.0, 1e-9, 100.0)),
    ("train.ema_images", (0.0, 0.5, 1e9)),
    ("model.dropout", (0.0, 0.5, 255 / 256)),
    ("loss.smoothing", (0.0, 0.999)),
    ("augment.jitter", (0.0, 1.0)),
  ],
)
def test_values_in_range_are_accepted(key, values):
  for value in values:
    run.check(_get("classifier", **{key: value}))


@pytest.mark.parametrize(
  ("key", "value", "expected"),
  [
    ("seed", 2**32, "a number from 0 to 4294967295"),
    ("train.batch_size", 0, "a number of at least 1"),
    ("train.rate", -1e-9, "a number of at least 0"),
    ("train.rate", math.nan, "a finite number"),
    ("train.ema_images", math.inf, "a finite number"),
    ("model.dropout", 0.997, "a number from 0 to 0.99609375"),
    ("loss.smoothing", 1.0, "a number from 0 to below 1"),
    ("augment.jitter", 1.1, "a number from 0 to 1"),
  ],
)
def test_a_value_out_of_range_is_named(key, value, expected):
  config = _get("classifier", **{key: value})
  with pytest.raises(errors.InputError) as refusal:
    run.check(config)
  assert str(refusal.value) == f"{key}={value}: {expected} is expected."


def test_parts_of_a_study_are_checked():
  for key in ("gan.model.dropout", "network.resnet.model.dropout"):
    with pytest.raises(errors.InputError, match=f"^{key}=1.0: a number from"):
      run.check(_get("study", **{key: 1.0}))
  with pytest.raises(errors.InputError, match=r"^gan\.kid_images=1: a num"):
    run.check(_get("study", gan__kid_images=1))


@pytest.mark.parametrize("value", [True, "4", None])
def test_a_value_that_is_no_number_is_refused(value):
  with pytest.raises(errors.InputError, match=r"^model\.width=.*is expected"):
    run.check({"model": {"width": value}})


def test_a_frozen_config_and_one_without_numbers():
  run.check(shrunk.frozen("study"))
  run.check({})


def _read_by_a_library(folder):
  with sources._whole(folder):
    raise RuntimeError("open() failed: Permission denied; opening a.png")


@pytest.mark.parametrize(
  "read",
  [
    _read_by_a_library,
    lambda folder: workdir.read_config(folder),
    lambda folder: images.read(folder / "a.png", 8),
    lambda folder: own_images.read(folder, 8),
    lambda folder: image_folder.read(folder, None),
    lambda folder: (folder / "new").write_text(""),
  ],
)
def test_a_file_without_permission_is_not_called_damaged(monkeypatch, read):
  with tempfile.TemporaryDirectory() as name, _user() as user:
    folder = pathlib.Path(name)
    for name in ("config.json", "a.png", "images.csv", "provenance.json"):
      (folder / name).write_text("")
      (folder / name).chmod(0)
      os.chown(folder / name, user, -1)
    folder.chmod(0o500)
    os.chown(folder, user, -1)
    os.seteuid(user)
    monkeypatch.setattr(run, "_run", lambda *_: read(folder))
    words = rf"^{folder}/[\w.]+: Permission denied\. Its owner or mode"
    with pytest.raises(errors.InputError, match=words):
      run.run(None, folder)


@contextlib.contextmanager
def _user():
  """Yield a user without rights; be the former user again afterwards."""
  before = os.geteuid()
  try:
    yield before or 12345  # root may read and write everything
  finally:
    os.seteuid(before)


def test_a_run_that_shares_its_workdir_is_logged_and_a_refused_one_is_not(
  tmp_path, monkeypatch
):
  def claim(**config):
    config = ml_collections.FrozenConfigDict(config)
    rules = {"folds": lambda before, now: None}
    return workdir.claim(tmp_path, config, shared=True, rules=rules)

  def task(config, path):
    # Another process starts on other folds meanwhile.
    with claim(**config), claim(**config | {"folds": (1,)}):
      pass

  monkeypatch.setattr(run, "_run", task)
  lines = lambda: (tmp_path / "runs.jsonl").read_text().splitlines()
  run.run({"seed": 0, "folds": (0,)}, tmp_path)
  assert len(lines()) == 1
  with pytest.raises(errors.InputError, match="seed was 0, is 1"):
    run.run({"seed": 1, "folds": (0,)}, tmp_path)
  assert len(lines()) == 1
