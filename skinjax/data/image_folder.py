"""Folders of images by class that anybody has made: `CLASS/NAME.png`."""

import pathlib

import numpy as np
from PIL import Image, ImageOps

from skinjax.data import datasets
from skinjax.runtime import errors

_SUFFIXES = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")


def read(
  directory: str | pathlib.Path, info: datasets.DataInfo
) -> datasets.Split:
  """Reads a folder that has a folder of images for each class.

  Of an image that is not square the middle is taken; one of another size is
  reduced or enlarged, antialiased (Lanczos).

  Args:
    directory: where it is. Folders and files whose names begin with a dot, and
      files beside the folders, are passed over.
    info: of the real data: classes, size and channels.

  Returns:
    The images uint8 [images, size, size, channels], each a group of its own,
    ordered by class and name; an image's id is CLASS/NAME.

  Raises:
    InputError: there is no such folder, a folder that is no class, a class
      without images, or a file that is no PNG or JPEG image.
  """
  directory = pathlib.Path(directory)
  if not directory.is_dir():
    raise errors.InputError(
      f"{directory} is no folder: name one that has a folder of images for "
      f"each of {', '.join(info.class_names)}."
    )
  folders = _visible(directory, pathlib.Path.is_dir)
  for folder in folders:
    if folder.name not in info.class_names:
      raise errors.InputError(
        f"{folder} is the folder of no class: they are "
        f"{', '.join(info.class_names)}."
      )
  images, labels, names = [], [], []
  for label, name in enumerate(info.class_names):
    files = _visible(directory / name, pathlib.Path.is_file)
    if not files:
      raise errors.InputError(
        f"{directory / name} has no images: give some of each class, or name "
        "the classes that there are with --config.data.classes."
      )
    images += [_pixels(file, info) for file in files]
    labels += [label] * len(files)
    names += [f"{name}/{file.name}" for file in files]
  ids = np.array(names)
  return datasets.Split(np.stack(images), np.array(labels, np.int32), ids, ids)


def _visible(directory: pathlib.Path, kind) -> list[pathlib.Path]:
  if not directory.is_dir():
    return []
  paths = sorted(directory.iterdir())
  return [p for p in paths if kind(p) and not p.name.startswith(".")]


def _pixels(path: pathlib.Path, info: datasets.DataInfo) -> np.ndarray:
  if path.suffix.lower() not in _SUFFIXES:
    raise errors.InputError(
      f"{path} is no image: files of {', '.join(_SUFFIXES)} are wanted."
    )
  try:
    with Image.open(path, formats=_FORMATS) as image:
      image = image.convert("RGB" if info.channels == 3 else "L")
      fitted = ImageOps.fit(
        image, (info.size, info.size), Image.Resampling.LANCZOS
      )
  # Whatever Pillow makes of a damaged image, and of one of absurd size.
  except (
    *(OSError, ValueError, SyntaxError),
    Image.DecompressionBombError,
  ) as error:
    raise errors.InputError(
      f"{path} cannot be read as a PNG or JPEG image: {error}."
    ) from error
  return np.asarray(fitted).reshape(info.size, info.size, info.channels)
