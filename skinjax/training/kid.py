"""Distance of a generator to real images during training: KID by class."""

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

# The metrics, in features of EfficientNet-Lite0 and of SqueezeNet; METRIC/CLASS
# is the metric of one class.
NAME = "kid"
SQUEEZENET = "kid_squeezenet"
NAMES = (NAME, SQUEEZENET)
_SIZE = 64  # of EfficientNet's input; 224 takes twelve times as long
_MOST_REAL = 500  # images per class


class Kid:
  """Kernel distances of samples from fixed latents.

  The samples are compared with training images, at most 500 per class and
  always the same: the distance measures how close the generator has come to its
  training data. Validation and test images are not used, so that they remain
  valid for evaluating a generator whose checkpoint was chosen by this distance.
  It does not distinguish a generator of new images from one that has memorized
  the training images.

  The distance is the KID of Bińkowski et al. ("Demystifying MMD GANs", 2018),
  in features of EfficientNet-Lite0 at 64 pixels instead of Inception's, so its
  numbers are not comparable with those in papers. It is unbiased, whatever the
  sample size: classes, and runs with different numbers of samples, can be
  compared.

  A generator trained through EfficientNet-Lite0 gets close in the features of
  this network but not in others (Kynkäänniemi et al., "The Role of ImageNet
  Classes in Fréchet Inception Distance", 2022). For such a generator, and for
  best="kid_squeezenet", the same distance is also measured in features of
  SqueezeNet at 96 pixels. Its numbers are hundreds of times as large.
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
    logging.info("Kernel distance: computing features of training images")
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
      For each metric that is `measured`: `METRIC/CLASS` for each class that has
      training images of two lesions, and `METRIC`, their mean. The distance of
      equal distributions is 0 on average, so it may be negative.
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
  """Choose images of a class, seeded by its name: runs share features."""
  index = np.flatnonzero(labels == label)
  if len(index) > _MOST_REAL:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    index = np.sort(rng.choice(index, _MOST_REAL, replace=False))
  return index


def measured(config) -> tuple[str, ...]:
  """Name the metrics that a training run measures every `kid_every` steps."""
  if config.best == SQUEEZENET or trained.pretrained_networks(config):
    return NAMES
  return (NAME,)


def check(config) -> None:
  """Reject a config whose cadences are in range but give no distances.

  Raises:
    InputError: `best` does not fit `kid_every`, or is a distance in features
      that the generator is trained through; or a feature extractor is not
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
      f"The generator is trained through {networks[0]}, whose features "
      "best=kid uses: it may be close to real images in these features only. "
      f"Use best={SQUEEZENET}."
    )
  if not config.kid_every:
    raise errors.InputError(
      f"best={config.best} with kid_every=0: no kernel distance is measured by "
      "which to choose the best checkpoint. Use best= or a kid_every above 0."
    )
  if config.save_every % config.kid_every:
    raise errors.InputError(
      f"save_every={config.save_every} is not a multiple of "
      f"kid_every={config.kid_every}: with best={config.best} every checkpoint "
      "needs a kernel distance."
    )
