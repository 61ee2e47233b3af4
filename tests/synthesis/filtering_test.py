"""Tests of synthesis/filtering.py: leaving out copies and unlike images."""

import csv
import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from skinjax.data import datasets, image_folder, sources
from skinjax.metrics import features, pixels
from skinjax.runtime import errors, randomness
from skinjax.synthesis import filtering, quality, synthesize
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
  return quality.originality(DATASET, TRAIN.groups.tolist())


def _suspects(chosen, images, labels):
  found = chosen.nearest(pixels.oriented_vectors(images))
  return chosen.suspects(found, labels)


def _copies(report):
  return report["dropped"]["copy_distance"]


class _Fake:
  """Emits a training image for every `every`th label, else noise."""

  def __init__(self, every, draws=1, seed=0):
    self.every, self.draws, self.seed = every, draws, seed
    self.counts = []

  def __call__(self, labels, number):
    self.counts.append(len(labels))
    images = _noise(len(labels), self.seed + number)
    if number < self.draws:
      for place in range(0, len(labels), self.every):
        own = TRAIN.images[TRAIN.labels == labels[place]]
        images[place] = pixels.orientations(own)[place % 8, place % len(own)]
    return images


LABELS = np.repeat(np.arange(3, dtype=np.int32), 10)


def test_copies_are_left_out_and_others_drawn(absl_log):
  fake = _Fake(every=3)
  drawn = filtering.draw(fake, LABELS, [_filter()], shrunk.CLASSES)
  images, labels, report = drawn.images, drawn.labels, drawn.report
  assert fake.counts == [30, 10]
  assert _copies(report) == {"disc": 4, "square": 3, "stripes": 3}
  assert report["missing"] == {"disc": 0, "square": 0, "stripes": 0}
  assert report["draws"] == 1
  np.testing.assert_array_equal(labels, LABELS)
  # Images that are no copies stay; the others are those drawn next.
  expected = _noise(30, 0)
  expected[::3] = _noise(10, 1)
  np.testing.assert_array_equal(images, expected)
  chosen = quality.copies_by_pixels(DATASET, TRAIN.groups.tolist())
  assert not _suspects(chosen, images, labels)
  found = chosen.nearest(pixels.oriented_vectors(images)).distance
  np.testing.assert_allclose(drawn.scores["copy_distance"], found)
  assert (
    "10 suspected copies of training images were dropped (disc 4, square"
    in (absl_log.text)
  )


def test_without_copies_nothing_changes(absl_log):
  fake = _Fake(every=1, draws=0)
  drawn = filtering.draw(fake, LABELS, [_filter()], shrunk.CLASSES)
  images, report = drawn.images, drawn.report
  assert fake.counts == [30]
  np.testing.assert_array_equal(images, _noise(30, 0))
  assert sum(_copies(report).values()) == report["draws"] == 0
  assert "0 suspected copies of training images were dropped (none)" in (
    absl_log.text
  )


def test_draws_come_to_an_end(absl_log):
  class Stubborn(_Fake):
    """Emits a training image as the first one of each draw."""

    def __call__(self, labels, number):
      images = super().__call__(labels, number)
      images[0] = TRAIN.images[0]
      return images

  fake = Stubborn(every=1, draws=0)
  drawn = filtering.draw(fake, LABELS, [_filter()], shrunk.CLASSES)
  images, labels, report = drawn.images, drawn.labels, drawn.report
  assert fake.counts == [30] + [1] * filtering.ROUNDS
  assert report["missing"] == {"disc": 1, "square": 0, "stripes": 0}
  assert _copies(report)["disc"] == filtering.ROUNDS + 1
  assert np.bincount(labels).tolist() == [9, 10, 10]
  np.testing.assert_array_equal(images, _noise(30, 0)[1:])
  assert "1 images are missing" in absl_log.text


def test_a_generator_of_copies_is_refused():
  fake = _Fake(every=1, draws=99)
  with pytest.raises(errors.InputError, match="of class disc are almost all"):
    filtering.draw(fake, LABELS, [_filter()], shrunk.CLASSES)


def test_copies_are_those_of_the_generators_own_training_images():
  # A generator of another fold was trained on what is the test split here.
  chosen = quality.copies_by_pixels(DATASET, DATASET.test.groups.tolist())
  assert len(chosen.training) == len(DATASET.test.labels)
  labels = DATASET.test.labels
  found = _suspects(chosen, DATASET.test.images, labels)
  assert [s.synthetic for s in found] == list(range(len(labels)))
  assert not _suspects(chosen, TRAIN.images, TRAIN.labels)


def test_training_and_validation_lesions_are_needed():
  with pytest.raises(errors.InputError, match="trained on none"):
    quality.copies_by_pixels(DATASET, ["other"])
  everything = [g for s in DATASET[1:4] for g in s.groups.tolist()]
  with pytest.raises(errors.InputError, match="trained on all validation"):
    quality.copies_by_pixels(DATASET, everything)


def test_test_lesions_set_no_limit():
  blank = DATASET._replace(
    test=DATASET.test._replace(images=np.zeros_like(DATASET.test.images))
  )
  limits = [
    quality.copies_by_pixels(data, TRAIN.groups.tolist()).limits
    for data in (DATASET, blank)
  ]
  np.testing.assert_array_equal(*limits)


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


def test_synthesize_logs_how_many_were_dropped(
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
  assert "filter" not in provenance
  monkeypatch.setattr(trained, "samples", planted)
  kept, _ = _run(tmp_path / "kept", generator)
  split, provenance = _run(tmp_path / "new", generator, drop_copies=True)
  report = provenance["filter"]
  assert _copies(report) == {"disc": 0, "square": 1, "stripes": 0}
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
  limits = written["filter"]["limits"]["copy_distance"]
  assert limits.keys() == set(shrunk.CLASSES)


@pytest.fixture(scope="module")
def classifier():
  return runs.network("classifier")


def _table(path):
  with (path / "synthetic" / "metadata.csv").open() as file:
    return list(csv.DictReader(file))


def _shown(network, split):
  """Return a classifier's probabilities of the images' classes."""
  given = trained.probabilities(network, split)
  return given[np.arange(len(split.labels)), split.labels]


def _by_chance(network, split):
  """Return arbitrary probabilities that follow from the images."""
  chance = split.images.sum((1, 2, 3)) % 97 / 97
  return np.repeat(chance[:, None], 3, axis=1)


def test_every_image_has_its_score(generator, classifier, tmp_path):
  split, provenance = _run(tmp_path, generator, classifier=str(classifier))
  assert "filter" not in provenance
  scores = [float(row["probability"]) for row in _table(tmp_path)]
  shown = _shown(trained.load_classifier(classifier), split)
  np.testing.assert_allclose(scores, shown, rtol=1e-4)


def test_images_that_show_their_class_too_little_are_drawn_again(
  generator, classifier, tmp_path, monkeypatch
):
  monkeypatch.setattr(trained, "probabilities", _by_chance)
  given = {"classifier": str(classifier), "per_class": 8}
  plain, _ = _run(tmp_path / "plain", generator, **given)
  split, provenance = _run(
    tmp_path / "new", generator, drop_unlike=0.4, **given
  )
  np.testing.assert_array_equal(split.labels, plain.labels)
  limits = provenance["filter"]["limits"]["probability"]
  real = _shown(None, DATASET.validation)
  for label, name in enumerate(shrunk.CLASSES):
    mine = real[DATASET.validation.labels == label]
    assert limits[name] == pytest.approx(np.quantile(mine, 0.4))
  least = np.array([limits[shrunk.CLASSES[label]] for label in split.labels])
  assert (_shown(None, split) >= least).all()
  failed = _shown(None, plain) < least
  assert failed.any()
  dropped = provenance["filter"]["dropped"]["probability"]
  assert sum(dropped.values()) >= failed.sum()
  np.testing.assert_array_equal(split.images[~failed], plain.images[~failed])
  scores = [float(row["probability"]) for row in _table(tmp_path / "new")]
  np.testing.assert_allclose(scores, _shown(None, split), rtol=1e-4)
  digest = trained.load_classifier(classifier).digest
  assert provenance["filter"]["networks"] == [digest]


def test_images_inherit_the_origin_of_what_chose_them(
  generator, tmp_path, monkeypatch
):
  extractor = lambda: dataclasses.replace(
    shrunk.extractor(), pretrained="EfficientNet-Lite0"
  )
  monkeypatch.setattr(features, "efficientnet", extractor)
  monkeypatch.setattr(sources, "cache_dir", lambda: str(tmp_path / "cache"))
  few = trained.load(generator).origin | {"groups": TRAIN.groups.tolist()[:1]}
  load = _with_origin(trained.load_generator, few)
  monkeypatch.setattr(trained, "load_generator", load)
  split, provenance = _run(tmp_path / "new", generator, drop_distant=0.2)
  assert provenance["pretrained"] == ["EfficientNet-Lite0"]
  assert set(provenance["trained_on"]["groups"]) == set(TRAIN.groups)
  limits = provenance["filter"]["limits"]["distance"]
  real = features.extract(extractor(), TRAIN.images)
  made = features.extract(extractor(), split.images)
  for found, row in zip(made, _table(tmp_path / "new"), strict=True):
    own = real[TRAIN.labels == shrunk.CLASSES.index(row["label"])]
    away = sorted(np.linalg.norm(own - found, axis=1))[4]
    assert float(row["distance"]) == pytest.approx(away, rel=1e-3)
    assert away <= limits[row["label"]] * 1.001


def test_a_filter_of_unknown_origin_makes_that_of_its_images_unknown(
  generator, classifier, tmp_path, monkeypatch
):
  load = _with_origin(
    trained.load_classifier,
    trained.load(classifier).origin | {"unknown_origin": True},
  )
  monkeypatch.setattr(trained, "probabilities", _by_chance)
  given = {"classifier": str(classifier), "drop_unlike": 0.2}
  _, provenance = _run(tmp_path / "known", generator, **given)
  assert not provenance["trained_on"]["unknown_origin"]
  monkeypatch.setattr(trained, "load_classifier", load)
  _, provenance = _run(tmp_path / "unknown", generator, **given)
  assert provenance["trained_on"]["unknown_origin"]


def _with_origin(load, origin):
  return lambda *arguments: load(*arguments)._replace(origin=origin)


def test_a_filter_is_never_trained_on_held_out_lesions(
  generator, classifier, tmp_path, monkeypatch
):
  message = "name the workdir of one in config.classifier"
  with pytest.raises(errors.InputError, match=message):
    _run(tmp_path / "a", generator, drop_unlike=0.2)
  leaked = trained.load(classifier).origin | {
    "groups": DATASET.test.groups.tolist()
  }
  for what in ("classifier", "generator"):
    name = f"load_{what}"
    with monkeypatch.context() as patch:
      load = _with_origin(getattr(trained, name), leaked)
      patch.setattr(trained, name, load)
      refused = f"The {what} in .* was trained on .* test split"
      with pytest.raises(errors.InputError, match=refused):
        _run(
          tmp_path / what,
          generator,
          classifier=str(classifier),
          drop_unlike=0.2,
        )
