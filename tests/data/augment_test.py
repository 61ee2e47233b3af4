"""Tests of augmentation."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinjax.data import augment
from skinjax.runtime import randomness

_colour = jax.jit(augment.colour)
_orient = jax.jit(augment.orient)


def _keys(count, seed=0):
  return randomness.by_example(jax.random.key(seed), count)


def _images(count, size=6, channels=3, seed=0):
  rng = np.random.default_rng(seed)
  shape = (count, size, size, channels)
  return jnp.asarray(rng.uniform(-1, 1, shape), jnp.float32)


def test_orient_gives_the_eight_images_equally_often():
  image = _images(1, 4)[0]
  turned = [np.rot90(image, k) for k in range(4)]
  known = {x.tobytes(): 0 for x in turned + [x[:, ::-1] for x in turned]}
  assert len(known) == 8
  count = 1600
  images = jnp.broadcast_to(image, (count, *image.shape))
  got = collections.Counter(
    np.asarray(x).tobytes() for x in _orient(images, _keys(count))
  )
  assert got.keys() == known.keys()
  # 200 each; 24.3 is the 99.9% quantile of chi-squared with 7 degrees.
  assert sum((n - 200) ** 2 / 200 for n in got.values()) < 24.3


def test_orient_keeps_the_dtype():
  images = jnp.arange(2 * 9, dtype=jnp.uint8).reshape(2, 3, 3, 1)
  assert _orient(images, _keys(2)).dtype == jnp.uint8


def test_nothing_is_changed_unless_asked_for():
  images = _images(5)
  same = augment.augment(images, _keys(5), orientations=False, jitter=0.0)
  np.testing.assert_array_equal(same, images)


def test_each_switch_does_its_own():
  images, keys = _images(5), _keys(5)
  turned = augment.augment(images, keys, orientations=True, jitter=0.0)
  np.testing.assert_array_equal(turned, _orient(images, keys))
  coloured = augment.augment(images, keys, orientations=False, jitter=0.2)
  np.testing.assert_array_equal(coloured, _colour(images, keys, 0.2))
  both = augment.augment(images, keys, orientations=True, jitter=0.2)
  np.testing.assert_array_equal(both, _colour(turned, keys, 0.2))


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 0.9), st.integers(0, 1000))
def test_colour_stays_in_range(strength, seed):
  x = _colour(_images(4, seed=seed), _keys(4, seed), strength)
  assert float(jnp.max(jnp.abs(x))) <= 1


def test_brightness_moves_flat_images_by_at_most_the_strength():
  # Contrast and saturation do nothing to an image of one grey.
  images = jnp.zeros((500, 2, 2, 3))
  moved = np.asarray(_colour(images, _keys(500), 0.3))
  assert abs(moved).max() <= 0.3 + 1e-6
  assert moved.min() < -0.28
  assert moved.max() > 0.28
  np.testing.assert_allclose(moved, moved[:, :1, :1, :1] + 0 * moved, atol=1e-6)


def test_contrast_scales_around_the_mean_by_at_most_the_strength():
  # Grey: saturation does nothing, brightness nothing to differences.
  checks = jnp.asarray(np.indices((4, 4)).sum(0) % 2 * 0.4 - 0.2)
  images = jnp.broadcast_to(checks[:, :, None], (500, 4, 4, 3))
  x = np.asarray(_colour(images, _keys(500), 0.3))
  spread = (x.max((1, 2, 3)) - x.min((1, 2, 3))) / 0.4
  assert spread.min() >= 0.7 - 1e-5
  assert spread.max() <= 1.3 + 1e-5
  assert spread.min() < 0.72
  assert spread.max() > 1.28


def test_saturation_leaves_grey_images_grey_and_scales_the_others_colour():
  keys = _keys(500)
  grey = jnp.broadcast_to(_images(500, channels=1) * 0.3, (500, 6, 6, 3))
  x = np.asarray(_colour(grey, keys, 0.5))
  np.testing.assert_allclose(x[..., 0], x[..., 1], atol=1e-6)
  np.testing.assert_allclose(x[..., 0], x[..., 2], atol=1e-6)
  # Contrast and saturation both scale the differences of a colour's channels.
  flat = jnp.broadcast_to(jnp.array([0.2, 0.0, -0.1]), (500, 6, 6, 3))
  x = np.asarray(_colour(flat, keys, 0.5))
  assert abs(x).max() < 1  # nothing was clipped
  scale = (x[..., 0] - x[..., 2]) / 0.3
  np.testing.assert_allclose((x[..., 0] - x[..., 1]) / 0.2, scale, atol=1e-5)
  assert 0.25 - 1e-5 <= scale.min() < 0.35
  assert 2 < scale.max() <= 2.25 + 1e-5


def test_images_of_one_channel_have_no_saturation():
  flat = jnp.full((200, 2, 2, 1), 0.1)
  x = np.asarray(_colour(flat, _keys(200), 0.3))
  assert abs(x - 0.1).max() <= 0.3 + 1e-6


def test_colour_keeps_hue():
  # The order of the channels of a pixel is its hue's sector.
  images = _images(50) * 0.2
  x = np.asarray(_colour(images, _keys(50), 0.3))
  np.testing.assert_array_equal(x.argmax(-1), np.asarray(images).argmax(-1))


@pytest.mark.parametrize("how", ["orient", "colour"])
def test_an_example_depends_on_its_own_key_alone(how):
  change = {
    "orient": _orient,
    "colour": lambda x, k: _colour(x, k, 0.4),
  }[how]
  images, keys = _images(12), _keys(12)
  order = np.random.default_rng(0).permutation(12)
  np.testing.assert_allclose(
    change(images[order], keys[order]), change(images, keys)[order], atol=1e-6
  )


def _shifted(image, down, right):
  """Moves an image's content up and to the left, 0 coming in."""
  size, out = len(image), np.zeros_like(image)
  for i in range(size):
    for j in range(size):
      if 0 <= i + down < size and 0 <= j + right < size:
        out[i, j] = image[i + down, j + right]
  return out


def test_translate_shifts_by_up_to_an_eighth():
  images = np.asarray(_images(1, 16))
  known = {
    _shifted(images[0], down, right).tobytes(): (down, right)
    for down in range(-2, 3)
    for right in range(-2, 3)
  }
  many = jnp.broadcast_to(images, (400, *images.shape[1:]))
  got = jax.jit(augment.translate)(many, _keys(400))
  found = collections.Counter(known[np.asarray(x).tobytes()] for x in got)
  assert len(found) == 25
  assert max(found.values()) < 40  # 16 each


def test_translate_leaves_small_images():
  images = _images(3, 4)
  np.testing.assert_array_equal(augment.translate(images, _keys(3)), images)


def test_gradients_are_translated_back():
  images, weights = _images(3, 16), _images(3, 16, seed=1)
  loss = lambda x: jnp.sum(weights * augment.translate(x, _keys(3)))
  slope = np.asarray(jax.grad(loss)(images))
  # Of what has not left the image the gradient is its weight, else 0.
  ones = np.asarray(augment.translate(jnp.ones_like(images), _keys(3)))
  np.testing.assert_allclose(
    np.sort(slope[slope != 0]), np.sort(np.asarray(weights)[ones != 0])
  )


def test_mixup_mixes_neighbours_by_the_greater_share():
  images = _images(6)
  mixed, share = jax.jit(augment.mixup, static_argnums=2)(images, _keys(6), 0.4)
  assert share.shape == (6,)
  assert 0.5 <= float(share.min()) < float(share.max()) <= 1
  own = np.asarray(share)[:, None, None, None]
  others = np.asarray(images)[[1, 0, 3, 2, 5, 4]]
  np.testing.assert_allclose(mixed, own * images + (1 - own) * others, 1e-5)


def test_neighbours_are_swapped():
  np.testing.assert_array_equal(
    augment.neighbours(jnp.arange(6)), [1, 0, 3, 2, 5, 4]
  )


def test_shares_are_of_the_beta_distribution():
  # Of Beta(1, 1), uniform, the greater of share and rest is uniform, too.
  _, share = augment.mixup(jnp.zeros((2000, 1, 1, 1)), _keys(2000), 1.0)
  wanted = np.linspace(0.5, 1, 2000)
  np.testing.assert_allclose(np.sort(share), wanted, atol=0.02)


def test_all_orientations_are_the_eight_of_the_square():
  image = np.asarray(_images(1, 4))
  views = np.asarray(augment.all_orientations(image))
  turned = [np.rot90(image[0], k) for k in range(4)]
  known = {x.tobytes() for x in turned + [x[:, ::-1] for x in turned]}
  assert views.shape == (8, *image.shape)
  assert {np.ascontiguousarray(x[0]).tobytes() for x in views} == known
