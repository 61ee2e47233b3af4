import types

import pytest

from skinjax.study import learning_curve


def test_a_difference_in_real_images_is_by_the_networks_own_curve():
  curve = {"network": "head", "per_doubling": 0.05}
  assert learning_curve.more_images(curve, "head", 0.05) == pytest.approx(1.0)
  assert learning_curve.more_images(curve, "resnet", 0.05) is None


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
  curve = learning_curve.read(rows, arms, folds, "head")
  assert [point["images"] for point in curve["points"]] == [20, 40]
  assert curve["per_doubling"] == pytest.approx(0.1)
