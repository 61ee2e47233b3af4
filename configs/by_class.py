r"""By class: one GAN per class, trained in turn.

  python main.py --config=configs/by_class.py:dataset=ham10000 \
    --config.data.manual_dir=DIR_OF_THE_ZIPS --workdir=DIR

Trains a ProGAN (or, with the argument gan=acgan, an ACGAN) on each class, in
DIR/CLASS, and generates images of all classes, in DIR/synthetic, with a sheet,
DIR/sheet.png. DIR can then be used like any other generator:
--config.generator=DIR. A class of a hundred images is little training data, and
each GAN has to learn from scratch what the classes have in common.
"""

from configs import common


@common.arguments(dataset="ham10000", size=0, quick=False, gan="progan")
def get_config(dataset: str, size: int, quick: bool, gan: str):
  """Return the config; see common.arguments. The GAN is progan or acgan."""
  config = common.base("by_class", dataset, size)
  common.devices(config)
  # The projected discriminator was not measured with one class alone.
  arguments = f"dataset={dataset},size={size},quick={quick},variant=paper"
  config.gan = common.gan_part(gan, arguments)
  # Images of each class to generate at the end.
  config.per_class = 8 if quick else 100
  if quick:  # only two classes, as each compiles its own programs
    two = {"mnist": ("0", "1"), "folder": ()}
    config.data.classes = two.get(config.data.name, ("df", "vasc"))
  return config
