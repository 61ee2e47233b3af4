r"""Synthesize: a folder of images by class from a trained generator.

  python main.py --config=configs/synthesize.py:dataset=mnist \
    --config.generator=DIR_OF_THE_GAN --workdir=DIR
  python main.py --config=configs/synthesize.py:pretrained=acgan64 --workdir=DIR

The second draws skin lesions by a generator that comes with skinjax, and needs
neither a data set nor the internet.

Makes DIR/synthetic, an image folder that says where it comes from, and shows
by class whether the images are as diverse as real ones; with
--config.classifier=DIR_OF_A_CLASSIFIER also whether they show what was asked.
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
  # The workdir of a trained GAN, or the name of one that comes with skinjax.
  config.generator = ""
  if pretrained:
    shipped = released.names(released.SHIPPED)
    errors.require_known("pretrained generator", pretrained, shipped)
    config.generator = str(released.SHIPPED / pretrained)
  # latest, or best: the generator's checkpoint with the best value of the
  # metric that `best` names in its config.
  config.generator_checkpoint = "latest"
  # The workdir of a classifier that judges the images, or the name of one that
  # comes with skinjax (classifier64); empty: none does. The probability that it
  # gives their class is a column of metadata.csv.
  config.classifier = ""
  # Images of each class.
  config.per_class = 8 if quick else 100
  # The most that a number of a latent is above or below 0, as 1.0: more typical
  # images, and less various ones (Brock et al. 2019); 0: no limit.
  config.truncation = 0.0

  # What is left out, and others drawn instead, by limits that validation images
  # of the generator's fold set (data.fold); the scores are in metadata.csv.
  # Suspected copies of training images.
  config.drop_copies = False
  # Images whose class `classifier` finds less likely than it does for all but
  # this fraction of the class's validation images, e.g. 0.2; 0: none.
  config.drop_unlike = 0.0
  # Images that are farther from training images of their class, by features of
  # EfficientNet-Lite0, than all but so large a share of validation images, as
  # 0.2; 0: none.
  config.drop_distant = 0.0
  return config
