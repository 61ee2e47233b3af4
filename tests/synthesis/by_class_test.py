"""Tests of a GAN for each class: all of them in turn, and as one generator."""

import shutil

import jax
import numpy as np
import pytest

from skinjax.data import datasets
from skinjax.metrics import features
from skinjax.runtime import errors
from skinjax.synthesis import by_class, synthesize
from skinjax.training import inference, kid, loop, pretrained
from tests import shrunk

_CLASSES = ("mel", "df")


def _config(toy_dir, **changes):
  return shrunk.config(
    "by_class",
    data__data_dir=toy_dir,
    data__classes=_CLASSES,
    **{"gan__task": "progan", **changes},
  )


@pytest.fixture(scope="module")
def trained(toy_dir, tmp_path_factory):
  """The workdir of a GAN for each of two classes."""
  path = tmp_path_factory.mktemp("by_class") / "run"
  by_class.run(_config(toy_dir), path)
  return path


def _info(toy_dir):
  return datasets.load(_config(toy_dir).data).info


def test_every_class_has_a_run_of_its_own(trained):
  assert (trained / "sheet.png").exists()
  for name in _CLASSES:
    assert pretrained.is_trained(trained / name, 4)
    assert (trained / name / "metrics.jsonl").exists()
    # A network of one class knows of no labels.
    assert "class" not in (trained / name / "metrics.jsonl").read_text()


def test_what_is_trained_is_not_trained_again(trained, toy_dir, monkeypatch):
  monkeypatch.setattr(loop, "train", None)
  by_class.run(_config(toy_dir), trained)


def test_it_goes_on_with_the_class_that_was_interrupted(
  trained, toy_dir, tmp_path, monkeypatch
):
  plain, seen = loop.train, []

  def train(task, config, path, dataset=None):
    seen.append(path.name)
    if seen == ["mel", "df"]:
      raise KeyboardInterrupt
    return plain(task, config, path, dataset)

  monkeypatch.setattr(loop, "train", train)
  with pytest.raises(KeyboardInterrupt):
    by_class.run(_config(toy_dir), tmp_path / "run")
  assert not (tmp_path / "run" / "sheet.png").exists()
  by_class.run(_config(toy_dir), tmp_path / "run")
  assert seen == ["mel", "df", "df"]
  info = _info(toy_dir)
  resumed = pretrained.load(tmp_path / "run", info)
  assert resumed.digest == pretrained.load(trained, info).digest


def test_an_image_is_drawn_by_its_class_network(trained, toy_dir):
  info = _info(toy_dir)
  generator = pretrained.load_generator(trained, info)
  labels = np.array([0, 1, 1, 0, 1], np.int32)
  key = jax.random.key(3)
  images = inference.samples(
    generator.task,
    generator.state,
    labels,
    key,
    config=generator.config,
    info=info,
  )
  for label, name in enumerate(_CLASSES):
    config = by_class.part(generator.config, name)
    alone = pretrained.load(trained / name, datasets.load(config.data).info)
    own = inference.samples(
      alone.task,
      alone.state,
      np.zeros(5, np.int32),
      key,
      config=alone.config,
      info=alone.info,
    )
    np.testing.assert_array_equal(images[labels == label], own[labels == label])
  assert (images[0] != images[3]).any()


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
  by_class.run(_config(toy_dir, **changes), tmp_path)
  info = _info(toy_dir)
  generator = pretrained.load_generator(tmp_path, info, "best")
  assert [int(alone.step) for alone in generator.state.classes] == [2, 4]
  assert generator.step == 2
  assert generator.digest != pretrained.load(tmp_path, info).digest
  labels, key = np.array([0, 1, 1, 0], np.int32), jax.random.key(3)
  images = inference.samples(
    generator.task,
    generator.state,
    labels,
    key,
    config=generator.config,
    info=info,
  )
  for label, name in enumerate(_CLASSES):
    config = by_class.part(generator.config, name)
    own_info = datasets.load(config.data).info
    alone = pretrained.load(tmp_path / name, own_info, "best")
    own = inference.samples(
      alone.task,
      alone.state,
      np.zeros(4, np.int32),
      key,
      config=alone.config,
      info=alone.info,
    )
    np.testing.assert_array_equal(images[labels == label], own[labels == label])


def _remember_classes(self, task, dataset, config):
  (self.name,) = dataset.info.class_names


def test_its_set_says_what_all_of_them_learnt_from(trained, toy_dir, tmp_path):
  config = shrunk.config(
    "synthesize",
    generator=str(trained),
    data__data_dir=toy_dir,
    data__classes=_CLASSES,
  )
  summary = synthesize.run(config, tmp_path)
  assert list(summary) == list(_CLASSES)
  assert [row["images"] for row in summary.values()] == [3, 3]
  origin = pretrained.load_generator(trained, _info(toy_dir)).origin
  dataset = datasets.load(config.data)
  assert set(origin["groups"]) == set(dataset.train.groups)


def test_a_class_that_is_not_trained_is_named(trained, toy_dir, tmp_path):
  shutil.copytree(trained, tmp_path / "run")
  shutil.rmtree(tmp_path / "run" / "df")
  with pytest.raises(errors.InputError, match="run/df"):
    pretrained.load(tmp_path / "run", _info(toy_dir))


def test_a_part_that_is_no_gan_is_refused(toy_dir, tmp_path):
  with pytest.raises(
    errors.InputError, match=r"gan\.task=classifier trains no"
  ):
    by_class.run(_config(toy_dir, gan__task="classifier"), tmp_path)
  assert not list(tmp_path.iterdir())
