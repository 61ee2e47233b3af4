"""Tests whether a generator's images are nearer to its own training images.

A generator that has learnt a class, and not its pictures, draws images that
are as near to other lesions of the class as to those it was trained on.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from skinjax.metrics import margins, neighbours


@dataclasses.dataclass(frozen=True, eq=False)
class Reals:
  """Real images as vectors; see neighbours.py.

  Attributes:
    vectors: [n, d] floats.
    labels: [n] integers.
    groups: [n], the lesion of each; of any sortable type.
  """

  vectors: np.ndarray
  labels: np.ndarray
  groups: np.ndarray


@dataclasses.dataclass(frozen=True)
class NearerTest:
  """Whether training images are nearer than as many held-out ones.

  Attributes:
    share: of generated images that are nearer to training, in [0, 1]; about
      1/2 without memorization.
    low: lower end of its interval.
    high: upper end.
    margin: mean logarithm of the distance to held-out images over that to
      training images; about 0 without memorization, more with it.
    p_value: of a margin as large, were the two interchangeable; in (0, 1].
    num_fake: generated images.
    train_lesions: training lesions of the class.
    held_out_lesions: held-out ones.
  """

  share: float
  low: float
  high: float
  margin: float
  p_value: float
  num_fake: int
  train_lesions: int
  held_out_lesions: int


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
  share and margin are the averages over all such draws, which have a closed
  form (hypergeometric: the rank of the nearest lesion that was drawn).

  The p-value is of a permutation test: which lesions were trained on is drawn
  anew, and all is computed as before. Generated images share neighbours, so a
  sign or rank test that takes them for independent finds memorization
  wherever one held-out lesion looks unlike the rest. Lesions are what was
  drawn at random when the data were split; under the null hypothesis any
  other split of them is as likely, whatever the generated images are, which
  makes the test exact. It does ask that the split was at random. p-values
  cannot be smaller than 1 / (permutations + 1), nor, with held-out lesions a
  share h of all, much smaller than (1 - h)^c for copies of c lesions: few
  copies are found by copies.py, not here.

  The margin is tested, and not the share: a tenth of copies moves the share
  by a few hundredths, like any statistic of ranks (as C_T of Meehan et al., "A
  Non-Parametric Test to Detect Data-Copying in Generative Models", 2020,
  which compares distances of generated with those of held-out images to
  training images); but copies are nearer by far, which the margin sees.
  Distances under a hundredth of the median count as that.

  The interval of the share is from halves: of the lesions of either set and of
  the generated images (delete-half jackknife, Shao and Wu 1989; the deviation
  of a half is distributed like that of the whole). A bootstrap would draw
  neighbours twice, which are then no neighbours more.

  Args:
    fake: [k, m, d] floats of generated images, k orientations; or [m, d].
    train: [n, d] floats of one class's training images.
    held_out: [h, d] floats of its held-out images.
    train_groups: [n], lesions.
    held_out_groups: [h], other lesions.
    permutations: of the test, at least 1.
    resamples: of the interval, at least 1.
    level: of the interval, in (0, 1).
    seed: of permutations and resamples.

  Returns:
    The result; it does not depend on the order of images.

  Raises:
    ValueError: as neighbours.nearest; sets share a lesion, or have fewer than
      two each; or nothing is to be drawn.
  """
  if permutations < 1 or resamples < 1 or not 0 < level < 1:
    raise ValueError("Expected permutations, resamples >= 1, 0 < level < 1.")
  neighbours.require_rows("train_groups", train_groups, len(train))
  neighbours.require_rows("held_out_groups", held_out_groups, len(held_out))
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
  ranking = margins.rank(distances, min(held.mean(), 1 - held.mean()))

  share, margin = margins.share_and_margin(*ranking, held, sizes)
  as_large = sum(
    margins.share_and_margin(*ranking, rng.permutation(held), sizes)[1]
    >= margin
    for _ in range(permutations)
  )
  halves = []
  for _ in range(resamples):
    kept = np.zeros(len(held), bool)
    for side in (np.flatnonzero(held), np.flatnonzero(~held)):
      kept[rng.permutation(side)[: (len(side) + 1) // 2]] = True
    rows = rng.permutation(len(distances))[: (len(distances) + 1) // 2]
    part = (each[rows] for each in ranking)
    halves.append(margins.share_and_margin(*part, held, sizes, kept)[0])
  deviations = np.array(halves) - np.mean(halves)
  ends = np.quantile(deviations, [(1 - level) / 2, (1 + level) / 2])
  low, high = np.clip(share + ends, 0, 1)
  return NearerTest(
    share=float(share),
    low=float(low),
    high=float(high),
    margin=float(margin),
    p_value=(1 + int(as_large)) / (1 + permutations),
    num_fake=len(distances),
    train_lesions=int((~held).sum()),
    held_out_lesions=int(held.sum()),
  )


def by_class(
  fake: np.ndarray,
  fake_labels: np.ndarray,
  train: Reals,
  held_out: Reals,
  class_names: Sequence[str],
  **options,
) -> dict[str, NearerTest]:
  """Test each class for memorization; see `nearer_to_training`.

  Args:
    fake: [k, m, d] floats of generated images, k orientations; or [m, d].
    fake_labels: [m] integers.
    train: the training images.
    held_out: images of other lesions.
    class_names: by label.
    **options: permutations, resamples, level, seed.

  Returns:
    By class that has generated images and two lesions of each kind.

  Raises:
    ValueError: as `nearer_to_training`.
  """
  fake = np.asarray(fake)
  neighbours.require_rows("fake_labels", fake_labels, fake.shape[-2])
  result = {}
  for label, name in enumerate(class_names):
    mine = np.asarray(fake_labels) == label
    real = [np.asarray(part.labels) == label for part in (train, held_out)]
    lesions = [
      len(np.unique(part.groups[chosen]))
      for part, chosen in zip((train, held_out), real, strict=True)
    ]
    if mine.any() and min(lesions) > 1:
      result[name] = nearer_to_training(
        fake[..., mine, :],
        train.vectors[real[0]],
        held_out.vectors[real[1]],
        train_groups=train.groups[real[0]],
        held_out_groups=held_out.groups[real[1]],
        **options,
      )
  return result
