"""Tests of models/acgan.py: shapes, parameters, what images depend on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models import acgan


def _generator(size, width=32, classes=7, channels=3):
  network = acgan.Generator(size, channels, width, classes)
  latents, labels = jnp.zeros((2, 100)), jnp.zeros(2, jnp.int32)
  init = lambda key: network.init(key, latents, labels, train=False)
  variables = jax.eval_shape(init, jax.random.key(0))
  images = jax.eval_shape(
    lambda v: network.apply(v, latents, labels, train=False), variables
  )
  return variables, images


def _discriminator(size, width=32, classes=7, spectral=False):
  network = acgan.Discriminator(size, width, classes, 0.5, 0.0, spectral)
  images = jnp.zeros((2, size, size, 3))
  init = lambda key: network.init(key, images, None, train=False)
  variables = jax.eval_shape(init, jax.random.key(0))
  out = jax.eval_shape(
    lambda v: network.apply(v, images, None, train=False), variables
  )
  return variables, out


def _count(variables):
  return sum(x.size for x in jax.tree.leaves(variables["params"]))


def test_widths():
  assert acgan.widths(8, 32) == [32]
  assert acgan.widths(32, 32) == [32, 64, 128]
  assert acgan.widths(64, 3) == [3, 6, 12, 24]
  # Capped at 16 times the width.
  assert acgan.widths(512, 2) == [2, 4, 8, 16, 32, 32, 32]


def test_a_size_that_is_no_power_of_two_is_refused():
  with pytest.raises(ValueError, match="Size 48 is not a power of two"):
    acgan.widths(48, 8)


@pytest.mark.parametrize("name", ["nearest", "bilinear"])
def test_upsampling_by_neighbours_adds_a_layer_of_the_images_size(name):
  network = acgan.Generator(16, 1, 8, 3, upsampling=name)
  variables = jax.eval_shape(
    lambda key: network.init(
      key, jnp.zeros((2, 5)), jnp.zeros(2, jnp.int32), train=False
    ),
    jax.random.key(0),
  )
  kernels = [
    layer["kernel"].shape
    for name, layer in variables["params"].items()
    if name.startswith("Conv")
  ]
  assert kernels == [(3, 3, 16, 8), (3, 3, 8, 4), (3, 3, 4, 1)]


@pytest.mark.parametrize("name", ["nearest", "bilinear"])
def test_upsampling_resizes_before_it_convolves(name):
  layer = acgan.UPSAMPLING[name](2, use_bias=False)
  images = jax.random.normal(jax.random.key(0), (2, 6, 6, 3))
  variables = layer.init(jax.random.key(1), images)
  resized = jax.image.resize(images, (2, 12, 12, 3), name)
  expected = jax.lax.conv_general_dilated(
    resized,
    variables["params"]["kernel"],
    window_strides=(1, 1),
    padding="SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  inside = np.s_[:, 2:-2, 2:-2]  # of the padding
  got = layer.apply(variables, images)
  np.testing.assert_allclose(got[inside], expected[inside], atol=1e-5)


def test_noise_differs_by_pixel_and_follows_from_the_latent():
  noisy = acgan.Generator(16, 1, 8, 3, pixel_noise=True)
  latents = jax.random.normal(jax.random.key(0), (4, 5))
  labels = jnp.zeros(4, jnp.int32)
  variables = noisy.init(jax.random.key(1), latents, labels, train=False)
  draw = lambda network, variables, latents: np.asarray(
    network.apply(variables, latents, labels[: len(latents)], train=False)
  )
  # Its weights start at 0: the images are those of a network without noise.
  plain = acgan.Generator(16, 1, 8, 3)
  alike = plain.init(jax.random.key(1), latents, labels, train=False)
  np.testing.assert_array_equal(
    draw(noisy, variables, latents), draw(plain, alike, latents)
  )
  params = {
    name: {"weight": jnp.ones(8)} if name == "PixelNoise_0" else x
    for name, x in variables["params"].items()
  }
  images = draw(noisy, variables | {"params": params}, latents)
  assert np.ptp(images - draw(noisy, variables, latents)) > 0.01
  # The same in any batch.
  fewer = draw(noisy, variables | {"params": params}, latents[2:])
  np.testing.assert_allclose(images[2:], fewer, atol=1e-6)


def test_parameters_of_the_generator():
  # Size 64, widths 256, 128, 64, 32, and 107 inputs (100 latents, 7 classes):
  #   dense 107 * 16 * 256 + 16 * 256 = 442,368, norm 2 * 256
  #   up 16 * 256 * 128 = 524,288, norm 2 * 128
  #   up 16 * 128 * 64 = 131,072, norm 2 * 64
  #   up 16 * 64 * 32 = 32,768, norm 2 * 32
  #   to pixels 16 * 32 * 3 + 3 = 1,539
  ups = 524_288 + 256 + 131_072 + 128 + 32_768 + 64
  assert _count(_generator(64)[0]) == 442_368 + 512 + ups + 1_539


def test_parameters_of_the_discriminator():
  # Size 32: down 16 * 3 * 32 + 32 = 1,568 (no norm, hence a bias)
  #   down 16 * 32 * 64 = 32,768, norm 128
  #   down 16 * 64 * 128 = 131,072, norm 256
  #   heads 4 * 4 * 128 * (1 + 7) + 8 = 16,392
  count = 1_568 + 32_768 + 128 + 131_072 + 256 + 16_392
  assert _count(_discriminator(32)[0]) == count
  # Spectral, there are biases 64, 128 for the norms 128, 256.
  variables, _ = _discriminator(32, spectral=True)
  assert _count(variables) == 1_568 + 32_768 + 64 + 131_072 + 128 + 16_392
  # u [1, features] and sigma for each of 3 kernels and the heads.
  stats = sum(x.size for x in jax.tree.leaves(variables["batch_stats"]))
  assert stats == 32 + 64 + 128 + 8 + 4


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (128, 3)])
def test_shapes(size, channels):
  _, images = _generator(size, 8, channels=channels)
  assert images.shape == (2, size, size, channels)
  _, (source, classes) = _discriminator(size, 8)
  assert source.shape == (2,)
  assert classes.shape == (2, 7)


def test_label_and_latent_both_reach_the_image():
  network = acgan.Generator(8, 1, 4, 3)
  latents = jax.random.normal(jax.random.key(0), (3, 6))
  latents = latents.at[1].set(latents[0])
  labels = jnp.array([0, 1, 1])
  apply = jax.jit(functools.partial(network.init_with_output, train=False))
  images, _ = apply(jax.random.key(1), latents, labels)
  images = np.asarray(images)
  assert abs(images[0] - images[1]).max() > 1e-5
  assert abs(images[1] - images[2]).max() > 1e-5
  assert abs(images).max() <= 1


def test_labels_matter_from_a_size_on():
  latents, labels = jnp.ones((1, 6)), jnp.array([0])
  for size, joined in ((8, [8, 16]), (16, [16])):
    network = acgan.Generator(16, 1, 4, 3, conditional_from=size)
    init = functools.partial(network.init, train=False)
    variables = jax.jit(init)(jax.random.key(1), latents, labels)
    kernels = {
      name: x["kernel"].shape
      for name, x in variables["params"].items()
      if "join" in name
    }
    # A vector for each class, as wide as what the layer reads.
    assert kernels == {f"join_{n}": (3, 8 if n == 8 else 4) for n in joined}
    assert variables["params"]["Dense_0"]["kernel"].shape == (6, 16 * 8)
    apply = functools.partial(network.apply, variables, train=False)
    images, others = apply(latents, labels), apply(latents, labels + 1)
    assert (images != others).any()


def test_class_features_of_unit_norm():
  network = acgan.Discriminator(8, 4, 3, 0.0, 0.0, False, embedding=5)
  images = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
  init = functools.partial(network.init_with_output, train=False)
  (source, cosines, features), _ = jax.jit(init)(
    jax.random.key(1), images, None
  )
  assert source.shape == (2,)
  assert cosines.shape == (2, 3)
  assert features.shape == (2, 5)
  np.testing.assert_allclose(jnp.linalg.norm(features, axis=1), 1, rtol=1e-6)


def test_spectral_layers_stretch_by_at_most_one():
  # All layers together are Lipschitz: each kernel's matrix has norm 1, a 4x4
  # convolution of stride 2 covers each pixel 4 times (norm at most 2), leaky
  # ReLU 1. So the heads change by at most 2 a level times the input's change.
  network = acgan.Discriminator(16, 4, 3, 0.0, 0.0, True)
  x, y = jax.random.normal(jax.random.key(0), (2, 1, 16, 16, 3))
  init = jax.jit(functools.partial(network.init, train=False))
  variables = init(jax.random.key(1), x, None)
  big = jax.tree.map(lambda p: 50 * p, variables["params"])
  variables = {**variables, "params": big}

  @jax.jit
  def estimate(variables):
    options = {"train": True, "update_stats": True, "mutable": ["batch_stats"]}
    _, stats = network.apply(variables, x, None, **options)
    return {**variables, **stats}

  for _ in range(20):
    variables = estimate(variables)
  judge = jax.jit(lambda z: network.apply(variables, z, None, train=False))
  change = jnp.linalg.norm(
    jnp.concatenate(
      [(a - b).ravel() for a, b in zip(judge(x), judge(y), strict=True)]
    )
  )
  assert 0 < float(change) <= 4 * float(jnp.linalg.norm(x - y))
