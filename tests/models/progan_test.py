"""Tests of models/progan.py: shapes, parameters, growth."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models import progan

KEY = jax.random.key(0)


@functools.cache
def _generator(size=16, classes=3, base=12, most=8, **more):
  """Return a generator, its variables, latents and labels."""
  network = progan.Generator(size, 3, base, most, classes, **more)
  latents = jax.random.normal(jax.random.key(1), (4, 5))
  labels = jnp.array([0, 2, 1, 0])
  init = lambda key: network.init(key, latents, labels, method="all_levels")
  draw = jax.jit(network.apply, static_argnums=3)
  return draw, jax.jit(init)(KEY), (latents, labels)


@functools.cache
def _discriminator(size=16, classes=3, base=12, most=8):
  """Return a discriminator and its variables."""
  network = progan.Discriminator(size, base, most, classes)
  images = jnp.zeros((4, size, size, 3))
  init = lambda key: network.init(key, images, method="all_levels")
  return jax.jit(network.apply, static_argnums=2), jax.jit(init)(KEY)


def _count(variables):
  return sum(x.size for x in jax.tree.leaves(variables["params"]))


def test_levels():
  assert [progan.levels(size) for size in (4, 8, 256)] == [1, 2, 7]


@pytest.mark.parametrize("size", [-4, 0, 2, 12, 63])
def test_sizes_that_are_no_power_of_two_are_refused(size):
  with pytest.raises(ValueError, match=f"Size {size} is not a power of two"):
    progan.levels(size)


def test_widths_are_those_of_the_paper():
  # Table 2: 512 to 32x32, then halved, to 16 at 1024x1024.
  widths = [progan.width(n, 4096, 512) for n in range(9)]
  assert widths == [512, 512, 512, 512, 256, 128, 64, 32, 16]


def test_parameters_are_as_many_as_the_paper_has():
  """Its Table 2 says 23.1 million for either network at 1024x1024.

  By hand, features of the levels 512 512 512 512 256 128 64 32 16:
    dense 512 * 8192 + 512; 3x3 convolutions n * m * 9 + m, one at 4x4 and two
    at each size above; nine layers to pixels n * 3 + 3.
    Discriminator: nine layers from pixels 3 * n + n; the same convolutions the
    other way, 513 features into that of 4x4; dense 8192 * 512 + 512, 512 + 1.
  """
  latents, labels = jnp.zeros((4, 512)), jnp.zeros(4, jnp.int32)
  images, widths = jnp.zeros((4, 1024, 1024, 3)), (4096, 512, 1)
  for network, inputs, count in (
    (progan.Generator(1024, 3, *widths), (latents, labels), 23_079_115),
    (progan.Discriminator(1024, *widths), (images,), 23_087_249),
  ):
    init = functools.partial(network.init, method="all_levels")
    assert _count(jax.eval_shape(init, KEY, *inputs)) == count


@pytest.mark.parametrize("level", [0, 1, 2])
def test_shapes(level):
  side = 4 * 2**level
  draw, variables, inputs = _generator()
  images = draw(variables, *inputs, level, 0.5)
  assert images.shape == (4, side, side, 3)
  judge, variables = _discriminator()
  source, classes = judge(variables, images, level, 0.5)
  assert source.shape == (4,)
  assert classes.shape == (4, 3)


def test_one_class_is_an_unconditional_network():
  draw, variables, (latents, labels) = _generator(classes=1)
  one, other = (draw(variables, latents, labels + k, 2, 1.0) for k in (0, 1))
  np.testing.assert_array_equal(one, other)
  assert variables["params"]["dense"]["kernel"].shape == (5, 128)
  judge, variables = _discriminator(classes=1)
  _, classes = judge(variables, jnp.zeros((4, 16, 16, 3)), 2, 1.0)
  assert classes.shape == (4, 0)


def test_labels_matter():
  draw, variables, (latents, labels) = _generator()
  one = draw(variables, latents, labels, 2, 1.0)
  other = draw(variables, latents, (labels + 1) % 3, 2, 1.0)
  assert (one != other).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("level", [1, 2])
def test_a_new_level_of_the_generator_fades_in(level):
  network, variables, inputs = _generator()
  draw = lambda level, fade: network(variables, *inputs, level, fade)
  old = progan.upsampled(draw(level - 1, 1.0))
  np.testing.assert_allclose(draw(level, 0.0), old, rtol=1e-5, atol=1e-6)
  new = draw(level, 1.0)
  assert abs(new - old).max() > 0.1
  np.testing.assert_allclose(
    draw(level, 0.25), 0.75 * old + 0.25 * new, rtol=1e-4, atol=1e-5
  )
  # At 1 the layer that the old level drew with has no influence.
  gradients = jax.grad(lambda v: (network(v, *inputs, level, 1.0) ** 2).sum())(
    variables
  )["params"]
  assert not gradients[f"to_pixels_{level - 1}"]["kernel"].any()
  assert gradients[f"to_pixels_{level}"]["kernel"].any()


@pytest.mark.parametrize("level", [1, 2])
def test_a_new_level_of_the_discriminator_fades_in(level):
  judge, variables = _discriminator()
  side = 4 * 2**level
  images = jax.random.normal(jax.random.key(2), (4, side, side, 3))
  old, _ = judge(variables, progan.downsampled(images), level - 1, 1.0)
  begun, _ = judge(variables, images, level, 0.0)
  np.testing.assert_allclose(begun, old, rtol=1e-5)
  gradients = jax.grad(lambda v: judge(v, images, level, 1.0)[0].sum())(
    variables
  )["params"]
  assert not gradients[f"from_pixels_{level - 1}"]["kernel"].any()
  assert gradients[f"from_pixels_{level}"]["kernel"].any()


def test_levels_above_have_no_influence():
  draw, variables, inputs = _generator()
  gradients = jax.grad(lambda v: (draw(v, *inputs, 1, 0.5) ** 2).sum())(
    variables
  )["params"]
  used = {name for name, g in gradients.items() if jax.tree.leaves(g)[-1].any()}
  assert "first_2" not in used
  assert {"dense", "first_0", "first_1", "second_0"} <= used


def test_up_and_down():
  images = jnp.arange(16.0).reshape(1, 4, 4, 1)
  np.testing.assert_allclose(
    progan.downsampled(images)[0, ..., 0], [[2.5, 4.5], [10.5, 12.5]]
  )
  small = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
  np.testing.assert_array_equal(
    progan.upsampled(small)[0, ..., 0],
    [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]],
  )
  np.testing.assert_array_equal(
    progan.downsampled(progan.upsampled(images)), images
  )


@pytest.mark.slow
def test_activations_keep_their_size_at_every_level():
  # With unit-gain layers nothing grows or fades on the way up or down.
  draw, variables, (_, labels) = _generator(64, base=512, most=32)
  latents = jax.random.normal(jax.random.key(3), (8, 5))
  labels = jnp.tile(labels, 2)
  for level in range(5):
    images = draw(variables, latents, labels, level, 1.0)
    assert 0.4 < images.std() < 2.5, level
  judge, variables = _discriminator(64, base=512, most=32)
  for level in range(5):
    side = 4 * 2**level
    noise = jax.random.normal(jax.random.key(4), (32, side, side, 3))
    source, _ = judge(variables, noise, level, 1.0)
    assert 0.01 < source.std() < 3, level


def test_everything_is_in_the_default_float_type():
  with jax.enable_x64(True):
    # Not of the cache, which has it in float32.
    draw, variables, inputs = _generator.__wrapped__()
    assert {x.dtype.name for x in jax.tree.leaves(variables)} == {"float64"}
    images = draw(variables, *inputs, 2, 0.5)
    assert images.dtype == np.float64


def test_bfloat16_is_near():
  draw, variables, inputs = _generator()
  wanted = draw(variables, *inputs, 2, 0.5)
  low, _, _ = _generator(dtype="bfloat16")
  got = low(variables, *inputs, 2, 0.5)
  assert got.dtype == wanted.dtype
  # Where all features of a pixel are small, its norm makes them large.
  assert abs(got - wanted).mean() < 0.05 * abs(wanted).mean()
  assert (got != wanted).any()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_real_images_are_resized_and_faded_as_the_network_sees_them(level):
  images = jax.random.normal(KEY, (2, 16, 16, 3))
  grown = progan.at_level(images, level, 1.0)
  side = 4 << level
  boxes = images.reshape(2, side, 16 // side, side, 16 // side, 3)
  np.testing.assert_allclose(grown, boxes.mean((2, 4)), atol=1e-6)
  if level:
    begun = progan.at_level(images, level, 0.0)
    # Without the newest level's detail, as at the level before.
    before = progan.upsampled(progan.at_level(images, level - 1, 1.0))
    np.testing.assert_allclose(begun, before, atol=1e-6)
    half = progan.at_level(images, level, 0.5)
    np.testing.assert_allclose(half, (begun + grown) / 2, atol=1e-6)


def test_labels_matter_from_a_level_on():
  options = {"size": 32, "conditional_from": 2}
  draw, variables, (latents, labels) = _generator(**options)
  # A vector for each class at 16x16 and 32x32, as wide as what it is added to.
  joined = {k: v for k, v in variables["params"].items() if "join" in k}
  shapes = {k: v["kernel"].shape for k, v in joined.items()}
  assert shapes == {"join_0": (3, 6), "join_1": (3, 3)}
  assert variables["params"]["dense"]["kernel"].shape[0] == latents.shape[1]
  other = (labels + 1) % 3
  for level in range(4):
    images, others = (
      draw(variables, latents, y, level, 1.0) for y in (labels, other)
    )
    assert (images != others).any() == (level >= 2), level
    # Levels below those with labels do not depend on the label.
    if level == 2:
      images, others = (
        draw(variables, latents, y, 2, 0.0) for y in (labels, other)
      )
      np.testing.assert_array_equal(images, others)
  _, variables, _ = _generator(classes=1, **options)
  assert not any("join" in name for name in variables["params"])


def test_products_by_hand():
  # 4x4: 16 pixels, 9 taps, 4 x 4 features. 8x8: 64 pixels, of 4 features each
  # 4 taps (a quarter of 16) and 9, of 4 features. 16x16: 2 features.
  assert progan.products(0, 8, 4) == 16 * 9 * 4 * 4
  level_1 = 64 * 4 * (4 * 4 + 9 * 4)
  assert progan.products(1, 8, 4) == 2304 + level_1
  level_2 = 256 * 2 * (4 * 4 + 9 * 2)
  assert progan.products(2, 8, 4) == 2304 + level_1 + level_2


def test_noise_differs_by_pixel_and_follows_from_the_latent():
  draw, variables, (latents, labels) = _generator(pixel_noise=True)
  plain, *_ = _generator()
  # Its weights start at 0: the images are those of a network without noise.
  params = dict(variables["params"])
  noise = {n: x for n, x in params.items() if n.startswith("noise")}
  assert [x["weight"].shape for x in noise.values()] == [(6,), (3,)]
  for name in noise:
    del params[name]
  first = plain({"params": params}, latents, labels, 2, 1.0)
  same = draw(variables, latents, labels, 2, 1.0)
  np.testing.assert_allclose(same, first, atol=1e-6)
  louder = {n: {"weight": jnp.ones_like(x["weight"])} for n, x in noise.items()}
  loud = {"params": variables["params"] | louder}
  images = draw(loud, latents, labels, 2, 1.0)
  assert np.ptp(np.asarray(images - same)) > 0.01
  # The same in any batch.
  fewer = draw(loud, latents[2:], labels[2:], 2, 1.0)
  np.testing.assert_allclose(images[2:], fewer, atol=1e-6)


@pytest.mark.parametrize("name", progan.UPSAMPLING)
def test_upsampling_resizes_before_it_convolves(name):
  images = jax.random.normal(KEY, (2, 6, 6, 3))
  kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 2))
  resized = jax.image.resize(images, (2, 12, 12, 3), name)
  expected = jax.lax.conv_general_dilated(
    resized,
    kernel,
    window_strides=(1, 1),
    padding="SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  inside = np.s_[:, 2:-2, 2:-2]  # of the padding
  got = progan.UPSAMPLING[name](images, kernel)
  np.testing.assert_allclose(got[inside], expected[inside], atol=1e-4)
  draw, variables, given = _generator(upsampling=name)
  assert draw(variables, *given, 2, 1.0).shape == (4, 16, 16, 3)
