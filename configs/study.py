r"""Study: does adding synthetic images help, make no difference, or hurt?

  python main.py --config=configs/study.py:dataset=ham10000 \
    --config.data.manual_dir=DIR_OF_THE_ZIPS --workdir=DIR

Writes the verdict to DIR/report/index.html. For each fold it first trains an
ACGAN (with the argument gan=progan: a ProGAN). Instead it can use trained GANs,
--config.generator=DIR/{fold}, or any PNG or JPEG images,
--config.synthetic=DIR/{fold} with one folder per class. --config.dry_run=True
lists the work and how long it takes; --config.networks=head takes less.
"""

import ml_collections

from configs import classifier, common
from skinjax.data import sources
from skinjax.study import arms


def arm(description: str, **values):
  """Return an arm: a way to train a classifier.

  Args:
    description: in words, for the report.
    **values: changes to the network's config by section, such as
      augment={"jitter": 0.1}; and any of these, instead of arms.DEFAULTS:

      added: what is added to the real images: `synthetic` ones, `duplicates` of
        real ones, or nothing.
      dose: added images for each real image of a class. The largest class gets
        none.
      total: added images in all, equally many per class, instead of a dose; 0
        to use the dose.
      share: the largest fraction of a class's sampled images that may be added
        images.
      weight: the weight of an added image in the loss, relative to a real one
        of its class. The class keeps its part of the loss.
      pretraining: the fraction of the steps, at the start, that sample only
        added images; all later steps sample only real ones. With 1.0 no real
        image is seen. The largest class then gets as many as the second
        largest.
      filtered: whether to drop synthetic images that are copies or do not look
        like their class; see synthesis/quality.py.
      fraction: the fraction of the real training lesions to use.
  """
  changes = {k: v for k, v in values.items() if k not in arms.DEFAULTS}
  own = {k: values.get(k, default) for k, default in arms.DEFAULTS.items()}
  return ml_collections.ConfigDict(
    {"description": description, **own, "changes": changes}
  )


def _arms(turned: bool, dose: float):
  """Return all arms by name, those without synthetic images first."""
  shapes = {"orientations": turned, "jitter": 0.1}
  natural = {"augment": shapes, "train": {"sampler": "natural"}}
  classical = {"augment": shapes, "train": {"sampler": "balanced"}}
  synthetic = {"added": "synthetic", "dose": dose, **classical}
  # A doubled dose, so that a cap of one half has an effect.
  capped = synthetic | {"dose": 2 * dose}
  plain = {"orientations": False, "jitter": 0.0, "mixup": 0.0}
  made = {
    "real": arm(
      "real images as they are", augment=plain, train={"sampler": "natural"}
    ),
    "classical": arm(
      f"{'flips, rotations, ' * turned}colour changes, balanced batches",
      **classical,
    ),
    "class_weights": arm(
      "as classical, with class weights instead of balanced batches",
      loss={"balance": "weights"},
      **natural,
    ),
    "logit_adjustment": arm(
      "as classical, with logit adjustment instead of balanced batches",
      **natural,
      loss={"balance": "logit_adjustment"},
    ),
    "mixup": arm(
      "as classical, with mixup",
      augment={**shapes, "mixup": 0.2},
      train={"sampler": "balanced"},
    ),
    "duplicates": arm(
      "as classical, with repeated real images instead of synthetic ones",
      added="duplicates",
      dose=dose,
      **classical,
    ),
    "capped_25": arm(
      "as classical, at most a quarter of a class's samples synthetic",
      share=0.25,
      **capped,
    ),
    "capped_50": arm(
      "as classical, at most half of a class's samples synthetic",
      share=0.5,
      **capped,
    ),
    "adjusted_25": arm(
      "as logit_adjustment, at most a quarter of a class's samples synthetic",
      added="synthetic",
      dose=2 * dose,
      share=0.25,
      **natural,
      loss={"balance": "logit_adjustment"},
    ),
    "uncapped": arm("as classical, with synthetic images", **synthetic),
    "weighted_30": arm(
      "as classical, synthetic images weighted by 0.3 in the loss",
      weight=0.3,
      **synthetic,
    ),
    "pretrained": arm(
      "synthetic images alone for the first 30% of steps, then as classical",
      pretraining=0.3,
      **synthetic,
    ),
    "filtered": arm(
      "as classical, with synthetic images that pass a filter",
      filtered=True,
      **synthetic,
    ),
    "synthetic_only": arm(
      "as classical, with synthetic images alone", pretraining=1.0, **synthetic
    ),
  }
  for times in (0.25, 0.5, 2.0, 5.0, 10.0):
    made[f"dose_{times:g}".replace(".", "")] = arm(
      f"as classical, with {times:g} times the synthetic images",
      **(synthetic | {"dose": times * dose}),
    )
  for percent in (10, 25, 50, 75):
    made[f"real_{percent}"] = arm(
      f"as classical, with {percent}% of the lesions",
      fraction=percent / 100,
      **classical,
    )
  return made


@common.arguments(
  dataset="ham10000", size=0, quick=False, gan="acgan", variant=""
)
def get_config(dataset: str, size: int, quick: bool, gan: str, variant: str):
  """Return the config; see common.arguments.

  The GAN is acgan or progan; its variant is as in common.generating.
  """
  config = common.base("study", dataset, size)
  source = sources.SOURCES[config.data.name]
  common.devices(config)
  # i/n, i from 0: train only every n-th classifier, from the i-th on, while
  # other processes train the rest in the same workdir. Empty: all of them.
  config.shard = ""
  # Whether to only list the work and how long it takes.
  config.dry_run = False
  # A folder of images by class, from any source, see data/image_folder.py; or
  # one for each fold, DIR/{fold}, or for each seed, DIR/{fold}/{seed}.
  config.synthetic = ""
  # Instead: a GAN that generates them, likewise by fold or seed. With neither,
  # a GAN is trained for each fold.
  common.generator(config)
  # Whether to run if it is not recorded what the images' generator was trained
  # on. The verdict then says that a leak cannot be excluded.
  config.unknown_origin = False
  # Whether to run if that generator was trained through pretrained networks
  # that the network of the verdict does not start from. The verdict then says
  # that a gain may come from these.
  config.other_pretraining = False
  # Positive control: train on half of a fold's training lesions, with real
  # images of the other half instead of synthetic ones.
  config.control = False
  # An external test set, scored in addition to the internal one. It does not
  # affect the verdict. See data/external.py. Empty: none.
  config.external = ""

  # The folds to test on; (): all of data.num_folds; (-1,): the fixed split
  # instead.
  config.folds = common.folds(dataset, quick)
  # Classifiers of each arm and fold; they differ in initialization and batches.
  config.seeds = 3
  # Target half-width of the verdict's interval. To reach it, seeds are added
  # once, up to seeds_most. 0: no more than `seeds`.
  config.until = 0.0
  config.seeds_most = 10
  # Confidence level of the intervals, and so of the verdict. If several studies
  # use the same test lesions, their error rates must add up to that of one
  # study: three at 0.975, 0.9875 and 0.9875.
  config.level = 0.95
  # Networks to train; see study/networks.py.
  pretrained = dataset in ("ham10000", "folder") and not quick
  config.networks = ("head", "efficientnet") if pretrained else ("resnet",)
  # The network whose classifiers give the verdict; empty: the last.
  config.verdict_network = ""
  # Arms to train; (): all that the networks name.
  config.arms = ()
  config.arm = _arms(not source.upright, source.dose)

  arguments = f"dataset={dataset},size={size},quick={quick}"
  config.gan = common.gan_part(gan, f"{arguments},variant={variant}")
  resnet = common.part(classifier.get_config(arguments))
  efficientnet = common.part(
    classifier.get_config(f"{arguments},network=efficientnet")
  )
  config.network = {
    "head": {
      "task": "head",
      # Pixels that images are enlarged to.
      "input": 128,
      # Factor of half the squared weights, added to the images' mean loss.
      "weight_decay": 0.2,
      "augment": {"orientations": not source.upright},
      "train": {"sampler": "natural"},
      "loss": {"balance": "none"},
      # Arms of this network, among those to train; (): all that it supports.
      "arms": (),
    },
    "resnet": resnet,
    "efficientnet": efficientnet,
  }
  resnet.arms = ("real", "classical", "capped_25")
  # Not `duplicates`: balanced batches already draw from a class's real images
  # as often as from both, so it would be `classical` with another seed.
  efficientnet.arms = (
    *("classical", "logit_adjustment"),
    *("capped_25", "adjusted_25", "pretrained"),
  )
  # The last step's weights are scored.
  resnet.best = efficientnet.best = ""
  resnet.train.steps = 100 if quick else 600
  for part in (resnet, efficientnet):
    part.eval_every = part.save_every = part.train.steps
  if quick:
    config.seeds = 2
  return config
