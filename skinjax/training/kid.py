"""How near a generator is to real images as it trains: KID by class."""

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from skinjax.data import datasets, sources
from skinjax.metrics import features, kernel
from skinjax.models import efficientnet, squeezenet
from skinjax.runtime import errors, randomness
from skinjax.training import tasks, trained

# The metrics, by features of EfficientNet-Lite0 and of SqueezeNet; METRIC/CLASS
# is that of a class.
NAME = "kid"
SQUEEZENET = "kid_squeezenet"
NAMES = (NAME, SQUEEZENET)
_SIZE = 64  # of EfficientNet's input; 224 takes twelve times as long
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

  A generator that learns through EfficientNet-Lite0 comes near by its features
  and not otherwise (Kynkäänniemi et al., "The Role of ImageNet Classes in
  Fréchet Inception Distance", 2022); so there, or where the best checkpoint is
  chosen by it, the same distance is measured in features of SqueezeNet at 96
  pixels too. Its numbers are hundreds of times as large.
  """

  def __init__(self, task: tasks.Task, dataset: datasets.Dataset, config):
    """Compute the features of the real images, or read them from the cache.

    Raises:
      InputError: no class has images of two lesions; the weights or the cache
        cannot be used.
    """
    self._task, self._config, self._info = task, config, dataset.info
    self._extractors = {
      name: features.squeezenet()
      if name == SQUEEZENET
      else features.efficientnet(_SIZE)
      for name in measured(config)
    }
    # By label: features by metric, and lesions.
    self._real: dict[int, tuple[Mapping[str, np.ndarray], np.ndarray]] = {}
    logging.info("The kernel distance: features of training images")
    place = sources.features_dir()
    for label, name in enumerate(self._info.class_names):
      chosen = dataset.train.take(_subset(dataset.train.labels, label, name))
      _, lesions = np.unique(chosen.groups, return_inverse=True)
      if lesions.max() > 0:  # else no two images are independent
        real = {
          metric: features.extract(extractor, chosen.images, cache_dir=place)
          for metric, extractor in self._extractors.items()
        }
        self._real[label] = real, lesions
    if not self._real:
      raise errors.InputError(
        "No class has training images of two lesions, so there is no kernel "
        "distance: use kid_every=0 and best= (gan.kid_every, gan.best "
        "in a study)."
      )

  def measure(self, state: Any) -> dict[str, float]:
    """Measure how far samples of a state, on one device, are from real images.

    Returns:
      `METRIC/CLASS` of each class that has training images of two lesions, and
      `METRIC`, their mean, of each metric that is `measured`. A distance of
      equal distributions is 0 on average, and so may be negative.
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
    found = {}
    for metric, extractor in self._extractors.items():
      fake = features.extract(extractor, images)
      distances = {
        f"{metric}/{self._info.class_names[label]}": kernel.kernel_distance(
          real[metric], fake[labels == label], groups=lesions
        )
        for label, (real, lesions) in self._real.items()
      }
      found |= {metric: float(np.mean(list(distances.values())))} | distances
    return found


def _subset(labels: np.ndarray, label: int, name: str) -> np.ndarray:
  """Draw images of a class, by its name: runs share their features."""
  index = np.flatnonzero(labels == label)
  if len(index) > _MOST_REAL:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    index = np.sort(rng.choice(index, _MOST_REAL, replace=False))
  return index


def measured(config) -> tuple[str, ...]:
  """Name the metrics that a training measures where `kid_every` says so."""
  if config.best == SQUEEZENET or trained.pretrained_networks(config):
    return NAMES
  return (NAME,)


def check(config) -> None:
  """Refuse a config whose cadences are in range but give no distances.

  Raises:
    InputError: `best` needs what `kid_every` does not give, or is a distance in
      features that the generator learns through; or an extractor is not
      installed.
  """
  if config.best in NAMES:
    _check_best(config)
  if config.kid_every:
    try:
      efficientnet.weights_path()
      if SQUEEZENET in measured(config):
        squeezenet.weights_path()
    except errors.InputError as error:
      raise errors.InputError(
        f"{error} (or train without the kernel distance: kid_every=0 and best=)"
      ) from error


def _check_best(config) -> None:
  if config.best == NAME and (networks := trained.pretrained_networks(config)):
    raise errors.InputError(
      f"The generator learns through {networks[0]}, whose features best=kid "
      "uses: it may be near real images in those alone. Use "
      f"best={SQUEEZENET}."
    )
  if not config.kid_every:
    raise errors.InputError(
      f"best={config.best} with kid_every=0: no kernel distance is measured "
      "that the best checkpoint could be chosen by. Use best= or a kid_every "
      "above 0."
    )
  if config.save_every % config.kid_every:
    raise errors.InputError(
      f"save_every={config.save_every} is not a multiple of "
      f"kid_every={config.kid_every}: with best={config.best} the kernel "
      "distance of every checkpoint is wanted."
    )
