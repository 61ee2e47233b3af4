r"""Synthesize: a folder of images by class from a trained generator.

  python main.py --config=configs/synthesize.py:dataset=mnist \
    --config.generator=DIR_OF_THE_GAN --workdir=DIR
  python main.py --config=configs/synthesize.py:pretrained=acgan64 --workdir=DIR

The second generates skin lesions with a generator shipped with skinjax, and
needs neither a data set nor internet access.

Writes DIR/synthetic, an image folder that records its provenance, and reports
by class whether the images are as diverse as real ones; with
--config.classifier=DIR_OF_A_CLASSIFIER also whether they show their class.
"""

from configs import common
from skinjax.runtime import errors
from skinjax.training import released


@common.arguments(dataset="ham10000", size=0, quick=False, pretrained="")
def get_config(dataset: str, size: int, quick: bool, pretrained: str):
  """Return the config; see common.arguments.

  Raises:
    InputError: there is no such data set or pretrained generator.
  """
  config = common.base("synthesize", dataset, size)
  common.generator(config)
  if pretrained:
    shipped = released.names(released.SHIPPED)
    errors.require_known("pretrained generator", pretrained, shipped)
    config.generator = str(released.SHIPPED / pretrained)
  # The workdir of a classifier that evaluates the images, or the name of one
  # shipped with skinjax (classifier64); empty: none. Its probability of each
  # image's class is a column of metadata.csv.
  config.classifier = ""
  # Images of each class.
  config.per_class = 8 if quick else 100
  # Truncation of latents: the largest absolute value, e.g. 1.0, for images that
  # are more typical and less diverse (Brock et al. 2019); 0: no limit.
  config.truncation = 0.0

  # Images to drop and replace. Limits are calibrated on validation images of
  # the generator's fold (data.fold); the scores are in metadata.csv.
  # Whether to drop suspected copies of training images.
  config.drop_copies = False
  # Drop images whose class `classifier` finds less probable than that of all
  # but this fraction of the class's validation images, e.g. 0.2; 0: none.
  config.drop_unlike = 0.0
  # Drop images that are farther from training images of their class, in
  # features of EfficientNet-Lite0, than all but this fraction of validation
  # images, e.g. 0.2; 0: none.
  config.drop_distant = 0.0
  return config
