"""Tables of cases as spreadsheets, downloads and mistakes make them."""

import re

from tests.bad_input.case import of_ham10000

_NAME = "HAM10000_metadata.csv"


def _edit(change):
  """Changes the table's text; bytes are written as they are."""

  def mess(folder):
    changed = change((folder / _NAME).read_text())
    if isinstance(changed, str):
      changed = changed.encode()
    (folder / _NAME).write_bytes(changed)

  return mess


def _swap(old, new):
  """Replaces what stands in the table once."""

  def change(text):
    assert text.count(old) == 1, old
    return text.replace(old, new)

  return _edit(change)


def _in_row(column, value):
  """Sets a field of the fifth image, in line 6."""

  def change(text):
    lines = text.splitlines()
    fields = lines[5].split(",")
    fields[lines[0].split(",").index(column)] = value
    return "\n".join([*lines[:5], ",".join(fields), *lines[6:]])

  return _edit(change)


def _instead(make):
  def mess(folder):
    (folder / _NAME).unlink()
    make(folder / _NAME)

  return mess


def _with_semicolons(text):
  numbers = re.sub(r"(\d)\.(\d)", r"\1,\2", text.replace(",", ";"))
  return "\ufeff" + numbers.replace("\n", "\r\n")


def _quoted(text):
  return re.sub(r"[^,\n]+", r'"\g<0>"', text)


def _turned_round(text):
  return re.sub("(?m)^.+$", lambda m: ",".join(m[0].split(",")[::-1]), text)


_AGE = "a number of years from 0 to 120 expected, or nothing where"
_DX = "valid are akiec, bcc, bkl, df, mel, nv, vasc"
_HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"

CASES = {
  name: of_ham10000(mess, told and rf"(?s)HAM10000_metadata\.csv: {told}")
  for name, (mess, told) in {
    "empty": (_edit(lambda text: ""), "an empty file, where a table of cases"),
    "blank": (_edit(lambda text: "\n \r\n"), "empty; its first line must name"),
    "header_only": (_edit(lambda text: _HEADER), "no rows below the header"),
    "no_header": (
      _swap(_HEADER + "\n", ""),
      "line 1: no column lesion_id, image_id.*but are HAM_0000000, ISIC_",
    ),
    "column_absent": (
      _swap("dx,dx_type", "diagnosis,dx_type"),
      "line 1: no column dx; the columns must be .*may include dataset",
    ),
    "needed_column_twice": (
      _edit(lambda text: re.sub("(?m)^[^,]*", r"\g<0>,\g<0>", text.strip())),
      "line 1: 2 columns 'lesion_id'; which one counts. Remove",
    ),
    "spreadsheet": (
      _edit(lambda text: b"PK\x03\x04" + bytes(99)),
      "a zip file or a spreadsheet, where a table of cases is expected",
    ),
    "folder": (
      _instead(lambda path: path.mkdir()),
      "a folder, where a table of cases is expected; put the file in its place",
    ),
    "utf_16": (
      _edit(lambda text: text.encode("utf-16")),
      'UTF-16 text; save it as UTF-8, in a spreadsheet as "CSV UTF-8"',
    ),
    "utf_16_unmarked": (
      _edit(lambda text: text.encode("utf-16-le")),
      "line 1: a NUL character: damaged, or UTF-16; save it as UTF-8",
    ),
    "latin_1": (
      _edit(lambda text: text.replace("back", "r\xfccken").encode("latin-1")),
      "line 2: not UTF-8 .byte 0xfc.; save it as UTF-8",
    ),
    "long_field": (
      _in_row("localization", "back" * 50_000),
      "line 6: field larger than field limit .131072.; is a quotation mark not",
    ),
    "quote_not_closed": (
      _in_row("lesion_id", '"HAM_0000003'),
      "line 6: unexpected end of data; is a quotation mark not closed",
    ),
    "quote_inside": (
      _in_row("localization", '"back" left'),
      "line 6: ',' expected after '\"'; is a quotation mark .* inside a value",
    ),
    "row_too_short": (
      _edit(lambda text: text.replace(",drawn", "", 1)),
      "line 2: 7 fields where the header has 8",
    ),
    "row_too_long": (
      _in_row("localization", "back, left"),
      "line 6: 9 fields where the header has 8",
    ),
    "cut": (_edit(lambda text: text[:-20]), "line 18: 5 fields where the head"),
    "image_id_blank": (_in_row("image_id", " "), "line 6: image_id is empty"),
    "lesion_id_blank": (_in_row("lesion_id", ""), "line 6: lesion_id is empty"),
    "image_id_is_path": (
      _in_row("image_id", "../../etc/passwd"),
      "line 6: image_id '../../etc/passwd' is a path; an image file's name",
    ),
    "image_id_with_drive": (_in_row("image_id", "C:x"), "line 6: .*is a path"),
    "image_id_with_line_end": (
      _in_row("image_id", '"ISIC\n4"'),
      r"line 6: image_id 'ISIC\\n4' has a control character in it",
    ),
    "image_id_with_extension": (
      _in_row("image_id", "ISIC_0000004.JPG"),
      "line 6: image_id 'ISIC_0000004.JPG' has an extension; an image file's",
    ),
    "image_id_long": (
      _in_row("image_id", "I" * 9999),
      r"line 6: image_id 'I+\.\.\.I+' has more than 100 characters",
    ),
    "image_twice": (
      _in_row("image_id", "ISIC_0000002"),
      "line 6: image ISIC_0000002 stands in line 4 already; every image must",
    ),
    "image_unknown": (
      _in_row("image_id", "ISIC_9"),
      "line 6: ISIC_9.jpg is in none of .*; 1 of 17 images are missing",
    ),
    "two_diagnoses": (
      _in_row("lesion_id", "HAM_0000013"),
      "line 17: lesion HAM_0000013 is vasc here and nv in line 6; a lesion has",
    ),
    "dx_unknown": (
      _in_row("dx", "nevus"),
      f"line 6: image ISIC_0000004 has the unknown diagnosis 'nevus'; {_DX}",
    ),
    "dx_long": (_in_row("dx", "nv" * 999), f"line 6: .*; {_DX}"),
    **{
      f"age_{name}": (
        _in_row("age", age),
        f"line 6: age '{re.escape(age)}'; {_AGE}",
      )
      for name, age in {
        "text": "abc",
        "negative": "-1",
        "infinite": "inf",
        "too_high": "121",
        "underscore": "1_0",
      }.items()
    },
    "age_nan": (_in_row("age", "NaN"), None),
    "age_blank": (_in_row("age", " "), None),
    "lone_cr": (_edit(lambda text: text.replace("\n", "\r")), None),
    "tabs": (_edit(lambda text: text.replace(",", "\t")), None),
    "semicolons": (_edit(_with_semicolons), None),
    "quoted": (_edit(_quoted), None),
    "spaces": (_edit(lambda text: text.replace(",", " , ")), None),
    "blank_rows": (_edit(lambda text: text + ",,,,,,,\n\n  \n"), None),
    "columns_turned_round": (_edit(_turned_round), None),
    "extra_column": (
      _edit(lambda text: re.sub("(?m)^", "1,", text.strip())),
      None,
    ),
  }.items()
}
