"""What the configs share: typed arguments and the keys of every config."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import ml_collections

from skinjax.data import sources
from skinjax.runtime import errors
from skinjax.training import tasks


def arguments(**defaults: Any) -> Callable:
  """Make `get_config("dataset=mnist,quick")` out of `get_config(**values)`.

  Args:
    **defaults: the arguments that a config takes and what they are unless
      given; a value has its default's type, and a bare name means True.

  Returns:
    A decorator. What it returns raises InputError for an argument that does
    not exist or whose value is not of its type.
  """

  def decorate(build: Callable[..., ml_collections.ConfigDict]) -> Callable:
    def get_config(text: str = "") -> ml_collections.ConfigDict:
      values = dict(defaults)
      for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        errors.require_known("config argument", name, defaults)
        values[name] = _typed(name, value, defaults[name])
      return build(**values)

    get_config.__doc__ = build.__doc__
    get_config.__signature__ = inspect.Signature(
      [
        inspect.Parameter(
          "text", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=""
        )
      ]
    )
    return get_config

  return decorate


def _typed(name: str, text: str, default: Any) -> Any:
  if isinstance(default, bool):
    known = {"": True, "True": True, "False": False}
    if text in known:
      return known[text]
  else:
    try:
      return type(default)(text)
    except ValueError:
      pass
  raise errors.InputError(
    f"Config argument {name}={text!r}: {type(default).__name__} is wanted."
  )


# The argument's short name for the drawn set.
_NAMES = {"toy": "toy_lesions"}
_SHORT = {name: short for short, name in _NAMES.items()}


def base(task: str, dataset: str, size: int) -> ml_collections.ConfigDict:
  """Return the keys of every config.

  Args:
    task: the module of skinjax that runs it.
    dataset: ham10000, mnist, toy or folder.
    size: pixels; 0 for the data set's usual one.

  Raises:
    InputError: there is no such data set.
  """
  name = _NAMES.get(dataset, dataset)
  if name not in sources.SOURCES:
    known = [_SHORT.get(known, known) for known in sources.SOURCES]
    raise errors.unknown("dataset", dataset, known)
  config = ml_collections.ConfigDict()
  config.task = task
  config.seed = 0

  config.data = ml_collections.ConfigDict()
  config.data.name = name
  config.data.size = size or sources.SOURCES[name].size
  # Where the user's downloaded files are; empty: download them.
  config.data.manual_dir = ""
  # The folder of a user's own images, by class, for dataset=folder.
  config.data.folder = ""
  # Where prepared data sets are; empty: $TFDS_DATA_DIR, else the user's cache.
  config.data.data_dir = ""
  # Names of the classes to use; empty: all.
  config.data.classes = ()
  # The fold to test on; -1: the data set's own splits.
  config.data.fold = -1
  config.data.num_folds = 5
  config.data.fold_seed = 0
  return config


def training(task: str, dataset: str, size: int) -> ml_collections.ConfigDict:
  """Return the keys of every config that trains; see `base`."""
  config = base(task, dataset, size)
  # one, pmap, jit, or auto: pmap from two devices on.
  config.parallel = "auto"
  # Steps in one compiled call; the cadences below are multiples of it.
  config.log_every = 50
  config.eval_every = 500
  config.save_every = 500
  # The metric whose best value names the best checkpoint, which is kept beside
  # the latest: a score on the validation split or, of a GAN, kid or
  # kid_squeezenet. What is reported is the latest, unless generator_checkpoint
  # asks for the best.
  config.best = ""

  config.model = ml_collections.ConfigDict()
  # What convolutions compute in: float32, or, on GPUs and TPUs, bfloat16.
  # Weights, statistics and losses are float32 in either case.
  config.model.dtype = "float32"

  config.train = ml_collections.ConfigDict()
  config.train.batch_size = 64
  # natural, tempered (by square roots of the counts) or balanced.
  config.train.sampler = "natural"

  config.augment = ml_collections.ConfigDict()
  # The 8 flips and right-angle rotations; not for digits.
  config.augment.orientations = not sources.SOURCES[config.data.name].upright
  # Largest change of brightness, contrast and saturation.
  config.augment.jitter = 0.0
  return config


# A GAN's discriminator: the paper's own, or one that sees through a pretrained
# network (Sauer et al. 2021), which led for the ACGAN on HAM10000
# (results/generators) and is its default there, but for `quick`.
VARIANTS = ("paper", "projected")
_LEADING = {("acgan", "ham10000"): "projected"}


def generating(
  task: str, dataset: str, size: int, quick: bool, variant: str = ""
) -> ml_collections.ConfigDict:
  """Return the keys of every config that trains a GAN; see `base`.

  Args:
    task: the module of skinjax that runs it.
    dataset: ham10000, mnist, toy or folder.
    size: pixels; 0 for the data set's usual one.
    quick: measure no kernel distance, which would take longer than the steps.
    variant: of VARIANTS; empty: what led for this data set, and paper where
      quick. Where `model.discriminator` then is projected, `project` is to be
      called, too.

  Raises:
    InputError: there is no such data set or variant.
  """
  if not variant:
    variant = "paper" if quick else _LEADING.get((task, dataset), "paper")
  errors.require_known("variant", variant, VARIANTS)
  config = training(task, dataset, size)
  config.train.sampler = "tempered"
  # own or projected, as `variant` says: each has keys of its own.
  config.model.discriminator = {"paper": "own"}.get(variant, variant)
  # The labels of generated images: natural, tempered or balanced draws; empty:
  # those of the batch's real images.
  config.train.generated_labels = ""
  # The size from which on labels matter: 4 is the papers' way; below a larger
  # one all classes are drawn alike, which helps the rare ones (Shahbazi et al.
  # 2022; Khorram et al. 2024).
  config.model.conditional_from = 4
  # Class features of unit norm, under loss.class_loss="d2d_ce".
  config.model.embedding = 128
  # The share of the steps, the last ones, over which learning rates fall to 0.
  # With more train.steps, in the same workdir, they rise once more.
  config.train.decay = 0.0
  # What all images, real and generated, go through before the discriminator
  # (Zhao et al. 2020): translation, affine (shift and zoom), or nothing; the 8
  # flips and right-angle rotations; the largest change of brightness.
  config.augment.discriminator = ""
  config.augment.discriminator_turns = False
  config.augment.discriminator_brightness = 0.0
  # The share of images that go through it.
  config.augment.discriminator_share = 1.0
  # ADA (Karras et al. 2020): that share is adapted, from 0 to 0.8, to keep the
  # mean sign of real images' logits at adapt_target (0.6 in the paper; 0: not
  # adapted). It changes by 1 in adapt_images images (500,000 in the paper).
  config.augment.adapt_target = 0.0
  config.augment.adapt_images = 100_000

  config.loss = ml_collections.ConfigDict()
  # Weight of LeCam's regularizer (Tseng et al. 2021: 0.01 to 0.3), whose
  # averages exist from the second step on; 0: none.
  config.loss.lecam = 0.0
  # cross_entropy, or d2d_ce (ReACGAN, Kang et al. 2021) with its margin and
  # temperature.
  config.loss.class_loss = "cross_entropy"
  config.loss.class_margin = 0.98
  config.loss.class_temperature = 0.5
  config.loss.class_weight = 1.0
  # Lazy regularization (Karras et al. 2020, StyleGAN2): the penalty is computed
  # once in this many steps, with its weight multiplied by the same number.
  config.loss.penalty_every = 1
  # Sheets of samples; one is drawn of every resolution's last step, too.
  config.sample_every = 500
  # The kernel distance (KID) of samples to training images of their class; 0
  # for never. With best="kid", save_every is a multiple of it; so it is with
  # best="kid_squeezenet", the distance in features of SqueezeNet, which is for
  # generators that learn through those of the other.
  config.kid_every = 0 if quick else 500
  # Samples of each class for it.
  config.kid_images = 100
  config.best = "" if quick else "kid"
  return config


def project(config: ml_collections.ConfigDict) -> None:
  """Give a GAN a projected discriminator, with what suits that.

  Losses and optimizers are as of Projected GAN (Sauer et al. 2021), but for the
  learning rate, which is 2e-4 there: in 15 minutes of two cores this one leads
  further (results/generators).
  """
  own = config.model.projected = ml_collections.ConfigDict()
  # Pixels that the pretrained network sees, a multiple of 32.
  own.input = 64
  # Channels of the finest of its features, after they are mixed.
  own.width = 32
  # Most features of a head's layer.
  own.most = 256
  # Whether one more head sees the images themselves. Without it, what the
  # pretrained network hardly sees is left in them, as a grid.
  own.pixels = True
  # How heads see the class: projection, class_head or both.
  own.conditioning = "both"
  if config.best:  # a judge that it does not learn through
    config.best = "kid_squeezenet"
  config.loss.adversarial = "hinge"
  config.loss.penalty = "none"
  config.loss.drift = 0.0
  config.augment.discriminator = "affine"
  config.train.discriminator_rate = 5e-4
  config.train.beta1 = 0.0
  config.train.beta2 = 0.99
  config.train.ema_images = 20_000.0


def gan_part(name: str, arguments: str) -> ml_collections.ConfigDict:
  """Return the config of a GAN as a part of another's.

  Args:
    name: of a task that trains a GAN, whose config has its name.
    arguments: of its config.

  Raises:
    InputError: there is no such GAN.
  """
  gans = [known for known in tasks.known() if tasks.named(known).generates]
  errors.require_known("gan", name, gans)
  module = importlib.import_module(f"configs.{name}")
  return part(module.get_config(arguments))


def part(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Return a training config as a part of a study's.

  Seed, data and devices are the study's, so that they are set in one place, and
  so is an external test set.
  """
  config = config.copy_and_resolve_references()
  del config.seed, config.parallel, config.data
  if "external" in config:
    del config.external
  return config
