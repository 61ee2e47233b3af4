"""Measures whether images show their class and can train a classifier."""

import pathlib
from collections.abc import Iterable
from typing import Any

import ml_collections
import numpy as np
from absl import logging
from scipy import stats

from skinjax.data import datasets
from skinjax.metrics import statistics
from skinjax.training import loop, tasks, testing, trained

KINDS = ("synthetic", "real")  # what a classifier is trained on


def agreement(
  classifier: trained.Trained, split: datasets.Split
) -> dict[str, dict[str, float]]:
  """Measure by class how often a classifier predicts the requested class.

  Returns:
    For each class with generated images in `split`: `value`, the share; `low`
    and `high` of its 95% interval (Wilson 1927); `images`.
  """
  agrees = trained.agrees(classifier, split)
  rows = {}
  for label, name in enumerate(classifier.info.class_names):
    chosen = agrees[split.labels == label]
    if len(chosen):
      count = stats.binomtest(int(chosen.sum()), len(chosen))
      low, high = count.proportion_ci(method="wilson")
      rows[name] = {
        "value": float(chosen.mean()),
        "low": float(low),
        "high": float(high),
        "images": len(chosen),
      }
  return rows


def classification_accuracy_score(
  config: ml_collections.ConfigDict,
  path: pathlib.Path,
  dataset: datasets.Dataset,
  synthetic: datasets.Split,
  inherited: Iterable[str] | None,
) -> dict[str, Any]:
  """Train a classifier on generated images alone, and one on real ones.

  Both have the same number of images of each class: the smaller number of the
  two kinds (Ravuri, Vinyals 2019). Both are scored on the test lesions.

  Args:
    config: of both trainings.
    path: the directory of their workdirs; finished work there is not repeated.
    dataset: the real images.
    synthetic: the generated images.
    inherited: the groups that their generator was trained on; None if they
      cannot be traced.

  Returns:
    `cas` of an evaluation; see judging/page.py. The 95% intervals are over
    lesions; each classifier is trained once, so they lack the variance between
    seeds.
  """
  info = dataset.info
  counts = np.minimum(
    np.bincount(synthetic.labels, minlength=info.num_classes),
    info.class_counts,
  )
  parts = {
    "synthetic": (_first(synthetic, counts, config.seed), inherited),
    "real": (_first(dataset.train, counts, config.seed), ()),
  }
  draws = {}
  weights = statistics.bootstrap_weights(
    dataset.test.groups, dataset.test.labels, statistics.RESAMPLES, seed=0
  )
  for kind, (split, seen) in parts.items():
    place = path / kind
    place.mkdir(parents=True, exist_ok=True)
    if not (place / testing.FILE).exists():
      logging.info(
        "Training a classifier on %d %s images.", len(split.labels), kind
      )
      taught = datasets.trained_on(dataset, split, seen)
      state = loop.train(tasks.named(config.task), config, place, taught)
      testing.predict(config, place, state)
    probabilities = testing.read(place, dataset)
    tally = statistics.tally(probabilities, dataset.test.labels, weights)
    draws[kind] = statistics.draw([[tally]])
  recall, balanced = (
    {kind: statistics.interval(draws[kind][score]) for kind in KINDS}
    for score in ("recall", "balanced_accuracy")
  )
  return {
    "classes": {
      name: {k: testing.as_row(recall[k], label) for k in KINDS}
      for label, name in enumerate(info.class_names)
    },
    "balanced_accuracy": {k: testing.as_row(balanced[k]) for k in KINDS},
    "majority": 1 / info.num_classes,
    "images": dict(zip(info.class_names, counts.tolist(), strict=True)),
  }


def _first(
  split: datasets.Split, counts: np.ndarray, seed: int
) -> datasets.Split:
  """Choose `counts` images of each class at random."""
  rng = np.random.default_rng(seed)
  places = [
    rng.permutation(np.flatnonzero(split.labels == label))[:count]
    for label, count in enumerate(counts)
  ]
  return split.take(np.sort(np.concatenate(places)))
