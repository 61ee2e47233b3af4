"""Shared code of the configs: typed arguments and common keys."""

import importlib
from collections.abc import Callable
from typing import Any

import ml_collections

from skinjax.data import sources
from skinjax.runtime import errors
from skinjax.training import tasks


def arguments(**defaults: Any) -> Callable:
  """Make `get_config("dataset=mnist,quick")` out of `get_config(**values)`.

  A config of a data set also takes `upright`: its images have an upright
  position, as digits have, so nothing flips or rotates them.

  Args:
    **defaults: a config's arguments and their defaults; a value has its
      default's type, and a bare name means True.

  Returns:
    A decorator. The decorated function raises InputError for an unknown
    argument, or one whose value is not of its type.
  """
  known = {**defaults, **({"upright": False} if "dataset" in defaults else {})}

  def decorate(build: Callable[..., ml_collections.ConfigDict]) -> Callable:
    def get_config(text: str = "") -> ml_collections.ConfigDict:
      values = dict(known)
      for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        errors.require_known("config argument", name, known)
        values[name] = _typed(name, value, known[name])
      upright = values.pop("upright", False)
      config = build(**values)
      return _upright(config) if upright else config

    get_config.__doc__ = build.__doc__
    return get_config

  return decorate


def _upright(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Turn off flips and rotations in a config and all its parts."""
  for key, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      _upright(value)
    elif key in ("orientations", "test_orientations", "discriminator_turns"):
      config[key] = False
  return config


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
    f"Config argument {name}={text!r}: {type(default).__name__} is expected."
  )


# Short names of data sets in the argument.
_NAMES = {"toy": "toy_lesions"}
_SHORT = {name: short for short, name in _NAMES.items()}


def base(task: str, dataset: str, size: int) -> ml_collections.ConfigDict:
  """Return the keys of every config that reads a data set.

  Args:
    task: the name of the task that runs it.
    dataset: ham10000, mnist, toy or folder.
    size: pixels; 0 for the data set's default.

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
  # The directory of the user's downloaded files; empty: download them.
  config.data.manual_dir = ""
  # The folder of a user's own images, by class, for dataset=folder.
  config.data.folder = ""
  # The directory of prepared data sets; empty: $TFDS_DATA_DIR, else the user's
  # cache.
  config.data.data_dir = ""
  # Names of the classes to use; empty: all.
  config.data.classes = ()
  # The fold to test on; -1: the data set's own splits.
  config.data.fold = -1
  config.data.num_folds = 5
  config.data.fold_seed = 0
  return config


def devices(config: ml_collections.ConfigDict) -> None:
  """Add the key that says how a config's training uses devices."""
  # one, pmap, jit, or auto: pmap from two devices on.
  config.parallel = "auto"


def generator(config: ml_collections.ConfigDict) -> None:
  """Add the keys that name a trained generator."""
  # The workdir of a trained GAN, or the name of one shipped with skinjax.
  config.generator = ""
  # latest, or best: the generator's checkpoint with the best value of the
  # metric that `best` names in its config.
  config.generator_checkpoint = "latest"


def folds(dataset: str, quick: bool) -> tuple[int, ...]:
  """Return the folds that a study tests on by default; see configs/study.py."""
  return (-1,) if quick or dataset != "ham10000" else ()


def training(task: str, dataset: str, size: int) -> ml_collections.ConfigDict:
  """Return the keys of every config that trains; see `base`."""
  config = base(task, dataset, size)
  devices(config)
  # Steps in one compiled call; the intervals below are multiples of it.
  config.log_every = 50
  config.eval_every = 500
  config.save_every = 500
  # The metric that selects the best checkpoint, which is kept next to the
  # latest: a score on the validation split or, for a GAN, kid or
  # kid_squeezenet. Results are those of the latest, unless generator_checkpoint
  # is best.
  config.best = ""

  config.model = ml_collections.ConfigDict()
  # The dtype of convolutions: float32 or, on GPUs and TPUs, bfloat16. Weights,
  # statistics and losses are float32 in either case.
  config.model.dtype = "float32"

  config.train = ml_collections.ConfigDict()
  config.train.batch_size = 64
  # How classes are sampled: natural, tempered (by square roots of their counts)
  # or balanced.
  config.train.sampler = "natural"

  config.augment = ml_collections.ConfigDict()
  # Whether to use the 8 flips and right-angle rotations; not for digits.
  config.augment.orientations = not sources.SOURCES[config.data.name].upright
  # Largest change of brightness, contrast and saturation.
  config.augment.jitter = 0.0
  return config


# A GAN's discriminator: the paper's, or a projected one, which sees images
# through a pretrained network (Sauer et al. 2021). On HAM10000 the latter was
# better for both GANs (results/generators), and is the default there and for
# the user's images, except with `quick`.
VARIANTS = ("paper", "projected")


def generating(
  task: str, dataset: str, size: int, quick: bool, variant: str = ""
) -> ml_collections.ConfigDict:
  """Return the keys of every config that trains a GAN; see `base`.

  Args:
    task: the name of the task that runs it.
    dataset: ham10000, mnist, toy or folder.
    size: pixels; 0 for the data set's default.
    quick: measure no kernel distance, which would take longer than the steps.
    variant: one of VARIANTS; empty: projected, the better one for HAM10000, for
      it and the user's images; paper for MNIST, drawn lesions and `quick`. If
      `model.discriminator` is then projected, call `project`, too.

  Raises:
    InputError: there is no such data set or variant.
  """
  if not variant:
    photographs = dataset in ("ham10000", "folder")
    variant = "projected" if photographs and not quick else "paper"
  errors.require_known("variant", variant, VARIANTS)
  config = training(task, dataset, size)
  config.train.sampler = "tempered"
  # own or projected, set by `variant`: each has its own keys.
  config.model.discriminator = {"paper": "own"}.get(variant, variant)
  # How the labels of generated images are sampled: natural, tempered or
  # balanced; empty: use those of the batch's real images.
  config.train.generated_labels = ""
  # The size from which labels are used: 4 in the papers. Below a larger one,
  # all classes are generated alike, which helps the rare ones (Shahbazi et al.
  # 2022; Khorram et al. 2024).
  config.model.conditional_from = 4
  # Dimensions of the normalized class features, for loss.class_loss="d2d_ce".
  config.model.embedding = 128
  # The fraction of the steps, at the end, over which learning rates fall to 0.
  # If train.steps is increased in the same workdir, they rise again.
  config.train.decay = 0.0
  # Augmentation of all images, real and generated, before the discriminator
  # (Zhao et al. 2020): translation, affine (shift and zoom), or empty for none;
  # the 8 flips and right-angle rotations; the largest change of brightness.
  config.augment.discriminator = ""
  config.augment.discriminator_turns = False
  config.augment.discriminator_brightness = 0.0
  # The fraction of images that are so augmented.
  config.augment.discriminator_share = 1.0
  # ADA (Karras et al. 2020): this fraction is adapted, from 0 to 0.8, to keep
  # the mean sign of real images' logits at adapt_target (0.6 in the paper; 0:
  # not adapted). It changes by 1 in adapt_images images (500,000 in the paper).
  config.augment.adapt_target = 0.0
  config.augment.adapt_images = 100_000

  config.loss = ml_collections.ConfigDict()
  # Weight of LeCam's regularizer (Tseng et al. 2021: 0.01 to 0.3), whose EMAs
  # exist from the second step on; 0: none.
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
  # Steps between sheets of samples; each resolution's last step has one, too.
  config.sample_every = 500
  # Steps between measurements of the kernel distance (KID) of samples to
  # training images of their class; 0: never. With best="kid" (in features of
  # EfficientNet-Lite0) or, for generators trained through that network,
  # best="kid_squeezenet", save_every must be a multiple of it.
  config.kid_every = 0 if quick else 500
  # Samples of each class for it.
  config.kid_images = 100
  config.best = "" if quick else "kid"
  return config


def project(config: ml_collections.ConfigDict) -> None:
  """Give a GAN a projected discriminator, with suitable hyperparameters.

  Losses and optimizers are those of Projected GAN (Sauer et al. 2021), except
  for the learning rate, which is 2e-4 there: this one gives better results in
  15 minutes on two cores (results/generators).
  """
  own = config.model.projected = ml_collections.ConfigDict()
  # Pixels that the pretrained network sees, a multiple of 32.
  own.input = 64
  # Channels of its finest feature map, after mixing.
  own.width = 32
  # Upper bound of the features in a head's layers.
  own.most = 256
  # Whether an additional head sees the images themselves. Without it, artefacts
  # that the pretrained network hardly sees remain, such as a grid.
  own.pixels = True
  # How heads are conditioned on the class: projection, class_head or both.
  own.conditioning = "both"
  if config.best:  # a network that the generator is not trained through
    config.best = "kid_squeezenet"
  # A grid, and texture that depends on the position, are hardly visible to the
  # pretrained network: these avoid both.
  config.model.upsampling = "bilinear"
  config.model.pixel_noise = True
  config.loss.adversarial = "hinge"
  config.loss.penalty = "none"
  config.loss.drift = 0.0
  config.augment.discriminator = "affine"
  config.train.discriminator_rate = 5e-4
  config.train.beta1 = 0.0
  config.train.beta2 = 0.99
  config.train.ema_images = 20_000.0


def gan_part(name: str, arguments: str) -> ml_collections.ConfigDict:
  """Return the config of a GAN as a part of another config.

  Args:
    name: of a task that trains a GAN, which is also its config's name.
    arguments: of its config.

  Raises:
    InputError: there is no such GAN.
  """
  errors.require_known("gan", name, tasks.gans())
  module = importlib.import_module(f"configs.{name}")
  return part(module.get_config(arguments))


def part(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Return a training config as a part of a study's.

  Seed, data, devices and external test set are removed, as they are set once,
  in the study's config.
  """
  config = config.copy_and_resolve_references()
  del config.seed, config.parallel, config.data
  if "external" in config:
    del config.external
  return config
