import numpy as np
import pytest
from sklearn import decomposition

from skinjax.judging import projection


@pytest.mark.parametrize("num", [6, 50])
def test_agrees_with_scikit_learn(num):
  rng = np.random.default_rng(0)
  real = rng.normal(size=(num, 12)) * np.arange(1, 13)
  synthetic = rng.normal(size=(9, 12)) + 5
  found = projection.project(real, synthetic)
  expected = decomposition.PCA(2, svd_solver="full").fit(real)
  np.testing.assert_allclose(
    found.explained, expected.explained_variance_ratio_[:2]
  )
  for points, features in ((found.real, real), (found.synthetic, synthetic)):
    np.testing.assert_allclose(
      np.abs(points), np.abs(expected.transform(features)), atol=1e-9
    )


def test_synthetic_images_do_not_turn_the_plane():
  rng = np.random.default_rng(0)
  real = rng.normal(size=(20, 5))
  first = projection.project(real, rng.normal(size=(9, 5)))
  second = projection.project(real, 1e3 * rng.normal(size=(9, 5)))
  np.testing.assert_array_equal(first.real, second.real)
  assert first.explained == second.explained


def test_sign_is_settled():
  rng = np.random.default_rng(0)
  real = rng.normal(size=(20, 5))
  shuffled = projection.project(real[::-1], real)
  np.testing.assert_allclose(
    projection.project(real, real).real, shuffled.real[::-1], atol=1e-9
  )


def test_degenerate_features():
  single = projection.project(np.arange(4.0)[:, None], np.ones((2, 1)))
  assert single.real.shape == (4, 2)
  assert single.explained == (1, 0)
  alike = projection.project(np.ones((3, 4)), np.zeros((2, 4)))
  assert alike.explained == (0, 0)
  with pytest.raises(ValueError, match="same d"):
    projection.project(np.ones((3, 4)), np.ones((3, 5)))
