"""Prepared data sets that are damaged, and folders that cannot be prepared.

Of the user's files, one of each kind is damaged here; the tests of
tfds_ham10000 have more cases.
"""

import functools
import pathlib
import shutil
import tempfile
import zipfile

from skinjax.data import sources
from tests import shrunk
from tests.bad_input.case import Case
from tfds_ham10000.dummy_archive import write_archive

DUMMY_DATA = pathlib.Path(__file__).parents[2] / "tfds_ham10000" / "dummy_data"
_INFO = "dataset_info.json"
_SHARD = "ham10000-test.array_record-00000-of-00001"


def _read(data_dir, manual_dir=DUMMY_DATA):
  """Read a user's copy of HAM10000, after preparing it where needed."""
  config = shrunk.config("classifier", "dataset=ham10000").data
  config.size = 64
  config.manual_dir = str(manual_dir)
  config.data_dir = str(data_dir)
  sources.read(config)


@functools.cache
def _prepared():
  directory = tempfile.TemporaryDirectory()
  _read(directory.name)
  return directory


def _of(name, change):
  def make(tmp_path):
    place = shutil.copytree(_prepared().name, tmp_path / "data")
    (path,) = place.rglob(name)
    content = change and change(path.read_bytes())
    if content is None:
      path.unlink()
    else:
      path.write_bytes(content)
    return lambda: _read(place)

  message = r"data/ham10000\S* is damaged.*: remove it, .*prepared again"
  return Case(make, message)


def _flip(data):
  middle = len(data) // 2
  return data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]


def _cut(data):
  return data[: len(data) // 2]


def _manual_dir(make, message):
  """Set data.manual_dir to something that can't be prepared."""

  def case(tmp_path):
    place = tmp_path / "manual"
    make(place)
    return lambda: _read(tmp_path / "data", place)

  return Case(case, message)


def _with(name, old, new):
  """Replace bytes in one of HAM10000's files."""

  def make(place):
    path = shutil.copytree(DUMMY_DATA, place) / name
    path.write_bytes(path.read_bytes().replace(old, new, 1))

  return make


def _web_page(place):
  part = shutil.copytree(DUMMY_DATA, place) / "HAM10000_images_part_1"
  shutil.rmtree(part)
  part.with_suffix(".zip").write_bytes(b"<html>Log in</html>")


def _zip_file(path):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("ISIC_0000004.jpg", b"")


def _prepared_from_another(place):
  """Set data.manual_dir to another folder than the data were prepared from."""

  def case(tmp_path):
    data = shutil.copytree(_prepared().name, tmp_path / "data")
    if place == "other":
      write_archive(tmp_path / place, {"nv": 12, "mel": 3})
    return lambda: _read(data, tmp_path / place)

  return case


_NO_FOLDER = "manual: can't be listed .*; a folder with HAM10000's files is exp"
_NO_PLACE = "Manual directory .*manual does not exist or is empty. .*"

CASES = {
  "info_cut": _of(_INFO, _cut),
  "info_missing": _of(_INFO, None),
  "images_cut": _of(_SHARD, _cut),
  "images_missing": _of(_SHARD, None),
  "images_flipped": _of(_SHARD, _flip),
  "table": _manual_dir(
    _with("HAM10000_metadata.csv", b",20.0,", b",1_0,"),
    r"metadata\.csv: line 2: age '1_0'; a number of years from 0 to 120",
  ),
  "archive": _manual_dir(_web_page, r"part_1\.zip: a web page, such as"),
  "image": _manual_dir(
    _with("HAM10000_images_part_1/ISIC_0000004.jpg", b"\xff\xd8", b"image"),
    r"ISIC_0000004\.jpg: not an image; a JPEG image of mode RGB is expected",
  ),
  "manual_dir_is_zip": _manual_dir(_zip_file, _NO_FOLDER),
  "manual_dir_is_another": Case(
    _prepared_from_another("other"),
    r"was prepared from .*dummy_data, and .*other holds something else.*"
    r": remove the folder .*data/ham10000/64x64/1\.0\.0 to prepare that",
  ),
  "manual_dir_is_gone": Case(
    _prepared_from_another("gone"),
    "gone does not exist; .* was prepared from .*dummy_data: give no manual_d",
  ),
  "manual_dir_is_absent": _manual_dir(lambda path: None, _NO_PLACE),
}
