"""HAM10000's sources, the names of its files, and how to find them."""

import collections
import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence

from etils import epath

from tfds_ham10000.archives import (
  File,
  ImageArchive,
  Walk,
  file_at,
  is_zip,
  read_bytes,
)
from tfds_ham10000.errors import DataError
from tfds_ham10000.files import (
  check_is_file,
  decode,
  list_folder,
  read_text,
  show,
)
from tfds_ham10000.tables import UNKNOWN, Case, parse_cases, parse_isic

PUBLISHER = "https://doi.org/10.7910/DVN/DBW86T"
_DATAVERSE = "https://dataverse.harvard.edu/api/access/datafile"
TABLE_URL = f"{_DATAVERSE}/4338392"
IMAGE_URLS = (f"{_DATAVERSE}/3172585", f"{_DATAVERSE}/3172584")

_ISIC = "ISIC2018_Task3_Training"
_TRUTH = f"{_ISIC}_GroundTruth.csv"
_GROUPINGS = f"{_ISIC}_LesionGroupings.csv"

INSTRUCTIONS = f"""\
Get HAM10000 from {PUBLISHER} (Harvard Dataverse), or
from https://www.kaggle.com/datasets/kmader/skin-cancer-mnist-ham10000, or the
training data of https://challenge.isic-archive.com/data/#2018 (task 3), and put
into the manual directory:
* the table of cases, as HAM10000_metadata, with or without .csv, .tab or .tsv,
  or the two tables {_TRUTH} and
  {_GROUPINGS};
* the images, as HAM10000_images_part_1.zip and HAM10000_images_part_2.zip, or
  unpacked, or {_ISIC}_Input.zip, or any folders of JPEG files;
* or, instead of both, Kaggle's archive.zip.
These names are case-insensitive, and a browser's " (1)" after a name is
ignored. A zip file inside a zip file must be unpacked."""

# Browsers name the second download of a file "a (1).zip", people "a(1).zip".
_COPY = r"(\s*\(\d+\))?"
_ENDS = rf"{_COPY}(\.(csv|tab|tsv|txt))?{_COPY}"


def _name(*names: str) -> re.Pattern:
  return re.compile(rf"({'|'.join(names)}){_ENDS}", re.I)


# Harvard Dataverse serves the table without an extension or as .tab.
_TABLES = {
  "cases": _name("HAM10000_metadata"),
  "truth": _name(f"{_ISIC}_GroundTruth"),
  "groupings": _name(f"{_ISIC}_LesionGroupings"),
}
# Published names of folders and zip files, which may also hold the tables.
# Kaggle adds .zip to the name of a single file.
_PUBLISHED = re.compile(
  rf"(HAM10000_(images_part_[12]|metadata)|skin-cancer-mnist-ham10000|"
  rf"{_ISIC}_(Input|GroundTruth|LesionGroupings)){_ENDS}(\.zip)?{_COPY}",
  re.I,
)
_ARCHIVE = re.compile(rf"(archive|dataverse_files){_COPY}(\.zip)?", re.I)
_SHOWN = 4  # entries of a folder that a message lists


@dataclasses.dataclass(frozen=True)
class Table:
  """A table of cases.

  Attributes:
    where: its location, for messages.
    cases: its rows, checked, sorted by image id.
  """

  where: str
  cases: Sequence[Case]


@dataclasses.dataclass(frozen=True)
class Source:
  """The files that a data set is prepared from.

  Attributes:
    table: the table of cases.
    places: zip files and folders of images.
    others: where to look for images that are not in `places`.
    name: where all this comes from, for people.
  """

  table: Table
  places: tuple[epath.Path, ...]
  others: tuple[epath.Path, ...]
  name: str

  def open_images(self) -> ImageArchive:
    """Open the images that the table names.

    Raises:
      DataError: one is missing, or must not be read (see `ImageArchive`). The
        message describes what was found.
    """
    cases = self.table.cases
    wanted = {case.image_id for case in cases}
    archive = ImageArchive(self.places, self.others, wanted)
    missing = [case for case in cases if case.image_id not in archive]
    if not missing:
      return archive
    with archive:
      if archive.faults:
        raise archive.faults[0]
      case = min(missing, key=lambda case: case.line)
      found = ", ".join(map(_describe_folder, self.others))
      if not len(archive):
        raise DataError(
          f"{self.name}: no images found; looked for "
          "HAM10000_images_part_1.zip, HAM10000_images_part_2.zip and any "
          f"zip file or folder with JPEG files like {case.image_id}.jpg; "
          f"found {found or 'nothing'}.\n{INSTRUCTIONS}"
        )
      places = ", ".join(map(str, self.places or self.others))
      raise DataError(
        f"{self.table.where}: line {case.line}: {case.image_id}.jpg is in none "
        f"of {places}; {len(missing)} of {len(cases)} images are missing; "
        f"found {found or 'nothing else'}"
      )


def find_source(folder: epath.PathLike) -> Source:
  """Find HAM10000's files in a folder.

  Args:
    folder: where the user has put them; it may hold other files too.

  Returns:
    The files. `Source.open_images` looks for the images.

  Raises:
    DataError: as in `find_table`.
  """
  folder = epath.Path(folder)
  table = find_table(folder)
  places = tuple(_places(folder))
  return Source(table, places, (folder,), str(folder.resolve()))


def find_table(folder: epath.PathLike) -> Table:
  """Find and read HAM10000's table of cases in a folder.

  Args:
    folder: a folder with the table at any depth, in zip files too; it may hold
      other files. Folders and zip files with other than published names are
      searched only if there is no table elsewhere.

  Returns:
    The table. HAM10000's own overrides those of ISIC 2018, which have less.

  Raises:
    DataError: there is no table, there are two different ones, the table is
      invalid (see `tables.read_cases`), or the lesions are unknown. The message
      describes what was found, what was looked for, and where to get it.
  """
  folder = epath.Path(folder)
  found = collections.defaultdict(list)
  with Walk() as walk:
    for tier in (_table_files(folder, walk), walk.files(folder)):
      if walk.faults:  # The first tier's files are HAM10000's.
        raise walk.faults[0]
      for file in tier:
        for kind, name in _TABLES.items():
          if name.fullmatch(file.name):
            found[kind].append(file)
      if found["cases"] or (found["truth"] and found["groupings"]):
        break
    if found["cases"]:
      return _only(
        [
          Table(file.where, parse_cases(_text(file), file.where))
          for file in found["cases"]
        ]
      )
    if found["truth"] and found["groupings"]:
      return _only(
        [
          Table(
            truth.where,
            parse_isic(
              _text(truth), truth.where, _text(lesions), lesions.where
            ),
          )
          for truth in found["truth"]
          for lesions in found["groupings"]
        ]
      )
  for kind, wanted in (("truth", _GROUPINGS), ("groupings", _TRUTH)):
    if found[kind]:
      lacks = "the images' lesions" if kind == "truth" else "diagnoses"
      raise DataError(
        f"{found[kind][0].where} does not list {lacks}: put {wanted} "
        "next to it, or HAM10000_metadata.csv in its place"
      )
  for entry in _entries(folder):
    if _TABLES["cases"].fullmatch(entry.name):
      check_is_file(entry, "a table of cases")
  raise DataError(
    f"{folder}: no table of cases found; looked for HAM10000_metadata.csv, "
    f".tab, .tsv or without an extension, and for {_TRUTH}; found "
    f"{_describe_folder(folder)}.\n{INSTRUCTIONS}"
  )


def holds_any(folder: epath.PathLike) -> bool:
  """Return whether a folder exists and has any of HAM10000's files."""
  folder = epath.Path(folder)
  return folder.exists() and any(
    _PUBLISHED.fullmatch(entry.name) for entry in _entries(folder)
  )


def _only(tables: Sequence[Table]) -> Table:
  """Return one table if all are the same, or report which two differ."""
  # The column `dataset` is not in all copies.
  known = lambda case: dataclasses.replace(case, dataset=UNKNOWN, line=0)
  # NaN does not equal NaN, so compare as text.
  first, *others = [repr(list(map(known, table.cases))) for table in tables]
  for table, other in zip(tables[1:], others, strict=True):
    if other != first:
      raise DataError(
        f"{tables[0].where} and {table.where} are different tables of cases; "
        "remove the wrong one"
      )
  return max(tables, key=lambda table: table.cases[0].dataset != UNKNOWN)


def _text(file: File) -> str:
  if file.path:
    return read_text(file.path, "a table of cases")
  file.check()
  return decode(read_bytes(file), file.where, "a table of cases")


def _table_files(folder: epath.Path, walk: Walk) -> Iterator[File]:
  """Yield the files that may be a table, where it is expected."""
  for entry in _entries(folder):
    if not entry.is_dir() and not is_zip(entry):
      yield file_at(entry)
  for place in _places(folder):
    yield from walk.files(place)


def _places(folder: epath.Path) -> list[epath.Path]:
  """Return the folders and zip files that have a published name."""
  return [
    entry
    for entry in _entries(folder)
    if (_PUBLISHED.fullmatch(entry.name) or _ARCHIVE.fullmatch(entry.name))
    and (entry.is_dir() or entry.suffix.lower() == ".zip")
  ]


def _describe_folder(folder: epath.Path) -> str:
  """Describe a folder's content briefly: 'images/ with 132 .png, a.txt'."""
  shown, loose = [], []
  entries = _entries(folder)
  with Walk() as walk:
    for entry in entries:
      short = show(entry.name)[:50]
      if entry.is_dir() or is_zip(entry):
        names = [file.name for file in walk.files(entry)]
        slash = "/" if entry.is_dir() else ""
        nested = not slash and any(n.lower().endswith(".zip") for n in names)
        unpack = " (zip files in a zip file: unpack it)" if nested else ""
        holds = f"with {_count(names)}{unpack}"
        if walk.faults:
          holds, walk.faults[:] = "that can't be read or trusted", []
        shown.append(f"{short}{slash} {holds}")
      else:
        loose.append(entry.name)
  if len(loose) > 2:
    shown.append(_count(loose))
  else:
    shown += [show(name)[:50] for name in loose]
  more = len(shown) - _SHOWN
  shown = shown[:_SHOWN] + ([f"{more} more"] if more > 0 else [])
  return ", ".join(shown) or "nothing"


def _count(names: Iterable[str]) -> str:
  """Count names by extension: '132 .png and 2 .csv'."""
  ends = collections.Counter(
    show(epath.Path(name).suffix.lower())[:10] or "others" for name in names
  )
  return (
    " and ".join(f"{number:,} {end}" for end, number in ends.most_common(3))
    or "nothing"
  )


def _entries(folder: epath.Path) -> list[epath.Path]:
  return list_folder(folder, "a folder with HAM10000's files is expected")
