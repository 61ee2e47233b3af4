"""Tests of reading anybody's folder of images."""

import numpy as np
import pytest
from PIL import Image

from skinjax.data import image_folder
from skinjax.runtime import errors
from tests import shrunk

INFO = shrunk.dataset().info


def _save(path, pixels, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def folder(tmp_path):
  """A folder with an image of each class."""
  for place, name in enumerate(shrunk.CLASSES):
    _save(tmp_path / name / "a.png", shrunk.dataset().train.images[place])
  return tmp_path


def test_images_of_the_right_size_come_as_they_are(folder):
  split = image_folder.read(folder, INFO)
  np.testing.assert_array_equal(split.images, shrunk.dataset().train.images[:3])
  assert split.labels.tolist() == [0, 1, 2]
  assert split.image_ids.tolist() == [f"{n}/a.png" for n in shrunk.CLASSES]
  assert len(set(split.groups)) == 3


def test_other_sizes_shapes_and_modes_are_brought_to_the_data_s(folder):
  wide = np.zeros((32, 96), np.uint8)
  wide[:, 32:64] = 200  # the middle, which is what is kept
  _save(folder / "disc" / "b.jpg", wide, quality=95)
  split = image_folder.read(folder, INFO)
  assert split.images.shape == (4, 16, 16, 3)
  assert (np.abs(split.images[1].astype(int) - 200) < 20).all()


def test_reducing_is_antialiased(folder):
  stripes = np.zeros((64, 64), np.uint8)
  stripes[:, ::2] = 255
  _save(folder / "disc" / "b.png", stripes)
  reduced = image_folder.read(folder, INFO).images[1]
  assert abs(reduced.astype(int) - 128).max() < 30


def test_what_is_hidden_or_beside_the_folders_is_passed_over(folder):
  (folder / ".cache").mkdir()
  (folder / "disc" / ".DS_Store").touch()
  (folder / "metadata.csv").touch()
  assert len(image_folder.read(folder, INFO).labels) == 3


@pytest.mark.parametrize(
  ("break_it", "told"),
  [
    (lambda f: (f / "moles").mkdir(), "moles is the folder of no class"),
    (lambda f: (f / "disc" / "a.png").unlink(), "disc has no images"),
    (
      lambda f: (f / "disc" / "a.png").write_bytes(b"no image"),
      "disc/a.png cannot be read as a PNG or JPEG",
    ),
    (lambda f: (f / "disc" / "notes.txt").touch(), "notes.txt is no image"),
  ],
)
def test_bad_folders_are_refused(folder, break_it, told):
  break_it(folder)
  with pytest.raises(errors.InputError, match=told):
    image_folder.read(folder, INFO)


def test_no_folder_is_refused(tmp_path):
  with pytest.raises(errors.InputError, match="none is no folder"):
    image_folder.read(tmp_path / "none", INFO)
