"""Reads a user's table of images: their ids, lesions, patients and classes.

`columns` also finds the columns of tables that are read elsewhere.
"""

import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from etils import epath

from tfds_ham10000 import files
from tfds_ham10000.errors import DataError
from tfds_ham10000.tables import CLASSES

# Names of columns, in lower case, in order of precedence.
_IMAGES = ("image", "image_id", "image_name", "file_name", "filename", "path")
_IMAGES += ("filepath", "isic_id", "id")
_LABELS = ("label", "dx", "class", "diagnosis", "category", "target", "y")
_PATIENTS = ("patient_id", "patient", "subject_id", "subject")
_LESIONS = ("case_id", "lesion_id", "lesion")
# Patients before lesions: they are the larger groups. `read` takes both.
_GROUPS = ("group", *_PATIENTS, *_LESIONS)
# In HAM10000's own table, whose ids `read` compares: these come first there.
_HAM10000 = ("image_id", "dx", "lesion_id")
_BLANK = ("", "n/a", "na", "nan", "none", "null", "unknown")

_ISIC = re.compile(r"isic_\d{7}(?!\d)", re.I)
_SUFFIX = re.compile(r"\.(jpe?g|png|bmp|tiff?|gif|webp|npy)$", re.I)
# An id or a path, as opposed to the name of a column.
_BARE = re.compile(rf"[/\\]|{_SUFFIX.pattern}|^[\w-]*\d[\w-]*$", re.I)


class Row(NamedTuple):
  """An image in a user's table; what is not given is empty."""

  image_id: str
  lesion: str
  patient: str
  label: str
  line: int


class Columns(NamedTuple):
  """The names of a table's columns; None for those that it lacks."""

  image: str | None  # ids, file names or paths
  label: str | None
  group: str | None  # lesions, or patients


def columns(names: Sequence[str], first: Sequence[str] = ()) -> Columns:
  """Find a table's columns by their usual names, in upper or lower case.

  Args:
    names: the columns, as the table's first line names them.
    first: names that take precedence over others, in lower case.
  """
  return Columns(
    *(_find(names, usual, first) for usual in (_IMAGES, _LABELS, _GROUPS))
  )


def _find(
  names: Sequence[str], usual: Iterable[str], first: Sequence[str]
) -> str | None:
  """Return the first column with one of the usual names."""
  by_lower = {name.lower(): name for name in reversed(names)}
  usual = sorted(usual, key=lambda name: name not in first)
  return next((by_lower[name] for name in usual if name in by_lower), None)


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

  The lesion is in the column lesion_id, or else in group, case_id or lesion,
  and the patient in patient_id, patient, subject_id or subject. The class is in
  one column, or one-hot encoded with one column per class, as in the ISIC
  challenges. A row with no or several columns at 1 has no label.

  Args:
    path: UTF-8 text, delimited by commas, semicolons or tabs.
    name: the user's name for it, for messages: "--train".

  Raises:
    DataError: the file can't be read, or is not a table of images.
  """
  where = f"{name}={path}"
  (first, header), *rows = _lines(path, name)
  names = [column.lower() for column in header]
  found = columns(names, _HAM10000)
  if not found.image and len(names) == 1 and _BARE.search(names[0]):
    names, rows = ["image_id"], [(first, header), *rows]
    found = columns(names)
  if not found.image:
    raise DataError(
      f"{where} has no column of image ids: its first line names "
      f"{files.show(', '.join(header))}; one of {', '.join(_IMAGES)} is "
      "expected"
    )
  if not rows:
    raise DataError(f"{where} has no line below its header")
  found = found._replace(group=_find(names, ("group", *_LESIONS), _HAM10000))
  patient = _find(names, _PATIENTS, ())
  table = []
  for line, row in files.by_column(names, rows, where):
    if not row[found.image]:
      raise DataError(
        f"{where}, line {line}: the column {found.image} is empty; an image id "
        "or a path is expected"
      )
    ids = (row.get(column, "") for column in (found.group, patient))
    ids = ("" if text.lower() in _BLANK else text for text in ids)
    label = _label(row, found.label)
    table.append(Row(image_id(row[found.image]), *ids, label, line))
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


def _label(row: dict[str, str], column: str | None) -> str:
  """Return the class of a row; empty if it has none or several."""
  if column:
    return row[column]
  known = {name for name in row if name in CLASSES}
  if len(known) > 1:  # one column is not one-hot encoding
    for columns in (known, row.keys() - known - {*_IMAGES, *_GROUPS}):
      on, _ = files.one_hot(row, columns)
      if on:
        return on[0] if len(on) == 1 else ""
  return ""
