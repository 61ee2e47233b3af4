"""Tests of training/trained.py: loading networks from workdirs."""

import dataclasses
import json

import numpy as np
import pytest

from skinjax.runtime import checkpoint, errors, parallel, workdir
from skinjax.training import trained
from tests import shrunk
from tests.bad_input import trained as runs


@pytest.fixture(scope="module")
def path():
  return runs.network("classifier")


def test_a_network_is_loaded_without_its_data(path):
  _, result = runs.finished("classifier")
  network = trained.load(path)
  assert (network.step, network.task.name) == (4, "classifier")
  assert network.info == shrunk.dataset().info
  config = shrunk.frozen("classifier")
  assert workdir.flat(network.config) == workdir.flat(config)
  # When and where it was written does not matter, only what it is.
  assert network.digest == checkpoint.digest(result.state)
  assert len(network.digest) == 64
  other = result.state.replace(step=np.int32(5))
  assert network.digest != checkpoint.digest(other)


@pytest.mark.parametrize("name", ["acgan", "progan", "classifier"])
def test_a_config_of_an_earlier_version_is_completed(name, tmp_path):
  whole = trained.load(runs.network(name))
  path = runs.copy(whole.path, tmp_path / "run")
  config, record = whole.config.to_dict(), path / "config.json"
  for key, _ in whole.task.earlier:
    section, leaf = key.split(".")
    del config[section][leaf]
  record.write_text(json.dumps(config))
  again = trained.load(path)
  assert again.config == whole.config
  assert again.digest == whole.digest


def test_a_workdir_that_does_not_describe_its_data_is_of_a_known_set(
  path, tmp_path
):
  undescribed = runs.copy(path, tmp_path / "run")
  record = undescribed / "data.json"
  origin = json.loads(record.read_text())
  del origin["info"]
  record.write_text(json.dumps(origin))
  network = trained.load(undescribed)
  assert network.digest == trained.load(path).digest
  trained.require_for(network, shrunk.dataset().info)
  split, info = shrunk.dataset().test, network.info
  state, config = network.state, network.config
  out = trained.outputs(network.task, state, split, config=config, info=info)
  assert out["probabilities"].shape == (len(split.labels), 3)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"class_names": ("disc", "square")}, "with disc, square: give one that"),
    ({"size": 32}, "not for toy_lesions at 32x32"),
    ({"name": "x", "fingerprint": "x"}, "not for x at 16x16"),
  ],
)
def test_a_network_of_other_data_is_refused(path, changes, message):
  network, info = trained.load(path), shrunk.dataset().info
  trained.require_for(network, dataclasses.replace(info, fingerprint="other"))
  # A folder may have been renamed.
  trained.require_for(network, dataclasses.replace(info, name="other"))
  with pytest.raises(errors.InputError, match=message):
    trained.require_for(network, dataclasses.replace(info, **changes))


@pytest.mark.parametrize(
  ("best", "step"),
  [("kid", 1), ("kid_squeezenet", 1), ("ece", 1), ("macro_f1", 2)],
)
def test_the_best_distance_or_error_is_the_lowest(tmp_path, best, step):
  state = parallel.place({"n": np.int32(0)}, "one")
  with trained.checkpoints(tmp_path, best) as saved:
    for number, value in enumerate((0.1, 0.9, 0.5, 0.5), 1):
      saved.save(number, state, {best: value})
  kept = {path.name for path in (tmp_path / "checkpoints").iterdir()}
  assert kept == {str(step), "3", "4"}


def test_is_trained(path, tmp_path):
  assert not trained.is_trained(tmp_path / "none", 4)
  path = runs.copy(path, tmp_path / "run")
  assert trained.is_trained(path, 4)
  assert not trained.is_trained(path, 6)
  (path / "checkpoints" / "4" / "manifest.json").unlink()
  assert not trained.is_trained(path, 4)
