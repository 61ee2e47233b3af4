"""Configs with unknown names, values out of range and other mistakes."""

import csv
import json
import math
from unittest import mock

from skinjax import run as runs
from skinjax.data import datasets, sources
from tests import shrunk
from tests.bad_input.case import Case


def _in_memory(config, names=shrunk.CLASSES):
  splits = {key: getattr(shrunk.dataset(), key) for key in shrunk.COUNTS}
  return sources.Raw("toy_lesions", names, splits, True, shrunk.SIZE, "")


def _of(name, message, *, read=_in_memory, **changes):
  """Run a shipped config with changes, `read` as sources.read."""

  def make(tmp_path):
    given = {"data__data_dir": str(tmp_path / "data"), **changes}
    config = shrunk.config(name, **given)

    def run():
      with mock.patch.object(sources, "read", read):
        runs.run(config, tmp_path / "run")

    return run

  return Case(make, message)


def _values():
  """Yield cases of unknown names, and of a value out of each kind of range."""
  for name, key, value, message in [
    ("classifier", "train.rate", math.nan, "^train.rate=nan: a finite number"),
    (
      "study",
      "gan.model.latents",
      -1,
      "-1: a number of at least 1 is expected",
    ),
    ("classifier", "data.name", "ham1000", "Did you mean 'ham10000'"),
    ("classifier", "data.name", "mnist", "MNIST comes at size 32 .* not at 16"),
    (
      "classifier",
      "data.size",
      0,
      "toy_lesions has no size 0: use 64, 128,",
    ),
    ("classifier", "data.size", 48, "has no size 48: use 64, 128, or one of"),
    ("classifier", "data.classes", ("disk",), "class .* Did you mean 'disc'"),
    ("classifier", "data.classes", ("disc", 3), "class of toy_lesions '3'."),
    ("classifier", "data.fold", -2, "data.fold=-2"),
    ("classifier", "train.sampler", "", "Unknown train.sampler ''. There"),
    ("classifier", "model.dtype", "float16", "Did you mean 'bfloat16'"),
    ("classifier", "loss.balance", "weigths", "Did you mean 'weights'"),
    ("classifier", "best", "auc", "Unknown best 'auc'. .*mean_auc"),
    ("classifier", "parallel", "", "Unknown parallel ''. There are: auto"),
    ("acgan", "model.dtype", "float16", "Unknown model.dtype"),
    ("acgan", "loss.adversarial", "hing", "'hinge'.*, relativistic"),
    ("acgan", "augment.discriminator", "translate", "mean 'translation'"),
    ("progan", "loss.penalty", "r2", "penalty 'r2'. There are: none"),
    ("acgan", "loss.penalty", "r2", "penalty 'r2'. There are: none"),
    ("acgan", "loss.penalty_every", 0, "every=0: a number of at least 1"),
    ("study", "network.head.input", 16, "input=16: a number of at least 32"),
    ("evaluate", "input_size", 16, "input_size=16: a number of at least 32"),
    ("acgan", "loss.class_loss", "d2d", "Did you mean 'd2d_ce'"),
    ("acgan", "train.generated_labels", "even", "generated_labels 'even'"),
    ("acgan", "augment.adapt_target", 0.6, "set augment.discriminator"),
    ("progan", "growth.rates", (1e-3, "fast"), "a number of at least 0"),
    ("progan", "growth.batch_sizes", (8, 8, 8.5), "integers of at least 1"),
    ("progan", "model.conditional_from", 5, "one of 4, 8, 16 is expected"),
  ]:
    read = sources.read if key in ("data.name", "data.size") else _in_memory
    case = _of(name, message, read=read, **{key.replace(".", "__"): value})
    yield f"{name}.{key}={value}", case


def _folds():
  """Yield cases of impossible folds; the smallest class has 7 groups."""
  wanted = "a fold must be from 0 to one less than the number"
  for fold, count, why in (
    (0, 2, f"fold 0 of 2; {wanted}"),
    (5, 5, f"fold 5 of 5; {wanted}"),
    (0, 8, "class 'stripes' has 7 groups, .*at most 7 folds"),
  ):
    changes = {"data__fold": fold, "data__num_folds": count}
    case = _of("classifier", f"data.num_folds={count}: {why}", **changes)
    yield f"fold_{fold}_of_{count}", case


def _others():
  return {
    "log_never": _of("acgan", "log_every=0 is less than 1", log_every=0),
    "class_twice": _of(
      "classifier",
      r"data.classes=\('disc', 'disc'\) has 'disc' twice: name each class once",
      data__classes=("disc", "disc"),
    ),
    "no_networks": _of("study", "config.networks is empty", networks=()),
    "none_a_class": _of(
      "synthesize",
      "per_class=0: at least 2 images of a class",
      per_class=0,
      generator="somewhere",
    ),
    "generator_empty": _of(
      "synthesize", "config.generator is empty: name the workdir of a trained"
    ),
    "generator_is_file": _of(
      "study", f"{__file__} is not the workdir of a run", generator=__file__
    ),
  }


def _one_class(tmp_path):
  """Train on one class, so that every prediction is right."""
  config = shrunk.config("classifier", data__classes=("disc",))
  path = tmp_path / "run"

  def run():
    with mock.patch.object(sources, "read", _in_memory):
      runs.run(config, path)
    with (path / "scores.csv").open(newline="") as file:
      scores = {row["score"]: row["value"] for row in csv.DictReader(file)}
    assert scores["accuracy"] == scores["recall/disc"] == "1.0000"
    assert scores["mean_auc"] == "nan"  # undefined for one class
    for line in (path / "metrics.jsonl").read_text().splitlines():
      json.loads(line, parse_constant=int)

  return run


def _digits_as_numbers(tmp_path):
  config = shrunk.config("classifier", data__classes=(2, 0)).data
  names = ("0", "1", "2")

  def run():
    read = lambda config: _in_memory(config, names)
    with mock.patch.object(sources, "read", read):
      dataset = datasets.load(config)
    assert dataset.info.class_names == ("2", "0")
    assert dataset.info.class_counts == (5, 12)

  return run


CASES = {
  **dict(_values()),
  **dict(_folds()),
  **_others(),
  "one_class": Case(_one_class, None),
  "digits_as_numbers": Case(_digits_as_numbers, None),
}
