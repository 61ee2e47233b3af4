"""Data sets in host memory, split by lesion."""

import dataclasses
import hashlib
import types
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

import tfds_ham10000
from skinjax.data import sources
from skinjax.data.sources import Split
from skinjax.runtime import errors
from tfds_ham10000.splits import fold_splits

# For reports, if `DataInfo.groups_known` is False.
GROUPS_UNKNOWN = (
  "It is not recorded which images show the same lesion: identical images "
  "count as one lesion, every other image as its own. If the data have several "
  "images of a lesion or patient, some may be in both training and test, and "
  "scores are then too high."
)


@dataclasses.dataclass(frozen=True)
class DataInfo:
  """A hashable description of the data, static in compiled programs."""

  name: str
  size: int  # height and width in pixels
  channels: int  # 1 or 3
  class_names: tuple[str, ...]  # by label
  # Training images by label; with added ones, in the proportions of the natural
  # sampler, which class weights and logit adjustment are to undo.
  class_counts: tuple[int, ...]
  drawn: bool  # as in sources.Source
  collapse: float  # as in sources.Source
  groups_known: bool  # whether it is known which images show the same lesion
  # The side that images are resized to before they are reduced by an integer
  # factor, or padded, to `size`.
  stored: int
  fingerprint: str  # SHA-256 of the training split's ids, labels, pixels

  @property
  def num_classes(self) -> int:
    """Return the number of classes."""
    return len(self.class_names)


class Added(NamedTuple):
  """Images that a classifier is trained on in addition to the training split.

  Their share of a class's samples is their share of its images, but at most
  `share`. With `pretraining` above 0, the first `pretraining` steps sample only
  them, for classes that have any, and all later steps only the others.
  """

  split: Split
  share: float = 1.0
  weight: float = 1.0  # of an image in the loss, relative to real ones
  pretraining: int = 0

  def shares(self, counts: np.ndarray) -> np.ndarray:
    """Return their share of each class's samples, without pretraining.

    `counts` are the training images by class, [classes].
    """
    more = np.bincount(self.split.labels, minlength=len(counts))
    return np.minimum(more / np.maximum(counts + more, 1), self.share)


class Dataset(NamedTuple):
  """A data set, read and split."""

  info: DataInfo
  train: Split
  validation: Split
  test: Split
  # The groups that the generators of training images were trained on; None if
  # unknown.
  inherited: tuple[str, ...] | None = ()
  # The group of each image of the unused classes, by image id.
  left_out: Mapping[str, str] = types.MappingProxyType({})
  added: Added | None = None

  @property
  def splits(self) -> tuple[Split, Split, Split]:
    """Return the training, validation and test split."""
    return self.train, self.validation, self.test

  def group_of(self) -> dict[str, str]:
    """Return the group of every image of the data set, by image id."""
    groups = dict(self.left_out)
    for split in self.splits:
      groups |= split.group_of()
    return groups


def load(config) -> Dataset:
  """Read a data set, preparing it first if needed.

  `config` is the `data` section of a config (see configs/common.py). Fold -1
  means the data set's own splits. Otherwise fold i is the test split, fold i+1
  mod k the validation split, and the rest the training split.

  Raises:
    InputError: there is no such data set, size, class or fold, or a class has
      no training images.
    tfds_ham10000.DataError: the user's files are not HAM10000.
  """
  return divided(sources.read(config), config)


def divided(raw: sources.Raw, config) -> Dataset:
  """Split data that were read as `data` of a config sets; see `load`."""
  names, source = raw.class_names, sources.SOURCES[config.name]
  pool = joined(raw.splits.values())
  splits = _resplit(raw.splits, pool, names, config)
  splits = {key: _subset(split, names, config) for key, split in splits.items()}
  used = {name for split in splits.values() for name in split.group_of()}
  groups = pool.group_of().items()
  left_out = {name: group for name, group in groups if name not in used}
  names = _asked(config) or names
  train = splits["train"]
  counts = np.bincount(train.labels, minlength=len(names))
  if not counts.all():
    raise _no_training_image(raw, names[int(np.argmin(counts))], pool)
  for key, split in splits.items():
    if not len(split.labels):
      raise errors.InputError(
        f"The {key} split has no image: {raw.name} has too few lesions or "
        "images; about 10 per class are needed."
      )
  info = DataInfo(
    name=raw.name,
    size=config.size,
    channels=train.images.shape[-1],
    class_names=names,
    class_counts=tuple(counts.tolist()),
    drawn=source.drawn,
    collapse=source.collapse,
    groups_known=raw.groups_known,
    stored=raw.stored,
    fingerprint=fingerprint(train),
  )
  return Dataset(info, **splits, left_out=left_out)


def _no_training_image(
  raw: sources.Raw, name: str, pool: Split
) -> errors.InputError:
  """Explain why a class has no training image; folds give each class some."""
  number = int(np.sum(pool.labels == raw.class_names.index(name)))
  fault = f"has no image of class {name!r}"
  if number:
    fault = f"has {number} of class {name!r}, none of them for training"
  place = f" ({raw.origin})" if raw.origin else ""
  return errors.InputError(
    f"{raw.name}{place} {fault}: use other classes (data.classes), or data "
    "with enough images of it."
  )


def extended(
  dataset: Dataset, added: Added, inherited: Iterable[str] | None
) -> Dataset:
  """Add images to the training data.

  `inherited` are the groups that their generator was trained on; None if
  unknown. A network trained on the generator's images inherits them.
  """
  counts = np.bincount(dataset.train.labels, minlength=dataset.info.num_classes)
  if not added.pretraining:
    counts = np.rint(counts / (1 - added.shares(counts))).astype(int)
  return dataset._replace(
    info=dataclasses.replace(dataset.info, class_counts=tuple(counts.tolist())),
    added=added,
    inherited=_inherited(dataset, inherited),
  )


def trained_on(
  dataset: Dataset, train: Split, inherited: Iterable[str] | None
) -> Dataset:
  """Replace the training split by other images; see `extended`."""
  counts = np.bincount(train.labels, minlength=dataset.info.num_classes)
  info = dataclasses.replace(
    dataset.info,
    class_counts=tuple(counts.tolist()),
    fingerprint=fingerprint(train),
  )
  inherited = _inherited(dataset, inherited)
  return dataset._replace(info=info, train=train, inherited=inherited)


def _inherited(dataset: Dataset, more: Iterable[str] | None):
  if more is None or dataset.inherited is None:
    return None
  return (*dataset.inherited, *more)


def fingerprint(split: Split) -> str:
  """Compute the SHA-256 of a split's ids, labels and pixels, in hex."""
  digest = hashlib.sha256("\n".join(split.image_ids).encode())
  digest.update(np.ascontiguousarray(split.labels.astype("<i4")))
  digest.update(np.ascontiguousarray(split.images))
  return digest.hexdigest()


def joined(splits: Iterable[Split]) -> Split:
  """Concatenate several splits, and sort the result by label."""
  columns = zip(*splits, strict=True)
  whole = Split(*(np.concatenate(column) for column in columns))
  return whole.take(slice(None))


def _resplit(
  splits: dict[str, Split], pool: Split, names: tuple[str, ...], config
) -> dict[str, Split]:
  """Divide the pool of all splits into folds, or return the own splits."""
  if config.fold == -1:
    if "validation" in splits:
      return splits
    # Without a validation split, a tenth of the training set becomes it.
    train = splits["train"]
    tenth = tfds_ham10000.folds(train.groups, train.labels, 10, 0)
    return splits | {
      "train": train.take(tenth > 0),
      "validation": train.take(tenth == 0),
    }
  asked = _asked(config) or names
  # A class that is not asked for is split, too, so that the folds of the others
  # stay the same; but it may be too small for that.
  kept = [
    name in asked
    or np.unique(pool.groups[pool.labels == label]).size >= config.num_folds
    for label, name in enumerate(names)
  ]
  kept = np.array(kept)[pool.labels]
  try:
    found = fold_splits(
      pool.groups[kept],
      [names[label] for label in pool.labels[kept]],
      config.fold,
      config.num_folds,
      config.fold_seed,
    )
  except ValueError as error:
    raise errors.InputError(
      f"data.fold={config.fold}, data.num_folds={config.num_folds}: {error}."
    ) from error
  assigned = np.zeros(len(kept), found.dtype)
  assigned[kept] = found
  return {key: pool.take(assigned == key) for key in tfds_ham10000.SPLITS}


def _asked(config) -> tuple[str, ...]:
  """Return the classes that the config names; digits may be integers."""
  return tuple(map(str, config.classes))


def _subset(split: Split, names: tuple[str, ...], config) -> Split:
  """Keep the classes that the config names, relabelled in its order."""
  asked = _asked(config)
  if not asked:
    return split
  for name in asked:
    errors.require_known(f"class of {config.name}", name, names)
    if asked.count(name) > 1:
      raise errors.InputError(
        f"data.classes={asked} has {name!r} twice: name each class once."
      )
  relabel = np.full(len(names), -1, np.int32)
  relabel[[names.index(name) for name in asked]] = range(len(asked))
  labels = relabel[split.labels]
  return split._replace(labels=labels).take(labels >= 0)
