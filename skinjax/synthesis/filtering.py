"""Draws images until they pass criteria; see quality.py."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from skinjax.data.sources import Split
from skinjax.runtime import errors
from skinjax.synthesis.quality import Criterion

# Further draws for those left out: of a generator of which one image in two
# fails, one place in 2000 is left; one of which all fail comes to an end.
ROUNDS = 10


class Drawn(NamedTuple):
  """Images that have passed, and what is to be reported of it."""

  images: np.ndarray  # uint8 [n, size, size, channels]
  labels: np.ndarray  # int32 [n]
  scores: dict[str, np.ndarray]  # of each criterion, float64 [n]
  # How many images were `dropped`, by criterion and class; by class how many
  # are `missing` after all; the number of further `draws`; the `limits` by
  # criterion and class.
  report: dict[str, Any]


def draw(
  sample: Callable[[np.ndarray, int], np.ndarray],
  labels: np.ndarray,
  criteria: Sequence[Criterion],
  class_names: Sequence[str],
) -> Drawn:
  """Draw images, and others in the place of those that fail a criterion.

  `sample` draws an image for each label; it takes int32 [m] and the number of
  the draw, from 0 on, and returns uint8 [m, size, size, channels]. What passes
  stays what it is without criteria. After ROUNDS further draws a place whose
  image still fails is given up.

  Raises:
    InputError: of a class that was asked for fewer than two images are left.
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
    # Not in place: what JAX returns may be read-only.
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
        f"The generator draws hardly anything of class {name} but {what}: "
        f"{lost} of {wanted} images are left out after {ROUNDS} further "
        "draws. Without config.drop_copies, config.drop_unlike and "
        "config.drop_distant all are kept."
      )
