"""Distances of generated images, compared with those of real images.

Each distance comes with a floor, the distance of held-out real images, and a
"ceiling", that of the nearest other class: a reference, no upper bound. All
three are to the same training images, at the same numbers of images; the
ceiling has fewer where no other class has as many.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from skinjax.data import datasets
from skinjax.metrics import frechet, kernel, prdc

LEAST = 10  # images and lesions that a distance needs to be meaningful
MOST = 1000  # images per class that are compared
# Training images that they are compared with, of a class or of all together:
# the time grows with the square.
MOST_TRAINING = 10_000


class Splits(NamedTuple):
  """The splits to compare, or something of each, such as features."""

  train: Any
  held_out: Any
  synthetic: Any


class Features(NamedTuple):
  """A split's features [images, dims], with labels and lesions [images]."""

  values: np.ndarray
  labels: np.ndarray
  lesions: np.ndarray

  def take(self, index: np.ndarray) -> "Features":
    """Select images by an index or mask."""
    return Features(*(column[index] for column in self))


def of_split(values: np.ndarray, split: datasets.Split) -> Features:
  """Combine a split's features with its labels and lesions."""
  _, lesions = np.unique(split.groups, return_inverse=True)
  return Features(values, split.labels, lesions)


def compare(
  train: Features,
  held_out: Features,
  synthetic: Features,
  class_names: tuple[str, ...],
  seed: int,
  progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
  """Measure distances to real images, by class and for all classes together.

  Fréchet distance, precision, recall, density and coverage depend on the number
  of images, so the same number of each kind is compared. The kernel distance
  does not; it uses all synthetic images, up to MOST per class. For all classes
  together, all kinds have the same number of images per class, and training
  images have the same class proportions.

  More than MOST_TRAINING training images are sampled. `seed` determines all
  samples; `progress(done, total)` is called after each comparison.

  Returns:
    One row per class (None: all of them) and comparison, with what `measure`
    returns. In a row of the ceiling, `against` is the other class: of those
    with as many images, or of all if none has, the one whose mean feature is
    nearest.
  """
  rng = np.random.default_rng(seed)
  labels, several = range(len(class_names)), len(class_names) > 1
  total = 3 * len(class_names) + 2 if several else 2
  real, held, made = (
    [_shuffled(features, label, rng) for label in labels]
    for features in (train, held_out, synthetic)
  )
  counts = [min(len(held[k].labels), len(made[k].labels), MOST) for k in labels]
  first = lambda parts, times=1: [
    part.take(slice(int(times * count)))
    for part, count in zip(parts, counts, strict=True)
  ]
  rows, most = [], slice(MOST_TRAINING)

  def add(name, kind, real, fake, *, against=None, everything=None):
    found = measure(real, fake, everything, seed=seed)
    row = {"class": name, "comparison": kind, "against": against}
    rows.append(row | found)
    progress(len(rows), total)

  for k, (name, drawn, floor) in enumerate(
    zip(class_names, first(made), first(held), strict=True)
  ):
    everything, own = made[k].take(slice(MOST)), real[k].take(most)
    add(name, "synthetic", own, drawn, everything=everything)
    add(name, "floor", own, floor)
    if several:
      other = _nearest(real, k, counts[k])
      ceiling = real[other].take(slice(counts[k]))
      add(name, "ceiling", own, ceiling, against=class_names[other])
  if several:
    # Other class proportions of the training images would add to the distance.
    times = min(
      len(part.labels) / count
      for part, count in zip(real, counts, strict=True)
      if count  # a folder may lack a class
    )
    times = min(times, MOST_TRAINING / sum(counts))
    mixed = _joined(first(real, times))
    add(None, "synthetic", mixed, _joined(first(made)))
    add(None, "floor", mixed, _joined(first(held)))
  return rows


def measure(
  real: Features,
  fake: Features,
  everything: Features | None = None,
  *,
  seed: int,
) -> dict[str, Any]:
  """Measure all distances of one pair of sets: training images and others.

  The kernel distance is that of `everything`, by default of `fake`.

  Returns:
    `num_real`, `num_fake`, `frechet` of all images, its `curve`, `kernel` and
    `prdc`, the last three as dicts of what skinjax/metrics returns. With fewer
    than LEAST lesions: the two numbers, and the reason as `refused`.
  """
  numbers = {"num_real": len(real.labels), "num_fake": len(fake.labels)}
  for what, features in (("training", real), ("compared", fake)):
    lesions = len(np.unique(features.lesions))
    if lesions < LEAST:
      return numbers | {
        "refused": f"{lesions} {what} lesions or images: at least {LEAST} are "
        "needed for a distance.",
      }
  pair = real.values, fake.values
  whole = everything or fake
  interval = kernel.kernel_distance_interval(
    real.values,
    whole.values,
    groups=real.lesions,
    fake_groups=whole.lesions,
    seed=seed,
  )
  shares = prdc.precision_recall_density_coverage(*pair)
  return numbers | {
    "frechet": frechet.frechet(*pair),
    "curve": dataclasses.asdict(frechet.frechet_curve(*pair, seed=seed)),
    "kernel": dataclasses.asdict(interval),
    "prdc": dataclasses.asdict(shares),
  }


def _shuffled(features: Features, label: int, rng) -> Features:
  return features.take(
    rng.permutation(np.flatnonzero(features.labels == label))
  )


def _joined(parts: list[Features]) -> Features:
  return Features(*map(np.concatenate, zip(*parts, strict=True)))


def _nearest(real: list[Features], label: int, least: int) -> int:
  """Find the other class whose mean is nearest, with `least` images if any."""
  means = [part.values.mean(0) for part in real]
  others = [k for k in range(len(real)) if k != label]
  enough = [k for k in others if len(real[k].labels) >= least]
  away = lambda k: np.linalg.norm(means[k] - means[label])
  return min(enough or others, key=away)
