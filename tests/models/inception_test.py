"""Tests of FID's Inception-v3, beside one in PyTorch of the same weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models import efficientnet, inception
from skinjax.runtime import errors
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


@pytest.mark.parametrize(
  ("size", "wanted"), [(299, 8), (75, 1), (139, 3), (128, 2)]
)
def test_size_of_the_last_map(size, wanted):
  apply = lambda v, x: inception.Inception().apply(
    v, x, capture_intermediates=True
  )
  images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  _, state = jax.eval_shape(apply, _variables(), images)
  (last,) = state["intermediates"]["Mixed_7c"]["__call__"]
  assert last.shape == (1, wanted, wanted, 2048)


def test_mean_pooling_leaves_out_the_padding():
  x = jnp.ones((1, 4, 5, 2))
  np.testing.assert_allclose(inception.mean_around(x), x, rtol=1e-6)
  x = jnp.arange(9.0).reshape(1, 3, 3, 1)
  got = inception.mean_around(x)[0, :, :, 0]
  np.testing.assert_allclose(got[0, 0], (0 + 1 + 3 + 4) / 4)
  np.testing.assert_allclose(got[1, 1], 4)


def test_max_pooling_of_what_is_below_zero():
  x = -jnp.arange(1.0, 10).reshape(1, 3, 3, 1)
  np.testing.assert_allclose(inception.max_around(x)[0, 2, 2, 0], -5)


def test_weights_of_another_network():
  with pytest.raises(errors.InputError, match="is not the published file"):
    inception.load(efficientnet.weights_path())
