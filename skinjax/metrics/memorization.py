"""Tests whether generated images are nearer to training than to other images.

If a generator has learnt a class rather than its training images, its images
are as near to other lesions of the class as to those it was trained on.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from skinjax.metrics import neighbours

# The number of nearest lesions considered per image is such that the
# probability of no held-out lesion among them is at most this; up to _MOST.
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
  """Whether training images are nearer than an equal number of held-out ones.

  Without memorization, the share is about 1/2 and the margin about 0.
  """

  share: float  # of generated images that are nearer to training images
  low: float  # end of the share's interval
  high: float  # end of the share's interval
  # Mean log of the distance to held-out over that to training images.
  margin: float
  p_value: float  # of the margin, if the two were interchangeable; in (0, 1]


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

  The larger set would be nearer just because it has more images. So lesions are
  drawn from it until they have as many images as the smaller set; share and
  margin are averages over all such draws, in closed form (the rank of the
  nearest drawn lesion is hypergeometric).

  The p-value is that of a permutation test: the assignment of lesions to
  training is drawn again, and everything is recomputed. As the data were split
  by lesion at random, the test is exact for any generated images. A sign or
  rank test that takes generated images as independent would find memorization
  wherever one held-out lesion looks unlike the rest. p-values are at least
  1 / (permutations + 1) and, if a share h of all lesions is held out, not much
  below (1 - h)^c for copies of c lesions: copies of few lesions are found by
  copies.py, not here.

  The margin is tested rather than the share: if a tenth of the images are
  copies, the share moves by a few hundredths only, like any rank statistic
  (such as C_T of Meehan et al., "A Non-Parametric Test to Detect Data-Copying
  in Generative Models", 2020); but copies are much nearer, which the margin
  shows.

  The share's interval uses halves of both sets' lesions and of the generated
  images (delete-half jackknife, Shao and Wu 1989). A bootstrap would draw
  neighbours twice, which adds no neighbours.

  `fake` are [k, m, d] floats of generated images in k orientations, or [m, d];
  `train` [n, d] and `held_out` [h, d] are real images of the class, with
  lesions [n] and [h]. The result does not depend on the order of images.

  Raises:
    ValueError: as neighbours.nearest; or the sets share a lesion, or one has
      fewer than two.
  """
  if set(train_groups) & set(held_out_groups):
    raise ValueError("Training and held-out images share a lesion.")
  # Sorted by name, then shuffled, so that ties are broken at random.
  names, codes, sizes = np.unique(
    np.concatenate([train_groups, held_out_groups]),
    return_inverse=True,
    return_counts=True,
  )
  held = np.isin(names, held_out_groups)
  if min(held.sum(), (~held).sum()) < 2:
    raise ValueError("Expected at least two lesions of each kind.")
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
    The test of each class that has generated images and at least two lesions of
    each kind.
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
  """Find the generated images that are no nearer than real ones are.

  An image is authentic if its distance to its nearest training image (in
  `found`) is at least the distance of that training image to the nearest
  training image of another lesion. The share of authentic images is AuthPct of
  Alaa et al., "How Faithful is your Synthetic Data?" (2022), except that other
  photographs of the same lesion are skipped, as they would hide copies. Most
  new images are authentic (0.85 of HAM10000's held-out ones, by pixels): an
  image that is the nearest of many has near neighbours itself.

  `train` are [n, d] floats. `orient` returns the orientations [k, asked, d] of
  the training images at indices [asked], to compare them like the generated
  images; by default they are compared without reorientation.

  Returns:
    One boolean per generated image; with a single training lesion all are
    False.
  """
  # Only training images that are the nearest of some generated image.
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

  `distances` [m, g] are non-negative floats; `rarer` is the share of lesions of
  the rarer kind, in (0, 1/2].

  Returns:
    int64 [m, top], the columns of the nearest; and the logarithms of their
    distances, which are clipped from below to a hundredth of the median. Rows
    are reordered.
  """
  # The interval leaves out half of the lesions.
  enough = int(np.ceil(np.log(_UNSEEN) / np.log1p(-rarer / 2)))
  top = min(distances.shape[1], enough, _MOST)
  # Makes the result independent of the given order of rows.
  distances = distances[np.lexsort(distances.T[:4])]
  near = np.argpartition(distances, top - 1, axis=1)[:, :top]
  # By column first, so that ties are in the shuffled order.
  near.sort(axis=1)
  values = np.take_along_axis(distances, near, 1)
  order = np.argsort(values, axis=1, kind="stable")
  near, values = (np.take_along_axis(x, order, 1) for x in (near, values))
  least = 0.01 * np.median(values[:, 0])
  least = least or 1e-3 * values.mean() or 1  # if most, or all, are copies
  return near, np.log(np.maximum(values, least))


def share_and_margin(
  near: np.ndarray,
  logs: np.ndarray,
  held: np.ndarray,
  sizes: np.ndarray,
  kept: np.ndarray | None = None,
) -> tuple[float, float]:
  """Compute both statistics for one assignment of lesions to the two kinds.

  Each is an average over all draws of lesions of the larger kind that have the
  smaller one's number of images. If an image has no lesion of a kind among its
  nearest, its distance to that kind is taken to be that of the last of these.

  `near` and `logs` are from `rank`. For each of g lesions, `held` is whether it
  counts as held-out, `sizes` is its number of images, and `kept` whether it
  counts at all.
  """
  counted = slice(None) if kept is None else kept
  images = sizes[counted][held[counted]].sum()
  total = sizes[counted].sum()
  if 2 * images > total:  # training is the smaller kind
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
  # Training lesions nearer than any held-out one; weights: the probability that
  # a lesion is the nearest of those drawn.
  closer = np.where(first > 0, before[rows, first - 1], 0)
  weights = np.diff(nearer)[np.maximum(before - 1, 0)] * is_train
  to_train = (weights * logs).sum(1) + (1 - weights.sum(1)) * logs[:, -1]
  to_held_out = logs[rows, np.minimum(first, top - 1)]
  return nearer[closer].mean(), (to_held_out - to_train).mean()


def _some_drawn(many: int, drawn: int, most: int) -> np.ndarray:
  """Compute the probabilities that the first 0, …, `most` include a drawn one.

  `drawn` of `many` lesions are drawn without replacement.
  """
  first = np.arange(most + 1)
  rest = np.maximum(many - first, 0)
  choose = lambda n: (
    special.gammaln(n + 1) - special.gammaln(np.maximum(n - drawn, 0) + 1)
  )
  none = np.exp(choose(rest) - choose(np.array(many)))
  return 1 - np.where(rest < drawn, 0, none)
