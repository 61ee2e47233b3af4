"""Which of a set's images are copies of training images, and of which.

Two criteria, each with thresholds of its own that real images set: pixels, and
features; see metrics/copies.py. Images are compared in all 8 orientations.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from skinjax.data import datasets
from skinjax.metrics import (
  authenticity,
  copies,
  memorization,
  neighbours,
  pixels,
)

ORIENTATIONS = tuple(
  f"{flipped}{turned}".strip(", ") or "as it is"
  for flipped in ("", "transposed, ")
  for turned in ("", "turned by 90°", "turned by 180°", "turned by 270°")
)


_MOST = 4000  # held-out images
_RATE = 0.01  # of real images that may be flagged, by any of the criteria


class Vectors(NamedTuple):
  """Images as vectors: [n, d] as they are, [8, n, d] in all orientations.

  `orient` returns those of the training images at some indices.
  """

  train: np.ndarray
  orient: Callable[[np.ndarray], np.ndarray]
  held_out: np.ndarray
  held_out_oriented: np.ndarray
  synthetic_oriented: np.ndarray


class Found(NamedTuple):
  """What was found.

  Attributes:
    summary: as `copies` of an evaluation; see judging/page.py.
    suspects: of metrics/copies.py, nearest first by share of the threshold.
    training: by kind, the nearest training image of each synthetic one.
    held_out: likewise the nearest held-out image.
  """

  summary: dict[str, Any]
  suspects: list[copies.Suspect]
  training: dict[str, neighbours.Nearest]
  held_out: dict[str, neighbours.Nearest]


def some(held_out: datasets.Split, seed: int) -> datasets.Split:
  """Draws as many held-out images as thresholds need at most."""
  order = np.random.default_rng(seed).permutation(len(held_out.labels))
  return held_out.take(np.sort(order[:_MOST]))


def of_pixels(
  dataset: datasets.Dataset, held_out: datasets.Split, synthetic: datasets.Split
) -> Vectors:
  """Describes images by their pixels; see metrics/pixels.py."""
  orient = lambda places: pixels.oriented_vectors(dataset.train.images[places])
  held, made = (
    pixels.oriented_vectors(split.images) for split in (held_out, synthetic)
  )
  train = pixels.vectors(dataset.train.images)
  return Vectors(train, orient, held[0], held, made)


def of_features(
  extract: Callable[[np.ndarray, str], np.ndarray],
  dataset: datasets.Dataset,
  held_out: datasets.Split,
  synthetic: datasets.Split,
) -> Vectors:
  """Describes images by features.

  Args:
    extract: computes those of images [n, size, size, channels]; it is told in
      words which images these are.
    dataset: the real images.
    held_out: those of other lesions than training's.
    synthetic: the generated ones.
  """
  turned = lambda images, what: np.stack(
    [
      extract(np.ascontiguousarray(image), f"{what}, {ORIENTATIONS[k]},")
      for k, image in enumerate(pixels.orientations(images))
    ]
  )
  images = dataset.train.images
  orient = lambda places: turned(images[places], "nearest training")
  held = turned(held_out.images, "held-out")
  made = turned(synthetic.images, "synthetic")
  return Vectors(extract(images, "training"), orient, held[0], held, made)


def judge(
  vectors: dict[str, Vectors],
  dataset: datasets.Dataset,
  held_out: datasets.Split,
  synthetic: datasets.Split,
  seed: int,
) -> Found:
  """Lists suspected copies, and tests each class for memorization.

  Args:
    vectors: by kind; the test and authenticity are of `features`.
    dataset: the real images.
    held_out: those of other lesions than training's.
    synthetic: the generated ones.
    seed: of permutations and halves.
  """
  names, listed, nearest, flags = dataset.info.class_names, [], {}, []
  rate = _RATE / len(vectors)
  for kind, of_kind in vectors.items():
    real = neighbours.nearest(of_kind.held_out_oriented, of_kind.train)
    limits = copies.thresholds(
      real.distance, held_out.labels, held_out.groups, len(names), rate=rate
    )
    found = neighbours.nearest(of_kind.synthetic_oriented, of_kind.train)
    listed += copies.suspects(found, synthetic.labels, limits, kind)
    nearest[kind] = found
    flags.append(_flagged(real.distance, held_out, len(names), rate))
  listed.sort(key=lambda s: s.distance / s.threshold)
  suspected = np.isin(
    np.arange(len(synthetic.labels)), [s.synthetic for s in listed]
  )
  tests = _tests(vectors["features"], dataset, held_out, synthetic, seed)
  authentic = _authentic(vectors["features"], dataset, synthetic)
  summary = {"classes": {}, "heldout_flagged": float(np.mean(np.any(flags, 0)))}
  for label, name in enumerate(names):
    mine = synthetic.labels == label
    test = tests.get(name)
    summary["classes"][name] = {
      "images": int(mine.sum()),
      "suspects": int(suspected[mine].sum()),
      "nearer_share": test and test.share,
      "nearer_low": test and test.low,
      "nearer_high": test and test.high,
      "p_value": test and test.p_value,
      "authenticity": authentic.get(name),
    }
  summary["suspects"] = [
    {
      "synthetic": str(synthetic.image_ids[suspect.synthetic]),
      "training": str(dataset.train.image_ids[suspect.training]),
      "transform": ORIENTATIONS[suspect.orientation],
      "kind": suspect.kind,
      "distance": suspect.distance,
      "threshold": suspect.threshold,
    }
    for suspect in listed
  ]
  held = {
    kind: neighbours.nearest(v.synthetic_oriented, v.held_out)
    for kind, v in vectors.items()
  }
  return Found(summary, listed, nearest, held)


def _flagged(
  distances: np.ndarray, held_out: datasets.Split, classes: int, rate: float
) -> np.ndarray:
  """Tells which held-out images half of the others' thresholds would flag.

  Thresholds of all of them would flag too few of themselves.
  """
  _, lesions = np.unique(held_out.groups, return_inverse=True)
  half = np.random.default_rng(0).integers(2, size=lesions.max() + 1)[lesions]
  flagged = np.zeros(len(distances), bool)
  for side in (0, 1):
    mine, other = half == side, held_out.take(half != side)
    if mine.any() and len(other.labels):
      limits = copies.thresholds(
        distances[half != side], other.labels, other.groups, classes, rate=rate
      )
      flagged[mine] = distances[mine] < limits[held_out.labels[mine]]
  return flagged


def _tests(vectors, dataset, held_out, synthetic, seed):
  """Tests by class whether training images are nearer than held-out ones."""
  train = dataset.train
  return memorization.by_class(
    vectors.synthetic_oriented,
    synthetic.labels,
    memorization.Reals(vectors.train, train.labels, train.groups),
    memorization.Reals(vectors.held_out, held_out.labels, held_out.groups),
    dataset.info.class_names,
    seed=seed,
  )


def _authentic(vectors, dataset, synthetic) -> dict[str, float]:
  """Computes by class the share of images that are authentic."""
  shares = {}
  for label, name in enumerate(dataset.info.class_names):
    mine = synthetic.labels == label
    real = np.flatnonzero(dataset.train.labels == label)
    groups = dataset.train.groups[real]
    if mine.any() and len(np.unique(groups)) > 1:
      found = authenticity.authentic(
        vectors.synthetic_oriented[:, mine],
        vectors.train[real],
        groups,
        orient=lambda places, real=real: vectors.orient(real[places]),
      )
      shares[name] = float(found.mean())
  return shares
