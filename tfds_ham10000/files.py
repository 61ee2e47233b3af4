"""Reads files that someone has put in their place, or something else there."""

import codecs
import csv
import io
import os
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence

from etils import epath

from tfds_ham10000.errors import DataError

# Beginnings of files that get saved under the name of another. Neither a table
# nor an archive nor an image begins with "<" or "{".
_BEGINNINGS = {
  b"<": "a web page, such as a site's login or error page saved as the file",
  b"{": "a site's answer in JSON, such as its error message saved as the file",
  b"version https://git-lfs": "a pointer of Git LFS and not the file itself",
  b"PK\x03\x04": "a zip file or a spreadsheet",
  b"\x1f\x8b": "a gzip file",
  b"7z\xbc\xaf": "a 7z archive",
  b"Rar!": "a RAR archive",
  b"%PDF": "a PDF file",
}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SAVE = 'save it as UTF-8, in a spreadsheet as "CSV UTF-8"'
_LARGEST_TEXT = 64 * 2**20  # a hundred times the published table

_LONGEST_SHOWN = 100
_CUT = reprlib.Repr()
_CUT.maxstring = _LONGEST_SHOWN


def describe(data: bytes) -> str | None:
  """Say what a file is that is not what its name says.

  Args:
    data: the file's bytes, or its first few hundred.

  Returns:
    What it is, as "a web page"; None if it is none of the usual mistakes.
  """
  if not data.strip(b"\0"):
    # Some programs set a download's space aside before it arrives.
    return "a file of zeros only" if data else "an empty file"
  data = data.removeprefix(codecs.BOM_UTF8).lstrip()
  for beginning, what in _BEGINNINGS.items():
    if data.startswith(beginning):
      return what
  return None


def show(text: object) -> str:
  """Return what a file says as a message may have it: escaped, and short."""
  text = str(text)
  if text.isprintable() and len(text) <= _LONGEST_SHOWN:
    return text
  return _CUT.repr(text)[1:-1]


def list_folder(folder: epath.Path, advice: str) -> list[epath.Path]:
  """List what is in a folder, by name.

  Args:
    folder: the folder.
    advice: what is to be done where it can't be listed, for the message.

  Raises:
    DataError: it can't be listed.
  """
  try:
    return sorted(folder.iterdir())
  except OSError as error:
    raise DataError(
      f"{folder}: can't be listed ({show(error.strerror or error)}); {advice}"
    ) from error


def check_is_file(path: epath.Path, what: str) -> None:
  """Refuse a path at which there is no file that can be read to its end.

  Args:
    path: where something was found.
    what: what is expected there, as "a zip file".

  Raises:
    DataError: it is a folder, a link to nowhere, a pipe or a device.
  """
  if path.is_dir():
    raise DataError(
      f"{path}: a folder, where {what} is expected; put the file in its place"
    )
  # A pipe or a device would be waited for, or read from, for ever. Remote
  # storage, of which os.path knows nothing, has none.
  special = os.path.exists(path) and not os.path.isfile(path)
  if special or not path.exists():
    raise DataError(
      f"{path}: {'a pipe or a device' if special else 'a link to nowhere'}, "
      f"where {what} is expected; put the file in its place"
    )


def read_text(path: epath.Path, what: str) -> str:
  """Read a text file that someone has put in its place, whole.

  Args:
    path: the file, UTF-8 with or without a byte order mark.
    what: what is expected there, as "a table of cases".

  Returns:
    The text, with its own line ends.

  Raises:
    DataError: the file can't be read, is no text, or text in another encoding.
  """
  check_is_file(path, what)
  try:
    with path.open("rb") as file:
      data = file.read(_LARGEST_TEXT + 1)
  except OSError as error:
    raise DataError(
      f"{path}: can't be read ({error.strerror or error}); make it readable"
    ) from error
  return decode(data, str(path), what)


def decode(data: bytes, where: str, what: str) -> str:
  """Decode the bytes of a text file, as `read_text` does."""
  is_instead = describe(data)
  if len(data) > _LARGEST_TEXT:
    is_instead = f"a file of more than {_LARGEST_TEXT:,} bytes"
  if is_instead:
    raise DataError(
      f"{where}: {is_instead}, where {what} is expected; fetch it again"
    )
  if data.startswith(_UTF16):
    raise DataError(f"{where}: UTF-16 text; {_SAVE}")
  try:
    text = data.decode("utf-8-sig")
    wrong, place = "a NUL character: damaged, or UTF-16", data.find(b"\0")
  except UnicodeDecodeError as error:
    wrong, place = f"not UTF-8 (byte 0x{data[error.start]:02x})", error.start
  if place >= 0:
    line = len((data[:place] + b".").splitlines())
    raise DataError(
      f"{where}: line {line}: {wrong}; {_SAVE}, or fetch it again"
    )
  return text


def split_rows(text: str, where: str) -> list[tuple[int, list[str]]]:
  """Split a table into the fields of its rows, each with its line from 1 on.

  Commas, semicolons or tabs part them, whichever the first line has most of.
  Spaces around a field don't count, nor do rows with nothing in any field.

  Args:
    text: the table, its lines ending as on any system.
    where: where it lies, for messages.

  Raises:
    DataError: a quotation mark is wrong, or a field endless.
  """
  lines = io.StringIO(text, newline="")
  first = next(filter(str.strip, lines), "")
  lines.seek(0)
  reader = csv.reader(
    lines, delimiter=max(",;\t", key=first.count), strict=True
  )
  found, line = [], 1
  try:
    for row in reader:
      if any(fields := [field.strip() for field in row]):
        found.append((line, fields))
      line = reader.line_num + 1
  except csv.Error as error:
    raise DataError(
      f"{where}: line {line}: {error}; is a quotation mark not closed, or does "
      "one stand inside a value?"
    ) from error
  return found


def by_column(
  columns: Sequence[str], rows: Iterable[tuple[int, list[str]]], where: str
) -> list[tuple[int, dict[str, str]]]:
  """Name the fields of rows, as `split_rows` returns them, by their columns.

  Args:
    columns: the names in the table's first line.
    rows: all others.
    where: where the table lies, for messages.

  Raises:
    DataError: a row has more or fewer fields than there are columns.
  """
  named = []
  for line, fields in rows:
    if len(fields) != len(columns):
      raise DataError(
        f"{where}: line {line}: {len(fields)} fields where the first line has "
        f"{len(columns)}; every row must have as many"
      )
    named.append((line, dict(zip(columns, fields, strict=True))))
  return named


def one_hot(
  row: Mapping[str, str], columns: Iterable[str]
) -> tuple[list[str], list[str]]:
  """List the columns of a row that are 1, and those that are neither 1 nor 0.

  As in tables of the ISIC challenges, which have a column for each class. A
  number may have a point in it, and be true or false.
  """
  on, odd = [], []
  for name in columns:
    text = row[name].lower()
    if re.fullmatch(r"1(\.0*)?|true", text):
      on.append(name)
    elif not re.fullmatch(r"0(\.0*)?|false", text):
      odd.append(name)
  return on, odd
