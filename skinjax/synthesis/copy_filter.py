"""Draws images of a generator and leaves out copies of its training images."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging

from skinjax.data import datasets
from skinjax.metrics import copies, neighbours, pixels
from skinjax.runtime import errors, randomness
from skinjax.training import trained

# Further draws for those left out: of a generator that draws one copy in two,
# one place in 2000 is left; one that draws nothing else comes to an end.
ROUNDS = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Filter:
  """What tells copies of training images, by pixels; see metrics/copies.py.

  Attributes:
    training: float32 [n, d], the vectors of the images learnt from.
    limits: float64 [classes], distances under which an image is suspected.
  """

  training: np.ndarray
  limits: np.ndarray

  def suspects(
    self, images: np.ndarray, labels: np.ndarray
  ) -> list[copies.Suspect]:
    """Lists which of generated images are suspected.

    Args:
      images: uint8 [m, size, size, channels].
      labels: int32 [m].
    """
    found = neighbours.nearest(pixels.oriented_vectors(images), self.training)
    return copies.suspects(found, labels, self.limits, "pixels")


def calibrate(dataset: datasets.Dataset, groups: Sequence[str]) -> Filter:
  """Learns from real images how near to the training images is too near.

  Args:
    dataset: the real images, of all splits.
    groups: the lesions that the generator has learnt from, whichever splits
      they are in here.

  Raises:
    InputError: it has learnt from none of these images, or from all.
  """
  splits = (dataset.train, dataset.validation, dataset.test)
  images, labels, of = (
    np.concatenate([getattr(split, name) for split in splits])
    for name in ("images", "labels", "groups")
  )
  learnt = np.isin(of, list(groups))
  if learnt.all() or not learnt.any():
    which = "all" if learnt.all() else "none"
    raise errors.InputError(
      f"The generator has learnt from {which} of the lesions of "
      f"{dataset.info.name}, and copies are told by training images and "
      "others: use config.drop_copies=False."
    )
  training = pixels.vectors(images[learnt])
  other = pixels.oriented_vectors(images[~learnt])
  limits = copies.thresholds(
    neighbours.nearest(other, training).distance,
    labels[~learnt],
    of[~learnt],
    dataset.info.num_classes,
  )
  return Filter(training, limits)


def samples(
  generator: trained.Trained,
  labels: np.ndarray,
  seed: int,
  chosen: Filter | None = None,
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
  """Draws a generator's images for a synthetic set; see `draw`.

  Args:
    generator: a trained GAN.
    labels: int32 [m].
    seed: of the latents.
    chosen: the filter; None for none.

  Returns:
    The images and labels, and for provenance.json what is to be told as
    `copies`: without a filter nothing.

  Raises:
    InputError: as `draw`.
  """
  key = randomness.named(jax.random.key(seed), "synthesize")

  def sample(labels, number):
    return trained.samples(
      generator.task,
      generator.state,
      labels,
      randomness.named(key, f"again {number}") if number else key,
      config=generator.config,
      info=generator.info,
    )

  if chosen is None:
    return sample(labels, 0), labels, {}
  names = generator.info.class_names
  images, labels, told = draw(sample, labels, chosen, names)
  return images, labels, {"copies": told}


def draw(
  sample: Callable[[np.ndarray, int], np.ndarray],
  labels: np.ndarray,
  chosen: Filter,
  class_names: Sequence[str],
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
  """Draws images, and others in the place of suspected copies.

  What is no copy stays what it is without the filter. After ROUNDS further
  draws a place that has still a suspect is given up.

  Args:
    sample: draws an image for each label; takes int32 [m] and the number of
      the draw, from 0 on, and returns uint8 [m, size, size, channels].
    labels: int32 [m].
    chosen: the filter.
    class_names: by label.

  Returns:
    The images and labels that are left, and what is to be told: by class how
    many images were `dropped` and how many are `missing` after all, the
    number of further `draws`, and the `thresholds`.

  Raises:
    InputError: of a class that was asked for fewer than two images are left.
  """
  images = sample(labels, 0)
  counts = np.bincount(labels, minlength=len(class_names))
  dropped = np.zeros_like(counts)
  open_places, draws = np.arange(len(labels)), 0
  while True:
    found = chosen.suspects(images[open_places], labels[open_places])
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
