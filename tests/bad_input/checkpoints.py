"""Checkpoints of another network, damaged ones, and none."""

import json
import shutil

import ml_collections

from skinjax.training import trained
from tests import shrunk
from tests.bad_input import trained as runs
from tests.bad_input.case import Case


def _loaded(mess, told, **info):
  """Loads a network, after a change, for data that `info` changes."""

  def make(tmp_path):
    path = runs.copy(runs.network("classifier"), tmp_path / "run")
    mess(path)
    own = shrunk.dataset().info
    wanted = own.__class__(**{**vars(own), **info})
    return lambda: trained.require_for(trained.load(path), wanted)

  return Case(make, told)


def _used(told, generator="acgan", classifier=""):
  """Draws images with networks that may be of the wrong task."""

  def make(tmp_path):
    changes = {"generator": str(runs.network(generator))}
    if classifier:
      changes["classifier"] = str(runs.network(classifier))
    return lambda: runs.draw(tmp_path / "run", **changes)

  return Case(make, told)


def _configure(**changes):
  """Changes what config.json says of the network."""

  def mess(path):
    record = path / "config.json"
    config = ml_collections.ConfigDict(json.loads(record.read_text()))
    for key, value in changes.items():
      part, _, leaf = key.rpartition("__")
      if value is None:
        del (config[part] if part else config)[leaf]
      else:
        with config.ignore_type():
          (config[part] if part else config)[leaf] = value
    record.write_text(config.to_json())

  return mess


def _remove(path):
  shutil.rmtree(path / "checkpoints")


def _as_file(path):
  _remove(path)
  (path / "checkpoints").write_text("")


def _spoil(path):
  """Cuts the latest checkpoint off and flips a bit of the one before."""
  for step, change in (
    (4, lambda data: data[:-1]),
    (2, lambda data: data[:-1] + bytes([data[-1] ^ 1])),
  ):
    folder = path / "checkpoints" / str(step)
    largest = max(
      (p for p in folder.rglob("*") if p.is_file()),
      key=lambda p: p.stat().st_size,
    )
    largest.write_bytes(change(largest.read_bytes()))


def _exchange(path):
  """Puts a GAN's checkpoints into a classifier's workdir."""
  _remove(path)
  shutil.copytree(runs.network("acgan") / "checkpoints", path / "checkpoints")


_OTHER = "holds another network than the config describes: use the config that"
_DAMAGED = r"None of the checkpoints in .* is whole \(steps \[2, 4\]\)"
_UNLIKE = r"config\.json does not describe a network \("

CASES = {
  "of_another_width": _loaded(_configure(model__width=6), _OTHER),
  "of_another_task": _loaded(_exchange, _OTHER),
  "none": _loaded(_remove, "has no checkpoint yet: train there first"),
  "all_damaged": _loaded(_spoil, _DAMAGED),
  "file": _loaded(_as_file, "checkpoints.* directory"),
  "of_other_classes": _loaded(
    lambda path: None,
    "was trained for toy_lesions at 16x16 with disc, square, stripes, not for "
    ".* with disc, square: give one that was",
    class_names=("disc", "square"),
  ),
  "of_another_size": _loaded(
    lambda path: None, "not for toy_lesions at 32x32 with", size=32
  ),
  "task_is_number": _loaded(_configure(task=3), rf"{_UNLIKE}task=3\)"),
  "task_trains_nothing": _loaded(
    _configure(task="study"),
    "is the workdir of task=study, which trains no network: name one of acg",
  ),
  "without_a_size": _loaded(
    _configure(data__size=None), rf"{_UNLIKE}data.size=None\)"
  ),
  "without_a_width": _loaded(
    _configure(model__width=None), rf"{_UNLIKE}.*width"
  ),
  "classifier_as_generator": _used(
    "config.generator=.*run is the workdir of task=classifier, which draws no",
    generator="classifier",
  ),
  "generator_as_classifier": _used(
    "config.classifier=.* is the workdir of a GAN: name that of a trained clas",
    classifier="acgan",
  ),
}
