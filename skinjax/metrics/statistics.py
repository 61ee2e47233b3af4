"""Intervals that carry the luck of the test set and of the training runs.

Two things would come out otherwise if the study were run again: other
lesions in the test set and other seeds. Lesions are resampled (a bootstrap,
whole lesions at a time, since images of one lesion are alike); seeds are too
few to be resampled (a bootstrap of S seeds misses 1/S of their variance, and
the tails altogether), so that their part is Student's t with S - 1 degrees
of freedom, added to each resample.

What this does not carry: other training lesions and other generators. The
seeds share one training set and one synthetic set.
"""

import dataclasses

import numpy as np
from scipy import special

from skinjax.metrics import classification

# Resamples scored at a time: a few arrays of block * N stay in the cache.
_BLOCK = 64


@dataclasses.dataclass(frozen=True)
class Draws:
  """Values of one score: on the test set, and on its resamples."""

  points: np.ndarray  # [S, ...] by seed
  resampled: np.ndarray  # [S, R, ...] by seed and resample
  bounds: tuple[float, float]  # the score's range

  def __sub__(self, other: "Draws") -> "Draws":
    """Pair two arms: the same seeds and the same resampled lesions."""
    (low, high), (other_low, other_high) = self.bounds, other.bounds
    return Draws(
      self.points - other.points,
      self.resampled - other.resampled,
      (low - other_high, high - other_low),
    )


@dataclasses.dataclass(frozen=True)
class Interval:
  """A value averaged over seeds, and its interval; arrays of any shape."""

  value: np.ndarray
  low: np.ndarray
  high: np.ndarray
  seed_sd: np.ndarray  # from seed to seed on the test set; NaN for one seed


def bootstrap_weights(
  groups: np.ndarray, labels: np.ndarray, num_resamples: int, seed: int
) -> np.ndarray:
  """Resample groups [N] (lesions) with replacement, class by class.

  All examples of a group share its weight. Resampling is stratified by
  class, so that no class vanishes from a resample (a test fold has about 15
  df lesions, and balanced accuracy without df is another quantity): it
  conditions on the number of lesions of each class, as balanced accuracy
  and recall do anyway. A group with several labels stands with the rarest.

  Of a class's G groups G - 1 are drawn and weighted by G / (G - 1), which
  makes the variance of a mean unbiased where drawing G is too small by
  (G - 1) / G (Rao and Wu, "Resampling inference with complex survey data",
  1988). The only group of a class has weight one: its variation is unknown.

  Returns:
    [num_resamples, N] float32 weights of the examples.
  """
  labels = np.asarray(labels)
  group_names, group = np.unique(np.asarray(groups), return_inverse=True)
  # From the commonest label to the rarest: the last one written stays.
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


def draw(
  probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> dict[str, Draws]:
  """Score one arm by seed, on the test set and on its resamples.

  Takes probabilities [S, N, K] of S seeds on the same N examples, their labels
  [N] and weights [R, N] of `bootstrap_weights`.

  Returns:
    Each score of `classification.scores` to its draws.
  """
  points = [classification.scores(p, labels) for p in probabilities]
  blocks = [
    [
      classification.scores(p, labels, weights[start : start + _BLOCK])
      for start in range(0, len(weights), _BLOCK)
    ]
    for p in probabilities
  ]
  return {
    name: Draws(
      np.stack([point[name] for point in points]),
      np.stack([np.concatenate([b[name] for b in bs]) for bs in blocks]),
      (0.0, classification.LARGEST[name]),
    )
    for name in points[0]
  }


def interval(draws: Draws, level: float = 0.95, seed: int = 0) -> Interval:
  """Estimate a score, or a difference of two, with a percentile interval.

  A resample's value is the mean over seeds on the test set, plus two parts.

  Lesions: deviation of the resample's mean over seeds from the average
  resample. (Centred, because some scores are biased on a resample: ECE is
  larger by as much again as it is on the test set.) It is shrunk to the
  variance of what the seeds have in common; where seeds answer a lesion
  differently, that is within the seeds' own part, and not to be counted
  twice.

  Seeds: t * seed_sd / sqrt(S), t from Student's distribution with S - 1
  degrees of freedom. Few seeds make the interval wide, as they must: t
  reaches 4.3 for 3 seeds, 12.7 for 2. With one seed this part is unknown and
  left out: such an interval must not be the ground of a verdict.

  `level` is the part of such intervals that should hold the true value; ends
  are clipped to the score's range; `seed` is of the draws of t.

  Returns:
    Arrays [...] of draws [S, ...]; ends are NaN where any resample is.
  """
  num_seeds, num_resamples = draws.resampled.shape[:2]
  value = draws.points.mean(0)
  averaged = draws.resampled.mean(0)
  spread = averaged - averaged.mean(0)
  seed_sd = np.full_like(value, np.nan)
  if num_seeds > 1:
    seed_sd = draws.points.std(0, ddof=1)
    own = (draws.resampled - averaged).var(1).sum(0)
    own /= num_seeds * (num_seeds - 1)
    both = averaged.var(0)
    # Without any spread (both = 0) there is nothing to shrink.
    shared = 1 - own / np.where(both > 0, both, 1)
    spread = spread * np.sqrt(np.maximum(shared, 0))
    # Evenly spaced quantiles in random order: t without its own noise.
    # (scipy.stats has the same numbers, and takes a while to import.)
    rank = np.random.default_rng(seed).permutation(num_resamples) + 0.5
    t = special.stdtrit(num_seeds - 1, rank / num_resamples)
    t = t.reshape(-1, *[1] * value.ndim)
    spread = spread + t * seed_sd / np.sqrt(num_seeds)
  tail = (1 - level) / 2
  low, high = np.quantile(spread, [tail, 1 - tail], axis=0)
  clip = lambda end: np.clip(value + end, *draws.bounds)
  return Interval(value, clip(low), clip(high), seed_sd)
