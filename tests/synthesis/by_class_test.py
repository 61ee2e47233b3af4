"""Tests of synthesis/by_class.py: a GAN for each class, as one generator."""

import shutil

import numpy as np
import pytest

from skinjax.data import datasets, image_folder
from skinjax.metrics import features
from skinjax.runtime import errors
from skinjax.synthesis import by_class, generators, quality, synthesize
from skinjax.training import kid, loop, trained
from tests import shrunk

_CLASSES = ("mel", "df")


def _config(toy_dir, gan="acgan", **changes):
  return shrunk.config(
    "by_class",
    f"dataset=toy,gan={gan}",
    data__data_dir=toy_dir,
    data__classes=_CLASSES,
    **changes,
  )


@pytest.fixture(scope="module")
def workdir(toy_dir, tmp_path_factory):
  """Return the workdir of a GAN for each of two classes."""
  path = tmp_path_factory.mktemp("by_class") / "run"
  by_class.run(_config(toy_dir), path)
  return path


def test_every_class_has_a_run_of_its_own(workdir):
  assert (workdir / "sheet.png").exists()
  for name in _CLASSES:
    assert trained.is_trained(workdir / name, 4)


def test_images_of_all_are_in_one_folder(workdir, toy_dir):
  generator = generators.load(workdir)
  folder = image_folder.read(workdir / "synthetic", generator.info)
  assert folder.split.labels.tolist() == [0, 0, 0, 1, 1, 1]
  assert folder.title == "By-class ACGAN images"
  assert generator.class_names == _CLASSES
  dataset = datasets.load(_config(toy_dir).data)
  assert set(folder.origin["groups"]) == set(dataset.train.groups)
  np.testing.assert_array_equal(
    generator.sample(folder.split.labels), folder.split.images
  )


def test_limits_are_those_of_its_classes_among_all_of_the_data(
  workdir, toy_dir, tmp_path
):
  config = shrunk.config(
    "synthesize",
    generator=str(workdir),
    drop_copies=True,
    data__data_dir=toy_dir,
  )
  synthesize.run(config, tmp_path)
  generator = generators.load(workdir)
  folder = image_folder.read(tmp_path / "synthetic", generator.info)
  limits = folder.provenance["filter"]["limits"]["copy_distance"]
  dataset = datasets.load(_config(toy_dir).data)
  wanted = quality.copies_by_pixels(dataset, generator.origin["groups"]).limits
  assert limits == pytest.approx(dict(zip(_CLASSES, wanted, strict=True)))


def test_finished_trainings_are_not_repeated(workdir, toy_dir, monkeypatch):
  monkeypatch.setattr(loop, "train", None)
  by_class.run(_config(toy_dir), workdir)


def test_it_goes_on_with_the_class_that_was_interrupted(
  workdir, toy_dir, tmp_path, monkeypatch
):
  # As if the second class had been interrupted before its checkpoint.
  shutil.copytree(workdir, tmp_path / "run")
  for left in ("df/checkpoints", "synthetic"):
    shutil.rmtree(tmp_path / "run" / left)
  (tmp_path / "run" / "sheet.png").unlink()
  plain, seen = loop.train, []

  def train(task, config, path, dataset=None):
    seen.append(path.name)
    return plain(task, config, path, dataset)

  monkeypatch.setattr(loop, "train", train)
  by_class.run(_config(toy_dir), tmp_path / "run")
  assert seen == ["df"]
  assert (tmp_path / "run" / "sheet.png").exists()
  resumed = generators.load(tmp_path / "run")
  assert resumed.digest == generators.load(workdir).digest


@pytest.mark.slow
def test_longer_trainings_go_on_and_draw_anew(workdir, toy_dir, tmp_path):
  path = shutil.copytree(workdir, tmp_path / "run")
  by_class.run(_config(toy_dir, gan__train__steps=6), path)
  generator = generators.load(path)
  assert [network.step for network in generator.networks] == [6, 6]
  folder = image_folder.read(path / "synthetic", generator.info)
  assert folder.provenance["generator"]["state_sha256"] == generator.digest
  before = image_folder.read(workdir / "synthetic", generator.info)
  assert (folder.split.images != before.split.images).any()
  # The checkpoint of step 4 is there still, and is not taken for the latest.
  message = "gan.train.steps was 6, is 4, and 6 are already done"
  with pytest.raises(errors.InputError, match=message):
    by_class.run(_config(toy_dir), path)


def test_an_image_is_drawn_by_its_class_network(workdir):
  generator = generators.load(workdir)
  labels = np.array([0, 1, 1, 0, 1])
  images = generator.sample(labels, seed=3)
  # Each class's own images do not depend on the others.
  for label in (0, 1):
    mine = labels == label
    alone = generator.sample(labels[mine], seed=3)
    np.testing.assert_array_equal(images[mine], alone)
  networks = generator.networks
  latents = np.ones((2, generator.num_latents), np.float32)
  for label, network in enumerate(networks):
    drawn = trained.draw(
      network.task,
      network.state,
      latents,
      np.zeros(2, np.int32),
      config=network.config,
      info=network.info,
    )
    np.testing.assert_array_equal(generator.draw(latents, label), drawn)
  assert (generator.draw(latents, 0) != generator.draw(latents, 1)).any()


@pytest.mark.slow
def test_the_best_of_each_class_is_drawn_at_its_own_size(
  toy_dir, tmp_path, monkeypatch
):
  # Best are one class's images of 8x8, and the other's of 16x16.
  best = {"mel": 2, "df": 4}
  monkeypatch.setattr(features, "efficientnet", shrunk.extractor)
  monkeypatch.setattr(kid.Kid, "__init__", _remember_classes)
  monkeypatch.setattr(
    kid.Kid,
    "measure",
    lambda self, state: {"kid": abs(best[self.name] - int(state.step))},
  )
  changes = {"gan__kid_every": 2, "gan__best": "kid"}
  by_class.run(_config(toy_dir, "progan", **changes), tmp_path)
  generator = generators.load(tmp_path, "best")
  assert [network.step for network in generator.networks] == [2, 4]
  assert generator.step == 2
  # A ProGAN of one class knows of no labels.
  assert "class" not in (tmp_path / "df" / "metrics.jsonl").read_text()
  assert generator.digest != generators.load(tmp_path).digest
  images = generator.sample(["mel", "df"])
  pixels = images[0].reshape(8, 2, 8, 2, 3)  # one of 8x8, enlarged
  assert (pixels == pixels[:, :1, :, :1]).all()


def _remember_classes(self, task, dataset, config):
  (self.name,) = dataset.info.class_names


def test_a_class_that_is_not_trained_is_named(workdir, tmp_path):
  shutil.copytree(workdir, tmp_path / "run")
  shutil.rmtree(tmp_path / "run" / "df")
  with pytest.raises(errors.InputError, match="run/df"):
    generators.load(tmp_path / "run")


def test_a_part_that_is_no_gan_is_refused(toy_dir, tmp_path):
  with pytest.raises(
    errors.InputError, match=r"gan\.task=classifier trains no"
  ):
    by_class.run(_config(toy_dir, gan__task="classifier"), tmp_path)
  assert not list(tmp_path.iterdir())
