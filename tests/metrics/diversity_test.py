import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from skinjax.metrics import diversity


def _noise(seed, num, spread=255):
  rng = np.random.default_rng(seed)
  return rng.integers(0, spread + 1, (num, 4, 4, 3)).astype(np.uint8)


def test_hand_worked_distance():
  images = np.zeros((3, 2, 2, 1), np.uint8)
  images[1] = 255
  images[2, 0] = 255
  # Black-white is 1; half the pixels differ in the other two pairs.
  expected = (1 + 2 * np.sqrt(0.5)) / 3
  np.testing.assert_allclose(diversity.mean_pairwise_distance(images), expected)


@given(st.integers(0, 1000), st.integers(2, 6))
def test_distance_is_that_of_a_double_loop(seed, num):
  images = _noise(seed, num)
  x = images / 255
  pairs = [
    np.sqrt(((x[i] - x[j]) ** 2).mean()) for i in range(num) for j in range(i)
  ]
  np.testing.assert_allclose(
    diversity.mean_pairwise_distance(images), np.mean(pairs)
  )


def _compared(fake, fake_labels, real, real_labels, names, threshold=0.5):
  return diversity.compare(
    diversity.distances(fake, fake_labels, names),
    diversity.distances(real, real_labels, names),
    threshold,
  )


def test_collapse_is_told_by_class():
  real = np.concatenate([_noise(0, 150), _noise(1, 20)])
  real_labels = np.repeat([0, 1], [150, 20])
  # Class 0 as varied as the real one, class 1 within 40% of its range.
  fake = np.concatenate([_noise(2, 100), _noise(3, 100, spread=102)])
  fake_labels = np.repeat([0, 1], 100)
  sets = fake, fake_labels, real, real_labels, ("nv", "df")
  result = _compared(*sets)
  np.testing.assert_allclose(result["nv"].ratio, 1, atol=0.05)
  np.testing.assert_allclose(result["df"].ratio, 0.4, atol=0.05)
  assert not result["nv"].collapsed
  assert result["df"].collapsed
  again = _compared(*sets, threshold=0.3)
  assert again["df"].ratio == result["df"].ratio
  assert not again["df"].collapsed


def test_what_cannot_be_compared_is_left_out():
  images = _noise(0, 5)
  labels = np.array([0, 0, 1, 2, 2])
  names = ("two", "one", "same", "none")
  images[4] = images[3]
  assert list(diversity.distances(images, labels, names)) == ["two", "same"]
  # Real images that are all the same are no measure.
  assert list(_compared(images, labels, images, labels, names)) == ["two"]


def test_the_same_images_are_drawn_for_the_same_seed():
  images, labels = _noise(0, 50), np.zeros(50, int)
  draw = lambda seed: diversity.distances(
    images, labels, ["nv"], num_images=5, seed=seed
  )
  assert draw(0) == draw(0) != draw(1)
