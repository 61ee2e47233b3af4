"""Tests of judging/copy_search.py: which images are copies, and of which."""

import numpy as np
import pytest

from skinjax.data import datasets
from skinjax.judging import copy_search
from skinjax.metrics import pixels
from tests import shrunk


def _split(rng, name, count):
  """Draw unrelated pictures of one class, each a lesion of its own."""
  coarse = rng.integers(0, 256, (count, 8, 8, 3))
  images = coarse.repeat(2, 1).repeat(2, 2).astype(np.uint8)
  ids = np.array([f"{name}{place}" for place in range(count)])
  return datasets.Split(images, np.zeros(count, np.int32), ids, ids)


def _searched(synthetic, train, held_out, orientations=8):
  splits = train, held_out, synthetic
  # Pixels serve as features.
  flat = lambda images, what: images.reshape(len(images), -1).astype("f4")
  upright = [flat(split.images, "") for split in splits]
  vectors = {
    "pixels": copy_search.of_pixels(*splits, orientations),
    "features": copy_search.of_features(flat, upright, *splits, orientations),
  }
  return copy_search.search(vectors, *splits, shrunk.CLASSES, seed=0)


@pytest.fixture(scope="module")
def real():
  rng = np.random.default_rng(0)
  return _split(rng, "train", 60), _split(rng, "held", 700)


def test_lesions_are_sampled_with_all_of_their_images(monkeypatch):
  split = _split(np.random.default_rng(0), "held", 30)
  split = split._replace(groups=np.arange(30) // 3)
  monkeypatch.setattr(copy_search, "MOST", 8)
  chosen = copy_search.some(split, seed=0)
  assert len(chosen) == 9
  counts = np.unique(split.groups[chosen], return_counts=True)[1]
  assert counts.tolist() == [3, 3, 3]
  assert (np.diff(chosen) > 0).all()
  assert copy_search.some(split, seed=1).tolist() != chosen.tolist()
  monkeypatch.setattr(copy_search, "MOST", 30)
  assert copy_search.some(split, seed=0).tolist() == list(range(30))


def test_orientations_are_named_in_their_order():
  image = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
  images = pixels.orientations(image)[:, 0, ..., 0]
  turned = dict(zip(copy_search.ORIENTATIONS, images, strict=True))
  assert len(turned) == 8
  assert turned["as it is"].tolist() == [[0, 1], [2, 3]]
  assert turned["turned by 90°"].tolist() == [[1, 3], [0, 2]]
  assert turned["transposed"].tolist() == [[0, 2], [1, 3]]
  assert turned["transposed, turned by 180°"].tolist() == [[3, 1], [2, 0]]


def test_copies_are_found_whatever_way_they_are_turned(real):
  train, held_out = real
  synthetic = _split(np.random.default_rng(1), "made", 40)
  for place in range(8):
    turned = pixels.orientations(train.images[place : place + 1])[place, 0]
    synthetic.images[place] = turned
  found = _searched(synthetic, train, held_out)
  row = found.summary["classes"]["disc"]
  assert row["images"] == 40
  assert row["suspects"] == 8  # each once, though both criteria see it
  listed = found.summary["suspects"]
  assert {one["kind"] for one in listed} == {"pixels", "features"}
  # The orientation that undoes each one.
  undone = [0, 3, 2, 1, 4, 5, 6, 7]
  for one in listed:
    place = one["synthetic"].removeprefix("made")
    assert one["training"] == f"train{place}"
    expected = copy_search.ORIENTATIONS[undone[int(place)]]
    assert one["transform"] == expected
    assert one["distance"] < min(one["threshold"], 1e-6)
  assert row["heldout_suspects"] <= 0.01 * row["heldout_images"] == 7
  assert row["p_value"] < 0.05
  assert row["nearer_low"] <= row["nearer_share"] <= row["nearer_high"]


def test_unrelated_images_are_no_copies(real):
  synthetic = _split(np.random.default_rng(1), "made", 40)
  found = _searched(synthetic, *real)
  row = found.summary["classes"]["disc"]
  assert row["suspects"] == 0
  assert found.summary["suspects"] == []
  assert row["p_value"] > 0.05
  assert row["authenticity"] > 0.3
  for nearest in (found.training, found.held_out):
    assert set(nearest) == {"pixels", "features"}
    assert len(nearest["pixels"].index) == 40
  # A class without images has no numbers.
  row = found.summary["classes"]["square"]
  assert row["images"] == row["suspects"] == 0
  assert row["p_value"] is row["authenticity"] is None


def test_features_of_an_image_are_computed_once(real):
  train, held_out = (split.take(slice(10)) for split in real)
  calls = []

  def flat(images, what):
    calls.append(what)
    return images.reshape(len(images), -1).astype("f4")

  splits = train, held_out, held_out
  upright = [flat(split.images, "") for split in splits]
  del calls[:]
  vectors = copy_search.of_features(flat, upright, *splits)
  assert len(calls) == len(set(calls)) == 14
  expected = pixels.orientations(held_out.images).reshape(8, 10, -1)
  np.testing.assert_array_equal(vectors.synthetic, expected)
  places = np.array([3, 5])
  expected = pixels.orientations(train.images[places]).reshape(8, 2, -1)
  np.testing.assert_array_equal(vectors.orient(places), expected)


def test_images_with_an_upright_position_are_compared_as_they_are(real):
  train, _ = real
  # A copy, and the same turned.
  images = np.stack([train.images[3], np.rot90(train.images[3])])
  synthetic = train.take(np.array([3, 3]))._replace(images=images)
  for orientations, suspects in ((8, {0, 1}), (1, {0})):
    found = _searched(synthetic, *real, orientations)
    assert {s.synthetic for s in found.suspects} == suspects
