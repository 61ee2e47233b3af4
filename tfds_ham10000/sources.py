"""Knows where HAM10000's files come from and by what names they go.

And what may lie in their place instead, for messages.
"""

import codecs
import dataclasses
import os
import reprlib
from collections.abc import Iterable

from etils import epath

from tfds_ham10000.errors import DataError

_DATAVERSE = "https://dataverse.harvard.edu/api/access/datafile"
TABLE_URL = f"{_DATAVERSE}/4338392"
IMAGE_URLS = (f"{_DATAVERSE}/3172585", f"{_DATAVERSE}/3172584")

# Harvard Dataverse gives out the table without an extension or as .tab.
TABLE_NAMES = (
  "HAM10000_metadata.csv",
  "HAM10000_metadata",
  "HAM10000_metadata.tab",
  "HAM10000_metadata.tsv",
)
_PLACE_NAMES = (
  "HAM10000_images_part_1.zip",
  "HAM10000_images_part_2.zip",
  "HAM10000_images_part_1",
  "HAM10000_images_part_2",
)

INSTRUCTIONS = f"""\
Get HAM10000 from https://doi.org/10.7910/DVN/DBW86T (Harvard Dataverse), or
from https://www.kaggle.com/datasets/kmader/skin-cancer-mnist-ham10000, and put
into the manual directory:
* the table of cases, as one of {", ".join(TABLE_NAMES)};
* the images, as HAM10000_images_part_1.zip and HAM10000_images_part_2.zip, or
  unpacked, as folders HAM10000_images_part_1/ and HAM10000_images_part_2/.
Upper and lower case are the same in these names."""

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


@dataclasses.dataclass(frozen=True)
class Source:
  """The files that a data set is prepared from.

  Attributes:
    table: the table of cases.
    places: zip files and folders of images.
  """

  table: epath.Path
  places: tuple[epath.Path, ...]


def find_source(folder: epath.PathLike) -> Source:
  """Find HAM10000's files in a folder.

  Args:
    folder: where someone has put them; it may hold other files too.

  Returns:
    The files; see `find_table` for several tables.

  Raises:
    DataError: there is no table or there are no images. The message lists what
      was looked for, and where it can be had.
  """
  table = find_table(folder)
  return Source(table, tuple(_find(folder, _PLACE_NAMES, "images")))


def find_table(folder: epath.PathLike) -> epath.Path:
  """Find HAM10000's table of cases in a folder.

  Args:
    folder: where someone has put it; it may hold other files too.

  Returns:
    The table; of several, the first in the order of the instructions.

  Raises:
    DataError: there is none. The message lists what was looked for, and where
      it can be had.
  """
  return _find(folder, TABLE_NAMES, "table of cases")[0]


def holds_any(folder: epath.PathLike) -> bool:
  """Return whether a folder exists and has any of HAM10000's files."""
  folder = epath.Path(folder)
  return folder.exists() and bool(_match(folder, TABLE_NAMES + _PLACE_NAMES))


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
  is_instead = describe(data)
  if len(data) > _LARGEST_TEXT:
    is_instead = f"a file of more than {_LARGEST_TEXT:,} bytes"
  if is_instead:
    raise DataError(
      f"{path}: {is_instead}, where {what} is expected; fetch it again"
    )
  if data.startswith(_UTF16):
    raise DataError(f"{path}: UTF-16 text; {_SAVE}")
  try:
    text = data.decode("utf-8-sig")
    wrong, place = "a NUL character: damaged, or UTF-16", data.find(b"\0")
  except UnicodeDecodeError as error:
    wrong, place = f"not UTF-8 (byte 0x{data[error.start]:02x})", error.start
  if place >= 0:
    line = len((data[:place] + b".").splitlines())
    raise DataError(f"{path}: line {line}: {wrong}; {_SAVE}, or fetch it again")
  return text


def _find(
  folder: epath.PathLike, names: Iterable[str], what: str
) -> list[epath.Path]:
  """Return a folder's entries of these names, or say what was looked for."""
  found = _match(epath.Path(folder), names)
  if not found:
    raise DataError(
      f"{folder}: no {what} found; looked for {', '.join(names)}.\n"
      f"{INSTRUCTIONS}"
    )
  return found


def _match(folder: epath.Path, names: Iterable[str]) -> list[epath.Path]:
  """Return a folder's entries of these names, in the names' order."""
  try:
    entries = sorted(folder.iterdir())
  except OSError as error:
    raise DataError(
      f"{folder}: can't be listed ({error.strerror or error}); a folder with "
      "HAM10000's files is expected"
    ) from error
  return [
    entry
    for name in names
    for entry in entries
    if entry.name.lower() == name.lower()
  ]
