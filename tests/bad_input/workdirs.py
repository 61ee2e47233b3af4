"""Workdirs of another run, or with damaged records."""

import dataclasses
import json
import os
import pathlib
import re
import shutil

import pytest

from skinjax.training import testing, trained
from tests import shrunk
from tests.bad_input import trained as runs
from tests.bad_input.case import Case


def _interrupted(damage, message):
  """Resume a run whose last checkpoint is lost and whose workdir is damaged."""

  def damage_run(path):
    shutil.rmtree(path / "checkpoints" / "4")
    damage(path)

  return _resumed(damage_run, message)


def _resumed(damage, message, dataset=None, **changes):
  """Resume a classifier's run in a damaged copy of its workdir."""

  def make(tmp_path):
    path = runs.copy(runs.network("classifier"), tmp_path / "run")
    damage(path)
    return lambda: runs.train("classifier", path, dataset, **changes)

  return Case(make, message)


def _begun(damage, message):
  """Start a run in a path that is in use or cannot be written."""

  def make(tmp_path):
    damage(tmp_path / "run")
    return lambda: runs.train("classifier", tmp_path / "run")

  return Case(make, message)


def _write(name, content):
  if not isinstance(content, bytes):
    content = json.dumps(content).encode()
  return lambda path: (path / name).write_bytes(content)


def _edit(name, **changes):
  def damage(path):
    record = json.loads((path / name).read_text())
    (path / name).write_text(json.dumps(record | changes))

  return damage


def _lock(path):
  if os.geteuid() == 0:
    pytest.skip("the superuser may write everywhere")
  path.mkdir()
  path.chmod(0o555)


def _other_data():
  own = shrunk.dataset()
  info = dataclasses.replace(own.info, fingerprint="0" * 64)
  return own._replace(info=info)


def _predictions(change, message):
  """Score a classifier whose predictions.csv was changed."""

  def make(tmp_path):
    path = runs.copy(runs.network("classifier"), tmp_path / "run")
    own, config = shrunk.dataset(), shrunk.frozen("classifier")
    saved = trained.load(path)
    result = runs.loop.Result(saved.state, own, {})
    testing.predict(config, path, result)
    table = path / testing.FILE
    change(table)
    return lambda: testing.read(path, own)

  return Case(make, rf"predictions\.csv {message}.*: remove it to have it writ")


def _swap(old, new):
  def change(path):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))

  return change


def _as_folder(path: pathlib.Path):
  path.unlink()
  path.mkdir()


def _cut(path: pathlib.Path):
  path.write_bytes(path.read_bytes()[:-30])


_NO_RUN = r"config\.json cannot be read: .*run is not the workdir of a run"
_NO_ORIGIN = r"data\.json cannot be read: the run's training data are unknown"
_BAD_ORIGIN = r"data\.json is damaged: it must have a name, a fingerprint"
_NO_PLACE = r"--workdir=.* cannot be used as a writable directory: "
_PREDICTIONS = "cannot be read as a table of predictions"

CASES = {
  "of_another_config": _resumed(
    lambda path: None,
    r"holds the run of another config \(model.width was 4, is 6\): use anoth",
    model__width=6,
  ),
  "on_other_data": _resumed(
    lambda path: None,
    "was started on other images than toy_lesions has now: use another",
    dataset=_other_data(),
  ),
  "file": _begun(lambda path: path.touch(), f"{_NO_PLACE}File exists"),
  "locked": _begun(_lock, r"\.lock cannot be locked \(Permission denied\)"),
  "config_cut": _resumed(lambda path: _cut(path / "config.json"), f"{_NO_RUN}"),
  "config_is_list": _resumed(_write("config.json", [1]), _NO_RUN),
  "config_nested": _resumed(
    _write("config.json", b'{"a":' * 5000 + b"1" + b"}" * 5000), _NO_RUN
  ),
  "config_is_folder": _resumed(
    lambda path: _as_folder(path / "config.json"), _NO_RUN
  ),
  "config_without_keys": _resumed(
    _write("config.json", {}),
    r"another config \(augment.jitter was None, is 0.0; .*; and \d+ more\)",
  ),
  "config_with_keys_of_its_own": _resumed(
    _edit("config.json", extra="x" * 9999),
    r"another config \(extra was 'xxxx.*, is None\)",
  ),
  "data_cut": _resumed(lambda path: _cut(path / "data.json"), _NO_ORIGIN),
  "data_without_keys": _resumed(_write("data.json", {}), _BAD_ORIGIN),
  "metrics_is_list": _interrupted(
    _write("metrics.jsonl", b"[1]\n"), r"metrics\.jsonl cannot be read"
  ),
  "metrics_no_text": _interrupted(
    _write("metrics.jsonl", b'{"step": 2}\n\x80\xff\n'),
    r"metrics\.jsonl cannot be read",
  ),
  "predictions_empty": _predictions(
    lambda path: path.write_text(""), "predicts other images"
  ),
  "predictions_without_class": _predictions(
    _swap("square", "circle"), rf"{_PREDICTIONS} \('square'\)"
  ),
  "predictions_no_numbers": _predictions(
    _swap(",0.", ",a"), rf"{_PREDICTIONS} \(could not convert string to float"
  ),
  "predictions_is_folder": _predictions(_as_folder, _PREDICTIONS),
  "predictions_no_probabilities": _predictions(
    _swap(",0.", ",7."), "has rows that are not probabilities"
  ),
  "predictions_nan": _predictions(
    lambda path: path.write_text(re.sub(r",0\.\d+", ",nan", path.read_text())),
    "has rows that are not probabilities",
  ),
}
