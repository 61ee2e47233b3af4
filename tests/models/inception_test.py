"""Tests of models/inception.py against PyTorch, with the same weights."""

import functools

import jax
import numpy as np
import pytest

from skinjax.models import inception
from tests.golden import inception as golden


@functools.cache
def _variables():
  return inception.from_torch(golden.weights())


@pytest.mark.parametrize("size", golden.SIZES)
def test_features_are_those_of_pytorch(size):
  images = golden.images(size).astype(np.float32) / 127.5 - 1
  features = jax.jit(inception.Inception().apply)(_variables(), images)
  assert features.shape == (2, inception.DIMS)
  with np.load(golden.PATH) as arrays:
    wanted = arrays[f"features{size}"]
  error = abs(features[:, :: golden.EVERY] - wanted).max()
  assert error < 1e-4 * abs(wanted).max()


def test_the_golden_numbers_are_of_pytorch():
  torch = pytest.importorskip("torch")
  images = golden.images(75).astype(np.float32) / 127.5 - 1
  batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
  features = golden.features(golden.weights(), batch).numpy()
  with np.load(golden.PATH) as arrays:
    wanted = arrays["features75"]
  np.testing.assert_allclose(
    features[:, :: golden.EVERY], wanted, atol=1e-4 * abs(wanted).max()
  )


def test_parameters():
  # As published for 1000 classes: 27,161,264, of which 3,326,696 are of an
  # auxiliary classifier that is not in the file, and 1000 * 2049 of the last
  # layer. 17,216 gains are folded away.
  count = sum(x.size for x in jax.tree.leaves(_variables()))
  assert count == 27_161_264 - 3_326_696 - 1000 * 2049 - 17_216
