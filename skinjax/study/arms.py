"""The training data of an arm: which images, and how they are sampled."""

import math
from typing import NamedTuple

import numpy as np

from skinjax.data import datasets, provenance
from skinjax.data.sources import Split
from skinjax.runtime import errors
from skinjax.study import folds

KINDS = ("", "synthetic", "duplicates")  # of added images
# An arm's values unless it sets others; configs/study.py describes them.
DEFAULTS = {
  "added": "",
  "dose": 1.0,
  "total": 0,
  "share": 1.0,
  "weight": 1.0,
  "pretraining": 0.0,
  "filtered": False,
  "fraction": 1.0,
}


def check(name: str, arm) -> None:
  """Refuse an invalid arm.

  Raises:
    InputError: one of its values is wrong.
  """
  errors.require_known(f"arm.{name}.added", arm.added, KINDS)
  for key, low, high in (
    ("dose", 0, np.inf),
    ("total", 0, np.inf),
    ("share", 0, 1),
    ("weight", 0, np.inf),
    ("pretraining", 0, 1),
  ):
    if not low <= arm[key] <= high:
      raise errors.InputError(
        f"arm.{name}.{key}={arm[key]}: a number from {low} to {high} is "
        "expected."
      )
  if not 0 < arm.fraction <= 1:
    raise errors.InputError(
      f"arm.{name}.fraction={arm.fraction}: a number above 0, up to 1, is "
      "expected."
    )
  changed = [key for key in DEFAULTS if arm[key] != DEFAULTS[key]]
  without = [key for key in changed if key not in ("added", "fraction")]
  if without and not arm.added:
    raise errors.InputError(
      f"arm.{name}: {', '.join(without)} has no effect without added images: "
      "set added=synthetic or duplicates, or leave it out."
    )
  if arm.filtered and not is_synthetic(arm):
    raise errors.InputError(
      f"arm.{name}: filtered=True with added={arm.added!r}: only synthetic "
      "images are filtered."
    )
  if arm.pretraining and arm.share < 1:
    raise errors.InputError(
      f"arm.{name}: share={arm.share} has no effect with pretraining="
      f"{arm.pretraining}, whose steps sample one kind of images each: leave "
      "one of them out."
    )
  if arm.added and arm.fraction < 1:
    raise errors.InputError(
      f"arm.{name}: fraction={arm.fraction} with added={arm.added!r}: added "
      "images come from all training lesions, so fraction=1 is expected."
    )


def is_synthetic(arm) -> bool:
  """Return whether an arm is trained on synthetic images."""
  return arm.added == "synthetic"


def is_random(arm) -> bool:
  """Return whether an arm's images depend on the seed."""
  return bool(arm.added) or arm.fraction < 1


def wanted(arm, counts: np.ndarray) -> np.ndarray:
  """Count the images that an arm adds to each class, [classes].

  `counts` are the class's real training images.
  """
  if not arm.added:
    return np.zeros(len(counts), int)
  if arm.total:
    return (arm.total + np.arange(len(counts))[::-1]) // len(counts)
  most = int(np.argmax(counts))
  more = np.rint(arm.dose * np.asarray(counts)).astype(int)
  more[most] = 0
  if arm.pretraining:
    more[most] = more.max()
  return more


class Taken(NamedTuple):
  """The images that an arm is trained on, as indices."""

  real: np.ndarray | None  # in the training split; None for all of them
  pool: Split | None  # the source of added images
  added: np.ndarray | None  # indices in `pool`, class by class


def taken(arm, fold: folds.Fold, seed: int) -> Taken:
  """Choose the images that a classifier of an arm is trained on.

  If an arm uses only some of the available images, the seed chooses which; arms
  that use the same number use the same ones.
  """
  train, real = fold.dataset.train, None
  if arm.fraction < 1:
    real = np.flatnonzero(folds.chosen(train, arm.fraction, seed))
  if not arm.added:
    return Taken(real, None, None)
  if is_synthetic(arm):
    place = fold.folder_of(seed)
    pool = fold.folders[place].split
    open_to = fold.passes[place] if arm.filtered else np.ones(len(pool.labels))
  else:
    pool, open_to = train, np.ones(len(train.labels))
  places = []
  counts = wanted(arm, np.array(fold.dataset.info.class_counts))
  for label, count in enumerate(counts):
    mine = np.flatnonzero((pool.labels == label) & (open_to > 0))
    order = np.random.default_rng([seed, label]).permutation(mine)
    # Duplicates may be any number: the images repeat.
    whole = arm.added == "duplicates" and mine.size
    places.append(np.resize(order, count) if whole else order[:count])
  found = np.concatenate(places).astype(int)
  # If a filter leaves no image, none is added.
  return Taken(real, pool, found) if found.size else Taken(real, None, None)


def learnt(
  arm, fold: folds.Fold, seed: int, chosen: Taken, steps: int
) -> datasets.Dataset:
  """Return the data that a classifier of an arm is trained on, for `steps`."""
  dataset = fold.dataset
  if chosen.real is not None:
    part = dataset.train.take(chosen.real)
    dataset = datasets.trained_on(dataset, part, ())
  if chosen.pool is None:
    return dataset
  groups = ()
  if is_synthetic(arm):
    origin = fold.folders[fold.folder_of(seed)].origin
    groups = provenance.groups_learnt(origin, fold.dataset)
  added = datasets.Added(
    chosen.pool.take(chosen.added),
    share=arm.share,
    weight=arm.weight,
    pretraining=math.ceil(arm.pretraining * steps),
  )
  return datasets.extended(dataset, added, groups)
