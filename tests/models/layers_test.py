"""Tests of models/layers.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models import layers
from skinjax.runtime import randomness


def test_dense_is_a_matrix_product_with_bias():
  layer = layers.Dense(2)
  params = {
    "kernel": jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    "bias": jnp.array([10.0, 20.0]),
  }
  y = layer.apply({"params": params}, jnp.array([[1.0, 0.0, -1.0]]))
  assert y.tolist() == [[10 + 1 - 5, 20 + 2 - 6]]


def test_conv_of_one_pixel_is_dense():
  layer = layers.Conv(2, kernel_size=1)
  params = {"kernel": jnp.full((1, 1, 3, 2), 2.0), "bias": jnp.array([1.0, 0])}
  y = layer.apply({"params": params}, jnp.ones((1, 4, 4, 3)))
  assert y.shape == (1, 4, 4, 2)
  np.testing.assert_allclose(y[0, 0, 0], [7, 6])
  assert "bias" not in layers.Conv(2, use_bias=False).init(
    jax.random.key(0), jnp.ones((1, 4, 4, 3))
  ).get("params")


def test_parameters_are_float64_where_jax_is():
  with jax.enable_x64(True):
    x = jnp.ones((2, 4, 4, 3))
    for layer in (layers.Dense(2), layers.Conv(2)):
      variables = layer.init(jax.random.key(0), x)
      assert {p.dtype for p in jax.tree.leaves(variables)} == {x.dtype}


def test_batch_norm_is_over_the_whole_batch_whatever_devices_hold_it():
  x = jax.random.normal(jax.random.key(0), (16, 2, 2, 3)) * 3 + 1
  layer = layers.BatchNorm()
  variables = layer.init(jax.random.key(1), x, train=False)
  whole, stats = layer.apply(variables, x, train=True, mutable=["batch_stats"])
  plain = np.asarray(x)
  mean, variance = plain.mean((0, 1, 2)), plain.var((0, 1, 2))
  np.testing.assert_allclose(
    whole, (plain - mean) / np.sqrt(variance + 1e-5), rtol=1e-4, atol=1e-4
  )
  running = stats["batch_stats"]["BatchNorm_0"]
  # Momentum 0.9 from mean 0 and variance 1.
  np.testing.assert_allclose(running["mean"], 0.1 * mean, rtol=1e-4)
  np.testing.assert_allclose(running["var"], 0.9 + 0.1 * variance, rtol=1e-4)

  parts = jax.pmap(
    lambda part: layers.BatchNorm("devices").apply(
      variables, part, train=True, mutable=["batch_stats"]
    ),
    axis_name="devices",
  )(x.reshape(8, 2, 2, 2, 3))
  got = np.asarray(parts[0]).reshape(x.shape)
  np.testing.assert_allclose(got, whole, rtol=1e-4, atol=1e-5)
  got = np.asarray(parts[1]["batch_stats"]["BatchNorm_0"]["var"])
  np.testing.assert_allclose(got, np.tile(running["var"], (8, 1)), rtol=1e-5)


def test_batch_norm_evaluates_by_its_running_statistics():
  layer = layers.BatchNorm()
  variables = {
    "params": {"BatchNorm_0": {"scale": jnp.ones(1), "bias": jnp.zeros(1)}},
    "batch_stats": {
      "BatchNorm_0": {"mean": jnp.array([2.0]), "var": jnp.array([4.0])}
    },
  }
  y = layer.apply(variables, jnp.array([[4.0], [2.0]]), train=False)
  np.testing.assert_allclose(y, [[1.0], [0.0]], atol=1e-5)


def test_dropout_keeps_the_mean_exactly_for_the_rate_it_applies():
  rate = 0.1
  keys = randomness.by_example(jax.random.key(0), 40)
  y = np.asarray(layers.dropout(jnp.ones((40, 50, 10)), keys, rate))
  kept = 1 - round(256 * rate) / 256
  values = np.unique(y)
  assert len(values) == 2
  np.testing.assert_allclose(values, [0, 1 / kept], rtol=1e-6)
  assert abs(y.mean() - 1) < 5 * np.sqrt((1 - kept) / kept / y.size)
  assert layers.dropout(y, None, 0.0) is y  # needs no keys


@pytest.mark.parametrize("inputs", [8, 200])
def test_equalized_layers_have_unit_gain(inputs):
  x = jax.random.normal(jax.random.key(1), (64, 6, 6, inputs))
  layer = layers.Conv(64, gain=1.0)
  variables = layer.init(jax.random.key(0), x)
  # The weights themselves are of N(0, 1), whatever the layer's size.
  assert variables["params"]["kernel"].std() == pytest.approx(1, abs=0.05)
  inside = layer.apply(variables, x)[:, 1:-1, 1:-1]
  assert inside.std() == pytest.approx(1, abs=0.05)
  layer = layers.Dense(64, gain=2.0)
  flat = x.reshape(-1, inputs)
  variables = layer.init(jax.random.key(0), flat)
  assert layer.apply(variables, flat).std() == pytest.approx(2, abs=0.15)


def test_an_equalized_layer_on_numbers():
  # 4 inputs, gain 3: the kernel counts 3 / sqrt(4) times.
  layer = layers.Dense(1, gain=3.0)
  kernel = jnp.array([[1.0], [2.0], [3.0], [4.0]])
  params = {"kernel": kernel, "bias": jnp.array([0.5])}
  y = layer.apply({"params": params}, jnp.ones((1, 4)))
  assert y.tolist() == [[1.5 * 10 + 0.5]]
  bare = layers.Dense(1, use_bias=False).init(jax.random.key(0), kernel.T)
  assert list(bare["params"]) == ["kernel"]


def test_pixel_norm():
  # Root mean squares sqrt((9 + 16) / 2) and 1.
  x = jnp.array([[3.0, 4.0], [1.0, -1.0]])
  scale = np.sqrt(12.5)
  np.testing.assert_allclose(
    layers.pixel_norm(x), [[3 / scale, 4 / scale], [1, -1]], rtol=1e-6
  )
  assert not layers.pixel_norm(jnp.zeros((1, 3))).any()
  assert layers.pixel_norm(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_smoothed_by_hand():
  point = jnp.zeros((1, 3, 3, 1)).at[0, 1, 1, 0].set(16.0)
  wanted = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
  np.testing.assert_array_equal(layers.smoothed(point)[0, ..., 0], wanted)
  corner = jnp.zeros((1, 3, 3, 1)).at[0, 0, 0, 0].set(16.0)
  wanted = [[9, 3, 0], [3, 1, 0], [0, 0, 0]]  # the edge is repeated
  np.testing.assert_array_equal(layers.smoothed(corner)[0, ..., 0], wanted)
  # Stripes of a pixel are gone, but for the edges.
  stripes = jnp.tile(jnp.array([1.0, -1.0]), 4)[None, None, :, None]
  left = layers.smoothed(jnp.broadcast_to(stripes, (1, 8, 8, 2)))
  np.testing.assert_array_equal(left[:, :, 1:-1], 0)


def test_minibatch_deviation():
  # Two groups of two images of 1x2 pixels with one feature: within the first
  # the pixels differ by 2 and 4 (deviations 1 and 2), in the second not.
  x = jnp.array([[0.0, 1], [2, 5], [7, 7], [7, 7]]).reshape(4, 1, 2, 1)
  y = layers.minibatch_deviation(x, group=2)
  assert y.shape == (4, 1, 2, 2)
  np.testing.assert_array_equal(y[..., :1], x)
  np.testing.assert_allclose(y[:2, ..., 1], np.full((2, 1, 2), 1.5), 1e-6)
  np.testing.assert_allclose(y[2:, ..., 1], np.full((2, 1, 2), 1e-4), 1e-3)
  with pytest.raises(ValueError, match="A batch of 4 has no groups of 3"):
    layers.minibatch_deviation(x, group=3)


def test_groups_are_contiguous_so_that_devices_do_not_split_them():
  x = jax.random.normal(jax.random.key(0), (32, 2, 2, 3))
  whole = layers.minibatch_deviation(x)
  parts = jax.pmap(layers.minibatch_deviation)(x.reshape(8, 4, 2, 2, 3))
  np.testing.assert_allclose(parts.reshape(whole.shape), whole, rtol=1e-6)


def test_cosine_logits_by_hand():
  layer = layers.CosineLogits(2)
  # Proxies along (3, 4) and (0, 1), of whatever lengths.
  params = {"kernel": jnp.array([[3.0, 0.0], [4.0, 0.1]])}
  x = jnp.array([[2.0, 0.0], [-6.0, -8.0], [0.0, 0.0]])
  cosines, unit = layer.apply({"params": params}, x)
  wanted = [[0.6, 0], [-1, -0.8], [0, 0]]
  np.testing.assert_allclose(cosines, wanted, rtol=1e-6)
  np.testing.assert_allclose(unit, [[1, 0], [-0.6, -0.8], [0, 0]], rtol=1e-6)
  loss = lambda x: jnp.sum(layer.apply({"params": params}, x)[0])
  assert np.isfinite(jax.grad(loss)(x)).all()
