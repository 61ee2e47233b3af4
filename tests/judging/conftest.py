import numpy as np
import pytest

from skinjax.judging import page, plots

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def _estimate(value, half):
  return {"value": value, "low": value - half, "high": value + half}


def _distance(extractor, name, comparison, value):
  row = {
    "extractor": extractor,
    "frechet_name": f"FD({extractor})",
    "class": name,
    "comparison": comparison,
    "against": "nv" if comparison == "ceiling" else None,
    "num_real": 115,
    "num_fake": 60,
  }
  if value is None:
    return {**row, "refused": "It has 3 images, and 10 are needed."}
  limit, counts = 321.5 * value + 7.25, [57, 65, 76, 91, 115]
  values = [limit + 700 / n for n in counts]
  best = {"precision": 0.9, "recall": 0.8, "density": 1.05, "coverage": 0.85}
  return {
    **row,
    "frechet": values[-1],
    "curve": {
      "counts": counts,
      "values": values,
      "limit": limit,
      "spread": 1.5,
    },
    "kernel": _estimate(value, 0.01),
    "prdc": {share: at_0 - value for share, at_0 in best.items()},
  }


def _diversity(collapsed):
  generated, ratio = (0.05, 0.238) if collapsed else (0.19, 0.905)
  row = {"real": 0.21, "generated": generated, "ratio": ratio}
  return {**row, "collapsed": collapsed}


@pytest.fixture(scope="session")
def make_evaluation():
  """Return a function that makes up an evaluation from the KIDs of classes."""

  def make(kids=None, extractors=("EffLite0@64",), collapsed=(), **change):
    if kids is None:
      values = (0.03, 0.05, 0.2, None, 0.005, 0.31, 0.042)
      kids = dict(zip(CLASSES, values, strict=True))
    names = [name for name in kids if name is not None]
    images = {"train": 1115, "heldout": 60, "synthetic": 100}
    images = {f"{split}_images": count for split, count in images.items()}
    return {
      "schema": 2,
      "name": "demo",
      "data": "HAM10000, 64×64",
      "drawn": False,
      "subject": "700 images of the folder runs/synthetic",
      "command": "python main.py --config=configs/evaluate.py",
      "classes": [{"name": name, **images} for name in names],
      "collapse": 0.5,
      "diversity": {name: _diversity(name in collapsed) for name in names},
      "distances": [
        _distance(extractor, name, comparison, value)
        for extractor in extractors
        for name, kid in kids.items()
        for comparison, value in (
          ("synthetic", kid),
          ("floor", None if kid is None else 0.002),
          ("ceiling", 0.25),
        )
      ],
      "usefulness": None,
      "copies": {"orientations": 8, "classes": {}, "suspects": []},
      "notes": [],
      "next_steps": [],
      **change,
    }

  return make


@pytest.fixture(scope="session")
def full_evaluation(make_evaluation):
  """An evaluation with all parts, and two extractors."""
  pair = lambda synthetic, real: {
    "synthetic": _estimate(synthetic, 0.06),
    "real": _estimate(real, 0.06),
  }
  suspect = {
    "training": "ISIC_0024306",
    "transform": "mirrored",
    "distance": 0.0173,
    "threshold": 0.0345,
  }
  return make_evaluation(
    extractors=("EffLite0@64", "Inception-v3@299"),
    collapsed=("vasc",),
    usefulness={
      "classifier": "EfficientNet-Lite0, 2,000 steps",
      "agreement": {
        name: {**_estimate(0.3 + 0.08 * i, 0.06), "images": 100}
        for i, name in enumerate(CLASSES)
      },
      "cas": {
        "classes": dict.fromkeys(CLASSES, pair(0.413, 0.527)),
        "balanced_accuracy": pair(0.412, 0.583),
        "majority": 1 / 7,
        "images": dict.fromkeys(CLASSES, 100),
      },
    },
    copies={
      "orientations": 8,
      "classes": {
        name: {
          "images": 100,
          "suspects": 2 * (name == "vasc"),
          "heldout_images": 200,
          "heldout_suspects": 2 * (i > 2),
          "nearer_share": 0.5 + 0.05 * i,
          "nearer_low": 0.41 + 0.05 * i,
          "nearer_high": 0.59 + 0.05 * i,
          "p_value": 0.001 if name == "vasc" else 0.5**i / 4,
          "authenticity": 0.731,
        }
        for i, name in enumerate(CLASSES)
      },
      "suspects": [
        {**suspect, "synthetic": f"vasc/{i:05}.png", "kind": kind}
        for i, kind in enumerate(("pixels", "features"))
      ],
    },
    notes=["Inception-v3 has seen photographs, not lesions."],
    next_steps=["Look at the suspected copies."],
  )


@pytest.fixture(scope="session")
def full_embedding():
  """A map of seven classes."""
  rng = np.random.default_rng(0)
  labels = np.repeat(np.arange(7), 60)
  points = plots.project(
    rng.normal(size=(420, 8)) + np.eye(8)[labels] * 3,
    rng.normal(size=(420, 8)) + np.eye(8)[labels] * 4,
  )
  return plots.embedding(points, labels, labels, [*"abcdef", "$x^{$"])


@pytest.fixture(scope="session")
def full_pictures(full_embedding):
  """All pictures of `full_evaluation`."""
  rng = np.random.default_rng(0)
  draw = lambda num: (
    rng.integers(0, 256, (num, 8, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
  )
  return page.Pictures(
    real={name: draw(16) for name in CLASSES},
    synthetic={name: draw(16) for name in CLASSES},
    pairs=[
      page.Pair(*draw(3), f"vasc/{i:05}.png, mirrored", i < 2) for i in range(4)
    ],
    interpolations={name: draw(8) for name in CLASSES},
    embedding=full_embedding,
  )
