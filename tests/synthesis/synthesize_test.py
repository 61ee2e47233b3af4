"""Tests of making a synthetic set."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from skinjax.data import datasets, image_folder
from skinjax.metrics import diversity
from skinjax.runtime import errors, randomness
from skinjax.synthesis import synthesize
from skinjax.training import loop, tasks, trained
from tests import shrunk


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
  """Workdirs of a GAN and a classifier of the tiny data set."""
  paths = {}
  for name in ("acgan", "classifier"):
    paths[name] = tmp_path_factory.mktemp(name) / "run"
    task = tasks.named(name)
    loop.train(task, shrunk.config(name), paths[name], shrunk.dataset())
  return paths


@pytest.fixture(autouse=True)
def _tiny_data(monkeypatch):
  monkeypatch.setattr(datasets, "load", lambda config: shrunk.dataset())


def _run(path, networks, **changes):
  changes = {"generator": str(networks["acgan"]), **changes}
  return synthesize.run(shrunk.config("synthesize", **changes), path)


def _images(path):
  return image_folder.read(path / "synthetic", shrunk.dataset().info).split


@pytest.fixture(scope="module")
def made(networks, tmp_path_factory):
  path = tmp_path_factory.mktemp("made")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(datasets, "load", lambda config: shrunk.dataset())
    summary = _run(path, networks, classifier=str(networks["classifier"]))
  return path, summary


def test_everything_is_there(made, networks):
  path, summary = made
  split = _images(path)
  assert np.bincount(split.labels).tolist() == [3, 3, 3]
  assert split.images.shape == (9, 16, 16, 3)
  assert json.loads((path / "summary.json").read_text()) == summary
  with Image.open(path / "sheet.png") as sheet:
    assert min(sheet.size) > 3 * 16
  folder = image_folder.read(path / "synthetic", shrunk.dataset().info)
  provenance = folder.provenance
  network = trained.load(networks["acgan"])
  assert provenance["generator"]["step"] == 4
  assert provenance["generator"]["state_sha256"] == network.digest
  assert provenance["trained_on"]["groups"] == network.origin["groups"]


def test_images_come_from_the_generator_under_their_labels(made, networks):
  network = trained.load(networks["acgan"])
  split = _images(made[0])
  again = trained.samples(
    network.task,
    network.state,
    split.labels,
    randomness.named(jax.random.key(0), "synthesize"),
    config=network.config,
    info=network.info,
  )
  np.testing.assert_array_equal(split.images, again)


def test_judgement(made, networks):
  path, summary = made
  split, real = _images(path), shrunk.dataset().train
  network = trained.load(networks["classifier"])
  out = trained.outputs(
    network.task,
    network.state,
    split,
    config=network.config,
    info=network.info,
  )
  predicted = out["probabilities"].argmax(1)
  for label, name in enumerate(shrunk.CLASSES):
    row = summary[name]
    assert row["images"] == 3
    mine = split.images[split.labels == label]
    ratio = diversity.mean_pairwise_distance(
      mine
    ) / diversity.mean_pairwise_distance(real.images[real.labels == label])
    assert row["diversity_ratio"] == pytest.approx(ratio)
    assert row["collapsed"] == (ratio < 0.5)
    share = np.mean(predicted[split.labels == label] == label)
    assert row["agreement"] == pytest.approx(share)


def test_a_set_is_made_once_and_of_one_seed(made, networks, tmp_path):
  path, _ = made
  before = _images(path)
  _run(tmp_path / "same", networks)
  same = _images(tmp_path / "same")
  np.testing.assert_array_equal(same.images, before.images)
  _run(tmp_path / "other", networks, seed=1)
  other = _images(tmp_path / "other")
  assert (other.images != before.images).any((1, 2, 3)).all()


def test_without_a_classifier_nothing_agrees(networks, tmp_path):
  summary = _run(tmp_path, networks)
  assert [row["agreement"] for row in summary.values()] == [None] * 3


def test_more_images_leave_the_first_as_they_are(networks):
  network = trained.load(networks["acgan"])
  draw = lambda labels: trained.samples(
    network.task,
    network.state,
    np.array(labels, np.int32),
    jax.random.key(0),
    config=network.config,
    info=network.info,
  )
  labels = [0, 1, 2] * 100  # more than one batch
  many = draw(labels)
  np.testing.assert_array_equal(draw(labels[:7]), many[:7])
  assert len({image.tobytes() for image in many}) == 300


def test_a_generator_is_asked_for(networks, tmp_path):
  with pytest.raises(errors.InputError, match="generator is empty"):
    _run(tmp_path / "new", networks, generator="")
  assert not (tmp_path / "new").exists()
  with pytest.raises(errors.InputError, match="is not the workdir of a run"):
    _run(tmp_path / "new", networks, generator=str(tmp_path / "none"))


def test_a_generator_of_other_data_is_refused(networks, monkeypatch):
  info = shrunk.dataset().info
  fields = vars(info)
  for change, told in [
    ({"class_names": ("disc", "square")}, "with disc, square: give one"),
    ({"size": 32}, "not for toy_lesions at 32x32"),
    ({"name": "mnist"}, "not for mnist at 16x16"),
  ]:
    other = info.__class__(**{**fields, **change})
    with pytest.raises(errors.InputError, match=told):
      trained.require_for(trained.load(networks["acgan"]), other)


def test_a_workdir_without_a_checkpoint_is_told(networks, tmp_path):
  for name in ("config.json", "data.json"):
    content = (networks["acgan"] / name).read_text()
    (tmp_path / name).write_text(content)
  with pytest.raises(errors.InputError, match="has no checkpoint yet"):
    trained.load(tmp_path)
