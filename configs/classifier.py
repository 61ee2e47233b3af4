r"""Classifier: a network on real images, from scratch or fine-tuned.

  python main.py --config=configs/classifier.py:dataset=ham10000 \
    --config.data.manual_dir=DIR_OF_THE_ZIPS --workdir=DIR

Trains a residual network from scratch or, with `:network=efficientnet`,
fine-tunes EfficientNet-Lite0, pretrained on ImageNet, for a few epochs.

Writes scores on the test lesions with intervals, and the accuracy of the
majority-class baseline, to DIR/scores.csv. They are those of the weights after
the last step. With --config.external=IMAGES scores on an external test set are
in DIR/external_scores.csv.
"""

import ml_collections

from configs import common
from skinjax.data import sources
from skinjax.runtime import errors
from skinjax.training.tasks import classifier


@common.arguments(dataset="ham10000", size=0, quick=False, network="resnet")
def get_config(dataset: str, size: int, quick: bool, network: str):
  """Return the config; see common.arguments.

  Raises:
    InputError: there is no such network or data set.
  """
  errors.require_known("network", network, classifier.NETWORKS)
  config = common.training("classifier", dataset, size)
  # An external test set: a folder of images with a table of their classes, or
  # with a folder for each class; see data/external.py. Empty: none.
  config.external = ""

  # resnet or efficientnet, set by the argument: each has its own keys.
  config.model.network = network
  config.model.dropout = 0.2

  config.loss = ml_collections.ConfigDict()
  # none, weights or logit_adjustment.
  config.loss.balance = "none"
  config.loss.smoothing = 0.0

  # Half-life of the network's EMA, in images.
  config.train.ema_images = 5000.0
  config.train.weight_decay = 0.05

  # Mixup of images in pairs, with shares from Beta(mixup, mixup); 0: none.
  config.augment.mixup = 0.0
  # Classify by the mean of the probabilities of an image's 8 orientations.
  config.augment.test_orientations = False

  if network == "resnet":
    config.model.width = 8 if quick else 16
    config.train.steps = 200 if quick else 2000
    config.train.rate, config.train.beta2 = 2e-3, 0.999
  else:
    # Pixels that images are resized to: 64, or 128, which takes three times as
    # long.
    config.model.input = 64
    config.train.steps = 100 if quick else 1100
    config.train.rate, config.train.beta2 = 1e-3, 0.99
    config.train.sampler = "balanced"
    config.augment.jitter = 0.1
    config.augment.mixup = 0.2
    upright = sources.SOURCES[config.data.name].upright
    config.augment.test_orientations = not upright
    # Each evaluation classifies an image 8 times, so evaluate rarely.
    config.eval_every = config.save_every = 550
  if quick:
    config.log_every = config.eval_every = config.save_every = 50
  return config
