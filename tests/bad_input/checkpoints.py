"""Checkpoints that are damaged, missing or of another network."""

import json
import shutil

import ml_collections

from skinjax.training import trained
from tests.bad_input import trained as runs
from tests.bad_input.case import Case


def _loaded(damage, message, network="classifier"):
  """Load a network from a damaged copy of its workdir."""

  def make(tmp_path):
    path = runs.copy(runs.network(network), tmp_path / "run")
    damage(path)
    return lambda: trained.load(path)

  return Case(make, message)


def _used(message, generator="acgan", classifier=""):
  """Draw images with networks that may be of the wrong task."""

  def make(tmp_path):
    changes = {"generator": str(runs.network(generator))}
    if classifier:
      changes["classifier"] = str(runs.network(classifier))
    return lambda: runs.draw(tmp_path / "run", **changes)

  return Case(make, message)


def _configure(**changes):
  """Change values of config.json; None removes a key."""

  def damage(path):
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

  return damage


def _remove(path):
  shutil.rmtree(path / "checkpoints")


def _as_file(path):
  _remove(path)
  (path / "checkpoints").write_text("")


_OTHER = "holds another network than the config describes: use the config that"
_UNLIKE = r"config\.json does not describe a network \("

CASES = {
  "of_another_width": _loaded(_configure(model__width=6), _OTHER),
  "none": _loaded(_remove, "has no checkpoint yet: train there first"),
  "file": _loaded(_as_file, "checkpoints.* directory"),
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
  "unknown_upsampling": _loaded(
    _configure(model__upsampling="cubic"), rf"{_UNLIKE}.*cubic", "acgan"
  ),
  "generator_as_classifier": _used(
    "config.classifier=.* is the workdir of a GAN: name that of a trained clas",
    classifier="acgan",
  ),
  "classifier_as_generator": _used(
    "config.generator=.*run is the workdir of task=classifier, which generate",
    generator="classifier",
  ),
}
