r"""Original: the protocol of the student project that first asked the question.

  python main.py --config=configs/original.py:dataset=ham10000 \
    --config.data.manual_dir=DIR_OF_THE_ZIPS --workdir=DIR

Adds 500 synthetic images of an ACGAN to the unaugmented real ones, and trains a
network from scratch with and without them. DIR/report/index.html compares the
accuracies with those that were reported and with the majority-class baseline.
For three classes instead of seven: --config.data.classes=bkl,mel,nv.
"""

from configs import common, study


@common.arguments(dataset="ham10000", size=0, quick=False, gan="acgan")
def get_config(dataset: str, size: int, quick: bool, gan: str):
  """Return the config; see common.arguments. The GAN is acgan or progan."""
  config = study.get_config(
    f"dataset={dataset},size={size},quick={quick},gan={gan},variant=paper"
  )
  config.folds = (-1,)
  config.networks = ("resnet",)
  real = config.arm.real.copy_and_resolve_references()
  added = real.copy_and_resolve_references()
  added.update(
    description="as real, with 500 synthetic images",
    added="synthetic",
    total=500,
  )
  config.arm = {"real": real, "real_500": added}
  for network in config.network.values():
    network.arms = ()
  return config
