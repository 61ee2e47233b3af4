"""Scores of predicted class probabilities, as functions of example weights.

Weights may have any leading shape, which every score then has too. Weights of
one give the value on the test set; one row of weights per resample gives its
bootstrap.

If no weighted example belongs to a class, its recall, F1 and AUC are NaN. Means
over classes include only the classes that are present.
"""

import numpy as np
from scipy import sparse

# Of these higher is better, of all other metrics lower.
HIGHEST = ("balanced_accuracy", "macro_f1", "accuracy", "mean_auc")
SCALARS = (*HIGHEST, "ece", "brier")
BY_CLASS = ("recall", "auc")
# Scores that compare images' probabilities with each other, or with observed
# frequencies: they are defined for a single network only.
WITHIN = ("mean_auc", "ece", "auc")
# The largest value of each score; the smallest is 0.
LARGEST = dict.fromkeys((*SCALARS, *BY_CLASS), 1.0) | {"brier": 2.0}
NUM_BINS = 15


def scores(
  probabilities: np.ndarray,
  labels: np.ndarray,
  weights: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
  """Score predicted probabilities against labels.

  * `balanced_accuracy`: mean recall over the classes present, the metric of
    the ISIC challenges.
  * `macro_f1`: mean over the classes present of 2TP / (2TP + FP + FN).
  * `accuracy`: compare it with `majority_line`.
  * `mean_auc`: mean of `auc` over the classes present.
  * `ece`: expected calibration error with 15 bins of equal width (Guo et al.,
    "On Calibration of Modern Neural Networks", 2017).
  * `brier`: squared distance of the probabilities to the one-hot label,
    summed over classes, 0 to 2 (Brier, 1950; some libraries halve it).
  * `recall`, `auc`: by class; AUC is one-vs-rest, ties count half.

  The predicted class is the most probable one; of ties, the first.

  Args:
    probabilities: [N, K] floats, rows that sum to one.
    labels: [N] integers in [0, K).
    weights: [..., N] non-negative floats; all one by default.

  Returns:
    `SCALARS` to arrays [...], `BY_CLASS` to arrays [..., K], all float64.

  Raises:
    ValueError: shapes disagree, or values are out of their ranges.
  """
  probabilities, labels, weights = _checked(probabilities, labels, weights)
  counts = confusion(probabilities, labels, weights)
  auc = [
    _auc(column, labels == label, weights)
    for label, column in enumerate(probabilities.T)
  ]
  auc = np.stack(auc, axis=-1)
  bins = reliability(probabilities, labels, weights)
  gap = np.abs(bins["confidence"] - bins["accuracy"])
  errors = probabilities - np.eye(probabilities.shape[1])[labels]
  return {
    **of_counts(counts),
    "mean_auc": _mean_of_present(auc),
    "ece": (bins["share"] * np.nan_to_num(gap)).sum(-1),
    "brier": _ratio(weights @ (errors**2).sum(-1), counts.sum((-2, -1))),
    "auc": auc,
  }


def of_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
  """Compute the `scores` that depend on `confusion` [..., K, K] only."""
  hits = np.diagonal(counts, axis1=-2, axis2=-1)
  support = counts.sum(-1)
  recall = _ratio(hits, support)
  f1 = np.where(support > 0, _ratio(2 * hits, support + counts.sum(-2)), np.nan)
  return {
    "balanced_accuracy": _mean_of_present(recall),
    "macro_f1": _mean_of_present(f1),
    "accuracy": _ratio(hits.sum(-1), support.sum(-1)),
    "recall": recall,
  }


def majority_line(labels: np.ndarray, train_counts: np.ndarray) -> float:
  """Compute the accuracy on `labels` of the majority-class baseline.

  The class is the most frequent one in the training set, by its `train_counts`
  [K], as a classifier does not know the test labels; of ties, the first.
  """
  return float(np.mean(np.asarray(labels) == np.argmax(train_counts)))


def confusion(
  probabilities: np.ndarray,
  labels: np.ndarray,
  weights: np.ndarray | None = None,
) -> np.ndarray:
  """Count examples by true class (rows) and predicted class (columns).

  Arguments are as in `scores`.

  Returns:
    [..., K, K] float64, sums of weights.
  """
  probabilities, labels, weights = _checked(probabilities, labels, weights)
  num_classes = probabilities.shape[1]
  cell = labels * num_classes + probabilities.argmax(-1)
  sums = _sums(weights, cell, num_classes**2)
  return sums.reshape(*sums.shape[:-1], num_classes, num_classes)


def reliability(
  probabilities: np.ndarray,
  labels: np.ndarray,
  weights: np.ndarray | None = None,
  num_bins: int = NUM_BINS,
) -> dict[str, np.ndarray]:
  """Compare confidence with accuracy in bins of confidence.

  Bin m holds the examples whose largest probability lies in
  (m / num_bins, (m + 1) / num_bins], as in Guo et al. (2017). Other arguments
  are as in `scores`.

  Returns:
    `confidence` and `accuracy`, [..., num_bins] means over the bin's
    examples, NaN if it is empty; `share`, its fraction of all examples.
  """
  probabilities, labels, weights = _checked(probabilities, labels, weights)
  confidence = probabilities.max(-1)
  correct = probabilities.argmax(-1) == labels
  index = np.ceil(confidence * num_bins).astype(int) - 1
  index = np.clip(index, 0, num_bins - 1)
  size = _sums(weights, index, num_bins)
  return {
    "confidence": _ratio(_sums(weights * confidence, index, num_bins), size),
    "accuracy": _ratio(_sums(weights * correct, index, num_bins), size),
    "share": _ratio(size, size.sum(-1, keepdims=True)),
  }


def _auc(score, positive, weights):
  """Compute Mann-Whitney's statistic: P(positive > negative) + P(tie) / 2."""
  kinds = np.flatnonzero(positive), np.flatnonzero(~positive)
  # Sorting the rarer kind is several times faster.
  rare, common = sorted(kinds, key=len)
  rare = rare[np.argsort(score[rare])]
  # An example is below those of the rare kind from `first` on, or from `last`
  # on without its ties: half of its weight counts from each.
  first, last = (
    np.searchsorted(score[rare], score[common], side)
    for side in ("left", "right")
  )
  mass = weights[..., common]
  starts = sum(_sums(mass, i, len(rare) + 1) for i in (first, last)) / 2
  below = np.cumsum(starts, axis=-1)
  mass = weights[..., rare]
  pairs = mass.sum(-1) * below[..., -1]
  won = (mass * below[..., :-1]).sum(-1)
  return _ratio(won if positive[rare].all() else pairs - won, pairs)


def _sums(weights, index, size):
  """Sum weights [..., N] by each example's cell, to [..., size]."""
  num = len(index)
  cells = sparse.csr_array(
    (np.ones(num), (index, np.arange(num))), shape=(size, num)
  )
  sums = cells @ weights.reshape(-1, num).T
  return sums.T.reshape(*weights.shape[:-1], size)


def _ratio(numerator, denominator):
  """Divide without warnings; 0 / 0 is NaN."""
  with np.errstate(invalid="ignore", divide="ignore"):
    return np.true_divide(numerator, denominator)


def _mean_of_present(values):
  """Average over the last axis, ignoring NaN; NaN if all are."""
  present = ~np.isnan(values)
  return _ratio(np.where(present, values, 0).sum(-1), present.sum(-1))


def _checked(probabilities, labels, weights):
  probabilities = np.asarray(probabilities, np.float64)
  labels = np.asarray(labels)
  if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
    raise ValueError(
      "probabilities must be [N, K] and labels [N], got "
      f"{probabilities.shape} and {labels.shape}."
    )
  if labels.size == 0:
    raise ValueError("There is no example to score.")
  if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
    raise ValueError(f"labels must be in [0, {probabilities.shape[1]}).")
  # The comparison is written so that NaN fails it.
  in_range = (probabilities >= 0).all()
  if not (in_range and np.allclose(probabilities.sum(-1), 1, atol=1e-3)):
    raise ValueError("Rows of probabilities must be >= 0 and sum to one.")
  weights = np.ones(len(labels)) if weights is None else weights
  weights = np.asarray(weights, np.float64)
  if weights.shape[-1:] != labels.shape or not (weights >= 0).all():
    raise ValueError(
      f"weights must be [..., {len(labels)}] and >= 0, got {weights.shape}."
    )
  return probabilities, labels, weights
