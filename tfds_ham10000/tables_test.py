import dataclasses
import math

import pytest

from tfds_ham10000.errors import DataError
from tfds_ham10000.tables import read_cases

_HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization"
_ROWS = ("L1,I2,nv,histo,80.0,male,scalp", "L2,I1,mel,histo,,female,back")


def _write(path, *lines, header=_HEADER):
  path.write_text("\n".join((header, *lines)) + "\n")
  return path


def test_cases_are_sorted_and_complete(tmp_path):
  first, second = read_cases(_write(tmp_path / "t.csv", *_ROWS))
  assert (first.image_id, second.image_id) == ("I1", "I2")
  assert math.isnan(first.age)
  assert second.age == 80.0
  assert (second.dataset, second.line) == ("unknown", 2)


@pytest.mark.parametrize("name", ["t", "t.tab", "t.tsv", "t.csv"])
def test_tab_and_comma_dataset_or_not_give_the_same_cases(tmp_path, name):
  comma = read_cases(_write(tmp_path / "a.csv", *_ROWS))
  lines = [f'"{row}"'.replace(",", '"\t"') + "\tviena" for row in _ROWS]
  header = "\ufeff" + _HEADER.replace(",", "\t") + "\tdataset"
  tab = read_cases(_write(tmp_path / name, *lines, header=header))
  assert {case.dataset for case in tab} == {"viena"}
  without = [dataclasses.replace(case, dataset="unknown") for case in tab]
  # NaN is no NaN's equal, so compare as text.
  assert repr(without) == repr(comma)


@pytest.mark.parametrize("age", ["", "NA", "nan", "unknown"])
def test_absent_ages(tmp_path, age):
  path = _write(tmp_path / "t.csv", f"L1,I2,nv,histo,{age},male,scalp")
  assert math.isnan(read_cases(path)[0].age)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_delimiters_and_line_ends(tmp_path, delimiter, ends):
  expected = read_cases(_write(tmp_path / "a.csv", *_ROWS))
  text = ends.join((_HEADER, *_ROWS)).replace(",", delimiter)
  (tmp_path / "b.csv").write_bytes(text.encode())
  assert repr(read_cases(tmp_path / "b.csv")) == repr(expected)


def test_upper_and_lower_case_are_the_same(tmp_path):
  rows = [row.replace("nv", "NV").replace("mel", "Mel") for row in _ROWS]
  path = _write(tmp_path / "t.csv", *rows, header=_HEADER.title())
  expected = read_cases(_write(tmp_path / "a.csv", *_ROWS))
  assert repr(read_cases(path)) == repr(expected)


def test_spaces_and_blank_rows_do_not_matter(tmp_path):
  expected = read_cases(_write(tmp_path / "a.csv", *_ROWS))
  rows = [row.replace(",", " , ") for row in _ROWS]
  path = _write(tmp_path / "t.csv", *rows, ",,,,,,", "", "  ")
  assert repr(read_cases(path)) == repr(expected)


def test_line_is_where_the_row_begins(tmp_path):
  row = 'L3,I3,nv,histo,1,male,"lower\nback"'
  path = _write(tmp_path / "t.csv", "", *_ROWS, row)
  assert read_cases(path)[-1].line == 5


@pytest.mark.parametrize(
  ("text", "age"), [("0", 0), ("120.0", 120), ("80,5", 80.5), ("7.", 7)]
)
def test_ages(tmp_path, text, age):
  row = f"L1;I1;nv;histo;{text};male;back"
  header = _HEADER.replace(",", ";")
  assert read_cases(_write(tmp_path / "t", row, header=header))[0].age == age


@pytest.mark.parametrize(
  ("row", "message"),
  [
    ("L3,I3,nevus,histo,1,male,back", "line 4: image I3 has.*'nevus'.*akiec"),
    ("L3,I1,nv,histo,1,male,back", "line 4: image I1 is already in line 3"),
    ("L1,I3,mel,histo,1,male,back", "line 4: lesion L1 is mel.*nv in line 2"),
    ("L3,I3,nv,histo,old,male,back", "line 4: age 'old'; a number.*0 to 120"),
    ("L3,I3,nv,histo,-1,male,back", "line 4: age '-1'"),
    ("L3,I3,nv,histo,inf,male,back", "line 4: age 'inf'"),
    ('L3,I3,nv,histo,"1,000",male,back', "line 4: age '1,000'"),
    ("L3,a/I3,nv,histo,1,male,back", "line 4: image_id 'a/I3' is a path"),
    ("L3,I3.jpg,nv,histo,1,male,back", "line 4: image_id .* an extension"),
    ("L\a,I3,nv,histo,1,male,back", r"line 4: lesion_id 'L\\x07' has a cont"),
    ("L3,I3,nv,histo,1,male", "line 4: 6 fields where the first line has 7"),
    (",I3,nv,histo,1,male,back", "line 4: lesion_id is empty"),
    ("L3,,nv,histo,1,male,back", "line 4: image_id is empty"),
    ('L3,"I3,nv,histo,1,male,back', "line 4: unexpected end"),
    ("L3,I3,nv,histo,121,male,back", "line 4: age '121'; a number of years"),
    ("L3,I3,nv,histo,1_0,male,back", "line 4: age '1_0'"),
    ("L3,I3,nv,histo,1,male,back, left", "line 4: 8 fields where the first"),
    ('L3,I3,nv,histo,1,male,"a" b', "line 4: ',' expected .* inside a value"),
    (f"L3,I3,nv,histo,1,male,{'a' * 200_000}", "line 4: field larger than"),
    ("L3,C:x,nv,histo,1,male,back", "line 4: image_id 'C:x' is a path"),
    (f"L3,{'I' * 999},nv,,1,,", r"line 4: image_id 'I+\.\.\.I+' has more "),
    (f"L3,I3,{'nv' * 999},,1,,", "line 4: .*; valid are akiec, bcc, bkl, df"),
  ],
)
def test_wrong_rows(tmp_path, row, message):
  path = _write(tmp_path / "t.csv", *_ROWS, row)
  with pytest.raises(DataError, match=f"t.csv: {message}") as refusal:
    read_cases(path)
  assert len(str(refusal.value)) - len(str(path)) < 400


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "empty"),
    (b"\n \r\n", "empty; its first line must name"),
    (b"PK\3\4" + bytes(99), "a zip file or a spreadsheet, where a table of"),
    (b"\xff\xfe\x00", "UTF-16 text; save it as UTF-8"),
    (b"a\rb\r\nc\n\xe9", r"line 4: not UTF-8 \(byte 0xe9\); save it"),
    (b"a\rb\r\nc\n\0", "line 4: a NUL character"),
    (_HEADER.encode(), "no rows"),
    (f"dx,{_HEADER}\n".encode() * 2, "the first line names 2 columns 'dx'; "),
    (b"image_id,dx\nI1,nv\n", "no column lesion_id, dx_type.*but are image_id"),
  ],
)
def test_wrong_tables(tmp_path, content, message):
  (tmp_path / "t.csv").write_bytes(content)
  with pytest.raises(DataError, match=f"t.csv: .*{message}"):
    read_cases(tmp_path / "t.csv")
