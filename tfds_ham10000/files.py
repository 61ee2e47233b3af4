"""Reads the user's text files and recognizes files of another kind."""

import codecs
import collections
import csv
import io
import os
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence

from etils import epath

from tfds_ham10000.errors import DataError

# First bytes of files that are often saved under another file's name. No table,
# archive or image begins with "<" or "{".
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
  """Describe a file that is not what its name claims.

  Args:
    data: the file's bytes, or the first few hundred.

  Returns:
    A description such as "a web page"; None if it is no common mistake.
  """
  if not data.strip(b"\0"):
    # Some programs reserve a download's space before the data arrive.
    return "a file of zeros only" if data else "an empty file"
  data = data.removeprefix(codecs.BOM_UTF8).lstrip()
  for beginning, what in _BEGINNINGS.items():
    if data.startswith(beginning):
      return what
  return None


def show(text: object) -> str:
  """Escape and shorten text from a file, for use in a message."""
  text = str(text)
  if text.isprintable() and len(text) <= _LONGEST_SHOWN:
    return text
  return _CUT.repr(text)[1:-1]


def list_folder(folder: epath.Path, advice: str) -> list[epath.Path]:
  """List a folder's entries, sorted by name.

  Args:
    folder: the folder.
    advice: what to do if it can't be listed, for the message.

  Raises:
    DataError: the folder can't be listed.
  """
  try:
    return sorted(folder.iterdir())
  except OSError as error:
    raise DataError(
      f"{folder}: can't be listed ({show(error.strerror or error)}); {advice}"
    ) from error


def check_is_file(path: epath.Path, what: str) -> None:
  """Refuse a path that is not a regular file.

  Args:
    path: where something was found.
    what: the expected kind of file, such as "a zip file".

  Raises:
    DataError: it is a folder, a broken link, a pipe or a device.
  """
  if path.is_dir():
    raise DataError(
      f"{path}: a folder, where {what} is expected; put the file in its place"
    )
  # Reading a pipe or a device may never end. Remote storage, which os.path does
  # not see, has neither.
  special = os.path.exists(path) and not os.path.isfile(path)
  if special or not path.exists():
    raise DataError(
      f"{path}: {'a pipe or a device' if special else 'a link to nowhere'}, "
      f"where {what} is expected; put the file in its place"
    )


def read_text(path: epath.Path, what: str) -> str:
  """Read a whole text file supplied by the user.

  Args:
    path: the file, UTF-8 with or without a byte order mark.
    what: the expected kind of file, such as "a table of cases".

  Returns:
    The text, its line endings unchanged.

  Raises:
    DataError: the file can't be read, is not text, or has another encoding.
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
  """Decode the bytes of a text file; see `read_text`."""
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
  """Split a table into rows of fields, each with its line number from 1.

  The delimiter is the comma, semicolon or tab: whichever is most frequent in
  the first line. Spaces around fields are removed, and empty rows are skipped.

  Args:
    text: the table, with the line endings of any system.
    where: its location, for messages.

  Raises:
    DataError: a quotation mark is misplaced, or a field is too long.
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
      f"{where}: line {line}: {error}; is a quotation mark not closed, or is "
      "one inside a value?"
    ) from error
  return found


def by_column(
  columns: Sequence[str], rows: Iterable[tuple[int, list[str]]], where: str
) -> list[tuple[int, dict[str, str]]]:
  """Label the fields of rows from `split_rows` with their columns' names.

  Of several columns without a name, the last is kept.

  Args:
    columns: the names in the table's first line.
    rows: all other rows.
    where: the table's location, for messages.

  Raises:
    DataError: a column is given twice, or a row has more or fewer fields than
      there are columns.
  """
  for name, count in collections.Counter(filter(None, columns)).items():
    if count > 1:
      raise DataError(
        f"{where}: the first line names {count} columns '{show(name)}'; which "
        "one counts? Remove the others"
      )
  named = []
  for line, fields in rows:
    if len(fields) != len(columns):
      raise DataError(
        f"{where}: line {line}: {len(fields)} fields where the first line has "
        f"{len(columns)}; every row must have the same number"
      )
    named.append((line, dict(zip(columns, fields, strict=True))))
  return named


def one_hot(
  row: Mapping[str, str], columns: Iterable[str]
) -> tuple[list[str], list[str]]:
  """List the columns of a row that are 1, and those that are neither 1 nor 0.

  Tables of the ISIC challenges have one such column per class. Numbers may have
  a decimal point or comma; true and false count as 1 and 0.
  """
  on, odd = [], []
  for name in columns:
    text = row[name].lower()
    if re.fullmatch(r"1([.,]0*)?|true", text):
      on.append(name)
    elif not re.fullmatch(r"0([.,]0*)?|false", text):
      odd.append(name)
  return on, odd
