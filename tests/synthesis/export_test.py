"""Tests of synthesis/export.py; readme_test calls a file without skinjax."""

import json

import ml_collections
import numpy as np
import pytest
from jax import export as jax_export

from configs import export as shipped
from skinjax.runtime import errors
from skinjax.synthesis import export, generators
from skinjax.training import trained
from tests.bad_input import trained as runs


def _config(generator):
  config = shipped.get_config()
  config.generator = str(generator)
  return ml_collections.FrozenConfigDict(config)


@pytest.fixture(scope="module", params=["acgan", "progan"])
def made(request, tmp_path_factory):
  path = tmp_path_factory.mktemp(request.param)
  network = trained.load(runs.network(request.param))
  export.run(_config(network.path), path)
  return path, network


def test_it_draws_as_the_generator_with_each_platforms_convolutions(
  made, products
):
  _, network = made
  found = jax_export.deserialize(bytearray(export.exported(network)))
  assert found.platforms == export.PLATFORMS
  latents = np.random.default_rng(0).normal(
    size=(5, network.config.model.latents)
  )
  latents = latents.astype(np.float32)
  images = found.call(latents, np.full(5, 1, np.int32))
  assert images.dtype == np.uint8
  wanted = generators.load(network.path).draw(latents, 1)
  difference = np.asarray(images, int) - wanted
  assert np.abs(difference).max() <= 1  # rounded


def test_its_origin_is_recorded(made):
  path, network = made
  card = json.loads((path / export.CARD).read_text())
  assert card["class_names"] == list(network.info.class_names)
  assert card["trained_on"]["groups"] == network.origin["groups"]
  assert card["generator"]["state_sha256"] == network.digest


def test_other_networks_than_generators_are_refused(tmp_path):
  with pytest.raises(errors.InputError, match=r"config.generator is empty"):
    export.run(_config(""), tmp_path)
  with pytest.raises(errors.InputError, match="generates no images"):
    export.run(_config(runs.network("classifier")), tmp_path)
  assert not list(tmp_path.iterdir())
