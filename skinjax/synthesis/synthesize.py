"""The task that makes an image folder from a trained generator."""

import pathlib
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np
from absl import logging

import skinjax
from skinjax.data import datasets, image_folder, provenance
from skinjax.metrics import copies as criteria
from skinjax.metrics import diversity
from skinjax.report import sheets
from skinjax.runtime import errors, files, randomness, workdir
from skinjax.synthesis import copy_filter, generators
from skinjax.training import trained

_COLUMNS = 16  # of the sheet


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path) -> dict:
  """Makes WORKDIR/synthetic, and says what its images are worth.

  Writes `synthetic/` (see data/image_folder.py), `sheet.png` and
  `summary.json`, which is returned; see `judge`. The data set is needed only
  where copies are to be dropped.

  Raises:
    InputError: no generator, one of other data, too few images, or a folder
      that another generator made.
  """
  config = ml_collections.FrozenConfigDict(config)
  if not config.generator:
    raise errors.InputError(
      "config.generator is empty: name the workdir of a trained GAN."
    )
  require_several(config.per_class)
  generator = generators.load(config.generator, config.generator_checkpoint)
  info, asked = generator.info, tuple(map(str, config.data.classes))
  for name in asked:
    errors.require_known("class of this generator", name, info.class_names)
  classifier = None
  if config.classifier:
    classifier = trained.load_classifier(config.classifier)
    trained.require_for(classifier, info)
  contents = {
    "generator": generator.digest,
    "classifier": classifier and classifier.digest,
  }
  with workdir.claim(path, config, contents=contents) as path:
    copies = None
    if config.drop_copies:
      dataset = datasets.load(config.data)
      provenance.write_origin(path, dataset)
      copies = criteria.by_pixels(dataset, generator.origin["groups"])
    drawn = [not asked or name in asked for name in info.class_names]
    folder = obtain(
      path / "synthetic",
      generator,
      config.per_class * np.array(drawn),
      config.seed,
      copies,
    )
    summary = judge(folder.split, generator, classifier)
    files.write_json(path / "summary.json", summary)
    sheet(folder.split, info.class_names).save(path / "sheet.png")
    logging.info("%d images are in %s", len(folder.split.labels), folder.path)
    return summary


def require_several(per_class: int) -> None:
  """Raises an InputError unless a class gets two images at least."""
  if per_class < 2:
    raise errors.InputError(
      f"per_class={per_class}: at least 2 images of a class, or there is no "
      "diversity to measure."
    )


def obtain(
  directory: pathlib.Path,
  generator: generators.Generator,
  counts: np.ndarray,
  seed: int,
  copies: criteria.Criterion | None = None,
) -> image_folder.ImageFolder:
  """Reads a generator's image folder; draws and writes it first if need be.

  Images that `copies` tells to be copies are not drawn; counts are [classes].

  Raises:
    InputError: another generator made what is there.
  """
  if not directory.exists():
    make(directory, generator, counts, seed, copies)
  folder = image_folder.read(directory, generator.info)
  maker = folder.provenance.get("generator")
  digest = maker.get("state_sha256") if isinstance(maker, Mapping) else None
  if digest != generator.digest:
    raise errors.InputError(
      f"{directory} was made by another generator, or before this one had "
      "trained further: use another workdir."
    )
  return folder


def make(
  directory: pathlib.Path,
  generator: generators.Generator,
  counts: np.ndarray,
  seed: int,
  copies: criteria.Criterion | None = None,
) -> None:
  """Draws images and writes them as an image folder; see `obtain`.

  Raises:
    InputError: a class has hardly any images that are no suspected copies.
  """
  labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
  key, told = generators.synthesis_key(seed), {}
  if copies is None:
    pixels = generator.sample_by_key(labels, key)
  else:
    again = lambda number: (
      randomness.named(key, f"again {number}") if number else key
    )
    pixels, labels, dropped = copy_filter.draw(
      lambda labels, number: generator.sample_by_key(labels, again(number)),
      labels,
      copies,
      generator.class_names,
    )
    told = {"copies": dropped}
  image_folder.write(
    directory,
    pixels,
    labels,
    class_names=generator.class_names,
    seed=seed,
    provenance=provenance_of(generator) | told,
  )


def provenance_of(generator: generators.Generator) -> dict[str, Any]:
  """Says who makes a generator's images; see data/image_folder.py."""
  return {
    "name": generator.title,
    "command": shlex.join(["python", *sys.argv]),
    "skinjax": skinjax.__version__,
    "generator": {
      "workdir": str(generator.path),
      "step": generator.step,
      "state_sha256": generator.digest,
      "config": generator.networks[0].config.to_dict(),
    },
    "trained_on": generator.origin,
    "pretrained": generator.origin.get("pretrained", []),
  }


def judge(
  split: datasets.Split,
  generator: generators.Generator,
  classifier: trained.Trained | None = None,
) -> dict[str, dict]:
  """Says by class how diverse images are, and whether they show what was asked.

  The classifier is one that was trained on real images.

  Returns:
    By class that has images: `images`; `diversity_ratio`, mean pairwise
    distance over that of training images, and whether it has `collapsed`, both
    None where the generator is of an earlier version; and `agreement`, the
    share of images that the classifier puts in the asked class, None without
    one.
  """
  info = generator.info
  compared = diversity.compare(
    diversity.distances(split.images, split.labels, info.class_names),
    generator.origin.get("diversity", {}),
    info.collapse,
  )
  agrees = trained.agrees(classifier, split) if classifier else None
  summary = {}
  for label, name in enumerate(info.class_names):
    chosen = split.labels == label
    if not chosen.any():
      continue
    found = compared.get(name)
    row = {
      "images": int(chosen.sum()),
      "diversity_ratio": found and found.ratio,
      "collapsed": found and found.collapsed,
      "agreement": None if agrees is None else float(agrees[chosen].mean()),
    }
    summary[name] = row
    words = f"{name:<6} {row['images']:5d} images"
    if found:
      words += f"  diversity {found.ratio:.2f} of real"
      words += "  COLLAPSED" * found.collapsed
    if agrees is not None:
      words += f"  agreement {row['agreement']:.2f}"
    logging.info("%s", words)
  return summary


def sheet(split: datasets.Split, class_names: tuple[str, ...]):
  """Draws the first images of each class that has some, a row a class."""
  shown, counts = np.unique(split.labels, return_counts=True)
  columns = min(_COLUMNS, *counts)
  rows = [split.images[split.labels == label][:columns] for label in shown]
  return sheets.contact_sheet(
    np.stack(rows), [class_names[label] for label in shown]
  )
