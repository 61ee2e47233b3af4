"""Scores of a trained classifier on the test lesions, with intervals."""

import csv
import pathlib

import ml_collections
import numpy as np
from absl import logging

from skinjax.data import datasets, external
from skinjax.data.sources import Split
from skinjax.metrics import classification, statistics
from skinjax.runtime import errors, files, parallel
from skinjax.training import loop, tasks, trained

FILE = "predictions.csv"  # only a finished classifier has it
EXTERNAL_FILE = "external_predictions.csv"


def run(
  config,
  path: str | pathlib.Path,
  result: loop.Result,
  outside: external.External | None = None,
) -> dict:
  """Score a trained classifier's test split: predictions.csv and scores.csv.

  An external test set is scored too: external_predictions.csv,
  external_scores.csv, and external.json, which names it. Without one, those of
  an earlier run stay.

  Returns:
    The rows of scores.csv by name: `value`, and `low` and `high` of the 95%
    confidence interval over lesions (from one training run, so without the
    variance between seeds).
  """
  path, dataset = pathlib.Path(path), result.dataset
  predict(config, path, result, outside)
  # Read back, so that scores are exactly those of the table's rounded numbers.
  train_labels, own = dataset.train.labels, read(path, dataset)
  rows = _score(
    path / "scores.csv", own, dataset.test, dataset.info, train_labels
  )
  if outside:
    logging.info("On %s (external): %s", outside.name, outside.note)
    if not outside.groups_known:
      logging.info("%s", datasets.GROUPS_UNKNOWN)
    _score(
      path / "external_scores.csv",
      read_external(path, outside, dataset.info),
      outside.split,
      dataset.info,
      train_labels,
    )
  return rows


def _score(
  file: pathlib.Path,
  probabilities: np.ndarray,
  split: Split,
  info,
  train_labels: np.ndarray,
) -> dict:
  """Write and log the scores of a split; see `run`."""
  labels = split.labels
  train_counts = np.bincount(train_labels, minlength=info.num_classes)
  weights = statistics.bootstrap_weights(
    split.groups, labels, statistics.RESAMPLES, seed=0
  )
  tally = statistics.tally(probabilities, labels, weights)
  draws = statistics.draw([[tally]])
  rows = {
    "majority_line": dict.fromkeys(
      ("value", "low", "high"),
      classification.majority_line(labels, train_counts),
    )
  }
  for name in classification.SCALARS:
    rows[name] = as_row(statistics.interval(draws[name]))
  for name in classification.BY_CLASS:
    whole = statistics.interval(draws[name])
    for k, class_name in enumerate(info.class_names):
      rows[f"{name}/{class_name}"] = as_row(whole, k)
  lines = [("score", "value", "low", "high")]
  for name, row in rows.items():
    lines.append((name, *(f"{value:.4f}" for value in row.values())))
    if not np.isnan(row["value"]):  # unknown for a class without images
      logging.info(
        "%-18s %.3f  [%.3f, %.3f]", name, row["value"], row["low"], row["high"]
      )
  files.write_text(file, files.table(lines))
  return rows


def as_row(interval: statistics.Interval, index=()) -> dict[str, float]:
  """Return `value`, `low` and `high` of an interval, at an index if given."""
  return {
    name: float(getattr(interval, name)[index])
    for name in ("value", "low", "high")
  }


def predict(
  config,
  path: pathlib.Path,
  result: loop.Result,
  outside: external.External | None = None,
) -> None:
  """Write predictions for the test split and an external set; see `run`."""
  info = result.dataset.info
  network = {
    "task": tasks.named(config.task),
    "state": parallel.local(result.state),
    "config": ml_collections.FrozenConfigDict(config),
    "info": info,
  }
  _predict(path / FILE, result.dataset.test, **network)
  if outside:
    _predict(path / EXTERNAL_FILE, outside.split, **network)
    files.write_json(
      path / "external.json",
      {
        "name": outside.name,
        "fingerprint": outside.fingerprint,
        "images": len(outside.split.labels),
        "left_out": outside.left_out,
        "traced": outside.traced,
        "note": outside.note,
      },
    )


def _predict(file: pathlib.Path, split: Split, *, task, state, config, info):
  probabilities = trained.outputs(task, state, split, config=config, info=info)[
    "probabilities"
  ]
  lines = [("image_id", "group", "label", *info.class_names)]
  for image_id, group, label, row in zip(
    split.image_ids, split.groups, split.labels, probabilities, strict=True
  ):
    shown = (f"{p:.6f}" for p in row)
    lines.append((image_id, group, info.class_names[label], *shown))
  files.write_text(file, files.table(lines))


def read(path: pathlib.Path, dataset: datasets.Dataset) -> np.ndarray:
  """Read a workdir's probabilities [examples, classes] of the test split.

  Raises:
    InputError: the file is damaged, or has predictions for other images.
  """
  return _read(path / FILE, dataset.test, dataset.info)


def read_external(
  path: pathlib.Path, outside: external.External, info: datasets.DataInfo
) -> np.ndarray:
  """Read a workdir's probabilities of an external test set; see `read`."""
  return _read(path / EXTERNAL_FILE, outside.split, info)


def _read(file: pathlib.Path, split: Split, info) -> np.ndarray:
  again = "remove it to have it written again."
  try:
    with file.open(newline="") as opened:
      rows = list(csv.DictReader(opened))
    ids = [row["image_id"] for row in rows]
    numbers = [[float(row[name]) for name in info.class_names] for row in rows]
  except (
    *(*errors.ABSENT, csv.Error),
    *(KeyError, TypeError, ValueError),
  ) as error:
    raise errors.InputError(
      f"{file} cannot be read as a table of predictions ({error}): {again}"
    ) from error
  if ids != split.image_ids.tolist():
    raise errors.InputError(
      f"{file} predicts other images than this test split: {again}"
    )
  probabilities = np.array(numbers)
  # They are written with six digits each. NaN is not close to anything.
  sums_to_one = np.isclose(probabilities.sum(1), 1, atol=1e-3).all()
  if not sums_to_one or probabilities.min() < 0:
    raise errors.InputError(
      f"{file} has rows that are not probabilities: {again}"
    )
  return probabilities
