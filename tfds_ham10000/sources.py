"""Knows where HAM10000's files come from and by what names they go."""

import dataclasses
from collections.abc import Iterable

from etils import epath

from tfds_ham10000.errors import DataError

_DATAVERSE = "https://dataverse.harvard.edu/api/access/datafile"
TABLE_URL = f"{_DATAVERSE}/4338392"
IMAGE_URLS = (f"{_DATAVERSE}/3172585", f"{_DATAVERSE}/3172584")

# Harvard Dataverse gives out the table without an extension or as .tab.
_TABLE_NAMES = (
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
* the table of cases, as one of {", ".join(_TABLE_NAMES)};
* the images, as HAM10000_images_part_1.zip and HAM10000_images_part_2.zip, or
  unpacked, as folders HAM10000_images_part_1/ and HAM10000_images_part_2/.
Upper and lower case are the same in these names."""


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
    The files. Of several tables, the first in the order of the instructions is
    taken.

  Raises:
    DataError: there is no table or there are no images. The message lists what
      was looked for, and where it can be had.
  """
  folder = epath.Path(folder)
  tables = _match(folder, _TABLE_NAMES)
  places = _match(folder, _PLACE_NAMES)
  for found, what, names in (
    (tables, "table of cases", _TABLE_NAMES),
    (places, "images", _PLACE_NAMES),
  ):
    if not found:
      raise DataError(
        f"{folder}: no {what} found; looked for {', '.join(names)}.\n"
        f"{INSTRUCTIONS}"
      )
  return Source(tables[0], tuple(places))


def holds_any(folder: epath.PathLike) -> bool:
  """Return whether a folder exists and has any of HAM10000's files."""
  folder = epath.Path(folder)
  return folder.exists() and bool(_match(folder, _TABLE_NAMES + _PLACE_NAMES))


def _match(folder: epath.Path, names: Iterable[str]) -> list[epath.Path]:
  """Return a folder's entries of these names, in the names' order."""
  entries = sorted(folder.iterdir())
  return [
    entry
    for name in names
    for entry in entries
    if entry.name.lower() == name.lower()
  ]
