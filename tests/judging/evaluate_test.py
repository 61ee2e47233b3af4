"""Tests of judging/evaluate.py, from the config to the page."""

import dataclasses
import json

import jax
import ml_collections
import numpy as np
import pytest
from PIL import Image

from skinjax.data import datasets, image_folder, sources
from skinjax.judging import copy_search, evaluate, findings
from skinjax.metrics import features
from skinjax.runtime import errors
from skinjax.synthesis import generators
from skinjax.training import trained
from skinjax.training.tasks import acgan
from tests import shrunk
from tests.bad_input import trained as runs


@pytest.fixture(scope="module")
def networks():
  """Workdirs of a GAN and a classifier of the tiny data set."""
  return {name: runs.network(name) for name in ("acgan", "classifier")}


@pytest.fixture(autouse=True)
def _tiny_data(monkeypatch, tmp_path):
  monkeypatch.setattr(datasets, "load", lambda config: shrunk.dataset())
  monkeypatch.setattr(sources, "cache_dir", lambda: str(tmp_path / "cache"))
  monkeypatch.setattr(features, "efficientnet", _extractor)
  unseen = {"name": "Unseen@16", "pretrained": "SqueezeNet 1.1"}
  monkeypatch.setattr(
    features, "squeezenet", lambda: dataclasses.replace(_extractor(), **unseen)
  )


def _extractor(size=16):
  return dataclasses.replace(
    shrunk.extractor(), pretrained="EfficientNet-Lite0"
  )


def _run(path, **changes):
  config = shrunk.config("evaluate", **{"usefulness": False, **changes})
  return evaluate.run(config, path)


@pytest.fixture
def folder(tmp_path):
  """A folder of real images whose origin is not recorded."""
  path = _written(tmp_path / "folder", {})
  (path / "provenance.json").unlink()
  (path / "metadata.csv").unlink()
  return path


def _written(path, provenance):
  split, names = shrunk.split("folder", (12, 12, 12)), shrunk.CLASSES
  written = {"class_names": names, "seed": 0, "provenance": provenance}
  image_folder.write(path, split.images, split.labels, **written)
  return path


def test_a_gan_is_evaluated(tmp_path, networks):
  found = _run(
    tmp_path / "run",
    generator=str(networks["acgan"]),
    classifier=str(networks["classifier"]),
    usefulness=True,
    per_class=12,
  )
  kept = json.loads((tmp_path / "run" / "evaluation.json").read_text())
  assert kept == json.loads(json.dumps(found))
  extractors = {row["extractor"] for row in found["distances"]}
  assert extractors == {"Blocks@16", "Unseen@16", "toy_lesions@16"}
  assert found["distances"][0]["extractor"] == "Blocks@16"
  assert found["pretrained"] == found["seen"] == []
  assert set(found["diversity"]) == set(shrunk.CLASSES)
  assert found["collapse"] == 0.5
  assert found["usefulness"]["agreement"].keys() == set(shrunk.CLASSES)
  assert set(found["usefulness"]["cas"]["classes"]) == set(shrunk.CLASSES)
  assert found["leak_excluded"]
  page = (tmp_path / "run" / "index.html").read_text()
  assert "A leak cannot be excluded" not in page


def test_real_images_are_at_the_floor_and_blank_ones_are_not(
  tmp_path, folder, monkeypatch
):
  splits = {
    name: shrunk.split(name, (count,) * 3)
    for name, count in (("train", 40), ("validation", 10), ("test", 15))
  }
  splits = {k: s._replace(groups=s.image_ids) for k, s in splits.items()}
  info = dataclasses.replace(shrunk.dataset().info, groups_known=False)
  dataset = datasets.Dataset(info, **splits)
  monkeypatch.setattr(datasets, "load", lambda config: dataset)
  for path in (folder / "square").iterdir():
    Image.fromarray(np.full((16, 16, 3), 255, np.uint8)).save(path)
  found = _run(tmp_path / "run", synthetic=str(folder))
  # The origin of the folder and the lesions of the data are unknown.
  assert not found["leak_excluded"]
  page = (tmp_path / "run" / "index.html").read_text()
  assert page.index("A leak cannot be excluded: it is") < page.index("<h1>")
  assert datasets.GROUPS_UNKNOWN in found["notes"]
  kernel = {
    (row["class"], row["comparison"]): row["kernel"]
    for row in found["distances"]
  }
  for name in ("disc", "square", "stripes"):
    floor = kernel[name, "floor"]
    assert floor["low"] < 0 < floor["high"]
  assert kernel["disc", "synthetic"]["low"] < kernel["disc", "floor"]["high"]
  assert (
    kernel["square", "synthetic"]["low"] > kernel["square", "ceiling"]["value"]
  )


def test_copies_are_searched_in_the_features_of_the_images_themselves(
  tmp_path, folder, monkeypatch
):
  searched, search = [], copy_search.search
  monkeypatch.setattr(
    copy_search, "search", lambda *a: searched.append(a) or search(*a)
  )
  _run(tmp_path / "run", synthetic=str(folder))
  vectors, *splits = searched[0][:4]
  for found, split in zip(
    (vectors["features"].train, vectors["features"].held_out[0]),
    splits,
    strict=False,
  ):
    right = features.extract(_extractor(), split.images)
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)


def test_a_gan_of_another_data_set_is_refused_before_that_is_read(
  tmp_path, networks, monkeypatch
):
  monkeypatch.setattr(datasets, "load", pytest.fail)
  generator = str(networks["acgan"])
  message = r"data\.name=toy_lesions, and this"
  with pytest.raises(errors.InputError, match=message):
    _run(tmp_path / "run", generator=generator, data__name="folder")


def test_features_of_a_classifier(networks):
  dataset = shrunk.dataset()
  run = trained.load(networks["classifier"])
  extractor = evaluate.of_classifier(run)
  assert extractor.name == f"toy_lesions@{shrunk.SIZE}"
  assert extractor.frechet_name == f"FD(toy_lesions@{shrunk.SIZE})"
  images = dataset.test.images
  got = features.extract(extractor, images, batch_size=8)
  assert got.shape == (len(images), extractor.dims)
  assert got.std(0).max() > 0
  # They are the inputs of the last layer.
  wanted = trained.outputs(
    run.task, run.state, dataset.test, config=run.config, info=dataset.info
  )["probabilities"]
  head = extractor.variables["params"]["Dense_0"]
  logits = got @ head["kernel"] + head["bias"]
  np.testing.assert_allclose(jax.nn.softmax(logits), wanted, rtol=1e-3)
  lesions = dataclasses.replace(run.info, name="ham10000")
  named = evaluate.of_classifier(run._replace(info=lesions)).name
  assert named == f"lesions@{shrunk.SIZE}"
  gan = run._replace(task=acgan.TASK, config=shrunk.frozen("acgan"))
  with pytest.raises(errors.InputError, match="task=acgan, which has no"):
    evaluate.of_classifier(gan)


def test_features_that_a_generator_was_trained_through_do_not_decide(
  tmp_path, networks, monkeypatch
):
  record = {"pretrained": ["EfficientNet-Lite0"]}
  folder = str(_written(tmp_path / "folder", record))
  found = _run(tmp_path / "run", synthetic=folder)
  assert found["pretrained"] == ["EfficientNet-Lite0"]
  assert found["seen"] == ["Blocks@16"]
  assert found["distances"][0]["extractor"] == "Unseen@16"
  page = (tmp_path / "run" / "index.html").read_text()
  assert (
    "trained through EfficientNet-Lite0: numbers in features of Blocks@16 "
    "flatter it. Use those of Unseen@16." in " ".join(page.split())
  )
  assert "not independent evaluations" not in " ".join(page.split())

  # The classifier, and the same as if it had started from ImageNet's weights.
  network = trained.load_classifier(networks["classifier"])
  assert evaluate.of_classifier(network).pretrained == ""
  notes = evaluate._notes(shrunk.dataset(), network)
  assert "its floor is not 0" in notes[-1]
  unknown = network._replace(origin=network.origin | {"unknown_origin": True})
  notes = evaluate._notes(shrunk.dataset(), unknown)
  assert "unknown which lesions that classifier" in notes[-1]
  config = ml_collections.ConfigDict(network.config.to_dict())
  config.model.network = "efficientnet"
  network = network._replace(config=ml_collections.FrozenConfigDict(config))
  config = shrunk.frozen("evaluate", classifier="given", usefulness=False)
  split = shrunk.split("folder", (12, 12, 12))
  monkeypatch.setattr(evaluate.synthetic_training, "agreement", lambda *_: {})
  none, by = frozenset(), frozenset([network.digest])
  judged = evaluate.Judged(split, "images", None, none, by, {})
  useful = evaluate._usefulness(
    config, tmp_path, shrunk.dataset(), judged, network
  )
  assert useful["pretrained"] == ["EfficientNet-Lite0"]
  words = findings.describe({**found, "usefulness": useful})
  (caution,) = (c for c in words.cautions if "not independent evaluations" in c)
  assert "starts from the weights of EfficientNet-Lite0" in caution
  assert useful["chosen_by_it"]
  assert "its agreement says nothing" in " ".join(words.cautions)


def test_images_that_leak_are_refused(tmp_path):
  groups = shrunk.dataset().test.groups.tolist()
  folder = _written(tmp_path / "leak", {"trained_on": {"groups": groups}})
  with pytest.raises(errors.InputError, match="lesions of the test split"):
    _run(tmp_path / "run", synthetic=str(folder))


@pytest.mark.parametrize("both", [False, True])
def test_either_a_generator_or_a_folder_is_expected(tmp_path, folder, both):
  places = {"synthetic": str(folder), "generator": "somewhere"}
  with pytest.raises(errors.InputError, match="Set exactly one of"):
    _run(tmp_path / "run", **(places if both else {}))


def test_one_image_of_a_class_is_too_few(tmp_path):
  with pytest.raises(errors.InputError, match="at least 2 images"):
    _run(tmp_path / "run", generator="somewhere", per_class=1)


def test_a_classifier_is_no_generator_and_a_gan_no_classifier(
  tmp_path, networks, folder
):
  with pytest.raises(errors.InputError, match="generates no images"):
    _run(tmp_path / "a", generator=str(networks["classifier"]))
  with pytest.raises(errors.InputError, match="workdir of a GAN"):
    _run(
      tmp_path / "b", synthetic=str(folder), classifier=str(networks["acgan"])
    )


def test_an_interpolation_begins_and_ends_at_images_of_its_class(networks):
  generator = generators.load(networks["acgan"])
  strips = evaluate.interpolations(generator, seed=0)
  assert set(strips) == set(shrunk.CLASSES)
  for strip in strips.values():
    assert strip.shape == (10, 16, 16, 3)
    assert strip.dtype == np.uint8
  again = evaluate.interpolations(generator, seed=0)
  np.testing.assert_array_equal(strips["disc"], again["disc"])
  other = evaluate.interpolations(generator, seed=1)
  assert (strips["disc"] != other["disc"]).any()


def test_images_may_be_moved_but_not_changed(tmp_path, folder, monkeypatch):
  monkeypatch.setattr(evaluate, "_judge", lambda *_: ({}, None))
  monkeypatch.setattr(evaluate.page, "write", lambda *_: None)
  nothing = evaluate.findings.Findings("", "", (), (), {})
  monkeypatch.setattr(evaluate.findings, "describe", lambda _: nothing)
  path, moved = tmp_path / "run", tmp_path / "moved"
  _run(path, synthetic=str(folder))
  folder.rename(moved)
  _run(path, synthetic=str(moved), data__folder="elsewhere")
  own = shrunk.dataset()
  other = own._replace(test=own.test.take(slice(1, None)))
  with monkeypatch.context() as patch:
    patch.setattr(datasets, "load", lambda config: other)
    with pytest.raises(errors.InputError, match="was started on other images"):
      _run(path, synthetic=str(moved))
  next(moved.glob("*/*.png")).unlink()
  message = (
    "the content of config.synthetic=.*moved has changed since this run "
  )
  with pytest.raises(errors.InputError, match=message):
    _run(path, synthetic=str(moved))
