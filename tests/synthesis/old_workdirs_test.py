"""Tests of workdirs of version 0.1, which trained networks of a tiny data set.

tests/golden/workdirs_0_1.zip holds them, and what that version made of them:
samples of the GANs from the key of a synthetic set, images of by_class's
networks from given latents, and a classifier's probabilities.
"""

import zipfile

import jax
import numpy as np
import pytest

import skinjax
from skinjax.runtime import errors
from skinjax.training import loop, tasks
from tests import shrunk
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def old(tmp_path_factory):
  path = tmp_path_factory.mktemp("old")
  with zipfile.ZipFile(ROOT / "tests/golden/workdirs_0_1.zip") as archive:
    archive.extractall(path)
  return path


@pytest.fixture(scope="module")
def expected(old):
  with np.load(old / "expected.npz") as arrays:
    return dict(arrays)


def _close(images, wanted):
  """Check that integers are equal, or differ by one after rounding."""
  assert images.dtype == np.uint8
  assert np.abs(images.astype(int) - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize("name", ["acgan", "progan"])
def test_a_generator_draws_what_it_drew(old, expected, name):
  generator = skinjax.load_generator(old / name)
  assert generator.class_names == shrunk.CLASSES
  _close(generator.sample(expected["labels"]), expected[name])
  assert generator.origin["groups"] == sorted(
    set(shrunk.dataset().train.groups)
  )


def test_a_gan_for_each_class_draws_what_it_drew(old, expected):
  generator = skinjax.load_generator(old / "by_class")
  latents = jax.random.normal(jax.random.key(7), (2, 6))
  for label, name in enumerate(shrunk.CLASSES):
    wanted = expected[f"by_class_{name}"]
    _close(generator.draw(latents, label), wanted)
  assert generator.sample(["disc", "stripes"]).shape == (2, 16, 16, 3)


def test_a_classifier_predicts_what_it_predicted(old, expected):
  classifier = skinjax.load_classifier(old / "classifier")
  predicted = classifier.predict(shrunk.dataset().test.images)
  np.testing.assert_allclose(predicted, expected["classifier"], atol=1e-5)


@pytest.mark.parametrize("name", ["acgan", "classifier"])
def test_resuming_their_training_is_refused(old, name):
  with pytest.raises(errors.InputError, match=r"version 0\.1: .* cannot be"):
    loop.train(
      tasks.named(name), shrunk.config(name), old / name, shrunk.dataset()
    )
