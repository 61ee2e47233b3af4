"""Tests of finding HAM10000's files in a folder, in all layouts in use."""

import csv
import pathlib
import shutil
import zipfile

import pytest

from tfds_ham10000 import sources, tables
from tfds_ham10000.errors import DataError
from tfds_ham10000.tables import CLASSES

_DUMMY_DATA = pathlib.Path(__file__).parent / "dummy_data"
_TABLE = (_DUMMY_DATA / "HAM10000_metadata.csv").read_text()
_SHORT = _TABLE.rstrip().rpartition("\n")[0]
_PARTS = {
  f"HAM10000_images_part_{i}": {
    path.name: path.read_bytes()
    for path in sorted((_DUMMY_DATA / f"HAM10000_images_part_{i}").iterdir())
  }
  for i in (1, 2)
}
_IMAGES = {
  name: data for part in _PARTS.values() for name, data in part.items()
}
_ARCHIVE = {
  "HAM10000_metadata.csv": _TABLE,
  "hmnist_8_8_L.csv": "pixel0000,label\n1,2\n",
} | {
  f"{change(part)}/{name}": data
  for part, images in _PARTS.items()
  for name, data in images.items()
  for change in (str, str.lower)
}
_UNPACKED = {"HAM10000_metadata.csv": _TABLE, **_PARTS}
_ISIC = "ISIC2018_Task3_Training"


def _isic_tables():
  rows = list(csv.DictReader(_TABLE.splitlines()))
  truth = ["image," + ",".join(CLASSES).upper()]
  lesions = ["image,lesion_id,diagnosis_confirm_type"]
  for row in rows:
    on = ("1.0" if row["dx"] == name else "0.0" for name in CLASSES)
    truth.append(",".join([row["image_id"], *on]))
    lesions.append(f"{row['image_id']},{row['lesion_id']},histopathology")
  return "\n".join(truth), "\n".join(lesions)


_TRUTH, _LESIONS = _isic_tables()


def _lay(place, files):
  """Write files by name: a dict is a folder, or a zip file if so named."""
  place.mkdir(exist_ok=True)
  for name, content in files.items():
    path = place / name
    if name.endswith(".zip") and isinstance(content, dict):
      with zipfile.ZipFile(path, "w") as archive:
        for member, data in content.items():
          archive.writestr(member, data)
    elif isinstance(content, dict):
      _lay(path, content)
    else:
      path.write_bytes(
        content if isinstance(content, bytes) else content.encode()
      )
  return place


def _ids(place):
  """Return the images that can be read, and the table's."""
  source = sources.find_source(place)
  with source.open_images() as archive:
    ids = [case.image_id for case in source.table.cases]
    for image_id in ids:
      assert archive.read(image_id) == _IMAGES[f"{image_id}.jpg"]
    return ids


_ZIPS = {f"{part}.zip": images for part, images in _PARTS.items()}
_JUNK = {
  "holiday.zip": {"IMG_1.jpg": b"x", "../evil.jpg": b"x"},
  "broken.zip": b"PK\x03\x04 cut off",
  "small": {name: data[:-9] for name, data in _IMAGES.items()},
  "train.csv": _SHORT,
}


@pytest.mark.parametrize(
  "files",
  [
    {"HAM10000_metadata.csv": _TABLE, **_ZIPS, **_JUNK},
    {"HAM10000_metadata.csv": _TABLE, **_IMAGES},
    {"HAM10000_metadata.csv": _TABLE, "images": _IMAGES},
    {"HAM10000_metadata.csv": _TABLE, "images": {"a.zip": _IMAGES}},
    {"HAM10000_metadata.csv.zip": {"HAM10000_metadata.csv": _TABLE}, **_ZIPS},
    {"archive.zip": _ARCHIVE},
    {"archive (1).zip": _ARCHIVE},
    {"skin-cancer-mnist-ham10000.zip": _ARCHIVE},
    {"archive": _UNPACKED},
    {"archive-2.zip": _ARCHIVE, "broken.zip": b"PK\x03\x04"},
    {"versions": {"2": _UNPACKED}},
    {
      "HAM10000_metadata (1).csv": _TABLE,
      "HAM10000_images_part_1 (1).zip": _PARTS["HAM10000_images_part_1"],
      "ham10000_images_part_2(2).zip": _PARTS["HAM10000_images_part_2"],
    },
    {
      f"{_ISIC}_Input.zip": {f"x/{name}": d for name, d in _IMAGES.items()},
      f"{_ISIC}_GroundTruth.zip": {f"x/{_ISIC}_GroundTruth.csv": _TRUTH},
      f"{_ISIC}_LesionGroupings.csv": _LESIONS,
    },
    {
      f"{_ISIC}_Input": _IMAGES,
      f"{_ISIC}_GroundTruth": {f"{_ISIC}_GroundTruth.csv": _TRUTH},
      f"{_ISIC}_LesionGroupings.csv": _LESIONS,
    },
    {
      f"{_ISIC}_GroundTruth.csv": _TRUTH,
      "HAM10000_metadata.csv": _TABLE,
      f"{_ISIC}_Input": _IMAGES,
    },
    {
      f"{_ISIC}_GroundTruth.csv": _TRUTH,
      "isic": {"more.zip": {f"{_ISIC}_LesionGroupings.csv": _LESIONS}},
      f"{_ISIC}_Input": _IMAGES,
    },
    {
      "HAM10000_metadata.csv": _TABLE,
      "old": {"HAM10000_metadata.csv": _SHORT, **_PARTS},
    },
  ],
)
def test_layouts(tmp_path, files):
  ids = _ids(_lay(tmp_path / "manual", files))
  assert [f"{image_id}.jpg" for image_id in ids] == sorted(_IMAGES)


def test_links_beneath_a_part_are_followed_and_circles_are_not(tmp_path):
  place = _lay(tmp_path / "manual", {"HAM10000_metadata.csv": _TABLE})
  part = _lay(place / "HAM10000_images_part_1", {})
  (part / "images").symlink_to(_lay(tmp_path / "elsewhere", _IMAGES))
  (part / "circle").symlink_to(place)
  assert len(_ids(place)) == 17


def test_isic_tables_tell_what_the_table_of_cases_tells(tmp_path):
  files = {
    f"{_ISIC}_GroundTruth.csv": _TRUTH,
    f"{_ISIC}_LesionGroupings.csv": _LESIONS,
  }
  cases = sources.find_table(_lay(tmp_path / "isic", files)).cases
  semicolons = _TRUTH.lower().replace("isic", "ISIC").replace(",", ";")
  semicolons = semicolons.replace(".", ",")
  again = tables.parse_isic(semicolons, "", _LESIONS, "")
  assert repr(again) == repr(cases)
  for case, known in zip(
    cases, sources.find_table(_DUMMY_DATA).cases, strict=True
  ):
    for key in ("image_id", "lesion_id", "dx", "dx_type"):
      assert getattr(case, key) == getattr(known, key)


@pytest.mark.parametrize(
  ("files", "message"),
  [
    ({}, r"manual: no table of cases found; looked for .*; found nothing"),
    (
      {"pictures": _IMAGES, "a.csv": ""},
      r"no table of cases found; .*; found pictures/ with 17 \.jpg, a.csv\.",
    ),
    (
      {"HAM10000_metadata.csv": _TABLE, "images": dict.fromkeys("ab", b"")},
      r"manual: no images found; looked for .*found .*images/ with 2 others",
    ),
    (
      {
        "HAM10000_metadata.csv": _TABLE,
        "images": {f"{i}.png": b"" for i in range(132)},
      },
      r"no images found; looked for .*JPEG.*; found .*images/ with 132 \.png",
    ),
    (
      {"HAM10000_metadata.csv": _TABLE, "dataverse_files.zip": {"a.zip": ""}},
      r"no images found; .*dataverse_files.zip with 1 \.zip .*: unpack it",
    ),
    (
      {
        "HAM10000_metadata.csv": _TABLE,
        "HAM10000_metadata (1).csv": _SHORT,
      },
      r"data \(1\).csv and .*metadata.csv are different tables of cases; rem",
    ),
    (
      {"ham10000": _UNPACKED, "b": {"HAM10000_metadata.csv": _SHORT}},
      r"HAM10000_metadata.csv are different tables of cases; remove",
    ),
    (
      {"HAM10000_metadata.csv": {}},
      "csv: a folder, where a table of cases is expected; put the file in its",
    ),
    (
      {"archive.zip": b"PK\3\4 cut off", "old": _UNPACKED},
      r"archive.zip: a zip file that is damaged or cut off",
    ),
    (
      {f"{_ISIC}_GroundTruth.csv": _TRUTH, "images": _IMAGES},
      rf"GroundTruth.csv does not list .*: put {_ISIC}_LesionGroupings.c",
    ),
    (
      {f"{_ISIC}_LesionGroupings.csv": _LESIONS},
      rf"Groupings.csv does not list diagnoses: put {_ISIC}_GroundTruth.csv",
    ),
    (
      {
        f"{_ISIC}_GroundTruth.csv": _TRUTH.replace("0.0", "1.0", 1),
        f"{_ISIC}_LesionGroupings.csv": _LESIONS,
      },
      r"GroundTruth.csv: line 2: one 1 and six 0 are expected in .* AKIEC",
    ),
    (
      {
        f"{_ISIC}_GroundTruth.csv": _TRUTH,
        f"{_ISIC}_LesionGroupings.csv": _LESIONS.rpartition("\n")[0],
      },
      r"GroundTruth.csv: line 18: image ISIC_0000016 has no row in .*Groupings",
    ),
  ],
)
def test_refusals_say_what_was_found(tmp_path, files, message):
  place = _lay(tmp_path / "manual", files)
  with pytest.raises(DataError) as refusal:
    _ids(place)
  # Commands show the first line only.
  first = str(refusal.value).splitlines()[0]
  assert refusal.match(message)
  assert len(first) - first.count(str(place)) * len(str(place)) < 600


def test_a_damaged_table_in_a_zip_file_is_named(tmp_path):
  _lay(tmp_path, {"archive.zip": _ARCHIVE})
  path = tmp_path / "archive.zip"
  path.write_bytes(path.read_bytes().replace(b"histo", b"ohist", 1))
  message = r"archive.zip, member HAM10000_metadata.csv: can't be read .Bad CRC"
  with pytest.raises(DataError, match=message):
    sources.find_table(tmp_path)


def test_tables_that_are_the_same_are_one(tmp_path):
  tab = "".join(
    line.replace(",", "\t").rpartition("\t")[0] + "\n"
    for line in _TABLE.splitlines()
  )
  place = tmp_path / "manual"
  _lay(place, {"HAM10000_metadata": tab, "ham10000_METADATA.csv": _TABLE})
  assert sources.find_table(place).cases[0].dataset == "drawn"


def test_a_folder_that_is_not_there(tmp_path):
  for find in (sources.find_table, sources.find_source):
    with pytest.raises(DataError, match="none: can't be listed"):
      find(tmp_path / "none")


def test_other_data_sets_in_the_same_folder_are_not_taken(tmp_path):
  _lay(tmp_path, {"archive.zip": {"a.jpg": b""}, "data.csv": "a"})
  assert not sources.holds_any(tmp_path)
  shutil.copy(_DUMMY_DATA / "HAM10000_metadata.csv", tmp_path / "x.csv")
  assert not sources.holds_any(tmp_path)
  _lay(tmp_path, {"HAM10000_metadata(1).csv": _TABLE})
  assert sources.holds_any(tmp_path)
