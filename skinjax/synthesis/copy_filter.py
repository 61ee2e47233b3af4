"""Leaves copies of training images out of what a generator draws."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging

from skinjax.metrics import copies, pixels
from skinjax.runtime import errors

# Further draws for those left out: of a generator that draws one copy in two,
# one place in 2000 is left; one that draws nothing else comes to an end.
ROUNDS = 10


def draw(
  sample: Callable[[np.ndarray, int], np.ndarray],
  labels: np.ndarray,
  chosen: copies.Criterion,
  class_names: Sequence[str],
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
  """Draws images, and others in the place of suspected copies.

  `sample` draws an image for each label; it takes int32 [m] and the number of
  the draw, from 0 on, and returns uint8 [m, size, size, channels]. What is no
  copy stays what it is without the filter. After ROUNDS further draws a place
  that has still a suspect is given up.

  Returns:
    The images and labels that are left, and what is to be reported: by class
    how many images were `dropped` and how many are `missing` after all, the
    number of further `draws`, and the `thresholds`.

  Raises:
    InputError: of a class that was asked for fewer than two images are left.
  """
  images = sample(labels, 0)
  counts = np.bincount(labels, minlength=len(class_names))
  dropped = np.zeros_like(counts)
  open_places, draws = np.arange(len(labels)), 0
  while True:
    nearest = chosen.nearest(pixels.oriented_vectors(images[open_places]))
    found = chosen.suspects(nearest, labels[open_places])
    open_places = open_places[[suspect.synthetic for suspect in found]]
    dropped += np.bincount(labels[open_places], minlength=len(counts))
    if not open_places.size or draws == ROUNDS:
      break
    draws += 1
    # Not in place: what JAX returns may be read-only.
    images = images.copy()
    images[open_places] = sample(labels[open_places], draws)
  missing = np.bincount(labels[open_places], minlength=len(counts))
  for name, asked, lost in zip(class_names, counts, missing, strict=True):
    if asked and asked - lost < 2:
      raise errors.InputError(
        f"The generator draws hardly anything of class {name} but copies of "
        f"its training images: {lost} of {asked} images are suspected after "
        f"{ROUNDS} further draws. config.drop_copies=False keeps them."
      )
  by_name = lambda values: dict(zip(class_names, values.tolist(), strict=True))
  logging.info(
    "%d suspected copies of training images were dropped (%s), in %d further "
    "draws.",
    dropped.sum(),
    ", ".join(f"{name} {n}" for name, n in by_name(dropped).items() if n)
    or "none",
    draws,
  )
  if open_places.size:
    logging.warning(
      "%d images are missing: all draws for them were suspected copies.",
      open_places.size,
    )
  report = {
    "dropped": by_name(dropped),
    "missing": by_name(missing),
    "draws": draws,
    "thresholds": by_name(chosen.limits),
  }
  kept = np.delete(np.arange(len(labels)), open_places)
  return images[kept], labels[kept], report
