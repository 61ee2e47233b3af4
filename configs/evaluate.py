r"""Evaluate: the quality of a GAN's images, or of any folder of images.

  python main.py --config=configs/evaluate.py:dataset=ham10000 \
    --config.data.manual_dir=DIR_OF_THE_ZIPS \
    --config.generator=DIR_OF_THE_GAN --workdir=DIR

Shows for each class how far the images are from real ones, compared with
held-out real images, which of them are copies, and how good a classifier
trained on them alone is. Writes DIR/index.html and, for programs,
DIR/evaluation.json. Instead of a GAN, --config.synthetic=DIR_OF_IMAGES
evaluates any folder that has one folder of images per class.
"""

from configs import classifier, common
from skinjax.data import sources


@common.arguments(dataset="ham10000", size=0, quick=False)
def get_config(dataset: str, size: int, quick: bool):
  """Return the config; see common.arguments."""
  config = common.base("evaluate", dataset, size)
  common.devices(config)
  common.generator(config)
  # Instead of a GAN: a folder with one folder of PNG or JPEG images per class.
  config.synthetic = ""
  # Images per class that a GAN generates.
  config.per_class = 50 if quick else 1000

  # Whether a copy may be flipped or turned.
  config.orientations = not sources.SOURCES[config.data.name].upright
  # Pixels that images are resized to for EfficientNet's features.
  config.input_size = 64
  # pytorch-fid's pt_inception-2015-12-05-6726825d.pth, for FID; empty: none.
  config.inception = ""
  # The workdir of a classifier of the same split, to measure distances in its
  # features and its agreement with the images' classes; empty: none.
  config.classifier = ""

  # Whether to train two classifiers, one on synthetic images alone and one on
  # an equal number of real ones (Ravuri, Vinyals 2019).
  config.usefulness = True
  arguments = f"dataset={dataset},size={size},quick={quick}"
  config.training = common.part(classifier.get_config(arguments))
  # Both have equal numbers of images of each class.
  config.training.train.sampler = "balanced"
  if quick:
    config.training.train.steps = 50
  return config
