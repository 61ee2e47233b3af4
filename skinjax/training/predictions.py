"""Scores of a trained classifier on the test lesions, with intervals."""

import csv
import pathlib

import ml_collections
import numpy as np
from absl import logging

from skinjax.data import datasets
from skinjax.metrics import classification, statistics
from skinjax.runtime import errors, files, parallel
from skinjax.training import loop, tasks, trained

_RESAMPLES = 2000
FILE = "predictions.csv"  # a classifier that has it is done


def run(config, path: str | pathlib.Path, result: loop.Result) -> dict:
  """Scores a trained classifier's test split: predictions.csv and scores.csv.

  Returns:
    Each row of scores.csv by its name: `value`, `low` and `high` of the 95%
    interval over lesions (one training run: it carries no luck of the seed).
  """
  path, dataset = pathlib.Path(path), result.dataset
  predict(config, path, result)
  probabilities = read(path, dataset)
  labels, info = dataset.test.labels, dataset.info
  weights = statistics.bootstrap_weights(
    dataset.test.groups, labels, _RESAMPLES, seed=0
  )
  draws = statistics.draw(probabilities[None], labels, weights)
  rows = {
    "majority_line": dict.fromkeys(
      ("value", "low", "high"),
      classification.majority_line(labels, info.class_counts),
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
    logging.info(
      "%-18s %.3f  [%.3f, %.3f]", name, row["value"], row["low"], row["high"]
    )
  files.write_text(path / "scores.csv", files.table(lines))
  return rows


def as_row(interval: statistics.Interval, index=()) -> dict[str, float]:
  """Returns `value`, `low` and `high` of an interval, or of its part there."""
  return {
    name: float(getattr(interval, name)[index])
    for name in ("value", "low", "high")
  }


def predict(config, path: pathlib.Path, result: loop.Result) -> None:
  """Predicts the test split and writes predictions.csv; see `run`."""
  split, info = result.dataset.test, result.dataset.info
  probabilities = trained.outputs(
    tasks.named(config.task),
    parallel.local(result.state),
    split,
    config=ml_collections.FrozenConfigDict(config),
    info=info,
  )["probabilities"]
  lines = [("image_id", "group", "label", *info.class_names)]
  for image_id, group, label, row in zip(
    split.image_ids, split.groups, split.labels, probabilities, strict=True
  ):
    shown = (f"{p:.6f}" for p in row)
    lines.append((image_id, group, info.class_names[label], *shown))
  files.write_text(path / FILE, files.table(lines))


def read(path: pathlib.Path, dataset: datasets.Dataset) -> np.ndarray:
  """Reads a workdir's probabilities [examples, classes] of the test split.

  Raises:
    InputError: they are damaged, or predictions of other images.
  """
  again = "remove it to have it made anew."
  try:
    with (path / FILE).open(newline="") as file:
      rows = list(csv.DictReader(file))
    ids = [row["image_id"] for row in rows]
    names = dataset.info.class_names
    numbers = [[float(row[name]) for name in names] for row in rows]
  except (
    *(*errors.ABSENT, csv.Error),
    *(KeyError, TypeError, ValueError),
  ) as error:
    raise errors.InputError(
      f"{path / FILE} cannot be read as a table of predictions ({error}): "
      f"{again}"
    ) from error
  if ids != dataset.test.image_ids.tolist():
    raise errors.InputError(
      f"{path / FILE} predicts other images than this test split: {again}"
    )
  probabilities = np.array(numbers)
  # They are written with six digits each. NaN is not close to anything.
  sums_to_one = np.isclose(probabilities.sum(1), 1, atol=1e-3).all()
  if not sums_to_one or probabilities.min() < 0:
    raise errors.InputError(
      f"{path / FILE} has rows that are no probabilities: {again}"
    )
  return probabilities
