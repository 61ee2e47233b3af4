"""Scores of a study's arms and procedures, over its folds and seeds.

A procedure is the arm that each fold chose by its validation lesions: `WITH`
synthetic images, or `WITHOUT`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from skinjax.metrics import classification, statistics
from skinjax.runtime import progress

HEADLINE_METRIC = "balanced_accuracy"
WITH, WITHOUT = "with synthetic images", "without synthetic images"
KEYS = {WITHOUT: "without", WITH: "with"}  # in a fold's choice; see plan.py


def unaided(
  arms: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Any]
) -> list[str]:
  """List the arms with these changes, all real images and no added ones."""
  return [
    name
    for name, arm in arms.items()
    if arm["fraction"] == 1 and not arm["added"] and arm["changes"] == changes
  ]


def candidates(
  arms: Mapping[str, Mapping[str, Any]], names: Iterable[str]
) -> dict[str, list[str]]:
  """Sort the arms that a fold may choose, by key of a choice.

  Arms trained on a part of the real images are excluded.
  """
  found = {key: [] for key in KEYS.values()}
  for name in names:
    if arms[name]["fraction"] == 1:
      synthetic = arms[name]["added"] == "synthetic"
      found[KEYS[WITH if synthetic else WITHOUT]].append(name)
  return found


class FoldDone(NamedTuple):
  """The predictions of a fold's classifiers on its test split of N images."""

  number: int
  labels: np.ndarray  # [N]
  groups: np.ndarray  # [N], lesions
  train_counts: np.ndarray  # [K], real images
  train_groups: np.ndarray  # [K], lesions
  # By network: `with`, `without` and the validation scores; see plan.py.
  choices: Mapping[str, Mapping[str, Any]]
  # By network and arm, probabilities [S, N, K]; all arms have the first seeds,
  # the chosen arms may have more.
  predictions: Mapping[tuple[str, str], np.ndarray]
  # The same for an external test set, empty without one.
  external: Mapping[tuple[str, str], np.ndarray]
  # [K], synthetic images of the arm that was chosen for the verdict.
  added: np.ndarray


class Scorer:
  """Scores arms and procedures over the folds of a study.

  Each classifier is tallied once, with the same resampled lesions for all.
  """

  def __init__(self, folds, predictions, labels, weights):
    """Take the predictions, labels and weights of resamples, by fold."""
    self._folds, self._labels, self._predictions = folds, labels, predictions
    self._weights = weights
    self._tallies = {}
    self._todo = sum(len(p) for found in predictions for p in found.values())
    self._tell = progress.logger("Scores with resampled lesions: classifiers")

  def arms(self, network: str, arm: str) -> list[str]:
    """Return the arm of each fold; for a procedure, the one chosen there."""
    if arm not in KEYS:
      return [arm] * len(self._folds)
    return [fold.choices[network][KEYS[arm]] for fold in self._folds]

  def draws(self, network: str, arm: str, seeds: int):
    """Score an arm or a procedure by its first seeds; see statistics.draw."""
    return statistics.draw(
      [
        [self._tally(i, network, name, s) for s in range(seeds)]
        for i, name in enumerate(self.arms(network, arm))
      ]
    )

  def by_fold(self, network: str, arm: str, seeds: int) -> list[float]:
    """Return the mean balanced accuracy of each fold."""
    counts = [
      [self._tally(i, network, name, s).confusion[0] for s in range(seeds)]
      for i, name in enumerate(self.arms(network, arm))
    ]
    score = lambda c: classification.of_counts(c)[HEADLINE_METRIC]
    return [float(np.mean([score(c) for c in fold])) for fold in counts]

  def predicted(self, network: str, arm: str, seeds: int):
    """Return the probabilities of all folds and seeds, and their labels."""
    found = [
      self._predictions[i][network, name][:seeds]
      for i, name in enumerate(self.arms(network, arm))
    ]
    probabilities = [p for fold in found for p in fold]
    labels = [
      y for fold, y in zip(found, self._labels, strict=True) for _ in fold
    ]
    return np.concatenate(probabilities), np.concatenate(labels)

  def _tally(self, i: int, network: str, arm: str, s: int) -> statistics.Tally:
    key = (i, network, arm, s)
    if key not in self._tallies:
      p = self._predictions[i][network, arm][s]
      # A head's fit may be the same for every seed.
      same = next(
        (
          t
          for t in range(s)
          if np.array_equal(p, self._predictions[i][network, arm][t])
        ),
        s,
      )
      if same != s:
        self._tallies[key] = self._tally(i, network, arm, same)
      else:
        self._tallies[key] = statistics.tally(
          p, self._labels[i], self._weights[i]
        )
      self._tell(len(self._tallies), max(self._todo, len(self._tallies)))
    return self._tallies[key]


def scorer(
  folds: Sequence[FoldDone],
  *,
  resamples: int = statistics.RESAMPLES,
  seed: int = 0,
) -> Scorer:
  """Return a Scorer of the test splits of folds."""
  return Scorer(
    folds,
    [fold.predictions for fold in folds],
    [fold.labels for fold in folds],
    [
      statistics.bootstrap_weights(f.groups, f.labels, resamples, (seed, i))
      for i, f in enumerate(folds)
    ],
  )


def procedures_difference(scored: Scorer, network: str, seeds: int):
  """Return the draws of the verdict: WITH minus WITHOUT, balanced accuracy."""
  draws = [scored.draws(network, arm, seeds) for arm in (WITH, WITHOUT)]
  return draws[0][HEADLINE_METRIC] - draws[1][HEADLINE_METRIC]


def seeds_needed(
  folds: Sequence[FoldDone],
  network: str,
  *,
  first: int,
  half_width: float,
  most: int,
  level: float = 0.95,
  seed: int = 0,
) -> int | None:
  """Compute how many seeds the verdict needs; see statistics.seeds_needed."""
  draws = procedures_difference(scorer(folds, seed=seed), network, first)
  return statistics.seeds_needed(draws, half_width, most, level, seed)
