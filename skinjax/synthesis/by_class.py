"""The task that trains a GAN for each class alone, and draws from all of them.

Trained, they are one generator to those who draw; see generators.py.
"""

import pathlib
import shutil

import ml_collections
import numpy as np
from absl import logging

from skinjax.data import datasets, provenance
from skinjax.runtime import workdir
from skinjax.synthesis import generators, synthesize
from skinjax.training import loop, tasks, trained


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path) -> None:
  """Train a GAN on each class in turn, in WORKDIR/CLASS, and draw images.

  What is done is not done again; with more gan.train.steps each GAN goes on
  from what is there, and the images are drawn anew. At the end there are
  `synthetic/`, an image folder, and `sheet.png`, a row a class.

  Raises:
    InputError: bad config, data or workdir, or a training that has diverged.
    Interrupted: SIGTERM or Ctrl-C has come; the state is saved.
  """
  config = ml_collections.FrozenConfigDict(config)
  task = tasks.gan(config.gan.task)
  synthesize.require_several(config.per_class)
  loop.check(_part(config, "any"))
  key, places = "gan.train.steps", pathlib.Path(path).glob("*/")
  rules = {key: loop.steps_rule(task, key, places)}
  with workdir.claim(path, config, rules=rules) as path:
    dataset = datasets.load(config.data)
    provenance.write_origin(path, dataset)
    names = dataset.info.class_names
    for number, name in enumerate(names):
      if trained.is_trained(path / name, config.gan.train.steps):
        continue
      logging.info("%s, %d of %d classes", name, number + 1, len(names))
      # Whatever was drawn there, one of its GANs was not what it will be.
      shutil.rmtree(path / "synthetic", ignore_errors=True)
      loop.train(task, _part(config, name), path / name)
    folder = synthesize.obtain(
      path / "synthetic",
      generators.load(path),
      np.full(len(names), config.per_class),
      config.seed,
    )
    synthesize.sheet(folder.split, names).save(path / "sheet.png")
    logging.info(
      "%d GANs are trained; %s/sheet.png shows them, and their images are in "
      "%s",
      len(names),
      path,
      folder.path,
    )


def _part(config, name: str) -> ml_collections.FrozenConfigDict:
  """Make the config of one class's GAN."""
  part = workdir.composed(config, "gan")
  part.data.classes = (name,)
  return ml_collections.FrozenConfigDict(part)
