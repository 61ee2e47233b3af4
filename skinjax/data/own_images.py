"""A user's images as a data set: one folder per class, or images with a table.

```
FOLDER/CLASS/NAME.jpg            or    FOLDER/images.csv: image, label[, group]
```

Images of one `group` (a lesion, or a patient, who may have several classes) are
never divided between training and test. Identical images are in one group; if
the table has them in several, these are merged. Columns may have other usual
names, such as `image_id`, `dx` and `lesion_id`; see image_tables.py.
"""

import hashlib
import os
import pathlib
from typing import NamedTuple

import numpy as np

from skinjax.data import images
from skinjax.runtime import errors, files
from tfds_ham10000 import DataError, image_tables, splits
from tfds_ham10000 import files as tables

TABLE = "images.csv"


class Found(NamedTuple):
  """The images of a folder."""

  paths: list[pathlib.Path]
  names: list[str]  # their ids: paths within the folder
  labels: list[str]  # class names
  groups: list[str] | None  # lesions or patients; None if unknown
  unused: tuple[str, ...] = ()  # columns of the table


def find(folder: str | pathlib.Path, key: str = "data.folder") -> Found:
  """Find the images of a folder and their classes; `key` names it in errors.

  Raises:
    InputError: there is no such folder, it has neither of the layouts above, or
      a row of the table has no image in the folder.
  """
  folder = files.user_path(folder)
  if not folder.is_dir():
    raise errors.InputError(
      f"{key}={folder} is no folder: name one with a folder of images "
      f"for each class, or with a table {TABLE} (image, label, group)."
    )
  if (folder / TABLE).exists():
    return _in_table(folder)
  classes = [
    path
    for path in sorted(folder.iterdir())
    if path.is_dir() and path.name[0] != "."
  ]
  if not classes:
    loose = sum(p.suffix.lower() in images.SUFFIXES for p in folder.iterdir())
    raise errors.InputError(
      f"{key}={folder} holds {loose} images and no folder: a folder of "
      f"images for each class is expected, or a table {TABLE} (image, label)."
    )
  paths, labels = [], []
  for directory in classes:
    of_class = images.files_in(directory)
    if not of_class:
      raise errors.InputError(
        f"{key}={folder}: {directory.name}/ has no images."
      )
    paths += of_class
    labels += [directory.name] * len(of_class)
  return Found(paths, [_name(path, folder) for path in paths], labels, None)


def read(
  folder: str | pathlib.Path, size: int
) -> tuple[np.ndarray, Found, list[str], tuple[str, ...]]:
  """Read the images of a folder, resized as all images are.

  Returns:
    uint8 [images, size, size, channels], with one channel if all images are
    grey; what `find` returns; the group of each image, in which identical
    images are together; class names, in order.

  Raises:
    InputError: as `find`; a file is not an image; or identical images have
      different labels.
  """
  found = find(folder)
  pixels = images.in_threads(lambda path: images.read(path, size), found.paths)
  channels = max(image.shape[-1] for image in pixels)
  pixels = np.stack([images.in_channels(image, channels) for image in pixels])
  digests = [hashlib.sha256(image).hexdigest()[:16] for image in pixels]
  first, same = {}, []
  for name, label, one in zip(found.names, found.labels, digests, strict=True):
    other, before = first.setdefault(one, (name, label))
    same.append((other, name))
    if before != label:
      raise errors.InputError(
        f"{name} is of class {label} and {other}, the same image, of class "
        f"{before}: give them one class, or leave both out."
      )
  groups = digests
  if found.groups is not None:
    group_of = dict(zip(found.names, found.groups, strict=True))
    joined = splits.join_groups(group_of, same)
    groups = [joined[name] for name in found.names]
  return pixels, found, groups, _in_order(set(found.labels))


def _in_order(names: set[str]) -> tuple[str, ...]:
  """Sort class names; digits as numbers."""
  key = lambda name: (int(name) if name.isdecimal() else float("inf"), name)
  return tuple(sorted(names, key=key))


def _name(path: pathlib.Path, folder: pathlib.Path) -> str:
  """Return a path within a folder.

  Raises:
    ValueError: it is outside the folder.
  """
  path, folder = _normal(path), _normal(folder)
  # A link within the folder has its own name, not that of what it leads to.
  if not path.is_relative_to(folder):
    path, folder = path.resolve(), folder.resolve()
  return path.relative_to(folder).as_posix()


def _normal(path: pathlib.Path) -> pathlib.Path:
  """Return an absolute path without `..`; links keep their own names."""
  return pathlib.Path(os.path.abspath(path))


def read_table(
  table: pathlib.Path,
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
  """Read a table of images; see tfds_ham10000.files for the delimiters.

  Returns:
    The columns, and each row with its line number, as a dict by column.

  Raises:
    InputError: it is no table, it has no row, or a row's number of fields is
      not that of the columns.
    OSError: it may not be read.
  """
  try:
    text = tables.decode(table.read_bytes(), str(table), "a table of images")
    rows = tables.split_rows(text, str(table))
    columns = rows[0][1] if rows else []
    named = tables.by_column(columns, rows[1:], str(table))
  except DataError as error:
    raise errors.InputError(f"{error}.") from error
  if not named:
    raise errors.InputError(
      f"{table} has no row below its header: one row per image is expected."
    )
  return columns, named


def _in_table(folder: pathlib.Path) -> Found:
  table = folder / TABLE
  columns, rows = read_table(table)
  named = image_tables.columns(columns)
  for column in ("image", "label"):
    if getattr(named, column) is None:
      raise errors.InputError(
        f"{table} has no column {column!r}: its first line names "
        f"{', '.join(columns)}; image, label and, if known, group are expected."
      )
  grouped = named.group is not None
  unused = tuple(name for name in columns if name not in named)
  found = Found([], [], [], [] if grouped else None, unused)
  for line, row in rows:
    empty = [name for name in named if name and not row[name]]
    if empty:
      raise errors.InputError(
        f"{table}, line {line}: {empty[0]} is empty; every row needs an image, "
        "a label and, if the table has that column, a group."
      )
    image, label = row[named.image], row[named.label]
    if label[0] == "." or {"/", "\\"} & set(label):
      raise errors.InputError(
        f"{table}, line {line}: {label!r} can't be the name of a folder, as "
        "synthetic images of this class need: rename the class, without / and "
        "\\, and not beginning with a dot."
      )
    suffixes = ("", *images.SUFFIXES)
    places = [_normal(folder / (image + suffix)) for suffix in suffixes]
    path = next(filter(pathlib.Path.is_file, places), None)
    if path is None:
      hint = ""
      if any((folder / label / (image + x)).is_file() for x in suffixes):
        hint = f" It is in {label}/: write its path within {folder}."
      raise errors.InputError(
        f"{table}, line {line}: there is no image {folder / image} (nor with "
        f"{', '.join(images.SUFFIXES)} appended).{hint}"
      )
    try:
      found.names.append(_name(path, folder))
    except ValueError as error:
      raise errors.InputError(
        f"{table}, line {line}: {path} is not in the folder of the table: an "
        "image in that folder is expected."
      ) from error
    found.paths.append(path)
    found.labels.append(label)
    if grouped:
      found.groups.append(row[named.group])
  if len(set(found.names)) < len(found.names):
    twice = next(n for n in found.names if found.names.count(n) > 1)
    raise errors.InputError(f"{table} has {twice} twice: list each image once.")
  return found
