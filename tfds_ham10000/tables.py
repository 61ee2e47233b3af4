"""Reads the table of cases: which image shows which lesion, and what it is.

The table is comma-separated (`HAM10000_metadata.csv`) or tab-separated text
(`HAM10000_metadata`, `.tab`, `.tsv`), with or without the column `dataset`.
Spreadsheets of many countries save it with semicolons, and with decimal commas.
The delimiter is inferred from the header, not from the file's name. Any line
endings, a byte order mark, and columns and classes in upper or lower case are
accepted.
"""

import csv
import dataclasses
import io
import math
import re
from collections.abc import Sequence

from etils import epath

from tfds_ham10000.errors import DataError
from tfds_ham10000.files import by_column, one_hot, read_text, show, split_rows

# Tschandl, Rosendahl, Kittler, Sci Data 5, 180161 (2018), Table 1.
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
UNKNOWN = "unknown"

_NEEDED = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex")
_NEEDED += ("localization",)
# The ISIC archive's names of dx_type's values.
_CONFIRMED = {
  "histopathology": "histo",
  "serial imaging showing no change": "follow_up",
  "single image expert consensus": "consensus",
  "confocal microscopy with consensus dermoscopy": "confocal",
}
_NO_AGE = ("", "na", "nan", "null", UNKNOWN)
_OLDEST = 120
_LONGEST_ID = 100


@dataclasses.dataclass(frozen=True)
class Case:
  """One image of one lesion: a row of the table.

  Attributes:
    image_id: name of the image file without its extension.
    lesion_id: the lesion that the image shows; several images may share it.
    dx: the diagnosis, one of `CLASSES`.
    dx_type: how it was made: histo, follow_up, consensus or confocal. It leaks
      the label (follow_up is always nv): no model may see it.
    age: the patient's age in years, 0 to 120; NaN where the table has none.
    sex: male, female or unknown.
    localization: part of the body, or unknown.
    dataset: where the image was collected; unknown where the table has no such
      column.
    line: its line in the table, counted from 1.
  """

  image_id: str
  lesion_id: str
  dx: str
  dx_type: str
  age: float
  sex: str
  localization: str
  dataset: str
  line: int


def read_cases(path: epath.PathLike) -> list[Case]:
  """Read and check a whole table of cases.

  Spaces around values, empty rows and columns of other names are ignored.

  Args:
    path: the table, UTF-8 text whose first line names the columns.

  Returns:
    The cases, sorted by image id.

  Raises:
    DataError: the text is not such a table, a column is missing or occurs
      twice, a value is invalid (such as an image id that is not a plain file
      name), an image has two rows, or a lesion has two diagnoses. The message
      names the file, the row's first line and what is expected.
  """
  return parse_cases(read_text(epath.Path(path), "a table of cases"), str(path))


def parse_cases(text: str, path: str) -> list[Case]:
  """Parse the text of a table of cases; see `read_cases`."""
  rows = _rows(text, path, _NEEDED)
  return _consistent([_parse_case(row, line, path) for line, row in rows], path)


def parse_isic(
  truth: str, truth_path: str, groupings: str, groupings_path: str
) -> list[Case]:
  """Parse the two tables of the ISIC 2018 challenge, task 3.

  Args:
    truth: text of the table with the column image and the one-hot columns MEL,
      NV, BCC, AKIEC, BKL, DF and VASC.
    truth_path: its location, for messages.
    groupings: text of the table with the columns image and lesion_id, and
      perhaps diagnosis_confirm_type.
    groupings_path: its location, for messages.

  Returns:
    The cases, sorted by image id, as `read_cases` returns them. Patients are
    unknown. Rows of `groupings` that are not in `truth` are ignored.

  Raises:
    DataError: as in `read_cases`; or an image has no lesion, or not exactly one
      diagnosis.
  """
  lesions = {}
  for line, row in _rows(groupings, groupings_path, ("image", "lesion_id")):
    if lesions.setdefault(row["image"], row) is not row:
      raise DataError(
        f"{groupings_path}: line {line}: image {show(row['image'])} is already "
        "in an earlier line; every image must have one row"
      )
  cases = []
  for line, row in _rows(truth, truth_path, ("image", *CLASSES)):
    on, odd = one_hot(row, CLASSES)
    if len(on) != 1 or odd:
      raise DataError(
        f"{truth_path}: line {line}: one 1 and six 0 are expected in the "
        f"columns {', '.join(CLASSES).upper()}"
      )
    if row["image"] not in lesions:
      raise DataError(
        f"{truth_path}: line {line}: image {show(row['image'])} has no row in "
        f"{groupings_path}, which must list its lesion"
      )
    lesion = lesions[row["image"]]
    confirmed = lesion.get("diagnosis_confirm_type", "")
    case = dict.fromkeys(("age", "sex", "localization"), "") | {
      "image_id": row["image"],
      "lesion_id": lesion["lesion_id"],
      "dx": on[0],
      "dx_type": _CONFIRMED.get(confirmed.lower(), confirmed),
    }
    cases.append(_parse_case(case, line, truth_path))
  return _consistent(cases, truth_path)


def duplicates() -> list[tuple[str, str]]:
  """Read the pairs of image ids that show one lesion under two lesion ids."""
  path = epath.resource_path("tfds_ham10000") / "DUPLICATES.csv"
  rows = csv.DictReader(io.StringIO(path.read_text()))
  return [(row["image_id_a"], row["image_id_b"]) for row in rows]


def _rows(
  text: str, path: str, needed: Sequence[str]
) -> list[tuple[int, dict[str, str]]]:
  """Return a table's numbered rows by column, in lower case."""
  rows = split_rows(text, path)
  if not rows:
    raise DataError(f"{path}: empty; its first line must name the columns")
  (line, header), *rows = rows
  names = [name.lower() for name in header]
  absent = [name for name in needed if name not in names]
  if absent:
    raise DataError(
      f"{path}: line {line}: no column {', '.join(absent)}; the columns must "
      f"include {', '.join(needed)}, but are {show(', '.join(header))}"
    )
  if not rows:
    raise DataError(
      f"{path}: no rows below the header; one per image is expected"
    )
  return by_column(names, rows, path)


def _parse_case(values: dict[str, str], line: int, path: str) -> Case:
  """Convert a row to a Case, or report what is wrong with it."""
  for name in ("image_id", "lesion_id"):
    if fault := _find_fault(values[name], is_file=name == "image_id"):
      raise DataError(f"{path}: line {line}: {name} {fault}")
  dx = values["dx"].lower()
  if dx not in CLASSES:
    raise DataError(
      f"{path}: line {line}: image {values['image_id']} has the unknown "
      f"diagnosis '{show(values['dx'])}'; valid are {', '.join(CLASSES)}"
    )
  return Case(
    image_id=values["image_id"],
    lesion_id=values["lesion_id"],
    dx=dx,
    dx_type=values["dx_type"] or UNKNOWN,
    age=_parse_age(values["age"], f"{path}: line {line}"),
    sex=values["sex"] or UNKNOWN,
    localization=values["localization"] or UNKNOWN,
    dataset=values.get("dataset") or UNKNOWN,
    line=line,
  )


def _find_fault(value: str, is_file: bool) -> str | None:
  """Describe what is wrong with an id; None if nothing is."""
  if not value:
    return "is empty"
  fault = None
  if len(value) > _LONGEST_ID:
    fault = f"has more than {_LONGEST_ID} characters; shorten it"
  elif not value.isprintable():
    fault = "has a control character in it; remove it"
  elif is_file and (set(value) & set("/\\:") or value in (".", "..")):
    fault = "is a path; an image file's name without its folder is expected"
  elif is_file and value.lower().endswith((".jpg", ".jpeg")):
    fault = "has an extension; an image file's name without it is expected"
  return fault and f"'{show(value)}' {fault}"


def _parse_age(text: str, where: str) -> float:
  """Read an age in years; NaN where the table has none."""
  if text.lower() in _NO_AGE:
    return math.nan
  # float() accepts more than ages: 1_0, 1e1, inf.
  if re.fullmatch(r"\d{1,3}(\.\d*|,\d\d?)?", text, re.ASCII):
    age = float(text.replace(",", "."))
    if age <= _OLDEST:
      return age
  raise DataError(
    f"{where}: age '{show(text)}'; a number of years from 0 to {_OLDEST} is "
    "expected, or nothing where it is unknown"
  )


def _consistent(cases: Sequence[Case], path: str) -> list[Case]:
  """Sort cases; refuse an image in two rows, a lesion with two diagnoses."""
  by_image: dict[str, Case] = {}
  by_lesion: dict[str, Case] = {}
  for case in cases:
    first = by_image.setdefault(case.image_id, case)
    if first is not case:
      raise DataError(
        f"{path}: line {case.line}: image {case.image_id} is already in line "
        f"{first.line}; every image must have one row"
      )
    first = by_lesion.setdefault(case.lesion_id, case)
    if first.dx != case.dx:
      raise DataError(
        f"{path}: line {case.line}: lesion {case.lesion_id} is {case.dx} here "
        f"and {first.dx} in line {first.line}; a lesion has one diagnosis"
      )
  return sorted(cases, key=lambda case: case.image_id)
