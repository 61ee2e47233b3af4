r"""Predict: the classes of images, by a trained classifier.

  python main.py --config=configs/predict.py \
    --config.classifier=DIR_OF_THE_CLASSIFIER \
    --config.images=DIR_OR_FILE --workdir=DIR

Writes DIR/predictions.csv: each image's file, its class and the probabilities.
Images may have any size; they are resized as the training images were.
"""

import ml_collections

from configs import common


@common.arguments()
def get_config():
  """Return the config."""
  config = ml_collections.ConfigDict()
  config.task = "predict"
  # The workdir of a trained classifier.
  config.classifier = ""
  # An image, or a folder that is searched with all of its folders.
  config.images = ""
  return config
