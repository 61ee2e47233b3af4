"""Tests of synthetic sets on disk."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from skinjax.data import synthetic_set
from skinjax.runtime import errors
from tests import shrunk

LABELS = np.array([0, 0, 1, 2, 2], np.int32)


def _images(channels=3):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (5, 8, 8, channels)).astype(np.uint8)


def _write(path, channels=3, **changes):
  arguments = {
    "class_names": shrunk.CLASSES,
    "seed": 4,
    "origin": {"made_by": "a test"},
    **changes,
  }
  synthetic_set.write(path, _images(channels), LABELS, **arguments)
  return path


@pytest.mark.parametrize("channels", [1, 3])
def test_round_trip(tmp_path, channels):
  path = _write(tmp_path / "set", channels)
  split, provenance = synthetic_set.read(path, shrunk.CLASSES)
  np.testing.assert_array_equal(split.images, _images(channels))
  np.testing.assert_array_equal(split.labels, LABELS)
  assert len(set(split.groups)) == 5
  assert provenance["made_by"] == "a test"
  assert provenance["seed"] == 4
  assert provenance["classes"] == {"disc": 2, "square": 1, "stripes": 2}


def test_it_is_an_image_folder(tmp_path):
  path = _write(tmp_path / "set")
  folders = sorted(p.name for p in path.iterdir() if p.is_dir())
  assert folders == sorted(shrunk.CLASSES)
  with (path / "metadata.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert list(rows[0])[:2] == ["file_name", "label"]
  pictures = {str(p.relative_to(path)) for p in path.rglob("*.png")}
  assert {row["file_name"] for row in rows} == pictures
  for row, image in zip(rows, _images(), strict=True):
    assert row["file_name"].split("/")[0] == row["label"]
    with Image.open(path / row["file_name"]) as picture:
      np.testing.assert_array_equal(picture, image)


def test_classes_in_another_order_are_numbered_in_it(tmp_path):
  path = _write(tmp_path / "set")
  split, _ = synthetic_set.read(path, shrunk.CLASSES[::-1])
  np.testing.assert_array_equal(split.labels, np.sort(2 - LABELS))
  np.testing.assert_array_equal(split.images[-2:], _images()[:2])


def test_writing_twice_gives_the_same_bytes(tmp_path):
  a, b = _write(tmp_path / "a"), _write(tmp_path / "b")
  for path in a.rglob("*"):
    if path.is_file():
      assert path.read_bytes() == (b / path.relative_to(a)).read_bytes()


def test_a_set_that_is_half_written_is_not_there(tmp_path, monkeypatch):
  def killed(*_):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(synthetic_set.files, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
      _write(tmp_path / "set")
  assert not (tmp_path / "set").exists()
  # What is left of it disturbs nobody.
  split, _ = synthetic_set.read(_write(tmp_path / "set"), shrunk.CLASSES)
  assert len(split.labels) == 5


def _swap(path):
  a, b = sorted(path.rglob("*.png"))[:2]
  a.write_bytes(b.read_bytes())


def _flip(path):
  picture = max(path.rglob("*.png"))
  content = bytearray(picture.read_bytes())
  content[len(content) // 2] ^= 4
  picture.write_bytes(content)


def _relabel(path):
  table = path / "metadata.csv"
  table.write_text(table.read_text().replace(",disc,", ",square,", 1))


def _remove_json(path):
  (path / "provenance.json").unlink()


def _cut_json(path):
  text = (path / "provenance.json").read_text()
  (path / "provenance.json").write_text(text[: len(text) // 2])


@pytest.mark.parametrize(
  ("tamper", "told"),
  [
    (_swap, "is not the image that metadata.csv speaks of"),
    (_flip, "is not the image that metadata.csv speaks of"),
    (_relabel, "is not the table that provenance.json speaks of"),
    (lambda p: max(p.rglob("*.png")).unlink(), "is not a whole synthetic set"),
    (lambda p: (p / "metadata.csv").unlink(), "is not a whole synthetic set"),
    (_remove_json, "is not a whole synthetic set"),
    (_cut_json, "is not a whole synthetic set"),
  ],
)
def test_what_was_tampered_with_is_refused(tmp_path, tamper, told):
  path = _write(tmp_path / "set")
  tamper(path)
  with pytest.raises(errors.InputError, match=told):
    synthetic_set.read(path, shrunk.CLASSES)


def test_no_set_is_told(tmp_path):
  with pytest.raises(errors.InputError, match="not a whole synthetic set"):
    synthetic_set.read(tmp_path / "none", shrunk.CLASSES)


def test_a_set_of_other_classes_is_refused(tmp_path):
  path = _write(tmp_path / "set")
  with pytest.raises(errors.InputError, match="disc"):
    synthetic_set.read(path, ("circle", "square", "stripes"))


def test_provenance_is_json_of_its_own(tmp_path):
  path = _write(tmp_path / "set", origin={"rate": float("nan")})
  text = (path / "provenance.json").read_text()
  assert json.loads(text, parse_constant=pytest.fail)["rate"] is None
