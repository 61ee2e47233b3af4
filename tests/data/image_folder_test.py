"""Tests of image_folder.py: users' folders, and those that skinjax writes."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from skinjax.data import image_folder
from skinjax.runtime import errors
from tests import shrunk

INFO = shrunk.dataset().info
LABELS = np.array([0, 0, 1, 2, 2], np.int32)


def _save(path, pixels, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def folder(tmp_path):
  """A user's folder with an image of each class."""
  for place, name in enumerate(shrunk.CLASSES):
    _save(tmp_path / name / "a.png", shrunk.dataset().train.images[place])
  return tmp_path


def _split(folder):
  return image_folder.read(folder, INFO).split


def test_images_of_the_right_size_come_as_they_are(folder):
  read = image_folder.read(folder, INFO)
  wanted = shrunk.dataset().train.images[:3]
  np.testing.assert_array_equal(read.split.images, wanted)
  assert read.split.labels.tolist() == [0, 1, 2]
  assert read.split.image_ids.tolist() == [f"{n}/a.png" for n in shrunk.CLASSES]
  assert len(set(read.split.groups)) == 3
  assert read.origin is None
  assert read.title == "Synthetic images"


def test_other_sizes_shapes_and_modes_are_brought_to_the_data_s(folder):
  wide = np.zeros((32, 96), np.uint8)
  wide[:, 32:64] = 200  # the middle, which is what is kept
  _save(folder / "disc" / "b.jpg", wide, quality=95)
  images = _split(folder).images
  assert images.shape == (4, 16, 16, 3)
  assert (np.abs(images[1].astype(int) - 200) < 20).all()


def test_what_is_hidden_or_beside_the_folders_is_passed_over(folder):
  (folder / ".cache").mkdir()
  (folder / "disc" / ".DS_Store").touch()
  (folder / "metadata.csv").touch()
  assert len(_split(folder).labels) == 3


def test_a_users_folder_may_record_what_its_images_learnt_from(folder):
  text = json.dumps({"name": "Diffusion", "trained_on": {"groups": ["a"]}})
  (folder / "provenance.json").write_text(text)
  read = image_folder.read(folder, INFO)
  assert read.origin == {"groups": ["a"]}
  assert read.title == "Diffusion images"
  # A text where an object is wanted tells nothing.
  (folder / "provenance.json").write_text('{"trained_on": "all", "name": 3}')
  read = image_folder.read(folder, INFO)
  assert (read.origin, read.title) == (None, "Synthetic images")


@pytest.mark.parametrize(
  ("break_it", "message"),
  [
    (lambda f: (f / "moles").mkdir(), "Unknown class folder in .* 'moles'"),
    (lambda f: (f / "disc" / "a.png").unlink(), "disc has no images: give"),
    (
      lambda f: (f / "disc" / "a.png").write_bytes(b"no image"),
      r"disc/a.png cannot be read as a PNG or JPEG",
    ),
    (
      lambda f: (f / "disc" / "more").mkdir(),
      r"disc holds 1 images and 1 other entries \(more is a folder",
    ),
    (
      lambda f: (f / "provenance.json").write_text("[" * 200_000),
      "provenance.json cannot be read: it records where the images come from",
    ),
  ],
)
def test_bad_folders_are_refused(folder, break_it, message):
  break_it(folder)
  with pytest.raises(errors.InputError, match=message):
    image_folder.read(folder, INFO, all_classes=True)


def test_classes_may_be_missing_but_not_all(folder):
  (folder / "disc" / "a.png").unlink()
  (folder / "square" / "a.png").unlink()
  (folder / "square").rmdir()
  assert _split(folder).labels.tolist() == [2]
  (folder / "stripes" / "a.png").unlink()
  with pytest.raises(errors.InputError, match="has no images: a folder of PNG"):
    image_folder.read(folder, INFO)
  with pytest.raises(errors.InputError, match="none is no folder"):
    image_folder.read(folder / "none", INFO)


def _images(channels=3):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (5, 16, 16, channels)).astype(np.uint8)


def _write(path, channels=3, **changes):
  arguments = {
    "class_names": shrunk.CLASSES,
    "seed": 4,
    "provenance": {"made_by": "a test"},
    **changes,
  }
  image_folder.write(path, _images(channels), LABELS, **arguments)
  return path


def test_generated_images_are_known_by_how_they_were_generated(tmp_path):
  digest = lambda path: image_folder.read(path, INFO).digest
  made = {"generator": {"state_sha256": "0a"}, "truncation": 0.0}

  def written(name, pixels=0, **changes):
    path = tmp_path / name
    provenance = {**made, **changes.pop("provenance", {})}
    image_folder.write(
      path,
      _images(3) + np.uint8(pixels),
      LABELS,
      **{"class_names": INFO.class_names, "seed": 4, **changes},
      provenance=provenance,
    )
    return digest(path)

  first = written("first")
  assert written("rounded", pixels=1) == first
  others = {
    written("seed", seed=5),
    written("truncated", provenance={"truncation": 0.5}),
    written("filtered", provenance={"filter": {"dropped": 1}}),
    written("other", provenance={"generator": {"state_sha256": "0b"}}),
  }
  assert len(others | {first}) == 5
  # Nothing but its pixels identifies an image of unknown origin.
  unknown = {"provenance": {"generator": {}}}
  assert written("a", **unknown) == written("b", **unknown)
  assert written("c", pixels=1, **unknown) != digest(tmp_path / "a")
  (tmp_path / "first" / "provenance.json").write_text(json.dumps(made))
  assert digest(tmp_path / "first") not in {first, *others}


@pytest.mark.parametrize("channels", [1, 3])
def test_round_trip(tmp_path, channels):
  path = _write(tmp_path / "set", channels)
  info = INFO.__class__(**{**vars(INFO), "channels": channels})
  _, split, provenance = image_folder.read(path, info)
  np.testing.assert_array_equal(split.images, _images(channels))
  np.testing.assert_array_equal(split.labels, LABELS)
  assert provenance["made_by"] == "a test"
  assert provenance["seed"] == 4
  assert provenance["classes"] == {"disc": 2, "square": 1, "stripes": 2}


def test_others_can_read_it(tmp_path):
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


def test_writing_twice_gives_the_same_bytes(tmp_path):
  a, b = _write(tmp_path / "a"), _write(tmp_path / "b")
  for path in a.rglob("*"):
    if path.is_file():
      assert path.read_bytes() == (b / path.relative_to(a)).read_bytes()


def test_a_folder_that_is_half_written_is_not_there(tmp_path, monkeypatch):
  def killed(*_):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(image_folder.files, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
      _write(tmp_path / "set")
  assert not (tmp_path / "set").exists()
  # What is left of it disturbs nobody.
  assert len(_split(_write(tmp_path / "set")).labels) == 5


def _swap(path):
  a, b = sorted(path.rglob("*.png"))[:2]
  a.write_bytes(b.read_bytes())


def _relabel(path):
  table = path / "metadata.csv"
  table.write_text(table.read_text().replace(",disc,", ",square,", 1))


def _add(path):
  (path / "disc" / "disc_9.png").write_bytes(
    (path / "disc" / "disc_000000.png").read_bytes()
  )


@pytest.mark.parametrize(
  ("tamper", "message"),
  [
    (_swap, "is not the image that metadata.csv lists"),
    (_relabel, "is not the table that provenance.json describes"),
    (lambda p: max(p.rglob("*.png")).unlink(), "is missing, but listed in"),
    (_add, "disc/disc_9.png is not listed in .*metadata.csv"),
    (lambda p: (p / "metadata.csv").unlink(), "metadata.csv cannot be read"),
  ],
)
def test_what_was_tampered_with_is_refused(tmp_path, tamper, message):
  path = _write(tmp_path / "set")
  tamper(path)
  with pytest.raises(errors.InputError, match=message):
    image_folder.read(path, INFO)
