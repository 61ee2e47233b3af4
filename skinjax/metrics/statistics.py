"""Intervals that account for variation between test lesions and between seeds.

A study has classifiers by fold and seed; each predicts its fold's test split.
Two things would differ if it were run again: the lesions in the test splits and
the seeds. Lesions are resampled by a bootstrap within their class and fold,
whole lesions at a time, since images of one lesion are alike. Seeds are too few
to be resampled (a bootstrap of S seeds misses 1/S of their variance, and the
tails altogether). So their part is Student's t with folds * (S - 1) degrees of
freedom, added to each resample.

This does not account for other training lesions: the folds share most of them,
and no unbiased estimate of that variance exists (Bengio, Grandvalet 2004);
`between_folds` is the usual approximation. Nor does it account for other
generators, if the seeds of a fold share one.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from skinjax.metrics import classification

# Default number of bootstrap resamples.
RESAMPLES = 2000
_UNBOUNDED = (-math.inf, math.inf)


@dataclasses.dataclass(frozen=True)
class Tally:
  """Summary of one classifier's predictions of one test split.

  The first axis of each array is [1 + R]: the split itself, then its resamples.
  """

  confusion: np.ndarray  # [1 + R, K, K]
  squared_error: np.ndarray  # [1 + R], summed over images
  within: dict[str, np.ndarray]  # scores that are averaged over folds


@dataclasses.dataclass(frozen=True)
class Draws:
  """Values of one score: on the test splits, and on their resamples.

  As in Tally, the axis [1 + R] starts with the splits themselves.
  """

  value: np.ndarray  # [1 + R, ...], all folds and seeds together
  by_seed: np.ndarray  # [F, S, 1 + R, ...], fold f with its seed s alone
  bounds: tuple[float, float]  # the score's range

  def __sub__(self, other: "Draws") -> "Draws":
    """Subtract paired arms: same seeds and same resampled lesions."""
    (low, high), (other_low, other_high) = self.bounds, other.bounds
    return Draws(
      self.value - other.value,
      self.by_seed - other.by_seed,
      (low - other_high, high - other_low),
    )

  def __truediv__(self, other: "Draws") -> "Draws":
    """Divide by a score that is positive; paired as in a difference."""
    return Draws(
      self.value / other.value, self.by_seed / other.by_seed, _UNBOUNDED
    )


def weighted_sum(draws: Sequence[Draws], weights: Sequence[float]) -> Draws:
  """Add up weighted scores; paired as in a difference."""
  total = lambda name: sum(
    weight * getattr(one, name)
    for one, weight in zip(draws, weights, strict=True)
  )
  return Draws(total("value"), total("by_seed"), _UNBOUNDED)


@dataclasses.dataclass(frozen=True)
class Interval:
  """A value averaged over seeds, and its interval; arrays of any shape."""

  value: np.ndarray
  low: np.ndarray
  high: np.ndarray
  seed_sd: np.ndarray  # between seeds, all folds together; NaN for one seed


def bootstrap_weights(
  groups: np.ndarray,
  labels: np.ndarray,
  num_resamples: int,
  seed: int | Sequence[int],
) -> np.ndarray:
  """Resample groups [N] (lesions) with replacement, class by class.

  All examples of a group share its weight. Resampling is stratified by
  class, so that no class vanishes from a resample (a test fold has about 15
  df lesions, and balanced accuracy without df is another quantity): it
  conditions on the number of lesions of each class, as balanced accuracy
  and recall do anyway. A group with several labels counts for the rarest.

  From a class's G groups G - 1 are drawn and weighted by G / (G - 1), which
  makes the variance of a mean unbiased; drawing G would make it too small by
  (G - 1) / G (Rao and Wu, "Resampling inference with complex survey data",
  1988). The only group of a class has weight one: its variation is unknown.

  Returns:
    [num_resamples, N] float32 weights of the examples.
  """
  labels = np.asarray(labels)
  group_names, group = np.unique(np.asarray(groups), return_inverse=True)
  # From the most frequent label to the rarest: the last one written stays.
  order = np.argsort(-np.bincount(labels)[labels], kind="stable")
  stratum = np.empty(len(group_names), labels.dtype)
  stratum[group[order]] = labels[order]

  rng = np.random.default_rng(seed)
  weights = np.ones((num_resamples, len(group_names)), np.float32)
  for label in np.unique(stratum):
    members = np.flatnonzero(stratum == label)
    size = len(members)
    if size > 1:
      counts = rng.multinomial(size - 1, np.full(size, 1 / size), num_resamples)
      weights[:, members] = counts * (size / (size - 1))
  return weights[:, group]


def tally(
  probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> Tally:
  """Summarize predictions [N, K] of labels [N], and their resamples.

  `weights` [R, N] are from `bootstrap_weights`, the same for all compared
  classifiers.
  """
  weights = np.concatenate([np.ones((1, len(labels))), weights])
  scores = classification.scores(probabilities, labels, weights)
  return Tally(
    classification.confusion(probabilities, labels, weights),
    scores["brier"] * weights.sum(-1),
    {name: scores[name] for name in classification.WITHIN},
  )


def draw(tallies: Sequence[Sequence[Tally]]) -> dict[str, Draws]:
  """Score an arm, given its tallies by fold and seed.

  All folds have the same number of seeds. Folds are pooled: their counts are
  added up, with equal weight for each seed. Scores in `classification.WITHIN`
  compare probabilities with each other, and those of different folds' networks
  need not be comparable: these scores are averaged over the folds that have
  them.

  Returns:
    Each score of `classification.scores` to its draws.
  """
  stack = lambda pick: np.stack([[pick(t) for t in fold] for fold in tallies])
  counts = stack(lambda t: t.confusion)
  draws = _pooled(classification.of_counts, counts)
  images = counts.sum((-2, -1))
  error = stack(lambda t: t.squared_error)
  brier = lambda error, images: {"brier": error / images}
  draws |= _pooled(brier, error, images)
  for name in classification.WITHIN:
    value = stack(lambda t, name=name: t.within[name])
    known = ~np.isnan(value)
    mean = lambda total, folds, name=name: {
      name: np.where(folds > 0, total, np.nan) / np.maximum(folds, 1)
    }
    draws |= _pooled(mean, np.where(known, value, 0), known)
  return draws


def interval(
  draws: Draws,
  level: float = 0.95,
  seed: int = 0,
  first: int | None = None,
) -> Interval:
  """Estimate a score, or a difference of two, with a percentile interval.

  A resample's value is that of the test splits, plus two parts.

  Lesions: the deviation of the resample's value from the average resample. (It
  is centred because some scores are biased on a resample: there, ECE has its
  test-set bias once more.) It is shrunk to the variance that the seeds have in
  common; where seeds predict a lesion differently, that variance is in the
  seeds' own part, and must not be counted twice. It is shrunk by no more than
  that part: few seeds may score alike by chance, and then the interval is that
  of the resamples.

  Seeds: t times the standard error between seeds, from their variances within
  folds, summed over the folds; t is Student's with F * (S - 1) degrees of
  freedom. Few seeds make the interval wide, as they should: t reaches 2.2 for 3
  seeds of 5 folds, 4.3 for 3 of one fold, 12.7 for 2. With one seed this part
  is unknown and left out: no verdict may be based on such an interval.

  Args:
    draws: from `draw`, or a difference of two.
    level: the confidence level.
    seed: for the draws of t.
    first: the number of seeds, the first ones, that the seeds' variance is
      estimated from; by default all. If the number of seeds was decided by
      these (see `seeds_needed`), only these may be used (Stein 1945).

  Returns:
    Arrays [...]; ends are clipped to the score's range, and NaN if any resample
    is.
  """
  parts = _parts(draws, first)
  low, high = _ends(parts, parts.seeds, level, seed)
  value = draws.value[0]
  clip = lambda end: np.clip(value + end, *draws.bounds)
  sd = np.sqrt(parts.variance) if parts.freedom else np.full_like(value, np.nan)
  return Interval(value, clip(low), clip(high), sd)


def p_value(draws: Draws, first: int | None = None) -> np.ndarray:
  """Compute the two-sided p-values [...] of differences from zero.

  They use Student's t, with the standard error of both parts of `interval` and
  degrees of freedom after Satterthwaite (1946); NaN for one seed.
  """
  parts = _parts(draws, first)
  if not parts.freedom:
    return np.full_like(draws.value[0], np.nan)
  seeds = parts.variance / parts.seeds
  total = parts.spread.var(0) + seeds
  with np.errstate(invalid="ignore", divide="ignore"):
    t = np.abs(draws.value[0]) / np.sqrt(total)
    freedom = parts.freedom * (total / seeds) ** 2
  far = 2 * special.stdtr(np.minimum(freedom, 1e9), -t)
  return np.where(total > 0, far, np.nan)


def seeds_needed(
  draws: Draws, half_width: float, most: int, level: float = 0.95, seed: int = 0
) -> int | None:
  """Compute the number of seeds for which an interval is narrow enough.

  This is the second stage of Stein (1945), to be used once: the present number
  of seeds if they suffice, at most `most`; None if no number suffices, because
  the lesions' part alone exceeds `half_width`.
  """
  parts = _parts(draws, None)

  def half(seeds: float) -> float:
    low, high = _ends(parts, seeds, level, seed)
    return float(high - low) / 2

  if half(math.inf) > half_width:
    return None
  fit = (n for n in range(parts.seeds, most) if half(n) <= half_width)
  return next(fit, max(most, parts.seeds))


def between_folds(
  values: Sequence[float], test_to_train: float, level: float = 0.95
) -> tuple[float, float]:
  """Compute the interval of a mean over folds, from the folds' values alone.

  It uses Student's t with F - 1 degrees of freedom. The variance is corrected
  for overlapping training sets (Nadeau, Bengio 2003): 1 / F + n_test / n_train
  times that of the values. A single fold gives (NaN, NaN).
  """
  folds = len(values)
  if folds < 2:
    return math.nan, math.nan
  error = np.sqrt((1 / folds + test_to_train) * np.var(values, ddof=1))
  reach = special.stdtrit(folds - 1, (1 + level) / 2) * error
  return float(np.mean(values) - reach), float(np.mean(values) + reach)


def holm(p_values: Sequence[float]) -> list[float]:
  """Adjust p-values for multiple tests (Holm 1979)."""
  order = np.argsort(p_values)
  left = np.arange(len(order), 0, -1)
  raised = np.maximum.accumulate(np.asarray(p_values, float)[order] * left)
  adjusted = np.empty(len(order))
  adjusted[order] = np.minimum(raised, 1)
  return adjusted.tolist()


class _Parts(NamedTuple):
  """The parts of an interval."""

  spread: np.ndarray  # [R, ...], the lesions' part
  variance: np.ndarray  # [...], between seeds, all folds together
  freedom: int  # the variance's degrees of freedom; 0 for one seed
  seeds: int


def _parts(draws: Draws, first: int | None) -> _Parts:
  folds, seeds = draws.by_seed.shape[:2]
  spread = draws.value[1:] - draws.value[1:].mean(0)
  if seeds < 2:
    return _Parts(spread, np.zeros_like(draws.value[0]), 0, seeds)
  deciding = draws.by_seed[:, : first or seeds]
  variance = deciding[:, :, 0].var(1, ddof=1).sum(0)
  resampled = draws.by_seed[:, :, 1:]
  own = (resampled - resampled.mean(1, keepdims=True)).var(2).sum((0, 1))
  # Few seeds may score alike by chance. No more is subtracted than they add.
  own = np.minimum(own / (seeds * (seeds - 1)), variance / seeds)
  both = draws.value[1:].var(0)
  # Without any spread (both = 0) there is nothing to shrink.
  shared = 1 - own / np.where(both > 0, both, 1)
  spread = spread * np.sqrt(np.maximum(shared, 0))
  return _Parts(spread, variance, folds * (deciding.shape[1] - 1), seeds)


def _ends(parts: _Parts, seeds: float, level: float, seed: int):
  """Compute the ends of an interval around 0, for a number of seeds."""
  spread = parts.spread
  if parts.freedom:
    # Evenly spaced quantiles in random order: t without sampling noise.
    # (scipy.stats gives the same numbers, but is slow to import.)
    resamples = len(spread)
    rank = np.random.default_rng(seed).permutation(resamples) + 0.5
    t = special.stdtrit(parts.freedom, rank / resamples)
    t = t.reshape(-1, *[1] * parts.variance.ndim)
    spread = spread + t * np.sqrt(parts.variance / seeds)
  tail = (1 - level) / 2
  return np.quantile(spread, [tail, 1 - tail], axis=0)


def _pooled(scores: Callable, *sums: np.ndarray) -> dict[str, Draws]:
  """Score sums [F, S, 1 + R, ...]: seeds are averaged, folds added up."""
  means = [x.mean(1) for x in sums]
  totals = [mean.sum(0) for mean in means]
  alone = [
    [
      scores(
        *(
          total - mean[f] + x[f, s]
          for total, mean, x in zip(totals, means, sums, strict=True)
        )
      )
      for s in range(sums[0].shape[1])
    ]
    for f in range(sums[0].shape[0])
  ]
  return {
    name: Draws(
      value,
      np.array([[one[name] for one in fold] for fold in alone]),
      (0.0, classification.LARGEST[name]),
    )
    for name, value in scores(*totals).items()
  }
