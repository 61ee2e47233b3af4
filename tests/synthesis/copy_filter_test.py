"""Tests of leaving copies of training images out of a synthetic set."""

import functools
import json

import jax
import numpy as np
import pytest

from skinjax.data import datasets, image_folder
from skinjax.metrics import copies, pixels
from skinjax.runtime import errors, randomness
from skinjax.synthesis import copy_filter, synthesize
from skinjax.training import trained
from tests import shrunk
from tests.bad_input import trained as runs

DATASET = shrunk.dataset()
TRAIN = DATASET.train


def _noise(num, seed):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (num, 16, 16, 3), np.uint8)


@functools.cache
def _filter():
  return copies.by_pixels(DATASET, TRAIN.groups.tolist())


def _suspects(chosen, images, labels):
  found = chosen.nearest(pixels.oriented_vectors(images))
  return chosen.suspects(found, labels)


class _Fake:
  """Emits a training image for every `every`th label, else noise."""

  def __init__(self, every, draws=1, seed=0):
    self.every, self.draws, self.seed = every, draws, seed
    self.asked = []

  def __call__(self, labels, number):
    self.asked.append(len(labels))
    images = _noise(len(labels), self.seed + number)
    if number < self.draws:
      for place in range(0, len(labels), self.every):
        own = TRAIN.images[TRAIN.labels == labels[place]]
        images[place] = pixels.orientations(own)[place % 8, place % len(own)]
    return images


LABELS = np.repeat(np.arange(3, dtype=np.int32), 10)


def test_copies_are_left_out_and_others_drawn(absl_log):
  fake = _Fake(every=3)
  images, labels, told = copy_filter.draw(
    fake, LABELS, _filter(), shrunk.CLASSES
  )
  assert fake.asked == [30, 10]
  assert told["dropped"] == {"disc": 4, "square": 3, "stripes": 3}
  assert told["missing"] == {"disc": 0, "square": 0, "stripes": 0}
  assert told["draws"] == 1
  np.testing.assert_array_equal(labels, LABELS)
  # What was no copy is as it was; the others are those drawn next.
  expected = _noise(30, 0)
  expected[::3] = _noise(10, 1)
  np.testing.assert_array_equal(images, expected)
  assert not _suspects(_filter(), images, labels)
  assert (
    "10 suspected copies of training images were dropped (disc 4, square"
    in (absl_log.text)
  )


def test_without_copies_nothing_changes(absl_log):
  fake = _Fake(every=1, draws=0)
  images, _, told = copy_filter.draw(fake, LABELS, _filter(), shrunk.CLASSES)
  assert fake.asked == [30]
  np.testing.assert_array_equal(images, _noise(30, 0))
  assert sum(told["dropped"].values()) == told["draws"] == 0
  assert "0 suspected copies of training images were dropped (none)" in (
    absl_log.text
  )


def test_draws_come_to_an_end(absl_log):
  class Stubborn(_Fake):
    """Emits a training image in the first place, whatever is asked."""

    def __call__(self, labels, number):
      images = super().__call__(labels, number)
      images[0] = TRAIN.images[0]
      return images

  fake = Stubborn(every=1, draws=0)
  images, labels, told = copy_filter.draw(
    fake, LABELS, _filter(), shrunk.CLASSES
  )
  assert fake.asked == [30] + [1] * copy_filter.ROUNDS
  assert told["missing"] == {"disc": 1, "square": 0, "stripes": 0}
  assert told["dropped"]["disc"] == copy_filter.ROUNDS + 1
  assert np.bincount(labels).tolist() == [9, 10, 10]
  np.testing.assert_array_equal(images, _noise(30, 0)[1:])
  assert "1 images are missing" in absl_log.text


def test_a_generator_of_copies_is_refused():
  fake = _Fake(every=1, draws=99)
  with pytest.raises(errors.InputError, match="hardly anything of class disc"):
    copy_filter.draw(fake, LABELS, _filter(), shrunk.CLASSES)


def test_training_images_are_those_that_were_learnt_from():
  # A generator of another fold has learnt from the test split here.
  chosen = copies.by_pixels(DATASET, DATASET.test.groups.tolist())
  assert len(chosen.training) == len(DATASET.test.labels)
  labels = DATASET.test.labels
  found = _suspects(chosen, DATASET.test.images, labels)
  assert [s.synthetic for s in found] == list(range(len(labels)))
  assert not _suspects(chosen, TRAIN.images, TRAIN.labels)


def test_both_kinds_of_lesions_are_asked_for():
  with pytest.raises(errors.InputError, match="learnt from none"):
    copies.by_pixels(DATASET, ["other"])
  everything = [g for s in DATASET[1:4] for g in s.groups.tolist()]
  with pytest.raises(errors.InputError, match="learnt from all"):
    copies.by_pixels(DATASET, everything)


@pytest.fixture(scope="module")
def generator():
  return runs.network("acgan")


@pytest.fixture(autouse=True)
def _tiny_data(monkeypatch):
  monkeypatch.setattr(datasets, "load", lambda config: DATASET)


def _run(path, generator, **changes):
  config = shrunk.config("synthesize", generator=str(generator), **changes)
  synthesize.run(config, path)
  folder = image_folder.read(path / "synthetic", DATASET.info)
  return folder.split, folder.provenance


def test_synthesize_tells_how_many_were_dropped(
  generator, tmp_path, monkeypatch, absl_log
):
  plain = trained.samples
  key = randomness.named(jax.random.key(0), "synthesize")

  def planted(task, state, labels, key_of, **static):
    images = plain(task, state, labels, key_of, **static).copy()
    if (jax.random.key_data(key_of) == jax.random.key_data(key)).all():
      images[4] = TRAIN.images[TRAIN.labels == 1][2][::-1]
    return images

  honest, provenance = _run(tmp_path / "plain", generator)
  assert "copies" not in provenance
  monkeypatch.setattr(trained, "samples", planted)
  kept, _ = _run(tmp_path / "kept", generator)
  split, provenance = _run(tmp_path / "new", generator, drop_copies=True)
  told = provenance["copies"]
  assert told["dropped"] == {"disc": 0, "square": 1, "stripes": 0}
  assert np.bincount(split.labels).tolist() == [3, 3, 3]
  same = np.arange(9) != 4
  np.testing.assert_array_equal(split.images[same], honest.images[same])
  assert (kept.images[4] == TRAIN.images[TRAIN.labels == 1][2][::-1]).all()
  assert (split.images[4] != kept.images[4]).any()
  assert "1 suspected copies of training images were dropped (square 1)" in (
    absl_log.text
  )
  written = json.loads(
    (tmp_path / "new" / "synthetic" / "provenance.json").read_text()
  )
  assert written["copies"]["thresholds"].keys() == set(shrunk.CLASSES)
