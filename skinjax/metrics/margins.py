"""How much nearer training lesions are than as many held-out ones."""

import numpy as np
from scipy import special

# Of the nearest lesions of an image, so many are looked at that no held-out
# one is among them with this probability at most; and never more than _MOST.
_UNSEEN = 1e-6
_MOST = 1000


def rank(distances: np.ndarray, rarer: float) -> tuple[np.ndarray, np.ndarray]:
  """Sort the nearest lesions of each generated image.

  Args:
    distances: [m, g] floats from 0 on, to g lesions.
    rarer: the share of lesions of the kind that is rarer, in (0, 1/2].

  Returns:
    int64 [m, top], the columns of the nearest; and the logarithms of their
    distances. Distances under a hundredth of the median nearest one count as
    that. Rows are in an order of their own.
  """
  # Half of the lesions are left out for the interval.
  enough = int(np.ceil(np.log(_UNSEEN) / np.log1p(-rarer / 2)))
  top = min(distances.shape[1], enough, _MOST)
  # So that the given order of rows does not matter.
  distances = distances[np.lexsort(distances.T[:4])]
  near = np.argpartition(distances, top - 1, axis=1)[:, :top]
  # By column first: equal distances come in the shuffled order.
  near.sort(axis=1)
  values = np.take_along_axis(distances, near, 1)
  order = np.argsort(values, axis=1, kind="stable")
  near, values = (np.take_along_axis(x, order, 1) for x in (near, values))
  least = 0.01 * np.median(values[:, 0])
  least = least or 1e-3 * values.mean() or 1  # most are copies; all are
  return near, np.log(np.maximum(values, least))


def share_and_margin(
  near: np.ndarray,
  logs: np.ndarray,
  held: np.ndarray,
  sizes: np.ndarray,
  kept: np.ndarray | None = None,
) -> tuple[float, float]:
  """Compute both statistics of one assignment of lesions to the two kinds.

  Each is an average over all ways to draw as many lesions of the larger kind
  as have the smaller one's number of images. What has no lesion of a kind
  among its nearest is taken to be as far from it as from the last of these.

  Args:
    near: [m, top] from `rank`.
    logs: [m, top] from `rank`.
    held: booleans [g], the lesions that count as held-out.
    sizes: integers [g], images of each lesion.
    kept: booleans [g], lesions to count at all; None for all.

  Returns:
    The share of the m that are nearer to training, and the mean of the log
    distance to held-out lesions less that to training ones.
  """
  counted = slice(None) if kept is None else kept
  images = sizes[counted][held[counted]].sum()
  total = sizes[counted].sum()
  if 2 * images > total:  # then training is the smaller one
    share, margin = share_and_margin(near, logs, ~held, sizes, kept)
    return 1 - share, -margin
  many = int((~held[counted]).sum())
  drawn = int(np.clip(round(many * images / (total - images)), 1, many))
  nearer = _some_drawn(many, drawn, near.shape[1])

  is_held = held[near]
  is_train = ~is_held
  if kept is not None:
    there = kept[near]
    is_held &= there
    is_train &= there
  top = near.shape[1]
  rows = np.arange(len(near))
  first = np.where(is_held.any(1), is_held.argmax(1), top)
  before = np.cumsum(is_train, axis=1)
  # Training lesions nearer than any held-out one, and if one was drawn.
  closer = np.where(first > 0, before[rows, first - 1], 0)
  weights = np.diff(nearer)[np.maximum(before - 1, 0)] * is_train
  to_train = (weights * logs).sum(1) + (1 - weights.sum(1)) * logs[:, -1]
  to_held_out = logs[rows, np.minimum(first, top - 1)]
  return nearer[closer].mean(), (to_held_out - to_train).mean()


def _some_drawn(many: int, drawn: int, most: int) -> np.ndarray:
  """Computes that of the first 0, …, most of `many` some are `drawn`."""
  first = np.arange(most + 1)
  rest = np.maximum(many - first, 0)
  choose = lambda n: (
    special.gammaln(n + 1) - special.gammaln(np.maximum(n - drawn, 0) + 1)
  )
  none = np.exp(choose(rest) - choose(np.array(many)))
  return 1 - np.where(rest < drawn, 0, none)
