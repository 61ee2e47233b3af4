"""Tests of synthesis/synthesize.py: image folders by trained generators."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import skinjax
from skinjax.data import datasets, image_folder
from skinjax.metrics import diversity
from skinjax.runtime import errors
from skinjax.synthesis import generators, synthesize
from skinjax.training import kid, loop, tasks, trained
from tests import shrunk
from tests.bad_input import trained as runs

INFO = shrunk.dataset().info


@pytest.fixture(scope="module")
def networks():
  """Workdirs of a GAN and a classifier of the tiny data set."""
  return {name: runs.network(name) for name in ("acgan", "classifier")}


@pytest.fixture(autouse=True)
def _no_data(monkeypatch):
  """Nothing here needs the data set."""
  monkeypatch.setattr(datasets, "load", pytest.fail)


def _run(path, networks, **changes):
  changes = {"generator": str(networks["acgan"]), **changes}
  return synthesize.run(shrunk.config("synthesize", **changes), path)


def _folder(path):
  return image_folder.read(path / "synthetic", INFO)


@pytest.fixture(scope="module")
def made(networks, tmp_path_factory):
  path = tmp_path_factory.mktemp("made")
  summary = _run(path, networks, classifier=str(networks["classifier"]))
  return path, summary


def test_everything_is_there(made, networks):
  path, summary = made
  folder = _folder(path)
  assert np.bincount(folder.split.labels).tolist() == [3, 3, 3]
  assert folder.split.images.shape == (9, 16, 16, 3)
  assert json.loads((path / "summary.json").read_text()) == summary
  with Image.open(path / "sheet.png") as sheet:
    assert min(sheet.size) > 3 * 16
  network = trained.load(networks["acgan"])
  assert folder.provenance["generator"]["step"] == 4
  assert folder.provenance["generator"]["state_sha256"] == network.digest
  assert folder.origin["groups"] == network.origin["groups"]
  assert folder.title == "ACGAN images"
  assert folder.provenance["pretrained"] == []
  made_through = dataclasses.replace(
    skinjax.load_generator(networks["acgan"]),
    origin={**network.origin, "pretrained": ["EfficientNet-Lite0"]},
  )
  provenance = synthesize.provenance_of(made_through)
  assert provenance["pretrained"] == ["EfficientNet-Lite0"]


def test_python_draws_the_same_images(made, networks):
  generator = skinjax.load_generator(networks["acgan"])
  assert generator.class_names == shrunk.CLASSES
  split = _folder(made[0]).split
  names = [shrunk.CLASSES[label] for label in split.labels]
  for labels in (split.labels, names):
    np.testing.assert_array_equal(generator.sample(labels), split.images)
  other = generator.sample(names, seed=1)
  assert (other != split.images).any((1, 2, 3)).all()
  with pytest.raises(errors.InputError, match=r"Unknown class 'disk'. Did you"):
    generator.sample(["disk"])
  for label in (3, -1):
    with pytest.raises(errors.InputError, match=f"There is no label {label}:"):
      generator.sample([label])
  with pytest.raises(errors.InputError, match=r"for one image, \['disc'\]"):
    generator.sample("disc")
  assert generator.sample([]).shape == (0, 16, 16, 3)


def test_truncated_latents(made, networks, tmp_path, monkeypatch):
  plain, drawn = trained.draw, []

  def draw(task, state, latents, *arguments, **static):
    drawn.append(latents)
    return plain(task, state, latents, *arguments, **static)

  monkeypatch.setattr(trained, "draw", draw)
  _run(tmp_path / "run", networks, truncation=0.5)
  folder = _folder(tmp_path / "run")
  assert folder.provenance["truncation"] == 0.5
  (latents,) = drawn
  assert 0.4 < abs(latents).max() <= 0.5
  split = _folder(made[0]).split
  assert (folder.split.images != split.images).any((1, 2, 3)).all()
  generator = skinjax.load_generator(networks["acgan"])
  again = generator.sample(split.labels, truncation=0.5)
  np.testing.assert_array_equal(again, folder.split.images)


def test_images_are_scored_by_class(made, networks):
  path, summary = made
  split, real = _folder(path).split, shrunk.dataset().train
  predicted = skinjax.load_classifier(networks["classifier"]).predict(
    split.images
  )
  for label, name in enumerate(shrunk.CLASSES):
    row = summary[name]
    assert row["images"] == 3
    mine = split.images[split.labels == label]
    ratio = diversity.mean_pairwise_distance(
      mine
    ) / diversity.mean_pairwise_distance(real.images[real.labels == label])
    assert row["diversity_ratio"] == pytest.approx(ratio)
    assert row["collapsed"] == (ratio < 0.5)
    agreeing = predicted[split.labels == label].argmax(1) == label
    assert row["agreement"] == pytest.approx(agreeing.mean())


def test_a_folder_is_made_once(made, networks, monkeypatch):
  path, summary = made
  monkeypatch.setattr(image_folder, "write", pytest.fail)
  assert _run(path, networks, classifier=str(networks["classifier"])) == summary


def test_a_generator_may_be_moved_but_not_changed(
  made, networks, tmp_path, monkeypatch
):
  path, summary = made
  moved = {n: shutil.copytree(p, tmp_path / n) for n, p in networks.items()}
  monkeypatch.chdir(tmp_path)
  assert _run(path, {"acgan": "acgan/"}, classifier="classifier") == summary
  digest = property(lambda self: "of another")
  monkeypatch.setattr(generators.Generator, "digest", digest)
  message = (
    "the content of config.generator=.*acgan has changed since this run "
  )
  with pytest.raises(errors.InputError, match=message):
    _run(path, moved, classifier="classifier")


def test_some_classes_may_be_selected(networks, tmp_path):
  summary = _run(tmp_path, networks, data__classes=("stripes", "disc"))
  assert list(summary) == ["disc", "stripes"]
  assert [row["agreement"] for row in summary.values()] == [None] * 2
  assert _folder(tmp_path).split.labels.tolist() == [0, 0, 0, 2, 2, 2]
  with pytest.raises(errors.InputError, match="Unknown class of this gen"):
    _run(tmp_path / "new", networks, data__classes=("nv",))


def test_more_images_leave_the_first_as_they_are(networks):
  generator = generators.load(networks["acgan"])
  labels = [0, 1, 2] * 100  # more than one batch
  many = generator.sample(labels)
  np.testing.assert_array_equal(generator.sample(labels[:7]), many[:7])
  assert len({image.tobytes() for image in many}) == 300


def test_images_of_another_generator_are_refused(made, networks):
  path, _ = made
  record = path / "synthetic" / "provenance.json"
  kept = record.read_text()
  for change in ({"generator": "a GAN"}, {"generator": {}}):
    record.write_text(json.dumps(json.loads(kept) | change))
    with pytest.raises(errors.InputError, match="made by another generator"):
      _run(path, networks, classifier=str(networks["classifier"]))
  record.write_text(kept)


def test_images_are_made_by_the_given_checkpoint(tmp_path, monkeypatch):
  # Of steps 2 and 4 the first is the best.
  monkeypatch.setattr(kid.Kid, "__init__", lambda *_: None)
  measure = lambda self, state: {"kid": float(state.step)}
  monkeypatch.setattr(kid.Kid, "measure", measure)
  config = shrunk.config("acgan", kid_every=2, best="kid")
  gan = tmp_path / "gan"
  loop.train(tasks.named("acgan"), config, gan, shrunk.dataset())
  sets = {}
  for which, step in (("latest", 4), ("best", 2)):
    path, changes = tmp_path / which, {"generator_checkpoint": which}
    _run(path, {"acgan": gan}, **changes)
    provenance = json.loads((path / "synthetic/provenance.json").read_text())
    assert provenance["generator"]["step"] == step
    sets[which] = _folder(path).split.images
  assert (sets["latest"] != sets["best"]).any()
  with pytest.raises(errors.InputError, match="Did you mean 'best'"):
    _run(tmp_path / "none", {"acgan": gan}, generator_checkpoint="bets")
