"""Tests of training/released.py: networks without the rest of their state."""

import json
import tomllib

import jax
import numpy as np
import pytest

import configs.synthesize
import skinjax
from skinjax.data import provenance
from skinjax.runtime import errors, files
from skinjax.training import released, tasks, trained
from tests import shrunk
from tests.conftest import ROOT


def member(name="acgan", seed=0, **changes):
  state = shrunk.state(name, seed)
  given = {
    "config": shrunk.frozen(name).to_dict(),
    "origin": provenance.origin_of(shrunk.dataset()),
    "step": 4,
    "average": state.average,
    "made": {"device": "a chip"},
  }
  return released.Member(**given | changes)


@pytest.fixture
def folder(tmp_path):
  for fold in range(2):
    released.add(tmp_path / "acgan", str(fold), member(seed=fold))
  return tmp_path / "acgan"


@pytest.mark.parametrize("name", ["acgan", "progan"])
def test_a_released_generator_draws_as_the_trained_one(name, tmp_path):
  released.add(tmp_path / name, "3", member(name))
  generator = skinjax.load_generator(tmp_path / name / "3")
  assert generator.class_names == shrunk.CLASSES
  assert generator.step == 4
  assert generator.info == shrunk.dataset().info
  labels, network = np.arange(3, dtype=np.int32), generator.networks[0]
  state = shrunk.state(name).replace(step=np.int32(4))
  latents = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
  draw = lambda state: trained.draw(
    tasks.named(name),
    state,
    latents,
    labels,
    config=network.config,
    info=network.info,
  ).astype(int)
  drawn, halved = draw(network.state), state.replace(average=_rounded(state))
  np.testing.assert_array_equal(drawn, draw(halved))
  assert np.abs(drawn - draw(state)).mean() < 0.5  # of 255


def test_a_released_classifier_predicts_as_the_trained_one(tmp_path):
  released.add(tmp_path, "judge", member("classifier"))
  images = shrunk.dataset().test.images
  found = skinjax.load_classifier(tmp_path / "judge").predict(images)
  state = shrunk.state("classifier")
  network = trained.load(tmp_path / "judge")
  wanted = trained.probabilities(
    network._replace(state=state.replace(average=_rounded(state))),
    shrunk.dataset().test,
  )
  np.testing.assert_allclose(found, wanted, atol=1e-6)


def _rounded(state):
  return jax.tree.map(
    lambda x: x.astype(np.float16).astype(np.float32), state.average
  )


def test_generators_of_a_folder_are_kept_apart(folder):
  assert released.names(folder) == ["0", "1"]
  for fold in range(2):
    found = shrunk.leaves(released.read(folder / str(fold)).average)
    for name, x in shrunk.leaves(shrunk.state("acgan", fold).average).items():
      assert found[name].dtype == np.float32
      np.testing.assert_allclose(found[name], x, rtol=1e-3, atol=1e-7)
  released.add(folder, "0", member(seed=1))
  one, other = (trained.load(folder / str(fold)) for fold in range(2))
  assert one.digest == other.digest
  assert sorted(p.name for p in folder.iterdir()) == [
    released.RECORD,
    released.WEIGHTS,
  ]


def test_included_networks_are_found_by_name(folder, tmp_path, monkeypatch):
  monkeypatch.setattr(released, "SHIPPED", folder)
  monkeypatch.chdir(tmp_path)
  shipped = skinjax.load_generator("1")
  assert shipped.path == folder / "1"
  with pytest.raises(errors.InputError, match=r"comes with skinjax \(0, 1\)"):
    skinjax.load_generator("2")
  # A path of the user's with the same name has precedence.
  released.add(tmp_path, "1", member(seed=5))
  assert skinjax.load_generator("1").digest != shipped.digest
  config = configs.synthesize.get_config("pretrained=1")
  assert skinjax.load_generator(config.generator).digest == shipped.digest
  with pytest.raises(errors.InputError, match="pretrained generator '3'"):
    configs.synthesize.get_config("pretrained=3")


def test_included_networks_are_in_the_wheel():
  build = tomllib.loads((ROOT / "pyproject.toml").read_text())
  data = build["tool"]["setuptools"]["package-data"]["skinjax"]
  assert "released/*" in data
  assert released.SHIPPED == ROOT / "skinjax" / "released"


@pytest.mark.parametrize("name", released.names(released.SHIPPED))
def test_each_included_network_works(name):
  network = trained.load(name)
  info = network.info
  assert (info.name, info.num_classes) == ("ham10000", 7)
  assert not any(network.config.data[k] for k in ("manual_dir", "data_dir"))
  if network.task.generates:
    images = skinjax.load_generator(name).sample(info.class_names)
    assert images.std(axis=0).mean() > 5  # they differ
  else:
    images = np.zeros((2, 64, 64, 3), np.uint8)
    found = skinjax.load_classifier(name).predict(images)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
  card = (released.SHIPPED / f"{name}.md").read_text()
  assert f"{len(network.origin['groups']):,} lesions" in card


def test_included_networks_are_small():
  kept = files.read_arrays(released.SHIPPED / released.WEIGHTS, "")
  for name in released.names(released.SHIPPED):
    own = [x.nbytes for key, x in kept.items() if key.startswith(f"{name}/")]
    assert 0 < sum(own) <= 8 * 2**20


def test_values_beyond_float16_are_kept(tmp_path):
  values = {"params": {"a": np.array([1e6, 1.0], np.float32)}}
  released.add(tmp_path, "0", member(average=values))
  np.testing.assert_array_equal(
    released.read(tmp_path / "0").average["params"]["a"], [1e6, 1.0]
  )


def test_an_unfinished_training_is_logged(folder, absl_log):
  released.add(folder, "1", member(step=2))
  assert trained.load(folder / "1").step == 2
  assert "for only 2 of its 4 steps" in absl_log.text


def test_a_record_never_describes_other_weights(folder, monkeypatch):
  write = files.write_json

  def die(path, content):
    if "0" in content["members"]:
      raise KeyboardInterrupt
    write(path, content)

  monkeypatch.setattr(files, "write_json", die)
  with pytest.raises(KeyboardInterrupt):
    released.add(folder, "0", member(seed=5))
  assert released.names(folder) == ["1"]
  assert trained.load(folder / "1").step == 4


def test_one_that_is_not_there_is_refused(folder):
  with pytest.raises(errors.InputError, match=r"'7'\..* There are: 0, 1"):
    skinjax.load_generator(folder / "7")
  with pytest.raises(errors.InputError, match="use the latest"):
    trained.load_generator(folder / "0", "best")


def _other_weights(folder):
  arrays = files.read_arrays(folder / released.WEIGHTS, "")
  name = next(iter(arrays))
  files.write_arrays(
    folder / released.WEIGHTS, **arrays | {name: arrays[name] + 1}
  )


def _without(key):
  def change(folder):
    record = json.loads((folder / released.RECORD).read_text())
    del record["members"]["0"][key]
    (folder / released.RECORD).write_text(json.dumps(record))

  return change


@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (_other_weights, "does not hold the weights"),
    (lambda f: (f / released.WEIGHTS).write_bytes(b"PK"), "cannot be read as"),
    (lambda f: (f / released.RECORD).write_text("{}"), "it has no members"),
    (_without("config"), "without 'config'"),
    (_without("sha256"), "without 'sha256'"),
    (
      lambda f: released.add(f, "0", member(average={"params": {}})),
      "another network",
    ),
    (
      lambda f: released.add(f, "0", member(config={"task": "by_class"})),
      "does not describe a network",
    ),
    (lambda f: released.add(f, "0", member(origin={})), "must have a name"),
  ],
)
def test_a_damaged_folder_is_refused(folder, damage, message):
  damage(folder)
  with pytest.raises(errors.InputError, match=message):
    skinjax.load_generator(folder / "0")
