"""Tests of training/predict.py: classifying images in Python, by a config."""

import csv
import shutil

import numpy as np
import pytest
from PIL import Image

import skinjax
from skinjax.runtime import errors
from skinjax.training import predict, trained
from tests import shrunk
from tests.bad_input import trained as runs


@pytest.fixture(scope="module")
def workdir():
  return runs.network("classifier")


@pytest.fixture(scope="module")
def classifier(workdir):
  return skinjax.load_classifier(workdir)


def test_arrays_are_classified_as_in_evaluation(classifier):
  split, network = shrunk.dataset().test, classifier.network
  wanted = trained.outputs(
    network.task,
    network.state,
    split,
    config=network.config,
    info=network.info,
  )["probabilities"]
  predicted = classifier.predict(split.images)
  assert predicted.dtype == np.float32
  np.testing.assert_allclose(predicted, wanted, atol=1e-6)
  assert classifier.class_names == shrunk.CLASSES
  assert classifier.predict([]).shape == (0, 3)


def test_other_sizes_and_grey_are_brought_to_the_network_s(classifier):
  image = shrunk.dataset().test.images[0]
  grey = np.asarray(Image.fromarray(image).convert("L"))
  wide = np.pad(image, ((0, 0), (5, 5), (0, 0)), constant_values=7)
  large = np.repeat(np.repeat(image, 4, 0), 4, 1)
  rows = classifier.predict([image, wide, large, grey, grey[..., None]])
  np.testing.assert_array_equal(rows[0], rows[1])  # the middle is kept
  np.testing.assert_allclose(rows[0], rows[2], atol=0.05)
  np.testing.assert_array_equal(rows[3], rows[4])
  for bad in (image.astype(float), image[..., :2], image[None]):
    with pytest.raises(errors.InputError, match=r"uint8 .height, width, 1 or"):
      classifier.predict([bad])


def test_one_image_is_no_list_of_images(classifier, tmp_path):
  image = shrunk.dataset().test.images[0]
  for one in (image, image[..., 0], "a.png", tmp_path / "a.png"):
    with pytest.raises(errors.InputError, match="for one, give a list"):
      classifier.predict(one)
  with pytest.raises(
    errors.InputError, match=r"a\.png cannot be read: No such"
  ):
    classifier.predict([tmp_path / "a.png"])


def test_a_folder_of_files(classifier, workdir, tmp_path):
  images = shrunk.dataset().test.images
  for place in range(3):
    path = tmp_path / "pictures" / f"{place % 2}" / f"{place}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(images[place]).save(path)
  config = shrunk.config(
    "predict",
    "",
    classifier=str(workdir),
    images=str(tmp_path / "pictures"),
  )
  predict.run(config, tmp_path / "run")
  with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
  order = [0, 2, 1]  # by path
  wanted = classifier.predict(images[order])
  assert [row["image"][-7:] for row in rows] == [
    "0/0.png",
    "0/2.png",
    "1/1.png",
  ]
  for row, probabilities in zip(rows, wanted, strict=True):
    assert row["predicted"] == shrunk.CLASSES[probabilities.argmax()]
    values = [float(row[name]) for name in shrunk.CLASSES]
    np.testing.assert_allclose(values, probabilities, atol=1e-6)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"classifier": ""}, "config.classifier is empty"),
    ({"images": ""}, "config.images is empty"),
    ({"images": "no/such"}, "config.images=no/such has no image"),
    ({"classifier": "no/such"}, "is not the workdir of a run"),
  ],
)
def test_missing_input_is_refused(workdir, tmp_path, changes, message):
  changes = {"classifier": str(workdir), "images": str(tmp_path), **changes}
  with pytest.raises(errors.InputError, match=message):
    predict.run(shrunk.config("predict", "", **changes), tmp_path / "run")
  assert not (tmp_path / "run").exists()


def _table(path):
  with (path / "predictions.csv").open(newline="") as file:
    return list(csv.DictReader(file))


def test_images_may_be_moved_but_not_replaced(workdir, tmp_path):
  images, names = shrunk.dataset().test.images, ("first", "second")
  places = [tmp_path / name for name in names]
  places[0].mkdir()
  Image.fromarray(images[0]).save(places[0] / "0.png")
  shutil.copytree(places[0], places[1])
  path = tmp_path / "run"

  def run(place):
    changes = {"classifier": str(workdir), "images": str(place)}
    predict.run(shrunk.config("predict", "", **changes), path)
    return _table(path)

  first, second = map(run, places)
  assert second[0]["image"] == str(places[1] / "0.png")
  del first[0]["image"], second[0]["image"]
  assert first == second
  # All images are classified again, since there may be new ones.
  Image.fromarray(images[1]).save(places[1] / "1.png")
  assert len(run(places[1])) == 2
  message = (
    "config.images was .*second', is .*first', and their contents differ"
  )
  with pytest.raises(errors.InputError, match=message):
    run(places[0])
