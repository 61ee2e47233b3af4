"""Tables of cases with the faults of spreadsheets, downloads and typing."""

import re

from tests.bad_input.case import of_ham10000

_NAME = "HAM10000_metadata.csv"


def _edit(change):
  """Change the table's text; bytes are written as they are."""

  def damage(folder):
    changed = change((folder / _NAME).read_text())
    if isinstance(changed, str):
      changed = changed.encode()
    (folder / _NAME).write_bytes(changed)

  return damage


def _in_row(column, value):
  """Set a field of the fifth image, in line 6."""

  def change(text):
    lines = text.splitlines()
    fields = lines[5].split(",")
    fields[lines[0].split(",").index(column)] = value
    return "\n".join([*lines[:5], ",".join(fields), *lines[6:]])

  return _edit(change)


def _as_folder(folder):
  (folder / _NAME).unlink()
  (folder / _NAME).mkdir()


_AGE = "a number of years from 0 to 120 is expected, or nothing where"
_DX = "valid are akiec, bcc, bkl, df, mel, nv, vasc"

CASES = {
  name: of_ham10000(
    damage, message and rf"(?s)HAM10000_metadata\.csv: {message}"
  )
  for name, (damage, message) in {
    "blank": (_edit(lambda text: "\n \r\n"), "empty; its first line must name"),
    "needed_column_twice": (
      _edit(lambda text: re.sub("(?m)^[^,]*", r"\g<0>,\g<0>", text.strip())),
      "the first line names 2 columns 'lesion_id'; which one counts. Remove",
    ),
    "spreadsheet": (
      _edit(lambda text: b"PK\x03\x04" + bytes(99)),
      "a zip file or a spreadsheet, where a table of cases is expected",
    ),
    "folder": (
      _as_folder,
      "a folder, where a table of cases is expected; put the file in its place",
    ),
    "long_field": (
      _in_row("localization", "back" * 50_000),
      "line 6: field larger than field limit .131072.; is a quotation mark not",
    ),
    "quote_inside": (
      _in_row("localization", '"back" left'),
      "line 6: ',' expected after '\"'; is a quotation mark .* inside a value",
    ),
    "row_too_long": (
      _in_row("localization", "back, left"),
      "line 6: 9 fields where the first line has 8",
    ),
    "image_id_with_drive": (_in_row("image_id", "C:x"), "line 6: .*is a path"),
    "image_id_long": (
      _in_row("image_id", "I" * 9999),
      r"line 6: image_id 'I+\.\.\.I+' has more than 100 characters",
    ),
    "dx_long": (_in_row("dx", "nv" * 999), f"line 6: .*; {_DX}"),
    "age_too_high": (_in_row("age", "121"), f"line 6: age '121'; {_AGE}"),
    "age_underscore": (_in_row("age", "1_0"), f"line 6: age '1_0'; {_AGE}"),
    "spaces": (_edit(lambda text: text.replace(",", " , ")), None),
    "blank_rows": (_edit(lambda text: text + ",,,,,,,\n\n  \n"), None),
  }.items()
}
