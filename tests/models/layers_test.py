"""Tests of layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax import randomness
from skinjax.models import layers


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


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_the_mean_exactly_for_the_rate_it_applies(rate):
  keys = randomness.by_example(jax.random.key(0), 40)
  y = np.asarray(layers.dropout(jnp.ones((40, 50, 10)), keys, rate))
  kept = 1 - round(256 * rate) / 256
  values = np.unique(y)
  assert len(values) == 2
  np.testing.assert_allclose(values, [0, 1 / kept], rtol=1e-6)
  assert abs(y.mean() - 1) < 5 * np.sqrt((1 - kept) / kept / y.size)


def test_dropout_of_rate_zero_needs_no_keys():
  x = jnp.arange(3.0)
  assert layers.dropout(x, None, 0.0) is x
