"""Whether a generator's images are nearer to its own training images.

A generator that has learnt a class, and not its pictures, draws images that
are as near to other lesions of the class as to those it was trained on.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from skinjax.metrics import neighbours

# Of the nearest lesions of an image, so many are looked at that no held-out
# one is among them with this probability at most; and never more than _MOST.
_UNSEEN = 1e-6
_MOST = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Reals:
  """Real images as vectors; see neighbours.py."""

  vectors: np.ndarray  # [n, d] floats
  labels: np.ndarray  # [n] integers
  groups: np.ndarray  # [n], the lesion of each; of any sortable type


@dataclasses.dataclass(frozen=True)
class NearerTest:
  """Whether training images are nearer than as many held-out ones.

  The share and the margin are about 1/2 and 0 without memorization.
  """

  share: float  # of generated images that are nearer to training
  low: float  # end of the share's interval
  high: float  # end of the share's interval
  # Mean logarithm of the distance to held-out images over that to training.
  margin: float
  p_value: float  # of such a margin were the two interchangeable; in (0, 1]


def nearer_to_training(
  fake: np.ndarray,
  train: np.ndarray,
  held_out: np.ndarray,
  *,
  train_groups: np.ndarray,
  held_out_groups: np.ndarray,
  permutations: int = 999,
  resamples: int = 500,
  level: float = 0.95,
  seed: int = 0,
) -> NearerTest:
  """Test one class for memorization, at equal numbers of real images.

  More images are nearer by their number alone. So of the larger set of real
  images as many lesions are drawn as have the smaller one's number of images;
  share and margin are averages over all such draws, in closed form (the rank
  of the nearest lesion that was drawn is hypergeometric).

  The p-value is of a permutation test: which lesions were trained on is drawn
  anew, and all is computed as before. Lesions are what was drawn at random
  when the data were split, which makes the test exact, whatever the generated
  images are; a sign or rank test that takes these for independent finds
  memorization wherever one held-out lesion looks unlike the rest. p-values
  are at least 1 / (permutations + 1) and, with held-out lesions a share h of
  all, not much under (1 - h)^c for copies of c lesions: few copies are found
  by copies.py, not here.

  The margin is tested, and not the share: a tenth of copies moves the share
  by a few hundredths, like any statistic of ranks (as C_T of Meehan et al., "A
  Non-Parametric Test to Detect Data-Copying in Generative Models", 2020); but
  copies are nearer by far, which the margin sees.

  The interval of the share is from halves of the lesions of either set and of
  the generated images (delete-half jackknife, Shao and Wu 1989). A bootstrap
  would draw neighbours twice, which are then no neighbours more.

  `fake` are [k, m, d] floats of generated images in k orientations, or [m, d];
  `train` [n, d] and `held_out` [h, d] are of real ones of the class, with
  lesions [n] and [h]. The result does not depend on the order of images.

  Raises:
    ValueError: as neighbours.nearest; or sets share a lesion, or have fewer
      than two each.
  """
  if set(train_groups) & set(held_out_groups):
    raise ValueError("Training and held-out images share a lesion.")
  # Lesions by name, then shuffled: of equal distances either may come first.
  names, codes, sizes = np.unique(
    np.concatenate([train_groups, held_out_groups]),
    return_inverse=True,
    return_counts=True,
  )
  held = np.isin(names, held_out_groups)
  if min(held.sum(), (~held).sum()) < 2:
    raise ValueError("Expected two lesions or more of each kind.")
  distances = neighbours.distances_by_group(
    fake, np.concatenate([train, held_out]), codes
  )
  rng = np.random.default_rng(seed)
  shuffle = rng.permutation(len(names))
  distances, held, sizes = distances[:, shuffle], held[shuffle], sizes[shuffle]
  ranking = rank(distances, min(held.mean(), 1 - held.mean()))

  share, margin = share_and_margin(*ranking, held, sizes)
  as_large = sum(
    share_and_margin(*ranking, rng.permutation(held), sizes)[1] >= margin
    for _ in range(permutations)
  )
  halves = []
  for _ in range(resamples):
    kept = np.zeros(len(held), bool)
    for side in (np.flatnonzero(held), np.flatnonzero(~held)):
      kept[rng.permutation(side)[: (len(side) + 1) // 2]] = True
    rows = rng.permutation(len(distances))[: (len(distances) + 1) // 2]
    part = (each[rows] for each in ranking)
    halves.append(share_and_margin(*part, held, sizes, kept)[0])
  deviations = np.array(halves) - np.mean(halves)
  ends = np.quantile(deviations, [(1 - level) / 2, (1 + level) / 2])
  low, high = np.clip(share + ends, 0, 1)
  return NearerTest(
    share=float(share),
    low=float(low),
    high=float(high),
    margin=float(margin),
    p_value=(1 + int(as_large)) / (1 + permutations),
  )


def by_class(
  fake: np.ndarray,
  fake_labels: np.ndarray,
  train: Reals,
  held_out: Reals,
  class_names: Sequence[str],
  **options,
) -> dict[str, NearerTest]:
  """Run `nearer_to_training` for each class.

  Returns:
    By class that has generated images and two lesions of each kind.
  """
  result = {}
  for label, name in enumerate(class_names):
    mine = fake_labels == label
    (near, near_groups), (far, far_groups) = (
      (part.vectors[part.labels == label], part.groups[part.labels == label])
      for part in (train, held_out)
    )
    lesions = (len(np.unique(groups)) for groups in (near_groups, far_groups))
    if mine.any() and min(lesions) > 1:
      result[name] = nearer_to_training(
        fake[..., mine, :],
        near,
        far,
        train_groups=near_groups,
        held_out_groups=far_groups,
        **options,
      )
  return result


def authentic(
  found: neighbours.Nearest,
  train: np.ndarray,
  train_groups: np.ndarray,
  *,
  orient: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
  """Tell which generated images are no nearer than real ones are to another.

  An image is authentic if its nearest training image (of `found`) is at least
  as far from it as that one is from the nearest training image of another
  lesion. Their share is AuthPct of Alaa et al., "How Faithful is your
  Synthetic Data?" (2022), but for other photographs of one lesion, which hide
  copies. Most new images are authentic (0.85 of HAM10000's held-out ones, by
  pixels): whoever is the nearest of many has near neighbours itself.

  `train` are [n, d] floats. `orient` returns the orientations [k, asked, d] of
  those at some indices [asked], to compare them as the generated ones are; by
  default they are compared as they are.

  Returns:
    Booleans, one a generated image. Of one training lesion alone none is.
  """
  # Only of those that are anybody's nearest.
  asked, place = np.unique(found.index, return_inverse=True)
  own = neighbours.nearest(
    orient(asked) if orient else train[asked],
    train,
    query_groups=train_groups[asked],
    reference_groups=train_groups,
  )
  return found.distance >= own.distance[place]


def rank(distances: np.ndarray, rarer: float) -> tuple[np.ndarray, np.ndarray]:
  """Sort the nearest lesions of each generated image.

  `distances` [m, g] are floats from 0 on; `rarer` is the share of lesions of
  the kind that is rarer, in (0, 1/2].

  Returns:
    int64 [m, top], the columns of the nearest; and the logarithms of their
    distances, of which those under a hundredth of the median count as that.
    Rows are in an order of their own.
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

  `near` and `logs` are of `rank`; of g lesions `held` are booleans, whether
  they count as held-out, `sizes` their numbers of images, and `kept` booleans,
  whether they count at all.
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

  there = True if kept is None else kept[near]
  is_held, is_train = held[near] & there, ~held[near] & there
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
  """Compute how likely the first 0, …, `most` of `many` have one of `drawn`."""
  first = np.arange(most + 1)
  rest = np.maximum(many - first, 0)
  choose = lambda n: (
    special.gammaln(n + 1) - special.gammaln(np.maximum(n - drawn, 0) + 1)
  )
  none = np.exp(choose(rest) - choose(np.array(many)))
  return 1 - np.where(rest < drawn, 0, none)
