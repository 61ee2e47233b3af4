"""Tests of models/depthwise.py: results equal XLA's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models import convolution, depthwise


def _with_gradients(conv, x, kernel, stride, weights):
  loss = lambda x, kernel: jnp.sum(weights * conv(x, kernel, stride))
  gradients = jax.grad(loss, argnums=(0, 1))(x, kernel)
  return conv(x, kernel, stride), *gradients


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(7, 6), (1, 1), (2, 2), (8, 3)])
def test_values_and_gradients_equal_native_ones(kernel_size, stride, shape):
  rng = np.random.default_rng(0)
  out = [-(-size // stride) for size in shape]
  with jax.enable_x64(True):
    x, kernel, weights = (
      jnp.asarray(rng.normal(size=size))
      for size in (
        (2, *shape, 3),
        (kernel_size, kernel_size, 1, 3),
        (2, *out, 3),
      )
    )
    run = jax.jit(_with_gradients, static_argnums=(0, 3))
    native = functools.partial(convolution._native, groups=3)
    got = run(depthwise.conv, x, kernel, stride, weights)
    wanted = run(native, x, kernel, stride, weights)
  for a, b in zip(got, wanted, strict=True):
    assert a.dtype == np.float64
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
