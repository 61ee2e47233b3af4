"""Searches images for copies of training images, in pixels and in features.

Thresholds for both are calibrated on real images; see metrics/copies.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from skinjax.data import datasets
from skinjax.metrics import copies, memorization, neighbours, pixels
from skinjax.runtime import progress

ORIENTATIONS = tuple(
  f"{flipped}{turned}".strip(", ") or "as it is"
  for flipped in ("", "transposed, ")
  for turned in ("", "turned by 90°", "turned by 180°", "turned by 270°")
)
MOST = 4000  # held-out images to calibrate on, or a lesion more


class Vectors(NamedTuple):
  """Images as vectors: training images [n, d], the others [k, m, d].

  They are in all 8 orientations, or only as they are. `orient` returns the
  training images at some indices in these.
  """

  train: np.ndarray
  orient: Callable[[np.ndarray], np.ndarray]
  held_out: np.ndarray
  synthetic: np.ndarray


class Found(NamedTuple):
  """The results of a search; those in dicts are by kind of vector."""

  summary: dict[str, Any]  # `copies` of an evaluation; see judging/page.py
  suspects: list[copies.Suspect]  # sorted by distance over threshold
  training: dict[str, neighbours.Nearest]  # of each synthetic image
  held_out: dict[str, neighbours.Nearest]  # of each synthetic image


def some(held_out: datasets.Split, seed: int) -> np.ndarray:
  """Sample held-out lesions until they have `MOST` images to calibrate on.

  Lesions keep all of their images, as training lesions do: with fewer, they
  would be farther from synthetic images. Returns the images' indices.
  """
  lesions = np.unique(held_out.groups, return_inverse=True)[1]
  order = np.random.default_rng(seed).permutation(lesions.max() + 1)
  sizes = np.bincount(lesions)[order]
  before = np.cumsum(sizes) - sizes
  return np.flatnonzero(np.isin(lesions, order[before < MOST]))


def of_pixels(
  train: datasets.Split,
  held_out: datasets.Split,
  synthetic: datasets.Split,
  orientations: int = len(ORIENTATIONS),
) -> Vectors:
  """Describe images by their pixels; see metrics/pixels.py."""
  oriented = lambda images: pixels.oriented_vectors(images)[:orientations]
  return Vectors(
    pixels.vectors(train.images),
    lambda places: oriented(train.images[places]),
    oriented(held_out.images),
    oriented(synthetic.images),
  )


def of_features(
  extract: Callable[[np.ndarray, str], np.ndarray],
  upright: tuple[np.ndarray, np.ndarray, np.ndarray],
  train: datasets.Split,
  held_out: datasets.Split,
  synthetic: datasets.Split,
  orientations: int = len(ORIENTATIONS),
) -> Vectors:
  """Describe images by features.

  `extract` computes the features of images [n, size, size, channels]; its
  second argument is their name in messages. `upright` are the features [n, d]
  of the three splits in their original orientation.
  """

  def oriented(images, first, what):
    turned = pixels.orientations(images)[1:orientations]
    names = (f"{what}, {name}," for name in ORIENTATIONS[1:])
    return np.stack([first, *map(extract, turned, names)])

  of_train, of_held_out, of_synthetic = upright
  return Vectors(
    of_train,
    lambda places: oriented(
      train.images[places], of_train[places], "nearest training"
    ),
    oriented(held_out.images, of_held_out, "held-out"),
    oriented(synthetic.images, of_synthetic, "synthetic"),
  )


def search(
  vectors: dict[str, Vectors],
  train: datasets.Split,
  held_out: datasets.Split,
  synthetic: datasets.Split,
  class_names: tuple[str, ...],
  seed: int,
) -> Found:
  """List suspected copies, and test each class for memorization.

  `vectors` are by kind, "pixels" and "features"; the test and authenticity use
  the features. `seed` determines permutations and halves.
  """
  listed, nearest, flags = [], {}, []
  for kind, of_kind in vectors.items():
    detector = copies.calibrate(
      kind,
      of_kind.train,
      of_kind.held_out,
      held_out.labels,
      held_out.groups,
      len(class_names),
    )
    tell = progress.logger(f"Nearest training images by {kind}")
    nearest[kind] = detector.nearest(of_kind.synthetic, progress=tell)
    listed += detector.suspects(nearest[kind], synthetic.labels)
    flags.append(copies.flagged(detector, held_out.labels, held_out.groups))
  listed.sort(key=lambda s: s.distance / s.threshold)
  suspected = np.zeros(len(synthetic.labels), bool)
  suspected[[suspect.synthetic for suspect in listed]] = True
  features = vectors["features"]
  tests = memorization.by_class(
    features.synthetic,
    synthetic.labels,
    memorization.Reals(features.train, train.labels, train.groups),
    memorization.Reals(features.held_out[0], held_out.labels, held_out.groups),
    class_names,
    seed=seed,
  )
  authentic = memorization.authentic(
    nearest["features"], features.train, train.groups, orient=features.orient
  )
  classes, flagged = {}, np.any(flags, axis=0)
  for label, name in enumerate(class_names):
    mine, test = synthetic.labels == label, tests.get(name)
    real = held_out.labels == label
    classes[name] = {
      "images": int(mine.sum()),
      "suspects": int(suspected[mine].sum()),
      "heldout_images": int(real.sum()),
      "heldout_suspects": int(flagged[real].sum()),
      "nearer_share": test and test.share,
      "nearer_low": test and test.low,
      "nearer_high": test and test.high,
      "p_value": test and test.p_value,
      "authenticity": float(authentic[mine].mean()) if mine.any() else None,
    }
  summary = {
    "orientations": len(features.synthetic),
    "classes": classes,
    "suspects": [
      {
        "synthetic": str(synthetic.image_ids[suspect.synthetic]),
        "training": str(train.image_ids[suspect.training]),
        "transform": ORIENTATIONS[suspect.orientation],
        "kind": suspect.kind,
        "distance": suspect.distance,
        "threshold": suspect.threshold,
      }
      for suspect in listed
    ],
  }
  held = {
    kind: neighbours.nearest(v.synthetic, v.held_out[0])
    for kind, v in vectors.items()
  }
  return Found(summary, listed, nearest, held)
