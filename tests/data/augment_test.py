"""Tests of augmentation."""

import collections

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

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
  """Move an image's content up and to the left, 0 coming in."""
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


def test_shifts_of_whole_pixels():
  images = np.asarray(_images(3, 8))
  shifts = jnp.array([[0.0, 0.0], [1.0, -2.0], [-1.0, 0.0]])
  got = augment.shifted_and_zoomed(jnp.asarray(images), shifts, jnp.ones(3))
  for image, x, (down, right) in zip(images, got, shifts, strict=True):
    # `_shifted` moves up and to the left.
    np.testing.assert_array_equal(x, _shifted(image, -int(down), -int(right)))


def test_a_zoom_of_a_ramp_by_hand():
  # Pixels at -3.5, …, 3.5 about the centre. Twice as large they are halves;
  # half as large doubles, and 0 beyond them, the last one not to be seen.
  ramp = jnp.arange(8.0) - 3.5
  images = jnp.broadcast_to(ramp[:, None, None], (2, 8, 8, 1))
  rows = augment.shifted_and_zoomed(
    images, jnp.zeros((2, 2)), jnp.array([2.0, 0.5])
  )[:, :, 3, 0]
  np.testing.assert_allclose(rows[0], np.arange(-1.75, 2, 0.5), rtol=1e-6)
  np.testing.assert_allclose(rows[1], [0, 0, -3, -1, 1, 3, 0, 0], rtol=1e-6)


def test_affine_is_as_scale_and_translate_inside_the_borders():
  with jax.enable_x64(True):
    images = jnp.asarray(
      np.random.default_rng(0).uniform(-1, 1, (6, 16, 16, 2))
    )
    rng = np.random.default_rng(1)
    shifts = jnp.asarray(rng.uniform(-2, 2, (6, 2)))
    zooms = jnp.asarray(np.exp(rng.uniform(-0.14, 0.14, 6)))
    got = augment.shifted_and_zoomed(images, shifts, zooms)
    assert got.dtype == jnp.float64
    # About the corner: the centre, 8, is moved back.
    for image, x, shift, zoom in zip(images, got, shifts, zooms, strict=True):
      wanted = jax.image.scale_and_translate(
        image,
        image.shape,
        (0, 1),
        jnp.stack([zoom, zoom]),
        shift + (1 - zoom) * 8,
        "linear",
        antialias=False,
      )
      np.testing.assert_allclose(x[4:12, 4:12], wanted[4:12, 4:12], atol=1e-12)


def test_affine_draws_up_to_its_bounds():
  # Of x + 2 y + 10 the value and slopes in the middle tell shift and zoom.
  y, x = np.mgrid[:16, :16] - 7.5
  images = jnp.broadcast_to((x + 2 * y + 10)[..., None], (400, 16, 16, 1))
  got = np.asarray(jax.jit(augment.affine)(images, _keys(400)))[..., 0]
  zoom = 1 / (got[:, 8, 8] - got[:, 8, 7])
  np.testing.assert_allclose(zoom, 2 / (got[:, 8, 8] - got[:, 7, 8]), rtol=1e-4)
  assert 1 / 1.15 - 1e-3 < zoom.min() < 0.88
  assert 1.13 < zoom.max() < 1.15 + 1e-3
  middle = got[:, 7:9, 7:9].mean((1, 2)) - 10
  moved = -middle * zoom  # right + 2 down
  assert abs(moved).max() < 6
  assert moved.min() < -4
  assert moved.max() > 4


def test_affine_leaves_small_images():
  images = _images(3, 4)
  np.testing.assert_array_equal(augment.affine(images, _keys(3)), images)


_ALL = {
  "discriminator": "affine",
  "discriminator_turns": True,
  "discriminator_brightness": 0.1,
}


def _seen(images, keys, share, **changes):
  config = ml_collections.FrozenConfigDict({**_ALL, **changes})
  return augment.for_discriminator(images, keys, config, share)


def test_a_share_of_0_is_the_identity_and_of_1_spares_no_image():
  images, keys = _images(64, 16), _keys(64)
  for zero in (0.0, jnp.zeros(())):
    np.testing.assert_array_equal(_seen(images, keys, zero), images)
  always = _seen(images, keys, 1.0)
  assert (always != images).any((1, 2, 3)).all()
  np.testing.assert_array_equal(_seen(images, keys, jnp.ones(())), always)
  half = np.asarray(_seen(images, keys, 0.5))
  spared = (half == images).all((1, 2, 3))
  assert 16 < spared.sum() < 48
  np.testing.assert_array_equal(half[~spared], always[~spared])


def test_a_view_follows_from_each_images_key():
  images, keys = _images(8, 16), _keys(8)
  got = _seen(images, keys, 0.7)
  np.testing.assert_array_equal(_seen(images, keys, 0.7), got)
  order = np.random.default_rng(0).permutation(8)
  shuffled = _seen(images[order], keys[order], 0.7)
  np.testing.assert_allclose(shuffled, got[order], atol=1e-6)
  assert (_seen(images, _keys(8, seed=1), 0.7) != got).any()


def test_each_view_does_its_own():
  images, keys = _images(40, 8), _keys(40)
  off = dict.fromkeys(_ALL, "") | {"discriminator_brightness": 0.0}
  np.testing.assert_array_equal(_seen(images, keys, 1.0, **off), images)
  turned = _seen(images, keys, 1.0, **off | {"discriminator_turns": True})
  np.testing.assert_array_equal(np.sort(turned, None), np.sort(images, None))
  bright = _seen(images, keys, 1.0, **off | {"discriminator_brightness": 0.1})
  moved = np.asarray(bright - images)
  np.testing.assert_allclose(moved, moved[:, :1, :1, :1] + 0 * moved, atol=1e-6)
  assert 0.08 < abs(moved).max() <= 0.1 + 1e-6


def test_gradients_reach_images_through_the_view():
  with jax.enable_x64(True):
    images = jnp.asarray(_images(3, 8), jnp.float64)
    view = lambda x: jnp.sin(3 * _seen(x, _keys(3), 0.9))
    check_grads(view, (images,), 1, ["rev"])


def test_the_share_is_adapted_both_ways_within_bounds():
  shares, signs = np.array([0.3, 0.3, 0.01, 0.79]), np.array([0.7, 0.5, 0, 1.0])
  got = augment.adapted(jnp.asarray(shares), jnp.asarray(signs), 0.6, 0.02)
  np.testing.assert_allclose(got, [0.32, 0.28, 0, 0.8], rtol=1e-6)
