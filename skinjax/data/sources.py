"""Sources of images: TFDS, used without TensorFlow, or a user's folder."""

import contextlib
import functools
import io
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from google.protobuf import json_format, message
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

import tfds_ham10000  # registers ham10000 and toy_lesions
from skinjax.data import images, own_images
from skinjax.runtime import errors, files
from tfds_ham10000.ham10000_dataset_builder import DOWNLOAD_ERRORS


class Source(NamedTuple):
  """Facts about a data set that hold before it is read."""

  stored: tuple[int, ...]  # sizes that its TFDS builder stores, if it has one
  size: int  # default size in pixels
  drawn: bool = False  # by a program: must not be mistaken for real data
  upright: bool = False  # whether flips change the meaning, as for digits
  # A class of generated images has collapsed if its diversity, relative to real
  # images, is below this. The limit is lower for lesions than for digits, as
  # their real images also differ in skin and light.
  collapse: float = 0.5
  # Synthetic images for each real one of a class, in a study.
  dose: float = 1.0


SOURCES = {
  "ham10000": Source((64, 128, 256), size=64),
  "toy_lesions": Source((64, 128), size=32, drawn=True),
  "mnist": Source((28,), size=32, upright=True, collapse=0.7, dose=0.1),
  "folder": Source((), size=64),
}


# What array_record, protobuf, Pillow and TFDS raise for damaged files.
_DAMAGE = (
  OSError,
  LookupError,
  RuntimeError,
  SyntaxError,
  ValueError,
  json_format.Error,
  message.Error,
)


class Split(NamedTuple):
  """Images in host memory, sorted by label, else in the data set's order."""

  images: np.ndarray  # uint8 [examples, size, size, channels]
  labels: np.ndarray  # int32 [examples]
  image_ids: np.ndarray  # str [examples]
  groups: np.ndarray  # str [examples]; images of one group show one lesion

  def group_of(self) -> dict[str, str]:
    """Return the group of each image, by image id."""
    return dict(zip(self.image_ids.tolist(), self.groups.tolist(), strict=True))

  def take(self, index: np.ndarray) -> "Split":
    """Select examples by index or mask, sorted by label."""
    split = Split(*(column[index] for column in self))
    return Split(*(c[np.argsort(split.labels, kind="stable")] for c in split))


def cache_dir() -> str:
  """Return the directory for files that skinjax can generate again."""
  root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  return os.path.join(root, "skinjax")


def features_dir() -> str:
  """Return the directory of cached image features."""
  return os.path.join(cache_dir(), "features")


def default_dir() -> str:
  """Return where data sets are prepared unless a config sets a directory."""
  return os.environ.get("TFDS_DATA_DIR") or os.path.join(cache_dir(), "tfds")


class Raw(NamedTuple):
  """A data set as it was read."""

  name: str  # in reports
  class_names: tuple[str, ...]  # by label
  splits: dict[str, Split]  # train, test and, if there is one, validation
  groups_known: bool  # as in datasets.DataInfo
  stored: int  # as in datasets.DataInfo
  origin: str  # where it was read, and which files it was prepared from


def read(config) -> Raw:
  """Read the data set of a config's `data`, preparing it first if needed.

  Raises:
    InputError: there is no such data set or size, or a user's folder does not
      hold images by class.
    tfds_ham10000.DataError: the user's files are not HAM10000, or not those
      that it was prepared from.
  """
  errors.require_known("data set", config.name, SOURCES)
  if config.name == "folder":
    return _read_folder(config)
  if config.folder:
    raise errors.InputError(
      f"data.folder={config.folder} is for dataset=folder, and this config has "
      f"data.name={config.name}: add :dataset=folder to its name, as in "
      "--config=configs/study.py:dataset=folder."
    )
  builder, stored = _builder(config)
  manual_dir = config.manual_dir and str(files.user_path(config.manual_dir))
  if not builder.is_prepared():
    _prepare(config, pathlib.Path(builder.data_dir), manual_dir)
    builder, stored = _builder(config)
  elif manual_dir and config.name == "ham10000":
    builder.check_prepared_from(manual_dir)
  names = tuple(builder.info.features["label"].names)
  with _whole(builder.data_dir):
    if not builder.info.splits:
      raise ValueError("it has no splits")
    splits = {
      key: _read(builder, key, config, stored) for key in builder.info.splits
    }
  origin = ""
  if config.name == "ham10000":
    origin = f"{builder.data_dir}, prepared from " + (
      builder.prepared_from or "files that an earlier version did not record"
    )
    number = sum(len(split.labels) for split in splits.values())
    _tell_origin(f"ham10000 {stored}x{stored}: {number:,} images, {origin}")
  return Raw(
    name=config.name,
    class_names=names,
    splits=splits,
    groups_known=True,
    stored=stored,
    origin=origin,
  )


@functools.cache
def _tell_origin(message: str) -> None:
  """Log a data set's origin once per process; a study reads it often."""
  logging.info("%s", message)


def _read_folder(config) -> Raw:
  """Read a user's own images, and split them as HAM10000 is split."""
  if not config.folder:
    raise errors.InputError(
      "data.folder is empty: name the folder of your images, with a folder for "
      "each class, or with a table images.csv (image, label, group)."
    )
  if config.size < 8:
    raise errors.InputError(f"data.size={config.size}: use 8 or more.")
  pixels, found, groups, names = own_images.read(config.folder, config.size)
  words = f"{len(pixels):,} images of {len(names)} classes"
  if found.groups is None:
    words += (
      "; no groups are known, so images of one lesion or patient may be in "
      "training and test"
    )
  else:
    words += f" in {len(set(groups)):,} groups"
  if found.unused:
    words += f"; not used in the table: {', '.join(found.unused)}"
  _tell_origin(f"{config.folder}: {words}")
  labels = np.array([names.index(label) for label in found.labels], np.int32)
  pool = Split(pixels, labels, np.array(found.names), np.array(groups))
  assigned = tfds_ham10000.assign_splits(groups, found.labels)
  name = files.user_path(config.folder).resolve().name
  return Raw(
    # A folder that is named like a data set is not that data set.
    name=f"{name} (folder)" if name in SOURCES else name,
    class_names=names,
    splits={key: pool.take(assigned == key) for key in tfds_ham10000.SPLITS},
    groups_known=found.groups is not None,
    stored=config.size,
    origin=str(config.folder),
  )


@contextlib.contextmanager
def _whole(place: str) -> Iterator[None]:
  """Report any error in reading a prepared data set as damage.

  Raises:
    PermissionError: it may not be read.
    InputError: it is damaged.
  """
  try:
    yield
  except (errors.InputError, tfds_ham10000.DataError):
    raise
  except _DAMAGE as error:
    # Each library reports missing permission differently: opening each file
    # raises the usual PermissionError.
    for path in sorted(pathlib.Path(place).rglob("*")):
      if path.is_file():
        path.open("rb").close()
    raise errors.InputError(
      f"{place} is damaged ({str(error)[-120:]}): remove it, and it will be "
      "prepared again."
    ) from error


def _prepare(config, place: pathlib.Path, manual_dir: str) -> None:
  """Prepare a data set, while other processes that need it wait.

  Raises:
    InputError: it could not be downloaded.
    tfds_ham10000.DataError: see `read`.
  """
  root = files.user_path(config.data_dir or default_dir())
  if config.name == "ham10000" and not manual_dir:
    logging.info(
      "HAM10000 is downloaded from Harvard Dataverse (2.8 GB). If you have it, "
      "set --config.data.manual_dir, instead."
    )
  files.make_directory(root, "data.data_dir")
  with files.locked(root / f".{config.name}.lock", wait=True):
    # TFDS removes unfinished work itself, unless it was killed.
    for partial in place.parent.glob(f"incomplete.*{place.name}*"):
      shutil.rmtree(partial, ignore_errors=True)
    try:
      _builder(config)[0].download_and_prepare(
        download_config=tfds.download.DownloadConfig(
          manual_dir=manual_dir or None
        )
      )
    except DOWNLOAD_ERRORS as error:
      if getattr(error, "errno", None):  # not of the network but of the disk
        raise
      raise errors.InputError(
        f"{config.name} could not be downloaded: {error}; connect, or set "
        "data.data_dir to a directory that has it."
      ) from error


def stored_size(name: str, size: int) -> int:
  """Return the side of the stored images that a size is reduced from.

  Raises:
    InputError: there are no images of this size.
  """
  known = SOURCES[name].stored
  fits = [side for side in known if 8 <= size <= side and side % size == 0]
  if not fits:
    raise errors.InputError(
      f"{name} has no size {size}: use {', '.join(map(str, known))}, or one of "
      "them divided by an integer, down to 8."
    )
  return fits[0]


def is_prepared(config) -> bool:
  """Return whether a data set of TFDS is already prepared."""
  return _builder(config)[0].is_prepared()


def is_there(config) -> bool:
  """Return whether a config's data set can be read without a download."""
  local = config.name == "folder" or SOURCES[config.name].drawn
  return bool(local or config.manual_dir) or is_prepared(config)


def _builder(config):
  """Return the builder and the side of the images that it stores."""
  data_dir = str(files.user_path(config.data_dir or default_dir()))
  if config.name == "mnist":
    if config.size != 32:
      raise errors.InputError(
        f"MNIST comes at size 32 (28x28, padded), not at {config.size}."
      )
    variant, stored = "mnist", 28
  else:
    stored = stored_size(config.name, config.size)
    variant = f"{config.name}/{stored}x{stored}"
  with _whole(os.path.join(data_dir, variant)):
    try:
      builder = tfds.builder(
        variant, data_dir=data_dir, file_format="array_record"
      )
    except ValueError as error:
      if "file format" not in str(error).lower():
        raise
      raise errors.InputError(
        f"{data_dir} has {variant} in another format than array_record: set "
        f"data.data_dir to another directory. ({error})"
      ) from error
  return builder, stored


def _read(builder, key: str, config, stored: int) -> Split:
  examples = _examples(builder, key)
  pixels = _decode([e["image"].bytes_list.value[0] for e in examples])
  if config.name == "mnist":  # which has neither ids nor groups
    margin = (config.size - stored) // 2
    pixels = np.pad(pixels, ((0, 0), *((margin, margin),) * 2, (0, 0)))
    ids = [f"{config.name}_{key}_{i:05d}" for i in range(len(examples))]
    groups = ids
  else:
    pixels = images.reduce(pixels, stored // config.size)
    ids = [e["image_id"].bytes_list.value[0].decode() for e in examples]
    groups = [e["group"].bytes_list.value[0].decode() for e in examples]
  labels = np.array(
    [e["label"].int64_list.value[0] for e in examples], np.int32
  )
  return Split(pixels, labels, np.array(ids), np.array(groups)).take(
    slice(None)
  )


def _examples(builder, key: str) -> list[Mapping[str, Any]]:
  """Read the features of a split's examples as TFDS stores them.

  TFDS would convert them to NumPy one by one, which takes longer than all other
  work of reading.
  """
  source = builder.as_data_source(
    key, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
  )
  return [
    tf_example_pb2.Example.FromString(record).features.feature
    for record in source.__getitems__(range(len(source)))
  ]


def _decode(contents: list[bytes]) -> np.ndarray:
  """Decode images of one size to uint8 [images, size, size, channels]."""
  # Threads slow each other down if images are small (a digit has 300 bytes, a
  # lesion at 64x64 has 7000), or if there are more than a few threads.
  small = len(contents[0]) < 2048
  share = len(contents) if small else -(-len(contents) // images.THREADS)
  parts = [contents[i : i + share] for i in range(0, len(contents), share)]
  pixels = np.concatenate(images.in_threads(_decode_part, parts))
  return pixels if pixels.ndim == 4 else pixels[..., None]


def _decode_part(contents: list[bytes]) -> np.ndarray:
  # TFDS stores PNG; without the hint Pillow takes a tenth longer.
  pictures = (Image.open(io.BytesIO(c), formats=("PNG",)) for c in contents)
  return np.stack([np.asarray(picture) for picture in pictures])
