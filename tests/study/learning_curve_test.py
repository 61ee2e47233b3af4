import math
import types

import numpy as np
import pytest

from skinjax.metrics import statistics
from skinjax.study import learning_curve, scoring


def _draws(value, resampled):
  """Draws of balanced accuracy by one fold and seed."""
  values = np.array([value, *resampled])
  return {
    scoring.HEADLINE_METRIC: statistics.Draws(
      values, values[None, None], (0, 1)
    )
  }


@pytest.mark.parametrize(
  ("half", "low", "high"),
  [
    # Half the images: 0.1 less. Resampled, 0.05 or 0.2 less, so that a gain of
    # 0.1 is 2 or 0.5 doublings: 0.75 from their mean, and from 1 doubling.
    ((0.45, 0.3), 2**0.25 - 1, 2**1.75 - 1),
    # Nor is it certain that more images help: as many resamples with less.
    ((0.6, 0.2), None, None),
  ],
)
def test_intervals_include_the_uncertainty_of_the_slope(half, low, high):
  curve = {
    "network": "head",
    "points": [
      {"arm": "real_50", "fraction": 0.5},
      {"arm": "classical", "fraction": 1.0},
    ],
  }
  scores = {
    "real_50": (0.4, half),
    "classical": (0.5, (0.5, 0.5)),
    scoring.WITHOUT: (0.5, (0.5, 0.5)),
    scoring.WITH: (0.6, (0.6, 0.6)),
  }
  draws = {("head", arm): _draws(*score) for arm, score in scores.items()}
  level, metric = math.nextafter(1, 0), scoring.HEADLINE_METRIC
  difference = (
    draws["head", scoring.WITH][metric] - draws["head", scoring.WITHOUT][metric]
  )
  slope = learning_curve.rising_slope(curve, "head", draws, level, 0)
  more = learning_curve.more_images(difference, slope, level, 0)
  near = lambda x: x if x is None else pytest.approx(x)
  assert (more["low"], more["high"]) == (near(low), near(high))
  assert more["value"] == (low and pytest.approx(1.0))
  # A curve holds for its own network only.
  assert learning_curve.rising_slope(curve, "resnet", draws, 0.9, 0) is None


def test_points_differ_in_nothing_but_the_fraction():
  changes = {"train": {"sampler": "balanced"}}
  arms = {
    "real_50": {"fraction": 0.5, "added": "", "changes": changes},
    "mine": {"fraction": 0.25, "added": "", "changes": {}},
    "classical": {"fraction": 1.0, "added": "", "changes": changes},
  }
  values = {"real_50": 0.4, "mine": 0.1, "classical": 0.5}
  rows = [
    {
      "network": "head",
      "name": name,
      "scores": {"balanced_accuracy": {"value": value}},
    }
    for name, value in values.items()
  ]
  folds = [types.SimpleNamespace(train_counts=[30, 10])]
  draws = {
    ("head", name): _draws(value, [value]) for name, value in values.items()
  }
  curve = learning_curve.read(rows, draws, arms, folds, "head")
  assert [point["images"] for point in curve["points"]] == [20, 40]
  assert curve["per_doubling"] == pytest.approx(0.1)
