r"""Time the evaluation of images: features, and distances by class.

  python -m benchmarks.evaluation [--sizes=64,128] [--images=10015] \
    [--synthetic=1000] [--json=FILE]

Features are EfficientNet-Lite0's, of random images of 64x64 pixels, resized to
each input size; the time includes the first batch, which compiles. Distances
are computed from random features, with HAM10000's numbers of images: by class
and for all classes, for synthetic images, floor and ceiling, with intervals;
see skinjax/judging/distances.py.
"""

import argparse
import os
import time
from typing import Any

import numpy as np

import tfds_ham10000
from benchmarks import arguments, measure
from skinjax.judging import distances
from skinjax.metrics import features
from skinjax.runtime import files

# HAM10000's own splits, validation and test combined.
TRAIN = (224, 355, 757, 86, 790, 4681, 99)
HELD_OUT = (103, 159, 342, 29, 323, 2024, 43)
_DIMS = 1280


def extracting(size: int, images: int) -> float:
  """Return the seconds to compute features of a number of images."""
  rng = np.random.default_rng(0)
  pictures = rng.integers(0, 256, (images, 64, 64, 3), np.uint8)
  extractor = features.efficientnet(size)
  start = time.perf_counter()
  features.extract(extractor, pictures)
  return time.perf_counter() - start


def comparing(
  train: tuple[int, ...], held_out: tuple[int, ...], synthetic: int
) -> float:
  """Return the seconds to compute all distances.

  Args:
    train: number of training images of each class.
    held_out: number of held-out images of each class.
    synthetic: number of synthetic images per class.
  """
  rng = np.random.default_rng(0)
  sets = []
  for counts in (train, held_out, (synthetic,) * len(train)):
    labels = np.repeat(np.arange(len(counts)), counts)
    values = rng.normal(size=(len(labels), _DIMS)).astype(np.float32)
    sets.append(distances.Features(values, labels, np.arange(len(labels))))
  start = time.perf_counter()
  distances.compare(*sets, tfds_ham10000.CLASSES[: len(train)], seed=0)
  return time.perf_counter() - start


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Run the requested timings; return the JSON document."""
  rows = {}
  for size in args.sizes:
    rows[f"features of {args.images} images at {size}"] = extracting(
      size, args.images
    )
  rows[f"distances of 7 x {args.synthetic} images"] = comparing(
    TRAIN, HELD_OUT, args.synthetic
  )
  return {"cpu": measure.cpu(), "cores": os.cpu_count(), "seconds": rows}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
  """Parse arguments, or exit with a one-line error."""
  parser = arguments.Parser(
    prog="python -m benchmarks.evaluation",
    description=__doc__.split("\n")[0],
  )
  add = parser.add_argument
  add("--sizes", type=arguments.positives, default=[64, 128], help="of inputs")
  add("--images", type=arguments.positive, default=10_015)
  add("--synthetic", type=arguments.positive, default=1000, help="per class")
  add("--json", type=arguments.file, help="also write results here")
  return parser.parse_args(argv)


def main() -> None:
  """Print the seconds."""
  args = parse()
  document = run(args)
  print(f"{document['cpu']}, {document['cores']} cores")
  for what, seconds in document["seconds"].items():
    print(f"{what}: {seconds:.1f} s")
  if args.json:
    files.write_json(args.json, document)


if __name__ == "__main__":
  main()
