"""Reads somebody's table of images: their ids, lesions and classes."""

import csv
import io
import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from etils import epath

import tfds_ham10000
from skinjax.runtime import errors
from tfds_ham10000 import sources

# Names of columns, in lower case; the first that a table has is taken.
_IDS = ("image_id", "image", "image_name", "file_name", "filename", "path")
_IDS += ("filepath", "isic_id", "id")
_CLASSES = ("dx", "label", "class", "diagnosis", "category", "target", "y")
_ONE_HOT = ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc")
_BLANK = ("", "na", "nan", "none", "null")

_ISIC = re.compile(r"isic_\d{7}(?!\d)", re.I)
_SUFFIX = re.compile(r"\.(jpe?g|png|bmp|tiff?|gif|webp|npy)$", re.I)
# An id or a path rather than the name of a column.
_BARE = re.compile(rf"[/\\]|{_SUFFIX.pattern}|^[\w-]*\d[\w-]*$", re.I)


class Row(NamedTuple):
  """An image in somebody's table; lesion and label are empty if not given."""

  image_id: str
  lesion: str
  label: str
  line: int


def image_id(text: str) -> str:
  r"""Reduces a path or file name to the id of its image.

  An ISIC id counts wherever it is, so that `C:\x\ISIC_0027419_flipped.JPG` is
  ISIC_0027419; of other names folders and suffix are dropped.
  """
  if found := _ISIC.findall(text):
    return found[-1].upper()
  name = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
  return _SUFFIX.sub("", name) or name


def read(path: str, key: str) -> list[Row]:
  """Reads a table of images, or a plain list of their ids.

  Args:
    path: UTF-8 text, delimited by commas, semicolons or tabs.
    key: train or test, the config's key that names it.

  Raises:
    InputError: it can't be read, or is no table of images.
  """
  if not path:
    raise errors.InputError(
      f"config.{key} is empty: name a table of images, as in "
      f"--config.{key}={key}.csv."
    )
  where = f"config.{key}={path}"
  (first, header), *rows = _lines(path, key)
  names = [name.lower() for name in header]
  id_column = _first(_IDS, names)
  if not id_column and len(names) == 1 and _BARE.search(names[0]):
    id_column, names, rows = "image_id", ["image_id"], [(first, header), *rows]
  if not id_column:
    raise errors.InputError(
      f"{where} has no column of image ids: its first line names "
      f"{sources.show(', '.join(header))}; one of {', '.join(_IDS)} is wanted."
    )
  if not rows:
    raise errors.InputError(f"{where} has no line below its header.")
  table = []
  for line, fields in rows:
    if len(fields) != len(names):
      raise errors.InputError(
        f"{where}, line {line}: {len(fields)} fields, where the first line has "
        f"{len(names)}."
      )
    row = dict(zip(names, fields, strict=True))
    if not row[id_column]:
      raise errors.InputError(
        f"{where}, line {line}: the column {id_column} is empty; an image id "
        "or a path is wanted."
      )
    lesion = row.get("lesion_id", "")
    lesion = "" if lesion.lower() in _BLANK else lesion
    label = _label(row, f"{where}, line {line}")
    table.append(Row(image_id(row[id_column]), lesion, label, line))
  return table


def _lines(path: str, key: str) -> list[tuple[int, list[str]]]:
  """Splits a file into the fields of its lines that aren't blank, numbered."""
  where, place = f"config.{key}={path}", epath.Path(os.path.expanduser(path))
  if not place.exists():
    raise errors.InputError(f"{where}: there is no such file.")
  try:
    text = sources.read_text(place, "a table of images")
  except tfds_ham10000.DataError as error:
    raise errors.InputError(f"config.{key}: {error}.") from error
  lines = io.StringIO(text, newline=None)
  first = next(filter(str.strip, lines), "")
  lines.seek(0)
  delimiter = max(",;\t", key=first.count)
  reader = csv.reader(lines, delimiter=delimiter, strict=True)
  rows, line = [], 1
  try:
    for row in reader:
      if any(fields := [field.strip() for field in row]):
        rows.append((line, fields))
      line = reader.line_num + 1
  except csv.Error as error:
    raise errors.InputError(
      f"{where}, line {line}: {error}; is a quotation mark not closed?"
    ) from error
  if not rows:
    raise errors.InputError(f"{where} is empty: a table of images is wanted.")
  return rows


def _first(wanted: Iterable[str], names: Iterable[str]) -> str | None:
  return next((name for name in wanted if name in names), None)


def _label(row: dict[str, str], where: str) -> str:
  """Returns the class of a row: in one column, or in one column each."""
  if column := _first(_CLASSES, row):
    return row[column]
  hot = [name for name in row if name in _ONE_HOT]
  if len(hot) < 2:
    return ""
  on = [name for name in hot if row[name].lower() in ("1", "1.0", "true")]
  if len(on) != 1:
    raise errors.InputError(
      f"{where}: {len(on)} of the columns {', '.join(hot)} are 1; exactly one "
      "says the class."
    )
  return on[0]
