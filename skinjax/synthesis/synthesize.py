"""The task that makes a synthetic set from a trained generator."""

import pathlib

import jax
import ml_collections
import numpy as np
from absl import logging

import skinjax
from skinjax.data import datasets, image_folder
from skinjax.metrics import copies as criteria
from skinjax.metrics import diversity
from skinjax.report import sheets
from skinjax.runtime import errors, files, randomness, workdir
from skinjax.synthesis import copy_filter
from skinjax.training import trained

_COLUMNS = 16  # of the sheet


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path) -> dict:
  """Makes WORKDIR/synthetic, and says what its images are worth.

  Writes `synthetic/` (see image_folder.py), `sheet.png` and `summary.json`:
  by class the diversity beside that of real images, and, if the config names
  a classifier, how often it agrees with the class that was asked for.

  Args:
    config: of configs/synthesize.py.
    path: the workdir.

  Returns:
    What summary.json holds.

  Raises:
    InputError: no generator, one of other data, too few images, or a set that
      another generator made.
  """
  config = ml_collections.FrozenConfigDict(config)
  if not config.generator:
    raise errors.InputError(
      "config.generator is empty: name the workdir of a trained GAN."
    )
  require_several(config.per_class)
  with workdir.claim(path, config) as path:
    dataset = datasets.load(config.data)
    info, target = dataset.info, path / "synthetic"
    which = config.generator_checkpoint
    generator = trained.load_generator(config.generator, which)
    trained.require_for(generator, info)
    judge_of = copies = None
    if config.classifier:
      judge_of = trained.load_classifier(config.classifier)
      trained.require_for(judge_of, info)
    counts = np.full(info.num_classes, config.per_class)
    if config.drop_copies:
      copies = criteria.by_pixels(dataset, generator.origin["groups"])
    split = obtain(target, generator, counts, config.seed, copies)
    summary = judge(split, dataset, judge_of)
    files.write_json(path / "summary.json", summary)
    sheet(split, info.class_names).save(path / "sheet.png")
    logging.info("%d images are in %s", len(split.labels), target)
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
  generator: trained.Trained,
  counts: np.ndarray,
  seed: int,
  copies: criteria.Criterion | None = None,
) -> datasets.Split:
  """Reads a synthetic set; draws and writes it first if it is not there.

  Args:
    directory: where it is.
    generator: a trained GAN.
    counts: how many images of each class, [classes].
    seed: of the latents.
    copies: tells images that are not to be drawn; None for none.

  Returns:
    The images.

  Raises:
    InputError: another generator made what is there.
  """
  if not directory.exists():
    make(directory, generator, counts, seed, copies)
  folder = image_folder.read(directory, generator.info)
  maker = folder.provenance.get("generator")
  digest = maker.get("state_sha256") if isinstance(maker, dict) else None
  if digest != generator.digest:
    raise errors.InputError(
      f"{directory} was made by another generator, or before this one had "
      "trained further: use another workdir."
    )
  return folder.split


def make(
  directory: pathlib.Path,
  generator: trained.Trained,
  counts: np.ndarray,
  seed: int,
  copies: criteria.Criterion | None = None,
) -> None:
  """Draws images and writes them as a synthetic set.

  Args:
    directory: where it goes.
    generator: a trained GAN.
    counts: how many images of each class, [classes].
    seed: of the latents.
    copies: tells images that are not to be drawn; None for none.

  Raises:
    InputError: a class has hardly any other images.
  """
  labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
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

  told = {}
  if copies is None:
    images = sample(labels, 0)
  else:
    names = generator.info.class_names
    images, labels, found = copy_filter.draw(sample, labels, copies, names)
    told = {"copies": found}
  image_folder.write(
    directory,
    images,
    labels,
    class_names=generator.info.class_names,
    seed=seed,
    provenance={
      "name": generator.task.title,
      "skinjax": skinjax.__version__,
      "generator": {
        "step": generator.step,
        "state_sha256": generator.digest,
        "config": generator.config.to_dict(),
      },
      "trained_on": generator.origin,
      **told,
    },
  )


def judge(
  split: datasets.Split,
  dataset: datasets.Dataset,
  classifier: trained.Trained | None = None,
) -> dict[str, dict]:
  """Says by class how diverse a set is, and whether it shows what was asked.

  Args:
    split: the synthetic images.
    dataset: the real ones; the training split is compared with.
    classifier: one that was trained on them; None for none.

  Returns:
    By class that has at least two images of either kind: `images`;
    `diversity_ratio`, mean pairwise distance over that of real images;
    `collapsed`; and `agreement`, the share of images that the classifier puts
    in the asked class, None without one.
  """
  info = dataset.info
  compared = diversity.compare_images(
    split, dataset.train, info.class_names, info.collapse
  )
  agrees = trained.agrees(classifier, split) if classifier else None
  summary = {}
  for name, found in compared.items():
    chosen = split.labels == info.class_names.index(name)
    row = {
      "images": int(chosen.sum()),
      "diversity_ratio": found.ratio,
      "collapsed": found.collapsed,
      "agreement": None if agrees is None else float(agrees[chosen].mean()),
    }
    summary[name] = row
    words = "" if agrees is None else f"  agreement {row['agreement']:.2f}"
    logging.info(
      "%-6s %5d images  diversity %.2f of real%s%s",
      name,
      row["images"],
      row["diversity_ratio"],
      "  COLLAPSED" if row["collapsed"] else "",
      words,
    )
  return summary


def sheet(split: datasets.Split, class_names: tuple[str, ...]):
  """Draws the first images of each class, a row a class."""
  count = min(_COLUMNS, *np.bincount(split.labels))
  rows = [
    split.images[split.labels == label][:count]
    for label in range(len(class_names))
  ]
  return sheets.contact_sheet(np.stack(rows), class_names)
