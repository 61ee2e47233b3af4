"""Gives the readers thousands of files that are almost right, or not at all."""

import contextlib
import csv
import dataclasses
import io
import math
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tfds_ham10000.archives import ImageArchive
from tfds_ham10000.errors import DataError
from tfds_ham10000.images import check_jpeg, reduce_to_square
from tfds_ham10000.tables import CLASSES, Case, read_cases

_COLUMNS = {field.name for field in dataclasses.fields(Case)} - {"line"}


_SETTINGS = settings(
  derandomize=True,
  deadline=None,
  database=None,
  suppress_health_check=[HealthCheck.too_slow],
)


def _fuzzed(many, **strategies):
  """Run a check on some drawn inputs, and on many where slow tests are run."""

  def decorate(check):
    slow = pytest.param(many, marks=pytest.mark.slow)

    @pytest.mark.parametrize("examples", [30, slow])
    def test(path, examples):
      @settings(_SETTINGS, max_examples=examples)
      @given(**strategies)
      def run(**drawn):
        check(path, **drawn)

      run()

    return test

  return decorate


@pytest.fixture(scope="module")
def path(tmp_path_factory):
  """One file to overwrite: a directory for each input would take longer."""
  return tmp_path_factory.mktemp("fuzz") / "file"


@contextlib.contextmanager
def _refused_or_not(place):
  """Let a DataError pass that names the place and is fit to be read."""
  try:
    yield
  except DataError as error:
    message = str(error)
    if not message.startswith(place) or len(message) - len(place) > 500:
      raise


def _mutate(data, changes):
  for skip, place, new in changes:
    at = place % (len(data) + 1)
    data = data[:at] + new + data[at + skip :]
  return data


# How many bytes to leave out, where, and what to insert there.
_CHANGES = st.lists(
  st.tuples(
    st.sampled_from([0, 1, 2, 4, 2**20]),
    st.integers(0, 2**16),
    st.binary(max_size=4),
  ),
  min_size=1,
  max_size=3,
)
_TEXT = st.text("aZ09_ .,;\t'\"\u00e9\u4e2d<{=-", max_size=8)
_TEXT = _TEXT.map(lambda text: text.strip() or "unknown")
_ID = st.text("abcXYZ012_-. \u00e9", min_size=1, max_size=6).map(str.strip)
_DX = st.sampled_from(CLASSES)
_ODD = st.one_of(
  st.sampled_from(["", "NaN", "inf", "-1", "1e9", "..", "a/b", '"', "\r"]),
  st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)


@st.composite
def _tables(draw):
  """Draw rows of fields, header first, and the cases that they stand for."""
  lesions = st.dictionaries(_ID.filter(bool), _DX, min_size=1)
  diagnoses = draw(lesions)
  ids = _ID.filter(lambda text: text not in ("", ".", ".."))
  cases = []
  for image_id in draw(st.lists(ids, min_size=1, max_size=5, unique=True)):
    lesion_id = draw(st.sampled_from(sorted(diagnoses)))
    age = draw(st.sampled_from([math.nan, 0.0, 0.5, 85.0, 120.0]))
    dx_type, *free = draw(st.tuples(_TEXT, _TEXT, _TEXT, _TEXT))
    named = (image_id, lesion_id, diagnoses[lesion_id], dx_type, age)
    cases.append(Case(*named, *free, line=len(cases) + 2))
  columns = draw(st.permutations([*sorted(_COLUMNS), "more"]))
  rows = [columns]
  for case in cases:
    fields = dataclasses.asdict(case) | {"more": "a"}
    absent = draw(st.sampled_from(["", "unknown"]))
    row = [str(fields[name]) for name in columns]
    rows.append([absent if v in ("unknown", "nan") else v for v in row])
  return rows, sorted(cases, key=lambda case: case.image_id)


@st.composite
def _written(draw, rows):
  """Draw one of the ways in which programs write a table."""
  delimiter = draw(st.sampled_from(",\t;"))
  text = io.StringIO(newline="")
  csv.writer(
    text,
    delimiter=delimiter,
    lineterminator=draw(st.sampled_from(["\n", "\r\n", "\r"])),
    quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
  ).writerows(rows)
  return text.getvalue().encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))


def _read(path, data):
  """Check what holds of every table that is accepted."""
  path.write_bytes(data)
  with _refused_or_not(f"{path}: "):
    cases = read_cases(path)
    ids = [case.image_id for case in cases]
    assert ids == sorted(set(ids))
    assert all(case.dx in CLASSES for case in cases)
    assert all(math.isnan(case.age) or 0 <= case.age <= 120 for case in cases)
    assert not set("".join(ids)) & set("/\\:\0\n")


@_fuzzed(400, data=st.binary(max_size=300))
def test_table_of_noise(path, data):
  _read(path, data)


@_fuzzed(500, draw=st.data())
def test_table_is_read_as_written(path, draw):
  rows, expected = draw.draw(_tables())
  path.write_bytes(draw.draw(_written(rows)))
  # NaN is no NaN's equal, so compare as text.
  assert repr(read_cases(path)) == repr(expected)


@_fuzzed(400, draw=st.data())
def test_table_with_wrong_fields(path, draw):
  rows, _ = draw.draw(_tables())
  for odd in draw.draw(st.lists(_ODD, min_size=1, max_size=3)):
    row = draw.draw(st.sampled_from(rows))
    row[draw.draw(st.integers(0, len(row) - 1))] = odd
  if draw.draw(st.booleans()):
    rows = [[*row, *row[:2]] for row in rows]
  _read(path, draw.draw(_written(rows)))


@_fuzzed(500, draw=st.data(), changes=_CHANGES)
def test_table_with_wrong_bytes(path, draw, changes):
  rows, _ = draw.draw(_tables())
  data = _mutate(draw.draw(_written(rows)), changes)
  old, new = draw.draw(st.permutations([b",", b"\t", b";"]))[:2]
  count = draw.draw(st.integers(0, 9))
  _read(path, data.replace(old, new, count))


def _zipped(members, method):
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", method) as archive:
    for name, data in members.items():
      archive.writestr(zipfile.ZipInfo(name), data, method)
  return file.getvalue()


_METHODS = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
_MEMBERS = {"a.jpg": b"a" * 90, "x/b.JPG": bytes(range(64)), "c.jpg": b""}


@_fuzzed(
  300, start=st.sampled_from([b"", b"PK\3\4"]), data=st.binary(max_size=200)
)
def test_zip_of_noise(path, start, data):
  end = b"PK\5\6" + data[:18].ljust(18, b"\0")
  for content in (start + data, start + data + end):
    path.write_bytes(content)
    with _refused_or_not(str(path)), ImageArchive([path]) as archive:
      assert not len(archive)


@_fuzzed(800, changes=_CHANGES, method=_METHODS)
def test_zip_with_wrong_bytes(path, changes, method):
  path.write_bytes(_mutate(_zipped(_MEMBERS, method), changes))
  with _refused_or_not(str(path)), ImageArchive([path]) as archive:
    for image_id, data in zip("abc", _MEMBERS.values(), strict=True):
      with _refused_or_not(str(path)):
        assert image_id not in archive or archive.read(image_id) == data


_PARTS = st.one_of(
  st.sampled_from(["..", ".", "", "C:", "a", "._b", "b.jpg", ".jpg", "d.JPEG"]),
  st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)


@_fuzzed(
  300,
  parts=st.lists(_PARTS, min_size=1, max_size=4),
  separator=st.sampled_from("/\\"),
  end=st.sampled_from(["", ".jpg", ".JPeG"]),
)
def test_zip_with_odd_names(path, parts, separator, end):
  # Python's own writer cuts a name at NUL, and can't write an empty one.
  name = (separator.join(parts) + end).partition("\0")[0] or "a.jpg"
  path.write_bytes(_zipped({name: b"odd", "even.jpg": b"even"}, 0))
  parts = name.replace("\\", "/").split("/")
  leads_outside = ".." in parts or (len(parts) > 1 and not parts[0])
  image_id, dot, extension = parts[-1].rpartition(".")
  is_image = image_id and dot + extension.lower() in (".jpg", ".jpeg")
  is_image = is_image and not image_id.startswith("._")
  if leads_outside or ":" in parts[0]:
    with pytest.raises(DataError, match=r"file, member .* leads outside"):
      ImageArchive([path])
    return
  with ImageArchive([path]) as archive:
    assert archive.read("even") == (b"odd" if image_id == "even" else b"even")
    assert (image_id in archive) == bool(is_image)
    assert not is_image or archive.read(image_id) == b"odd"


def _jpeg(**options):
  pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "JPEG", **options)
  return file.getvalue()


_EXIF = Image.Exif()
_EXIF[0x0112] = 6
_JPEGS = (_jpeg(), _jpeg(progressive=True), _jpeg(exif=_EXIF, dpi=(72, 72)))


@_fuzzed(900, start=st.sampled_from(_JPEGS), changes=_CHANGES)
def test_image_with_wrong_bytes(path, start, changes):
  del path  # An image is checked in memory.
  data = _mutate(start, changes)
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    with _refused_or_not("x.jpg: "):
      assert check_jpeg(data, "x.jpg") is data
    with _refused_or_not("x.jpg: "):
      square = reduce_to_square(data, 8, "x.jpg")
      with Image.open(io.BytesIO(square), formats=("PNG",)) as image:
        assert (image.mode, image.size) == ("RGB", (8, 8))
