"""The task that lists the images that a generator may be trained on."""

import pathlib

import ml_collections
from absl import logging

from skinjax.data import datasets
from skinjax.runtime import errors, files, workdir
from skinjax.study import folds
from tfds_ham10000 import SPLITS

TABLE = "split.csv"


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path) -> None:
  """Write each fold's split, and the provenance of images for it.

  In WORKDIR/FOLD, or WORKDIR itself for the fixed split: `split.csv` with the
  columns image_id, label, group and split, and a `provenance.json` for images
  by a generator that was trained on `split=train` alone. Once the images are
  next to them, in a folder for each class, a study takes that directory as
  `synthetic`. Existing files are kept.

  Raises:
    InputError: the directory has the split of other images.
  """
  config = ml_collections.FrozenConfigDict(config)
  numbers = folds.numbers(config)
  loaded = {number: folds.whole(config, number) for number in numbers}
  fixed = numbers == (-1,)
  with workdir.claim(path, config) as path:
    for number, dataset in loaded.items():
      _write(path if fixed else path / str(number), dataset)
    shown = path if fixed else path / "{fold}"
    logging.info(
      "%s a generator on the images that %s lists as train, and put its images "
      "next to that table, in a folder for each class. Then add "
      "--config.folds=%s --config.synthetic=%s to the study's command.",
      "Train" if fixed else "For each fold, train",
      shown / TABLE,
      ",".join(map(str, numbers)) + "," * fixed,
      shown,
    )


def _write(place: pathlib.Path, dataset: datasets.Dataset) -> None:
  names = dataset.info.class_names
  rows = [("image_id", "label", "group", "split")]
  for name, split in zip(SPLITS, dataset.splits, strict=True):
    labels = [names[label] for label in split.labels]
    columns = (split.image_ids.tolist(), labels, split.groups.tolist())
    rows += [(*row, name) for row in zip(*columns, strict=True)]
  place.mkdir(exist_ok=True)
  table, text = place / TABLE, files.table(rows)
  if not table.exists():
    ids = dataset.train.image_ids.tolist()
    files.write_json(
      place / "provenance.json",
      {"trained_on": {"image_ids": ids}, "pretrained": []},
    )
    files.write_text(table, text)
  elif table.read_text() != text:
    raise errors.InputError(
      f"{table} is of other images than {dataset.info.name} has now: use "
      "another directory."
    )
