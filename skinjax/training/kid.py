"""How near a generator is to real images as it trains: KID by class."""

import os
import zlib
from typing import Any

import jax
import numpy as np
from absl import logging

from skinjax.data import datasets, sources
from skinjax.metrics import features, kernel
from skinjax.models import efficientnet
from skinjax.runtime import errors, randomness
from skinjax.training import tasks, trained

NAME = "kid"  # of the metric; NAME/CLASS is that of a class
_SIZE = 64  # of the extractor's input; 224 takes twelve times as long
_MOST_REAL = 500  # images of a class


class Kid:
  """Kernel distances of samples from latents that never change.

  They are compared with training images, at most 500 of a class and always the
  same: what is asked is how near the generator has come to what it imitates.
  Validation and test images stay out of it, so that they can judge a generator
  whose checkpoint was chosen by this distance. It does not tell a generator
  that draws new images from one that has learnt the training images by heart.

  The distance is that of Bińkowski et al. ("Demystifying MMD GANs", 2018), in
  features of EfficientNet-Lite0 at 64 pixels instead of Inception's, so its
  numbers are not those of papers. It has no bias of sample size: classes, and
  runs with other numbers of samples, compare.
  """

  def __init__(self, task: tasks.Task, dataset: datasets.Dataset, config):
    """Computes the features of the real images, or reads them from the cache.

    Raises:
      InputError: no class has images of two lesions; the weights or the cache
        cannot be used.
    """
    self._task, self._config, self._info = task, config, dataset.info
    self._extractor = features.efficientnet(_SIZE)
    self._real = {}  # by label: features and lesions
    logging.info("The kernel distance: features of training images")
    for label, name in enumerate(self._info.class_names):
      chosen = dataset.train.take(_subset(dataset.train.labels, label, name))
      _, lesions = np.unique(chosen.groups, return_inverse=True)
      if lesions.max() > 0:  # else no two images are independent
        place = os.path.join(sources.cache_dir(), "features")
        real = features.extract(self._extractor, chosen.images, cache_dir=place)
        self._real[label] = real, lesions
    if not self._real:
      raise errors.InputError(
        "No class has training images of two lesions, so there is no kernel "
        "distance: use --config.kid_every=0 --config.best="
      )

  def measure(self, state: Any) -> dict[str, float]:
    """Measures how far samples of a state, on one device, are from real images.

    Returns:
      `kid/CLASS` of each class that has training images of two lesions, and
      `kid`, their mean. A distance of equal distributions is 0 on average, and
      so may be negative.
    """
    count = self._config.kid_images
    labels = np.repeat(np.array(list(self._real), np.int32), count)
    images = trained.samples(
      self._task,
      state,
      labels,
      randomness.named(jax.random.key(self._config.seed), NAME),
      config=self._config,
      info=self._info,
    )
    fake = features.extract(self._extractor, images)
    distances = {
      self._info.class_names[label]: kernel.kernel_distance(
        real, fake[labels == label], groups=lesions
      )
      for label, (real, lesions) in self._real.items()
    }
    mean = float(np.mean(list(distances.values())))
    return {NAME: mean} | {f"{NAME}/{n}": x for n, x in distances.items()}


def _subset(labels: np.ndarray, label: int, name: str) -> np.ndarray:
  """Draws images of a class, by its name: runs share their features."""
  index = np.flatnonzero(labels == label)
  if len(index) > _MOST_REAL:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    index = np.sort(rng.choice(index, _MOST_REAL, replace=False))
  return index


def check(config) -> None:
  """Refuses a config whose cadences are in range but give no distances.

  Raises:
    InputError: `best` needs what `kid_every` does not give, or the extractor is
      not installed.
  """
  if config.best == NAME and not config.kid_every:
    raise errors.InputError(
      "best=kid with kid_every=0: no kernel distance is measured that the best "
      "checkpoint could be chosen by. Use --config.best= or a kid_every above "
      "0."
    )
  if config.best == NAME and config.save_every % config.kid_every:
    raise errors.InputError(
      f"save_every={config.save_every} is not a multiple of "
      f"kid_every={config.kid_every}: with best=kid the kernel distance of "
      "every checkpoint is wanted."
    )
  if config.kid_every:
    try:
      efficientnet.weights_path()
    except errors.InputError as error:
      raise errors.InputError(
        f"{error} (or train without the kernel distance: --config.kid_every=0 "
        "--config.best=)"
      ) from error
