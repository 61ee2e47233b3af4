"""Reads a user's table of images: their ids, lesions and classes."""

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from etils import epath

from tfds_ham10000 import files
from tfds_ham10000.errors import DataError
from tfds_ham10000.tables import CLASSES

# Names of columns, in lower case, in order of precedence.
_IDS = ("image_id", "image", "image_name", "file_name", "filename", "path")
_IDS += ("filepath", "isic_id", "id")
_CLASSES = ("dx", "label", "class", "diagnosis", "category", "target", "y")
_BLANK = ("", "na", "nan", "none", "null")

_ISIC = re.compile(r"isic_\d{7}(?!\d)", re.I)
_SUFFIX = re.compile(r"\.(jpe?g|png|bmp|tiff?|gif|webp|npy)$", re.I)
# An id or a path, as opposed to the name of a column.
_BARE = re.compile(rf"[/\\]|{_SUFFIX.pattern}|^[\w-]*\d[\w-]*$", re.I)


class Row(NamedTuple):
  """An image in a user's table; lesion and label are empty if not given."""

  image_id: str
  lesion: str
  label: str
  line: int


def image_id(text: str) -> str:
  r"""Reduce a path or file name to the id of its image.

  An ISIC id is found anywhere: `C:\x\ISIC_0027419_flipped.JPG` gives
  ISIC_0027419. Other names lose their folders and their suffix.
  """
  if found := _ISIC.findall(text):
    return found[-1].upper()
  name = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
  return _SUFFIX.sub("", name) or name


def read(path: str, name: str) -> list[Row]:
  """Read a table of images, or a plain list of image ids.

  The class is in one column, or one-hot encoded with one column per class, as
  in the ISIC challenges. A row with no or several columns at 1 has no label.

  Args:
    path: UTF-8 text, delimited by commas, semicolons or tabs.
    name: the user's name for it, for messages: "--train".

  Raises:
    DataError: the file can't be read, or is not a table of images.
  """
  where = f"{name}={path}"
  (first, header), *rows = _lines(path, name)
  names = [column.lower() for column in header]
  id_column = _first(_IDS, names)
  if not id_column and len(names) == 1 and _BARE.search(names[0]):
    id_column, names, rows = "image_id", ["image_id"], [(first, header), *rows]
  if not id_column:
    raise DataError(
      f"{where} has no column of image ids: its first line names "
      f"{files.show(', '.join(header))}; one of {', '.join(_IDS)} is expected"
    )
  if not rows:
    raise DataError(f"{where} has no line below its header")
  table = []
  for line, row in files.by_column(names, rows, where):
    if not row[id_column]:
      raise DataError(
        f"{where}, line {line}: the column {id_column} is empty; an image id "
        "or a path is expected"
      )
    lesion = row.get("lesion_id", "")
    lesion = "" if lesion.lower() in _BLANK else lesion
    label = _label(row, id_column)
    table.append(Row(image_id(row[id_column]), lesion, label, line))
  return table


def _lines(path: str, name: str) -> list[tuple[int, list[str]]]:
  """Split a file's non-blank lines into fields, with line numbers."""
  where, place = f"{name}={path}", epath.Path(os.path.expanduser(path))
  if not place.exists():
    raise DataError(f"{where}: there is no such file")
  try:
    text = files.read_text(place, "a table of images")
  except DataError as error:
    raise DataError(f"{name}: {error}") from error
  rows = files.split_rows(text, where)
  if not rows:
    raise DataError(f"{where} is empty: a table of images is expected")
  return rows


def _first(wanted: Iterable[str], names: Iterable[str]) -> str | None:
  return next((name for name in wanted if name in names), None)


def _label(row: dict[str, str], id_column: str) -> str:
  """Return the class of a row; empty if it has none or several."""
  if column := _first(_CLASSES, row):
    return row[column]
  known = {name for name in row if name in CLASSES}
  if len(known) > 1:  # one column is not one-hot encoding
    for columns in (known, row.keys() - known - {id_column, "lesion_id"}):
      on, _ = files.one_hot(row, columns)
      if on:
        return on[0] if len(on) == 1 else ""
  return ""
