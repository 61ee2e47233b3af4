"""Where images come from: TFDS, prepared and read without TensorFlow."""

import contextlib
import io
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf import json_format, message
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

import tfds_ham10000  # registers ham10000 and toy_lesions
from skinjax.runtime import errors, files


class Source(NamedTuple):
  """What is known of a data set before it is read."""

  sizes: tuple[int, ...]  # that its TFDS builder stores
  drawn: bool = False  # by a program: nobody may take the images for real
  upright: bool = False  # whether flips change what an image shows
  # Of diversity: digits fill their frames alike, lesions differ in skin and
  # light too.
  collapse: float = 0.5
  groups_known: bool = True


SOURCES = {
  "ham10000": Source((64, 128, 256)),
  "toy_lesions": Source((64, 128), drawn=True),
  "mnist": Source((28,), upright=True, collapse=0.7),
}


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


def cache_dir() -> str:
  """Returns where skinjax keeps what it can make again."""
  root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  return os.path.join(root, "skinjax")


def default_dir() -> str:
  """Returns where data sets are prepared unless a config says otherwise."""
  return os.environ.get("TFDS_DATA_DIR") or os.path.join(cache_dir(), "tfds")


def read(config) -> tuple[tuple[str, ...], dict[str, Split]]:
  """Reads a data set as its builder splits it, preparing it if need be.

  Args:
    config: `name`, `size`, `data_dir`, `manual_dir`; see configs/common.py.

  Returns:
    The class names and the splits.

  Raises:
    InputError: a data set or size that does not exist.
    tfds_ham10000.DataError: the user's files are not HAM10000.
  """
  errors.require_known("data set", config.name, SOURCES)
  builder, factor = _builder(config)
  manual_dir = os.path.expanduser(config.manual_dir)
  if not builder.is_prepared():
    _prepare(config, pathlib.Path(builder.data_dir), manual_dir)
    builder, factor = _builder(config)
  names = tuple(builder.info.features["label"].names)
  with _whole(builder.data_dir):
    if not builder.info.splits:
      raise ValueError("it has no splits")
    return names, {
      key: _read(builder, key, config.name, factor)
      for key in builder.info.splits
    }


@contextlib.contextmanager
def _whole(place: str) -> Iterator[None]:
  """Says of whatever goes wrong in a prepared data set that it is damaged."""
  try:
    yield
  except (errors.InputError, tfds_ham10000.DataError):
    raise
  # What array_record, protobuf, Pillow and TFDS make of damaged files.
  except (
    *(OSError, LookupError, RuntimeError, SyntaxError, ValueError),
    *(json_format.Error, message.Error),
  ) as error:
    raise errors.InputError(
      f"{place} is damaged ({str(error)[-120:]}): remove it to have it "
      "prepared anew."
    ) from error


def _prepare(config, place: pathlib.Path, manual_dir: str) -> None:
  """Prepares a data set, while other processes that want it wait."""
  root = pathlib.Path(os.path.expanduser(config.data_dir or default_dir()))
  files.make_directory(root, "data.data_dir")
  with files.locked(root / f".{config.name}.lock", wait=True):
    # TFDS removes what it had half done, unless it was killed.
    for partial in place.parent.glob(f"incomplete.*{place.name}*"):
      shutil.rmtree(partial, ignore_errors=True)
    _builder(config)[0].download_and_prepare(
      download_config=tfds.download.DownloadConfig(
        manual_dir=manual_dir or None
      )
    )


def is_prepared(config) -> bool:
  """Returns whether `read` would find a data set prepared; see there."""
  errors.require_known("data set", config.name, SOURCES)
  return _builder(config)[0].is_prepared()


def _builder(config):
  """Returns the builder and by how much its pictures are to be reduced."""
  source = SOURCES[config.name]
  data_dir = os.path.expanduser(config.data_dir or default_dir())
  if config.name == "mnist":
    if config.size != 32:
      raise errors.InputError(
        f"MNIST comes at size 32 (28x28, padded), not at {config.size}."
      )
    variant, factor = "mnist", 1
  else:
    fits = [
      s for s in source.sizes if 8 <= config.size <= s and s % config.size == 0
    ]
    if not fits:
      raise errors.InputError(
        f"{config.name} has no size {config.size}: use "
        f"{', '.join(map(str, source.sizes))}, or one of them divided by a "
        "whole number, from 8 on."
      )
    variant = f"{config.name}/{fits[0]}x{fits[0]}"
    factor = fits[0] // config.size
  with _whole(os.path.join(data_dir, variant)):
    try:
      builder = tfds.builder(
        variant, data_dir=data_dir, file_format="array_record"
      )
    except ValueError as error:
      if "file format" not in str(error).lower():
        raise
      raise errors.InputError(
        f"{data_dir} has {variant} in another format than array_record: name "
        f"another directory with data.data_dir. ({error})"
      ) from error
  return builder, factor


def _read(builder, key: str, name: str, factor: int) -> Split:
  examples = _examples(builder, key)
  images = _decode([e["image"].bytes_list.value[0] for e in examples])
  if name == "mnist":
    images = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    ids = [f"mnist_{key}_{i:05d}" for i in range(len(examples))]
    groups = ids
  else:
    ids = [e["image_id"].bytes_list.value[0].decode() for e in examples]
    groups = [e["group"].bytes_list.value[0].decode() for e in examples]
  labels = np.array(
    [e["label"].int64_list.value[0] for e in examples], np.int32
  )
  return Split(
    reduce(images, factor), labels, np.array(ids), np.array(groups)
  ).take(slice(None))


def _examples(builder, key: str) -> list[Mapping[str, Any]]:
  """Reads the features of a split's examples as TFDS stores them.

  TFDS would make NumPy arrays of them one by one, in Python, and take longer
  over that than all the rest of the reading takes.
  """
  source = builder.as_data_source(
    key, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
  )
  return [
    tf_example_pb2.Example.FromString(record).features.feature
    for record in source.__getitems__(range(len(source)))
  ]


def _decode(contents: list[bytes]) -> np.ndarray:
  """Decodes pictures of one size to uint8 [pictures, size, size, channels]."""
  # Threads hold each other up where pictures are small (a digit has 300 bytes,
  # a lesion at 64x64 7000), and beyond a few of them.
  small = len(contents[0]) < 2048
  threads = 1 if small else min(4, os.cpu_count() or 1)
  share = -(-len(contents) // threads)
  parts = [contents[i : i + share] for i in range(0, len(contents), share)]
  with futures.ThreadPoolExecutor(threads) as pool:
    images = np.concatenate(list(pool.map(_decode_part, parts)))
  return images if images.ndim == 4 else images[..., None]


def _decode_part(contents: list[bytes]) -> np.ndarray:
  return np.stack([_pixels(content) for content in contents])


def _pixels(content: bytes) -> np.ndarray:
  # TFDS stores PNG; Pillow, not told, takes a tenth longer to find that out.
  with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
    return np.asarray(image)


def reduce(images: np.ndarray, factor: int) -> np.ndarray:
  """Reduces uint8 images [n, h, w, c] by a whole factor, box by box."""
  if factor == 1:
    return images
  n, height, width, channels = images.shape
  boxes = images.reshape(
    n, height // factor, factor, width // factor, factor, channels
  )
  return np.rint(boxes.mean((2, 4), dtype=np.float32)).astype(np.uint8)
