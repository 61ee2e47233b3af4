r"""Export: a trained generator as one file that any JAX program can call.

  python main.py --config=configs/export.py --config.generator=DIR_OF_THE_GAN \
    --workdir=DIR

Writes DIR/generator.jax_export, for CPUs, NVIDIA GPUs and TPUs: README shows
how it is called, without skinjax. DIR/generator.json has the class names and
the generator's provenance.
"""

import ml_collections

from configs import common


@common.arguments()
def get_config():
  """Return the config."""
  config = ml_collections.ConfigDict()
  config.task = "export"
  common.generator(config)
  return config
