"""Quickstart: a whole study, small, offline, on a CPU.

Drawn pictures (not to be mistaken for real lesions), an ACGAN, synthetic
images, classifiers with and without them, and the report.
"""

from configs import common, study


@common.arguments(dataset="toy", size=0, quick=False)
def get_config(dataset: str, size: int, quick: bool):
  """Return the config; see common.arguments."""
  config = study.get_config(
    f"dataset={dataset},size={size},quick={quick},variant=paper"
  )
  if not quick:
    config.gan.model.generator_width = 16
    config.gan.model.discriminator_width = 16
    config.gan.train.steps = 1200
    # In so small a run, measuring the distance would take too much of the time.
    config.gan.kid_every, config.gan.best = 0, ""
    resnet = config.network.resnet
    resnet.train.steps = resnet.eval_every = resnet.save_every = 250
    resnet.arms = ("classical", "capped_25", "uncapped")
  return config
