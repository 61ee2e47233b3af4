"""The task that trains one GAN per class, and samples from all of them.

Together the trained GANs are used as one generator; see generators.py.
"""

import pathlib
import shutil

import ml_collections
import numpy as np
from absl import logging

from skinjax.data import datasets, provenance
from skinjax.runtime import errors, workdir
from skinjax.synthesis import generators, synthesize
from skinjax.training import loop, tasks, trained

_IMAGES = "synthetic"  # the image folder, next to the classes' workdirs


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path) -> None:
  """Train a GAN on each class in turn, in WORKDIR/CLASS, and generate images.

  Finished work is kept; with more gan.train.steps each GAN resumes, and the
  images are generated again. Writes `synthetic/`, an image folder, and
  `sheet.png`, with one row per class.

  Raises:
    InputError: bad config, data or workdir, or training has diverged.
    Interrupted: SIGTERM or Ctrl-C was received; the state is saved.
  """
  config = ml_collections.FrozenConfigDict(config)
  task = tasks.gan(config.gan.task)
  synthesize.require_several(config.per_class)
  loop.check(_part(config, "any"))
  key, places = "gan.train.steps", pathlib.Path(path).glob("*/")
  rules = {key: loop.steps_rule(task, key, places)}
  with workdir.claim(path, config, rules=rules) as path:
    dataset = datasets.load(config.data)
    names = dataset.info.class_names
    if _IMAGES in names:
      raise errors.InputError(
        f"The class {_IMAGES!r} has the name of the folder for all generated "
        "images: rename it."
      )
    provenance.write_origin(path, dataset)
    for number, name in enumerate(names):
      if trained.is_trained(path / name, config.gan.train.steps):
        continue
      logging.info("%s, %d of %d classes", name, number + 1, len(names))
      # Images there are outdated: one of the GANs is trained further.
      shutil.rmtree(path / _IMAGES, ignore_errors=True)
      loop.train(task, _part(config, name), path / name)
    folder = synthesize.obtain(
      path / _IMAGES,
      generators.load(path),
      np.full(len(names), config.per_class),
      config.seed,
    )
    synthesize.write_sheet(path, folder.split, names)
    logging.info(
      "%d GANs are trained; %s/sheet.png shows samples, and their images are "
      "in %s",
      len(names),
      path,
      folder.path,
    )


def _part(config, name: str) -> ml_collections.FrozenConfigDict:
  """Make the config of one class's GAN."""
  part = workdir.composed(config, "gan")
  part.data.classes = (name,)
  return ml_collections.FrozenConfigDict(part)
