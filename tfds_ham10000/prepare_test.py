"""Prepares ham10000 as a user would, from archives of drawn images."""

import http.server
import os
import pathlib
import shutil
import threading
import time
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfds_ham10000
from tfds_ham10000 import sources
from tfds_ham10000.dummy_archive import write_archive

_ROOT = pathlib.Path(__file__).parent.parent
_DUMMY_DATA = _ROOT / "tfds_ham10000" / "dummy_data"
_TEST_DATA = pathlib.Path(
  os.environ.get("SKINJAX_TEST_DATA", _ROOT.parent / "shared" / "data")
)
_PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")


def _prepare(data_dir, manual_dir, size="64x64", name="ham10000"):
  builder = tfds.builder(
    f"{name}/{size}", data_dir=data_dir, file_format="array_record"
  )
  config = tfds.download.DownloadConfig(manual_dir=manual_dir)
  builder.download_and_prepare(download_config=config)
  return builder


def _examples(builder):
  return {
    example["image_id"].decode(): {**example, "split": split}
    for split, source in builder.as_data_source().items()
    for example in source
  }


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
  """The data set of the dummy data, prepared once."""
  return _prepare(tmp_path_factory.mktemp("data"), _DUMMY_DATA)


@pytest.fixture
def folder(tmp_path):
  return pathlib.Path(shutil.copytree(_DUMMY_DATA, tmp_path / "manual"))


def _zip_parts(folder, inside):
  for part in _PARTS:
    with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
      for path in sorted((folder / part).iterdir()):
        archive.write(path, f"{inside}{path.name}")
    shutil.rmtree(folder / part)


def _write_tab(folder, name, columns):
  table = folder / "HAM10000_metadata.csv"
  rows = [line.split(",")[:columns] for line in table.read_text().splitlines()]
  (folder / name).write_text("".join("\t".join(row) + "\n" for row in rows))
  table.unlink()


def test_dummy_data_are_drawn_by_the_program(tmp_path):
  write_archive(tmp_path, {"nv": 10, "mel": 3, "vasc": 1})
  drawn = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
  kept = sorted(
    path.relative_to(_DUMMY_DATA) for path in _DUMMY_DATA.rglob("*")
  )
  assert drawn == kept
  table = "HAM10000_metadata.csv"
  assert (tmp_path / table).read_text() == (_DUMMY_DATA / table).read_text()


def test_examples(builder):
  examples = _examples(builder)
  assert len(examples) == 17
  assert builder.info.features["label"].names == list(tfds_ham10000.CLASSES)
  example = examples["ISIC_0000011"]
  assert example["image"].shape == (64, 64, 3)
  assert example["image"].dtype == np.uint8
  assert example["label"] == tfds_ham10000.CLASSES.index("mel")
  assert example["lesion_id"] == example["group"] == b"HAM_0000010"
  assert (example["age"], example["dataset"]) == (70.0, b"drawn")
  assert np.isnan(examples["ISIC_0000005"]["age"])
  for a in examples.values():
    for b in examples.values():
      assert a["split"] == b["split"] or a["group"] != b["group"]


@pytest.mark.parametrize("layout", ["zip", "zip_with_folder", "lower", "both"])
def test_layouts_give_the_same_examples(tmp_path, folder, builder, layout):
  expected = _examples(builder)
  if layout == "lower":
    for part in _PARTS:
      (folder / part).rename(folder / f"{part}_").rename(folder / part.lower())
  elif layout == "both":
    _zip_parts(folder, "")
    shutil.copytree(_DUMMY_DATA / _PARTS[0], folder / _PARTS[0])
  else:
    _zip_parts(folder, "" if layout == "zip" else "images/")
  if layout == "zip":
    _write_tab(folder, "HAM10000_metadata", 8)
  if layout == "lower":
    _write_tab(folder, "ham10000_metadata.tab", 7)
    for example in expected.values():
      example["dataset"] = b"unknown"
  # NaN is no NaN's equal, so compare as text, and the images by themselves.
  examples = _examples(_prepare(tmp_path / "b", folder))
  assert repr(examples) == repr(expected)
  for image_id, example in examples.items():
    assert np.array_equal(example["image"], expected[image_id]["image"])


def test_original_is_the_file(tmp_path):
  builder = _prepare(tmp_path, _DUMMY_DATA, "original")
  decoders = {"image": tfds.decode.SkipDecoding()}
  for example in builder.as_data_source("train", decoders=decoders):
    name = f"{example['image_id'].decode()}.jpg"
    (path,) = _DUMMY_DATA.rglob(name)
    assert example["image"] == path.read_bytes()


def _edit_table(folder, old, new):
  path = folder / "HAM10000_metadata.csv"
  path.write_text(path.read_text().replace(old, new))


def _cut_image(folder):
  path = folder / _PARTS[0] / "ISIC_0000004.jpg"
  path.write_bytes(path.read_bytes()[:-300])


def _differ(folder):
  image = folder / _PARTS[0] / "ISIC_0000004.jpg"
  shutil.copy(image, folder / _PARTS[1] / "ISIC_0000002.jpg")


def _point_outside(folder):
  with zipfile.ZipFile(folder / f"{_PARTS[0]}.zip", "w") as archive:
    archive.writestr("../ISIC_0000000.jpg", b"")


@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (_cut_image, r"ISIC_0000004.jpg: not a complete JPEG image"),
    (_differ, "image ISIC_0000002 differs between"),
    (_point_outside, "leads outside of the zip file"),
    (
      lambda folder: (folder / _PARTS[0] / "ISIC_0000008.jpg").unlink(),
      r"metadata.csv: line 10: ISIC_0000008.jpg is in none of .*1 of 17",
    ),
    (
      lambda folder: (folder / "HAM10000_metadata.csv").unlink(),
      r"(?s)manual: no table of cases found; looked for .*dataverse|DBW86T",
    ),
    (
      lambda folder: [shutil.rmtree(folder / part) for part in _PARTS],
      r"manual: no images found; looked for HAM10000_images_part_1.zip",
    ),
    (lambda folder: _edit_table(folder, "vasc", "wart"), "diagnosis 'wart'"),
    (
      lambda folder: _edit_table(folder, "ISIC_0000001", "ISIC_0000000"),
      "line 3: image ISIC_0000000 is already in line 2",
    ),
    (lambda folder: shutil.rmtree(folder), "manual does not exist"),
  ],
)
def test_failure_says_why_and_leaves_nothing(tmp_path, folder, damage, message):
  damage(folder)
  with pytest.raises(tfds_ham10000.DataError, match=message):
    _prepare(tmp_path / "data", folder)
  left = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
  # TFDS notes which configuration is the default before it starts.
  assert [path.name for path in left] in ([], ["metadata.json"])
  assert not list((tmp_path / "data").rglob("*incomplete*"))


def test_too_few_lesions(tmp_path):
  write_archive(tmp_path / "few", {"nv": 2})
  with pytest.raises(tfds_ham10000.DataError, match="would be empty"):
    _prepare(tmp_path / "data", tmp_path / "few")


def _download(data_dir, handler, monkeypatch):
  """Prepare what a site at this address serves."""
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site = f"http://127.0.0.1:{server.server_port}"
    table = f"{site}/HAM10000_metadata.csv"
    monkeypatch.setattr(sources, "TABLE_URL", table)
    urls = tuple(f"{site}/{part}.zip" for part in _PARTS)
    monkeypatch.setattr(sources, "IMAGE_URLS", urls)
    builder = tfds.builder(
      "ham10000/64x64", data_dir=data_dir, file_format="array_record"
    )
    try:
      builder.download_and_prepare()
    finally:
      server.shutdown()
  return builder


def test_download(tmp_path, folder, monkeypatch):
  _zip_parts(folder, "")
  handler = lambda *args: http.server.SimpleHTTPRequestHandler(
    *args, directory=str(folder)
  )
  builder = _download(tmp_path / "data", handler, monkeypatch)
  assert len(_examples(builder)) == 17
  assert builder.info.download_size > 0


def test_a_refused_download_says_what_to_do(tmp_path, monkeypatch):
  class Forbidden(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      self.send_error(403)

  message = r"(?s)the download failed: .*403.*Get HAM10000 from"
  with pytest.raises(tfds_ham10000.DataError, match=message):
    _download(tmp_path / "data", Forbidden, monkeypatch)


def test_what_it_was_prepared_from_is_recorded_and_compared(tmp_path, folder):
  prepared = _prepare(tmp_path / "data", folder)
  assert prepared.prepared_from == str(folder)
  # The same content elsewhere, and zipped.
  other = pathlib.Path(shutil.copytree(folder, tmp_path / "other"))
  _zip_parts(other, "images/")
  again = _prepare(tmp_path / "data", other)
  assert again.prepared_from == str(folder)
  _edit_table(other, "ISIC_0000016", "ISIC_0000017")
  for part in _PARTS:
    with zipfile.ZipFile(other / f"{part}.zip", "a") as archive:
      archive.writestr("ISIC_0000017.jpg", b"")
  for wrong, message in (
    (other, r"1\.0\.0 was prepared from .*manual, and .*other holds something"),
    (tmp_path / "no", "no does not exist"),
  ):
    with pytest.raises(tfds_ham10000.DataError, match=message) as refusal:
      _prepare(tmp_path / "data", wrong)
    assert str(again.data_dir) in str(refusal.value)
  record = pathlib.Path(again.data_dir) / "metadata.json"
  record.write_text("[1]")
  with pytest.raises(
    tfds_ham10000.DataError, match=r"metadata.json is damaged"
  ):
    _prepare(tmp_path / "data", folder)
  record.unlink()  # Earlier versions had none.
  assert _prepare(tmp_path / "data", folder).prepared_from is None


@pytest.mark.slow
def test_real_data(tmp_path):
  archive = _TEST_DATA / "ham10000"
  if not archive.exists():
    pytest.skip(f"no HAM10000 in {archive}; SKINJAX_TEST_DATA says where it is")
  # Of one core; how many others want it is not for a test to say.
  start = time.process_time()
  builder = _prepare(tmp_path, archive)
  assert time.process_time() - start < 60
  decoders = {"image": tfds.decode.SkipDecoding()}
  groups, lesions, labels = {}, set(), []
  for split, source in builder.as_data_source(decoders=decoders).items():
    groups[split] = set()
    for example in source:
      groups[split].add(example["group"])
      lesions.add(example["lesion_id"])
      labels.append(example["label"])
  assert len(labels) == 10015
  assert np.bincount(labels).tolist() == [327, 514, 1099, 115, 1113, 6705, 142]
  assert len(lesions) == 7470
  sizes = {split: len(members) for split, members in groups.items()}
  assert sum(sizes.values()) == len(set.union(*groups.values())) == 7452
  # 70 and 80 % of every class's groups, rounded to whole ones.
  assert [sizes[split] / 7452 for split in sizes] == pytest.approx(
    [0.7, 0.1, 0.2], abs=1e-3
  )
