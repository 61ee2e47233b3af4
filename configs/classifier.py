r"""Classifier: a residual network on real images.

  python main.py --config=configs/classifier.py:dataset=ham10000 \
    --config.data.manual_dir=DIR_OF_THE_ZIPS --workdir=DIR

Shows scores on the test lesions with intervals, the majority line beside them
(DIR/scores.csv), from the weights after the last step. With
--config.external=IMAGES also those on an external test set
(DIR/external_scores.csv).
"""

import ml_collections

from configs import common


@common.arguments(dataset="ham10000", size=0, quick=False)
def get_config(dataset: str, size: int, quick: bool):
  """Returns the config; see common.arguments."""
  config = common.training("classifier", dataset, size)
  config.best = "balanced_accuracy"
  # An external test set: a folder of images with a table of their classes, or
  # with a folder for each class; see data/external.py. Empty: none.
  config.external = ""

  config.model.width = 16
  config.model.dropout = 0.2

  config.loss = ml_collections.ConfigDict()
  # none, weights or logit_adjustment.
  config.loss.balance = "none"
  config.loss.smoothing = 0.0

  config.train.steps = 2000
  config.train.rate = 2e-3
  config.train.weight_decay = 0.05
  # Half-life of the network's moving average, in images.
  config.train.ema_images = 5000.0

  if quick:
    config.model.width = 8
    config.log_every = config.eval_every = config.save_every = 50
    config.train.steps = 200
  return config
