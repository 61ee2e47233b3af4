"""Tests of images.py: reading images of any size."""

import numpy as np
import pytest
from PIL import ExifTags, Image

from skinjax.data import images
from skinjax.runtime import errors


def test_images_of_16_bits_get_8(tmp_path):
  pixels = np.array([[0, 255], [256, 65535]], np.uint16)
  Image.fromarray(pixels).save(tmp_path / "a.png")
  read = images.read(tmp_path / "a.png", 2)
  assert read[..., 0].tolist() == [[0, 0], [1, 255]]
  assert read.shape == (2, 2, 1)


def test_images_of_12_bits_in_16_are_refused(tmp_path):
  pixels = np.array([[0, 255], [256, 4095]], np.uint16)
  Image.fromarray(pixels).save(tmp_path / "a.png")
  message = r"a.png cannot be read .* largest value is 4095 of 65535"
  with pytest.raises(errors.InputError, match=message):
    images.read(tmp_path / "a.png", 2)
  Image.fromarray(0 * pixels).save(tmp_path / "black.png")
  assert not images.read(tmp_path / "black.png", 2).any()


def test_photographs_are_turned_as_their_exif_says(tmp_path):
  image = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8))
  exif = Image.Exif()
  exif[ExifTags.Base.Orientation] = 6  # to show it, turn it clockwise
  image.save(tmp_path / "a.png", exif=exif)
  turned = images.read(tmp_path / "a.png", 2)
  assert turned[..., 0].tolist() == [[2, 0], [3, 1]]


def test_reduce_is_the_mean_of_boxes():
  image = np.array(
    [[0, 4, 10, 10], [8, 0, 10, 11], [255, 255, 1, 1], [255, 255, 1, 0]],
    np.uint8,
  )[None, ..., None]
  # 12 / 4; 41 / 4 = 10.25; 255; 3 / 4.
  assert images.reduce(image, 2)[0, ..., 0].tolist() == [[3, 10], [255, 1]]
  assert images.reduce(image, 1) is image


def test_entries_that_are_no_images_are_refused(tmp_path):
  for i in range(3):
    Image.new("L", (2, 2)).save(tmp_path / f"{i}.png")
  assert len(images.files_in(tmp_path)) == 3
  for i in range(4):
    (tmp_path / f"link{i}.png").symlink_to(tmp_path / "nowhere")
  message = r"holds 3 images and 4 other entries \(link0.png is a broken link"
  with pytest.raises(errors.InputError, match=message):
    images.files_in(tmp_path)
