"""Scores of one arm, and of two arms' difference, as rows of a summary."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skinjax.metrics import classification, statistics
from skinjax.study import verdict

HEADLINE_METRIC = "balanced_accuracy"


def score_arm(
  probabilities: np.ndarray,
  labels: np.ndarray,
  draws: Mapping[str, statistics.Draws],
  class_names: Sequence[str],
  level: float,
  seed: int,
) -> dict[str, Any]:
  """Score one arm by itself.

  Args:
    probabilities: [S, N, K].
    labels: [N] integers.
    draws: what `statistics.draw` made of them.
    class_names: K names, by label.
    level: of the intervals.
    seed: of the intervals' draws.

  Returns:
    `scores`, `recall`, `auc`, `confusion` and `reliability`, as in the
    schema of `summary`.
  """
  estimates = {
    name: _estimates(
      statistics.interval(
        draws[name], level, (0, 2 if name == "brier" else 1), seed
      )
    )
    for name in draws
  }
  pooled = np.concatenate(probabilities), np.tile(labels, len(probabilities))
  return {
    "scores": {name: estimates[name][0] for name in classification.SCALARS},
    **{
      name: dict(zip(class_names, estimates[name], strict=True))
      for name in classification.BY_CLASS
    },
    "confusion": classification.confusion(*pooled) / len(probabilities),
    "reliability": classification.reliability(*pooled),
  }


def compare(
  candidate: str,
  rival: str,
  draws: Mapping[str, Mapping[str, statistics.Draws]],
  classes: Sequence[Mapping[str, Any]],
  num_seeds: int,
  level: float,
  seed: int,
) -> list[dict[str, Any]]:
  """Compare an arm with a rival: every score, recall by class.

  Args:
    candidate: name of the arm that is compared.
    rival: name of the arm that it is compared with.
    draws: by arm, then by score.
    classes: `name` and `test_lesions` of the K classes, by label.
    num_seeds: S.
    level: of the intervals; classes get 1 - (1 - level) / K.
    seed: of the intervals' draws.

  Returns:
    Rows of `differences`, as in the schema of `summary`.
  """
  pair = {"arm": candidate, "rival": rival}
  rows = []
  for metric in classification.SCALARS:
    paired = draws[candidate][metric] - draws[rival][metric]
    (estimate,) = _estimates(statistics.interval(paired, level, seed=seed))
    kind = None
    if metric == HEADLINE_METRIC:
      kind = verdict.decide(
        estimate["low"], estimate["high"], testable=num_seeds > 1
      )
    rows.append(
      pair
      | {"metric": metric, "class": None, "level": level, "verdict": kind}
      | estimate
    )
  strict = 1 - (1 - level) / len(classes)
  paired = draws[candidate]["recall"] - draws[rival]["recall"]
  estimates = _estimates(statistics.interval(paired, strict, (-1, 1), seed))
  for item, estimate in zip(classes, estimates, strict=True):
    testable = num_seeds > 1 and item["test_lesions"] >= verdict.MIN_LESIONS
    kind = verdict.decide(estimate["low"], estimate["high"], testable=testable)
    rows.append(
      pair
      | {"metric": "recall", "class": item["name"], "level": strict}
      | {"verdict": kind}
      | estimate
    )
  return rows


def _estimates(interval: statistics.Interval) -> list[dict[str, float]]:
  """Split an interval, of one value or one a class, into dicts."""
  names = [field.name for field in dataclasses.fields(interval)]
  columns = [np.atleast_1d(getattr(interval, name)) for name in names]
  rows = zip(*columns, strict=True)
  return [dict(zip(names, map(float, row), strict=True)) for row in rows]
