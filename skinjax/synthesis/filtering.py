"""Samples images until they pass criteria; see quality.py."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from skinjax.data.sources import Split
from skinjax.runtime import errors
from skinjax.synthesis.quality import Criterion

# Further draws to replace failed images. If half of a generator's images fail,
# one in 2000 is still missing then; if all fail, the loop ends.
ROUNDS = 10


class Drawn(NamedTuple):
  """Images that passed, with a report of the filtering."""

  images: np.ndarray  # uint8 [n, size, size, channels]
  labels: np.ndarray  # int32 [n]
  scores: dict[str, np.ndarray]  # by criterion, float64 [n]
  # Numbers of images `dropped`, by criterion and class, and `missing` at the
  # end, by class; the number of further `draws`; the `limits` by criterion and
  # class.
  report: dict[str, Any]


def draw(
  sample: Callable[[np.ndarray, int], np.ndarray],
  labels: np.ndarray,
  criteria: Sequence[Criterion],
  class_names: Sequence[str],
) -> Drawn:
  """Sample images, and replace those that fail a criterion.

  `sample` generates an image for each label; it takes int32 [m] and the index
  of the draw, from 0 on, and returns uint8 [m, size, size, channels]. Images
  that pass are the same as without criteria. Images that still fail after
  ROUNDS further draws are left out.

  Raises:
    InputError: a requested class has fewer than two images left.
  """
  images = sample(labels, 0)
  count = lambda of: np.bincount(of, minlength=len(class_names))
  dropped = {c.name: count(labels[:0]) for c in criteria}
  scores = {c.name: np.empty(len(labels)) for c in criteria}
  open_places, draws = np.arange(len(labels)), 0
  while True:
    ids = open_places.astype(str)
    split = Split(images[open_places], labels[open_places], ids, ids)
    failed = np.zeros(len(open_places), bool)
    for criterion in criteria:
      found = criterion.score(split)
      fails = criterion.fails(found, split.labels)
      scores[criterion.name][open_places] = found
      dropped[criterion.name] += count(split.labels[fails])
      failed |= fails
    open_places = open_places[failed]
    if not open_places.size or draws == ROUNDS:
      break
    draws += 1
    # A copy, as what JAX returns may be read-only.
    images = images.copy()
    images[open_places] = sample(labels[open_places], draws)
  missing = count(labels[open_places])
  _require_enough(count(labels), missing, criteria, class_names)
  by_name = lambda values: dict(zip(class_names, values.tolist(), strict=True))
  limited = [c for c in criteria if c.limits is not None]
  for criterion in limited:
    numbers = by_name(dropped[criterion.name])
    logging.info(
      "%d %s were dropped (%s), in %d further draws.",
      sum(numbers.values()),
      criterion.failing,
      ", ".join(f"{name} {n}" for name, n in numbers.items() if n) or "none",
      draws,
    )
  if open_places.size:
    logging.warning(
      "%d images are missing: all draws for them failed.", open_places.size
    )
  report = {
    "dropped": {c.name: by_name(dropped[c.name]) for c in limited},
    "missing": by_name(missing),
    "draws": draws,
    "limits": {c.name: by_name(c.limits) for c in limited},
  }
  kept = np.delete(np.arange(len(labels)), open_places)
  return Drawn(
    images[kept],
    labels[kept],
    {name: values[kept] for name, values in scores.items()},
    report,
  )


def _require_enough(asked, missing, criteria, class_names) -> None:
  for name, wanted, lost in zip(class_names, asked, missing, strict=True):
    if wanted and wanted - lost < 2:
      what = " or ".join(c.failing for c in criteria if c.limits is not None)
      raise errors.InputError(
        f"The generator's images of class {name} are almost all {what}: "
        f"{lost} of {wanted} images are left out after {ROUNDS} further "
        "draws. Without config.drop_copies, config.drop_unlike and "
        "config.drop_distant all are kept."
      )
