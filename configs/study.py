r"""Study: does adding synthetic images help, make no difference, or hurt?

  python main.py --config=configs/study.py:dataset=ham10000 \
    --config.data.manual_dir=DIR_OF_THE_ZIPS --workdir=DIR

Shows the verdict, on DIR/report/index.html. It trains an ACGAN first (with the
argument gan=progan: a ProGAN), or takes --config.generator=DIR_OF_THE_GAN of
the same fold, or anybody's images, --config.synthetic=DIR, a folder of PNG or
JPEG images for each class.
"""

import ml_collections

from configs import classifier, common
from skinjax.data import sources


def arm(description: str, synthetic: bool = False, **changes):
  """Returns an arm: a way to train the classifier.

  Args:
    description: in words, for the report.
    synthetic: whether synthetic images join the training set.
    **changes: of `config.classifier`, by section: augment={"jitter": 0.1}.
  """
  return ml_collections.ConfigDict(
    {"description": description, "synthetic": synthetic, "changes": changes}
  )


@common.arguments(dataset="ham10000", size=0, quick=False, gan="acgan")
def get_config(dataset: str, size: int, quick: bool, gan: str):
  """Returns the config; see common.arguments. The GAN is acgan or progan."""
  config = common.base("study", dataset, size)
  # one, pmap, jit, or auto: pmap from two devices on.
  config.parallel = "auto"
  # i/n, i from 0: train only every n-th classifier, from the i-th on, beside
  # other processes on the same workdir. Empty: all of them.
  config.shard = ""
  # A folder of images by class, whoever made them; see data/image_folder.py.
  config.synthetic = ""
  # Instead of one: the workdir of a GAN of the same fold, which draws them.
  # With neither, a GAN is trained here first.
  config.generator = ""
  # latest, or best: the one of the generator's checkpoints that is kept by the
  # metric that its config's `best` names.
  config.generator_checkpoint = "latest"
  # Whether to go on where nothing tells what the images' maker has learnt
  # from. The verdict then says that a leak cannot be excluded.
  config.unknown_origin = False
  # An external test set, scored beside the own one; it decides nothing. See
  # data/external.py. Empty: none.
  config.external = ""
  # Classifiers of each arm; they differ in weights and batches, and share the
  # synthetic images.
  config.seeds = 3
  # Synthetic images fill each class up to so many training images; 0: as many
  # as the median class has, or twice the smallest if that is more.
  config.fill_to = sources.SOURCES[config.data.name].fill_to

  arguments = f"dataset={dataset},size={size},quick={quick}"
  config.gan = common.gan_part(gan, arguments)
  config.classifier = common.part(classifier.get_config(arguments))
  # Arms differ from this in what they say, and in nothing else.
  turned = config.classifier.augment.orientations
  config.classifier.augment.orientations = False

  classical = {
    "augment": {"orientations": turned, "jitter": 0.1},
    "train": {"sampler": "balanced"},
  }
  arms = {
    "real": arm("real images as they are"),
    "classical": arm(
      "real images flipped, turned, recoloured, classes balanced", **classical
    ),
    "real+synthetic": arm("as real, with synthetic images added", True),
    "classical+synthetic": arm(
      "as classical, with synthetic images added", True, **classical
    ),
  }
  config.arm = arms
  # Those of them that are trained.
  config.arms = tuple(arms)
  # What is compared. The first pair decides, and was chosen before any test
  # lesion was looked at: synthetic images have to improve on the strongest
  # training without them.
  config.pairs = (
    ("classical+synthetic", "classical"),
    ("real+synthetic", "real"),
  )

  if quick:
    config.seeds = 2
    config.classifier.train.steps = 100
    config.fill_to = min(config.fill_to, 6200)
  return config
