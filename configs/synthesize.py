r"""Synthesize: a folder of images by class from a trained generator.

  python main.py --config=configs/synthesize.py:dataset=mnist \
    --config.generator=DIR_OF_THE_GAN --workdir=DIR

Makes DIR/synthetic, an image folder that says where it comes from, and shows
by class whether the images are as diverse as real ones; with
--config.classifier=DIR_OF_A_CLASSIFIER also whether they show what was asked.
"""

from configs import common


@common.arguments(dataset="ham10000", size=0, quick=False)
def get_config(dataset: str, size: int, quick: bool):
  """Returns the config; see common.arguments."""
  config = common.base("synthesize", dataset, size)
  # The workdir of a trained GAN.
  config.generator = ""
  # latest, or best: the one of the generator's checkpoints that is kept by the
  # metric that its config's `best` names.
  config.generator_checkpoint = "latest"
  # The workdir of a classifier that judges the images; empty: none does.
  config.classifier = ""
  # Images of each class.
  config.per_class = 8 if quick else 100
  # Whether suspected copies of training images are left out, and others drawn.
  config.drop_copies = False
  return config
