r"""Study: does adding GAN images help, make no difference, or hurt?

  python main.py --config=configs/study.py:dataset=ham10000 \
    --config.data.manual_dir=DIR_OF_THE_ZIPS --workdir=DIR

Shows the verdict, on DIR/report/index.html. With the argument gan=progan the
images are a ProGAN's; with --config.generator=DIR_OF_THE_GAN it takes a GAN of
the same fold instead of training one.
"""

import ml_collections

from configs import classifier, common


@common.arguments(dataset="ham10000", size=0, quick=False, gan="acgan")
def get_config(dataset: str, size: int, quick: bool, gan: str):
  """Returns the config; see common.arguments. The GAN is acgan or progan."""
  config = common.base("study", dataset, size)
  # one, pmap, jit, or auto: pmap from two devices on.
  config.parallel = "auto"
  # i/n, i from 0: train only every n-th classifier, from the i-th on, beside
  # other processes on the same workdir. Empty: all of them.
  config.shard = ""
  # The workdir of a GAN of the same fold; empty: train one here first.
  config.generator = ""
  # latest, or best: the one of the generator's checkpoints that is kept by the
  # metric that its config's `best` names.
  config.generator_checkpoint = "latest"
  config.arms = ("real", "classical", "real+synthetic", "classical+synthetic")
  # Classifiers of each arm; they differ in weights and batches, and share the
  # generator and its images.
  config.seeds = 3
  # Synthetic images fill each class up to so many training images.
  fill_to = {"ham10000": 500, "toy_lesions": 150, "mnist": 8000}
  config.fill_to = fill_to[config.data.name]

  # What `classical` adds to `real`.
  config.classical = ml_collections.ConfigDict()
  config.classical.orientations = config.data.name != "mnist"
  config.classical.jitter = 0.1
  config.classical.sampler = "balanced"
  config.classical.balance = "none"

  arguments = f"dataset={dataset},size={size},quick={quick}"
  config.gan = common.gan_part(gan, arguments)
  config.classifier = common.part(classifier.get_config(arguments))
  # Without these, `real` is what it says.
  config.classifier.augment.orientations = False

  if quick:
    config.seeds = 2
    config.classifier.train.steps = 100
    config.fill_to = min(config.fill_to, 6200)
  return config
