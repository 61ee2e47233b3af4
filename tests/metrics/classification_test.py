import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from skinjax.metrics import classification


def _random(seed, levels=None):
  rng = np.random.default_rng(seed)
  labels = np.arange(60) % 4
  probabilities = rng.dirichlet(np.ones(4), 60)
  if levels:  # coarse values, so that many scores tie
    probabilities = np.floor(probabilities * levels) + 1
    probabilities /= probabilities.sum(-1, keepdims=True)
  return probabilities, labels, rng.integers(0, 4, 60).astype(float)


def test_hand_worked():
  probabilities = np.array(
    [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]], np.float32
  )
  labels = np.array([0, 0, 1, 1])
  s = classification.scores(probabilities, labels)
  assert s["accuracy"] == 0.75
  np.testing.assert_allclose(s["recall"], [1, 0.5])
  assert s["balanced_accuracy"] == 0.75
  # F1 of class 0 is 4/5, of class 1 is 2/3.
  np.testing.assert_allclose(s["macro_f1"], (0.8 + 2 / 3) / 2)
  # Of the four pairs, only (0.6, 0.7) is in the wrong order.
  np.testing.assert_allclose(s["auc"], [0.75, 0.75])
  # Four bins of one example each.
  np.testing.assert_allclose(s["ece"], (0.1 + 0.4 + 0.2 + 0.7) / 4, rtol=1e-6)
  np.testing.assert_allclose(
    s["brier"], (0.02 + 0.32 + 0.08 + 0.98) / 4, rtol=1e-6
  )


def test_ties_count_half_and_the_first_of_them_is_predicted():
  s = classification.scores(np.full((6, 3), 1 / 3), np.arange(6) // 2)
  np.testing.assert_allclose(s["auc"], 0.5)
  np.testing.assert_allclose(s["recall"], [1, 0, 0])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from([None, 4]))
def test_agrees_with_sklearn(seed, levels):
  probabilities, labels, weights = _random(seed, levels=levels)
  weights[:4] = 1  # every class stays
  s = classification.scores(probabilities, labels, weights)
  predicted = probabilities.argmax(-1)
  w = {"sample_weight": weights}
  expected = {
    "accuracy": metrics.accuracy_score(labels, predicted, **w),
    "balanced_accuracy": metrics.balanced_accuracy_score(
      labels, predicted, **w
    ),
    "macro_f1": metrics.f1_score(labels, predicted, average="macro", **w),
    "recall": metrics.recall_score(labels, predicted, average=None, **w),
    "auc": [
      metrics.roc_auc_score(labels == k, probabilities[:, k], **w)
      for k in range(4)
    ],
  }
  expected["mean_auc"] = np.mean(expected["auc"])
  expected["brier"] = sum(
    metrics.brier_score_loss(labels == k, probabilities[:, k], **w)
    for k in range(4)
  )
  for name, value in expected.items():
    np.testing.assert_allclose(s[name], value, rtol=1e-9, err_msg=name)
  np.testing.assert_allclose(
    classification.confusion(probabilities, labels, weights),
    metrics.confusion_matrix(labels, predicted, **w),
  )


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31))
def test_a_weight_is_a_number_of_copies(seed):
  probabilities, labels, weights = _random(seed, levels=6)
  copies = np.repeat(np.arange(len(labels)), weights.astype(int))
  weighted = classification.scores(probabilities, labels, weights)
  copied = classification.scores(probabilities[copies], labels[copies])
  scaled = classification.scores(probabilities, labels, weights * 0.3)
  for name in weighted:
    np.testing.assert_allclose(weighted[name], copied[name], rtol=1e-9)
    np.testing.assert_allclose(weighted[name], scaled[name], rtol=1e-9)


def test_rows_of_weights_are_scored_one_by_one():
  probabilities, labels, _ = _random(0)
  weights = np.random.default_rng(1).integers(0, 3, (2, 5, len(labels)))
  s = classification.scores(probabilities, labels, weights)
  assert s["brier"].shape == (2, 5)
  assert s["auc"].shape == (2, 5, 4)
  alone = classification.scores(probabilities, labels, weights[1, 3])
  for name in s:
    np.testing.assert_allclose(s[name][1, 3], alone[name])


def test_absent_class_is_nan_and_left_out_of_means():
  probabilities = np.array([[0.6, 0.3, 0.1], [0.1, 0.3, 0.6], [0.2, 0.7, 0.1]])
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    s = classification.scores(probabilities, np.array([0, 0, 1]))
  np.testing.assert_equal(s["recall"], [0.5, 1, np.nan])
  assert s["balanced_accuracy"] == 0.75
  np.testing.assert_allclose(s["macro_f1"], (2 / 3 + 1) / 2)
  assert np.isnan(s["auc"][2])
  np.testing.assert_allclose(s["mean_auc"], s["auc"][:2].mean())


def test_auc_of_a_lone_class_is_nan():
  s = classification.scores(np.array([[0.9, 0.1]]), np.array([0]))
  assert np.isnan(s["mean_auc"])
  assert s["accuracy"] == 1


def test_reliability_bins_are_closed_at_the_right():
  probabilities = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])
  bins = classification.reliability(
    probabilities, np.array([0, 1, 0]), num_bins=4
  )
  np.testing.assert_equal(bins["share"], [0, 1 / 3, 1 / 3, 1 / 3])
  np.testing.assert_equal(bins["confidence"], [np.nan, 0.5, 0.75, 1])
  np.testing.assert_equal(bins["accuracy"], [np.nan, 1, 0, 1])


def test_majority_line():
  labels = np.array([1, 1, 1, 0, 2])
  assert classification.majority_line(labels, [9, 20, 3]) == 0.6
  # The class comes from training, even where the test set disagrees.
  assert classification.majority_line(labels, [20, 9, 3]) == 0.2
  counts = [327, 514, 1099, 115, 1113, 6705, 142]
  whole = np.repeat(np.arange(7), counts)
  line = classification.majority_line(whole, counts)
  assert round(line, 4) == 0.6695


@pytest.mark.parametrize(
  ("probabilities", "labels"),
  [
    (np.ones((3, 2)), np.zeros(3, int)),
    (np.full((3, 2), 0.5), np.zeros(2, int)),
    (np.full((3, 2), 0.5), np.array([0, 1, 2])),
    (np.full((3, 2), 0.5), np.array([0, 1, -1])),
    (np.full((3, 2), np.nan), np.zeros(3, int)),
    (np.array([[1.5, -0.5]]), np.zeros(1, int)),
    (np.zeros((0, 2)), np.zeros(0, int)),
  ],
)
def test_refuses(probabilities, labels):
  with pytest.raises(ValueError, match=r"must|no example"):
    classification.scores(probabilities, labels)
