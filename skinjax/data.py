"""Data sets: from TFDS to arrays in host memory, split by lesion."""

import dataclasses
import hashlib
import io
import os
from concurrent import futures
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

import tfds_ham10000
from skinjax import errors


class Source(NamedTuple):
  """What is known of a data set before it is read."""

  sizes: tuple[int, ...]  # that its TFDS builder stores
  groups: bool  # several images a lesion, told by the feature `group`
  drawn: bool  # drawn by a program: nobody may take them for real


SOURCES = {
  "ham10000": Source((64, 128, 256), groups=True, drawn=False),
  "toy_lesions": Source((64, 128), groups=True, drawn=True),
  "mnist": Source((28,), groups=False, drawn=False),
}


@dataclasses.dataclass(frozen=True)
class DataInfo:
  """A hashable record of the data, static in every compiled program.

  Attributes:
    name: the data set's name.
    size: height and width in pixels.
    channels: 1 or 3.
    class_names: by label.
    class_counts: training images by label.
    drawn: whether a program drew the pictures.
    fingerprint: SHA-256 of the training split's ids, labels and pixels.
  """

  name: str
  size: int
  channels: int
  class_names: tuple[str, ...]
  class_counts: tuple[int, ...]
  drawn: bool
  fingerprint: str

  @property
  def num_classes(self) -> int:
    """Returns the number of classes."""
    return len(self.class_names)


class Split(NamedTuple):
  """Images in host memory, sorted by label, then as the data set has them.

  Attributes:
    images: uint8 [examples, size, size, channels].
    labels: int32 [examples].
    image_ids: str [examples].
    groups: str [examples]; images of one group show one lesion.
  """

  images: np.ndarray
  labels: np.ndarray
  image_ids: np.ndarray
  groups: np.ndarray

  def take(self, index: np.ndarray) -> "Split":
    """Selects examples by index or mask, sorted by label."""
    split = Split(*(column[index] for column in self))
    return Split(*(c[np.argsort(split.labels, kind="stable")] for c in split))


class Dataset(NamedTuple):
  """A data set, read and split."""

  info: DataInfo
  train: Split
  validation: Split
  test: Split


def cache_dir() -> str:
  """Returns where skinjax keeps what it can make again."""
  root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  return os.path.join(root, "skinjax")


def default_dir() -> str:
  """Returns where data sets are prepared unless a config says otherwise."""
  return os.environ.get("TFDS_DATA_DIR") or os.path.join(cache_dir(), "tfds")


def load(config) -> Dataset:
  """Reads a data set, preparing it first where it is not yet prepared.

  Args:
    config: `name`, `size`, `data_dir`, `manual_dir`, `classes`, `fold`,
      `num_folds`, `fold_seed`; see configs/common.py.

  Returns:
    The three splits. Fold -1 means the data set's own; fold i is the test
    split, fold i+1 mod k the validation split, the rest the training split.

  Raises:
    InputError: a data set, size, class or fold that does not exist, or a class
      without training images.
    tfds_ham10000.DataError: the user's files are not HAM10000.
  """
  if config.name not in SOURCES:
    raise errors.unknown("data set", config.name, SOURCES)
  builder, factor = _builder(config)
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(
      manual_dir=os.path.expanduser(config.manual_dir) or None
    )
  )
  names = tuple(builder.info.features["label"].names)
  splits = {
    key: _read(builder, key, config, factor) for key in builder.info.splits
  }
  splits = _resplit(splits, config)
  splits = {key: _subset(split, names, config) for key, split in splits.items()}
  names = tuple(config.classes) or names
  train = splits["train"]
  counts = np.bincount(train.labels, minlength=len(names))
  if not counts.all():
    raise errors.InputError(
      f"No training image of class {names[int(np.argmin(counts))]!r} in "
      f"{config.name}, fold {config.fold} of {config.num_folds}: use fewer "
      "folds (data.num_folds) or other classes (data.classes)."
    )
  info = DataInfo(
    name=config.name,
    size=config.size,
    channels=train.images.shape[-1],
    class_names=names,
    class_counts=tuple(counts.tolist()),
    drawn=SOURCES[config.name].drawn,
    fingerprint=fingerprint(train),
  )
  return Dataset(info, **splits)


def fingerprint(split: Split) -> str:
  """Computes the SHA-256 of a split's ids, labels and pixels, in hex."""
  digest = hashlib.sha256("\n".join(split.image_ids).encode())
  digest.update(np.ascontiguousarray(split.labels.astype("<i4")))
  digest.update(np.ascontiguousarray(split.images))
  return digest.hexdigest()


def _builder(config):
  """Returns the builder and by how much its pictures are to be reduced."""
  source = SOURCES[config.name]
  data_dir = os.path.expanduser(config.data_dir or default_dir())
  if config.name == "mnist":
    if config.size != 32:
      raise errors.InputError(
        f"MNIST comes at size 32 (28x28, padded), not at {config.size}."
      )
    return tfds.builder(
      "mnist", data_dir=data_dir, file_format="array_record"
    ), 1
  fits = [s for s in source.sizes if s >= config.size and s % config.size == 0]
  if not fits:
    raise errors.InputError(
      f"{config.name} has no size {config.size}: use "
      f"{', '.join(map(str, source.sizes))}, or one of them divided by a "
      "whole number."
    )
  return tfds.builder(
    f"{config.name}/{fits[0]}x{fits[0]}",
    data_dir=data_dir,
    file_format="array_record",
  ), fits[0] // config.size


def _read(builder, key: str, config, factor: int) -> Split:
  source = builder.as_data_source(
    key, decoders={"image": tfds.decode.SkipDecoding()}
  )
  examples = source.__getitems__(range(len(source)))
  with futures.ThreadPoolExecutor() as pool:
    images = np.stack(list(pool.map(lambda e: _decode(e["image"]), examples)))
  if config.name == "mnist":
    images = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    ids = [f"mnist_{key}_{i:05d}" for i in range(len(examples))]
    groups = ids
  else:
    ids = [e["image_id"].decode() for e in examples]
    groups = [e["group"].decode() for e in examples]
  labels = np.array([e["label"] for e in examples], np.int32)
  return Split(
    reduce(images, factor), labels, np.array(ids), np.array(groups)
  ).take(slice(None))


def _decode(content: bytes) -> np.ndarray:
  with Image.open(io.BytesIO(content)) as image:
    pixels = np.asarray(image)
  return pixels if pixels.ndim == 3 else pixels[..., None]


def reduce(images: np.ndarray, factor: int) -> np.ndarray:
  """Reduces uint8 images [n, h, w, c] by a whole factor, box by box."""
  if factor == 1:
    return images
  n, height, width, channels = images.shape
  boxes = images.reshape(
    n, height // factor, factor, width // factor, factor, channels
  )
  return np.rint(boxes.mean((2, 4), dtype=np.float32)).astype(np.uint8)


def _join(splits) -> Split:
  columns = zip(*splits, strict=True)
  return Split(*(np.concatenate(column) for column in columns))


def _resplit(splits: dict[str, Split], config) -> dict[str, Split]:
  """Cuts the pooled examples into folds, or returns the data set's own cut."""
  if config.fold == -1:
    if "validation" in splits:
      return splits
    # A data set without a validation split lends a tenth of its training set.
    train = splits["train"]
    tenth = tfds_ham10000.folds(train.groups, train.labels, 10, 0)
    return splits | {
      "train": train.take(tenth > 0),
      "validation": train.take(tenth == 0),
    }
  if not 0 <= config.fold < config.num_folds or config.num_folds < 3:
    raise errors.InputError(
      f"data.fold={config.fold} of data.num_folds={config.num_folds}: a fold "
      "from 0 to num_folds - 1 of at least 3, or -1 for the fixed splits."
    )
  pool = _join(splits.values())
  fold = tfds_ham10000.folds(
    pool.groups, pool.labels, config.num_folds, config.fold_seed
  )
  test = fold == config.fold
  validation = fold == (config.fold + 1) % config.num_folds
  return {
    "train": pool.take(~test & ~validation),
    "validation": pool.take(validation),
    "test": pool.take(test),
  }


def _subset(split: Split, names: tuple[str, ...], config) -> Split:
  """Keeps the classes that the config names and numbers them in its order."""
  if not config.classes:
    return split
  for name in config.classes:
    if name not in names:
      raise errors.unknown(f"class of {config.name}", name, names)
  relabel = np.full(len(names), -1, np.int32)
  relabel[[names.index(name) for name in config.classes]] = range(
    len(config.classes)
  )
  labels = relabel[split.labels]
  return split._replace(labels=labels).take(labels >= 0)
