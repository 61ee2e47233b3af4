"""A fold of a study: its real images and the synthetic images for them."""

import pathlib
import time
import types
from collections.abc import Mapping
from typing import NamedTuple

import ml_collections
import numpy as np
from absl import logging

from skinjax.data import datasets, image_folder, provenance
from skinjax.data.sources import Split
from skinjax.runtime import errors, files, workdir
from skinjax.synthesis import generators, synthesize
from skinjax.training import loop, tasks, trained

PAUSE = 5.0  # seconds between checks of another process's work
CONTROL = "Other lesions'"  # reports append "images"


class Fold(NamedTuple):
  """A fold with its data and image folders loaded."""

  number: int  # -1 for the fixed split
  path: pathlib.Path  # its directory in the workdir
  dataset: datasets.Dataset
  folders: Mapping[int, image_folder.ImageFolder]  # by seed
  digests: Mapping[int, str]  # of the folders, see ImageFolder.digest
  # Which of a folder's images pass the filter (synthesis/quality.py), if an arm
  # uses it.
  passes: Mapping[int, np.ndarray] = types.MappingProxyType({})

  def folder_of(self, seed: int) -> int:
    """Return the key in `folders` that a seed uses: its own or the only one."""
    return seed if seed in self.folders else min(self.folders)


def numbers(config) -> tuple[int, ...]:
  """Return the folds that a study tests on.

  Raises:
    InputError: a fold does not exist, or is named twice.
  """
  every = tuple(range(config.data.num_folds))
  asked = tuple(config.folds) or every
  if config.data.fold != -1:
    raise errors.InputError(
      f"data.fold={config.data.fold}: a study takes its folds from "
      f"config.folds. Set --config.folds={config.data.fold}, instead."
    )
  known = asked == (-1,) or set(asked) <= set(every)
  if not known or len(set(asked)) < len(asked):
    raise errors.InputError(
      f"folds={asked}: expected some of {every}, each once, or (-1,) for the "
      "fixed split."
    )
  return asked


def place(path: pathlib.Path, number: int) -> pathlib.Path:
  """Return the directory of a fold in the workdir `path`."""
  return path / ("split" if number == -1 else f"fold{number}")


def load(config, number: int) -> datasets.Dataset:
  """Load a fold's images; with `control`, only half of the training lesions."""
  dataset = whole(config, number)
  if not config.control:
    return dataset
  own, other = _halves(dataset.train)
  left_out = {**dataset.left_out, **other.group_of()}
  dataset = datasets.trained_on(dataset, own, ())
  return dataset._replace(left_out=left_out)


def whole(config, number: int) -> datasets.Dataset:
  """Load all images of a fold."""
  data = ml_collections.ConfigDict(config.data.to_dict())
  data.fold = number
  return datasets.load(ml_collections.FrozenConfigDict(data))


def _halves(train: Split) -> tuple[Split, Split]:
  """Split training images into two halves by lesion, for the control."""
  half = chosen(train, 0.5, seed=0)
  return train.take(half), train.take(~half)


def chosen(split: Split, fraction: float, seed: int) -> np.ndarray:
  """Choose a random fraction of each class's lesions, rounded up.

  Returns:
    Booleans [images]. A larger fraction includes what a smaller one chooses.
  """
  kept = np.zeros(len(split.labels), bool)
  for label in np.unique(split.labels):
    mine = split.labels == label
    lesions = np.unique(split.groups[mine])
    count = int(np.ceil(fraction * len(lesions)))
    order = np.random.default_rng([seed, label]).permutation(lesions)
    kept |= mine & np.isin(split.groups, order[:count])
  return kept


def seeds(config) -> range:
  """Return the seeds of a study's classifiers, before any are added."""
  return range(config.seed, config.seed + config.seeds)


def named(config, number: int, seed: int) -> tuple[str, str]:
  """Return the generator and image folder in the config for a fold and seed."""
  fill = lambda text: text.replace("{fold}", str(number)).replace(
    "{seed}", str(seed)
  )
  return fill(config.generator), fill(config.synthetic)


def by_fold(config) -> bool:
  """Return whether each fold has its own images."""
  return "{fold}" in config.generator + config.synthetic


def by_seed(config) -> bool:
  """Return whether each seed has its own images."""
  return "{seed}" in config.generator + config.synthetic


class Given(NamedTuple):
  """The image folders given for a fold, or the generators to sample from."""

  generators: Mapping[int, generators.Generator]  # by seed
  folders: Mapping[int, image_folder.ImageFolder]


def given(config, number: int, info: datasets.DataInfo, seeds) -> Given:
  """Load the generators or image folders that the config names for a fold.

  Raises:
    InputError: one does not exist, or does not fit the data.
  """
  made, read = {}, {}
  for seed in seeds if by_seed(config) else list(seeds)[:1]:
    generator, synthetic = named(config, number, seed)
    if synthetic:
      read[seed] = image_folder.read(synthetic, info)
    elif generator:
      made[seed] = generators.load(generator, config.generator_checkpoint)
      trained.require_for(made[seed], info)
  return Given(made, read)


def pretrained(config, found: Given) -> set[str]:
  """Return the pretrained networks that the generators were trained through."""
  if config.control:  # real images
    return set()
  if not any(found):  # a GAN is trained here
    return set(trained.pretrained_networks(config.gan))
  records = [g.origin.get("pretrained") for g in found.generators.values()]
  through = {name for names in records for name in files.texts(names)}
  return through.union(*(f.pretrained for f in found.folders.values()))


def has_not_seen(config, found: Given, dataset: datasets.Dataset) -> bool:
  """Return whether the generators or images have not seen held-out lesions.

  Raises:
    InputError: what a generator was trained on is unknown, and `unknown_origin`
      is not set; or it has seen held-out lesions of the fold that it is for; or
      a folder has a held-out image itself.
  """
  for maker in (*found.generators.values(), *found.folders.values()):
    try:
      known = provenance.refuse_seen(
        maker.origin, dataset, "The generator of the images", maker.path
      )
      if isinstance(maker, image_folder.ImageFolder):
        _refuse_held_out(maker, dataset)
    except errors.InputError:
      if by_fold(config) or len(numbers(config)) == 1:
        raise
      return False
    if not known and not config.unknown_origin:
      raise _untraced(maker, dataset)
  return True


def _untraced(maker, dataset: datasets.Dataset) -> errors.InputError:
  """Make the error that it is unknown what a generator was trained on."""
  absent = sorted(provenance.absent(maker.origin, dataset))
  reason = (
    "does not record which lesions the generator of its images was trained on"
  )
  if absent:
    reason = (
      f"records that the generator of its images was trained on {absent[0]} "
      f"({len(absent)} such names in all), which this data set does not have"
    )
  return errors.InputError(
    f"{maker.path} {reason}, so it may have seen test lesions. Add a "
    'provenance.json with {"trained_on": {"image_ids": [...]}}, such as '
    "configs/split.py writes, or set --config.unknown_origin=True; the "
    "verdict then states that a leak cannot be excluded."
  )


def _refuse_held_out(
  folder: image_folder.ImageFolder, dataset: datasets.Dataset
) -> None:
  """Refuse images that equal held-out ones, whatever their origin says."""
  names = {image.tobytes(): i for i, image in enumerate(folder.split.images)}
  for kind in ("test", "validation"):
    split = getattr(dataset, kind)
    for image, real in zip(split.images, split.image_ids, strict=True):
      if (index := names.get(image.tobytes())) is not None:
        raise errors.InputError(
          f"{folder.path / folder.split.image_ids[index]} is the {kind} image "
          f"{real}, pixel by pixel: synthetic images may have been generated "
          "from training images only."
        )


def prepare(
  config,
  path: pathlib.Path,
  number: int,
  dataset: datasets.Dataset,
  found: Given,
  counts: np.ndarray,
  needed: Mapping[str, np.ndarray],
) -> Fold:
  """Read or generate a fold's image folders; train a GAN first if needed.

  `counts` [classes] are the numbers of images to generate; `needed` are those
  that each arm to train needs, by its name.

  Raises:
    InputError: a folder that was generated here has fewer than an arm needs.
  """
  own = place(path, number)
  own.mkdir(exist_ok=True)
  with files.locked(own / ".lock", wait=True):
    provenance.write_origin(own, dataset)
  if config.control:
    folders = {config.seed: _control(config, number, own)}
  elif found.folders:
    folders = found.folders
  else:
    makers = found.generators or {
      config.seed: generators.load(
        _train_generator(config, own, number, dataset),
        config.generator_checkpoint,
      )
    }
    folders = {}
    for seed, maker in makers.items():
      name = f"synthetic{seed}" if len(makers) > 1 else "synthetic"
      with files.locked(own / ".synthetic.lock", wait=True):
        folders[seed] = synthesize.obtain(own / name, maker, counts, seed)
      _require_enough(folders[seed], needed, dataset.info)
  digests = {s: f.digest for s, f in folders.items()}
  with files.locked(own / ".lock", wait=True):
    _require_same(own / "images.json", digests)
  return Fold(number, own, dataset, folders, digests)


def _require_same(record: pathlib.Path, digests: Mapping[int, str]) -> None:
  """Refuse other image folders than those that a fold was started with."""
  now = {str(seed): digest for seed, digest in digests.items()}
  before = {}
  if record.exists():
    before = files.read_json(record, "it records which images were used")
  if changed := [s for s in now if before.get(s, now[s]) != now[s]]:
    raise errors.InputError(
      f"{record.parent} was started with other synthetic images than now "
      f"(seed {changed[0]}): use another workdir, or the original images."
    )
  if before | now != before:
    files.write_json(record, before | now)


def short(
  folder: image_folder.ImageFolder, wanted: np.ndarray
) -> dict[int, int]:
  """Return the counts of classes with fewer images than `wanted` [classes]."""
  there = np.bincount(folder.split.labels, minlength=len(wanted))
  return {n: int(there[n]) for n in np.flatnonzero(there < wanted).tolist()}


def _require_enough(folder, needed: Mapping[str, np.ndarray], info) -> None:
  for arm, counts in needed.items():
    for label, there in short(folder, counts).items():
      raise errors.InputError(
        f"{folder.path} has {there} images of "
        f"{info.class_names[label]}, and arm {arm} needs {counts[label]}: "
        "leave it out of config.arms, or use another workdir."
      )


def _control(config, number: int, own: pathlib.Path):
  """Return the other half of the training lesions as an image folder."""
  _, other = _halves(whole(config, number).train)
  return image_folder.ImageFolder(
    own,
    other,
    {
      "name": CONTROL,
      "trained_on": {"groups": np.unique(other.groups).tolist()},
      "pretrained": [],
    },
  )


def gan_config(config, number: int) -> ml_collections.ConfigDict:
  """Make the config of a fold's GAN."""
  made = workdir.composed(config, "gan")
  made.data.fold = number
  return made


def _train_generator(
  config, own: pathlib.Path, number: int, dataset: datasets.Dataset
) -> pathlib.Path:
  """Train a fold's GAN unless it is trained; other processes wait."""
  where, gan = own / "generator", gan_config(config, number)
  waiting = False
  while not trained.is_trained(where, gan.train.steps):
    try:
      loop.train(tasks.named(gan.task), gan, where, dataset)
    except errors.InUseError as error:
      if not waiting:
        logging.info("%s Waiting.", error)
      waiting = True
      time.sleep(PAUSE)
  return where
