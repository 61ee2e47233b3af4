r"""Export: one file of a trained generator that any program of JAX calls.

  python main.py --config=configs/export.py --config.generator=DIR_OF_THE_GAN \
    --workdir=DIR

Writes DIR/generator.jax_export, for CPUs, GPUs of NVIDIA and TPUs: README shows
how it is called, without skinjax. DIR/generator.json has the names of the
classes and where the generator comes from.
"""

import ml_collections

from configs import common


@common.arguments()
def get_config():
  """Return the config."""
  config = ml_collections.ConfigDict()
  config.task = "export"
  # The workdir of a trained GAN, or the name of a released one.
  config.generator = ""
  # latest or best, as of configs/synthesize.py.
  config.generator_checkpoint = "latest"
  return config
