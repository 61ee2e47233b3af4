r"""Predict: classify images with a trained classifier.

  python main.py --config=configs/predict.py \
    --config.classifier=DIR_OF_THE_CLASSIFIER \
    --config.images=DIR_OR_FILE --workdir=DIR

Writes DIR/predictions.csv: each image's file, class and probabilities. Images
may have any size; they are resized as the training images were.
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
  # An image, or a folder, which is searched with all its subfolders.
  config.images = ""
  return config
