"""Tests of models/convolution.py: results equal XLA's, by matrix products."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from skinjax.models import convolution

pytestmark = pytest.mark.usefixtures("products")

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_CONVS = [(1, 1), (3, 1), (5, 1), (4, 2), (5, 2)]
_PADDING = {(4, 2): (1, 1), (5, 2): (1, 2)}


def _draw(seed, *shapes, dtype=np.float64):
  rng = np.random.default_rng(seed)
  return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def _native_conv(x, kernel, *, stride=1):
  k = kernel.shape[0]
  padding = _PADDING.get((k, stride), (k // 2, k // 2))
  return lax.conv_general_dilated(
    x, kernel, (stride, stride), [padding] * 2, dimension_numbers=_DIMENSIONS
  )


def _native_transpose(x, kernel):
  k = kernel.shape[0]
  low, high = _PADDING[k, 2]
  return lax.conv_general_dilated(
    x,
    kernel[::-1, ::-1],
    (1, 1),
    [(k - 1 - low, k - 1 - high)] * 2,
    lhs_dilation=(2, 2),
    dimension_numbers=_DIMENSIONS,
  )


def _native_upsample(x, kernel):
  return _native_conv(x.repeat(2, axis=1).repeat(2, axis=2), kernel)


def _native_downsample(x, kernel):
  b, h, w, _ = x.shape
  y = _native_conv(x, kernel)
  return y.reshape(b, h // 2, 2, w // 2, 2, -1).mean((2, 4))


_CASES = {
  f"conv{k}x{k}/{s}": (
    functools.partial(convolution.conv, stride=s),
    functools.partial(_native_conv, stride=s),
    k,
  )
  for k, s in _CONVS
} | {
  "transpose4x4": (convolution.conv_transpose, _native_transpose, 4),
  "transpose5x5": (convolution.conv_transpose, _native_transpose, 5),
  "upsample": (convolution.upsample_conv, _native_upsample, 3),
  "downsample": (convolution.conv_downsample, _native_downsample, 3),
}


def _case(name, dtype=np.float64, channels=3):
  """Return our function, the native one, images and a kernel."""
  ours, native, k = _CASES[name]
  x, kernel = _draw(0, (2, 8, 6, channels), (k, k, channels, 4), dtype=dtype)
  return ours, native, x, kernel


def _gradients(f, x, kernel):
  return jax.grad(lambda *a: jnp.sum(jnp.sin(f(*a))), (0, 1))(x, kernel)


def _penalties(f, x, kernel):
  """Return the gradients of the norm of the gradient by the images."""

  def length(x, kernel):
    return jnp.sum(_gradients(f, x, kernel)[0] ** 2)

  return jax.grad(length, (0, 1))(x, kernel)


def _assert_close(got, want, share):
  """Compare in shares of the largest value."""
  got, want = jax.tree.leaves(got), jax.tree.leaves(want)
  assert len(got) == len(want)
  for ours, theirs in zip(got, want, strict=True):
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert np.max(np.abs(ours - theirs)) <= share * np.max(np.abs(theirs))


@pytest.mark.parametrize("name", _CASES)
def test_values_and_gradients_equal_native_ones(name):
  with jax.enable_x64(True):
    ours, native, x, kernel = _case(name)
    both = lambda f: jax.jit(lambda *a: (f(*a), _gradients(f, *a)))
    program = both(ours).lower(x, kernel).compile()
    _assert_close(program(x, kernel), both(native)(x, kernel), 1e-12)
    assert " convolution(" not in program.as_text()


@pytest.mark.parametrize("name", ["conv3x3/1", "conv4x4/2", "transpose4x4"])
def test_gradients_of_gradients_equal_native_ones(name):
  with jax.enable_x64(True):
    ours, native, x, kernel = _case(name, channels=2)
    penalties = jax.jit(_penalties, static_argnums=0)
    got, want = penalties(ours, x, kernel), penalties(native, x, kernel)
    _assert_close(got, want, 1e-12)


@pytest.mark.parametrize(
  ("name", "channels", "features", "count"),
  [
    ("conv1x1/1", 3, 4, 1),
    ("conv3x3/1", 3, 4, 16),
    ("conv3x3/1", 1, 16, 1),
    ("conv4x4/2", 3, 4, 9),
    ("conv4x4/2", 1, 16, 1),
    ("conv5x5/1", 3, 4, 1),
    ("conv5x5/2", 3, 4, 16),
  ],
)
def test_few_and_many_channels_have_the_same_results_by_different_ways(
  name, channels, features, count
):
  ours, native, k = _CASES[name]
  with jax.enable_x64(True):
    shapes = (2, 6, 10, channels), (k, k, channels, features)
    x, kernel = _draw(0, *shapes)
    program = str(jax.make_jaxpr(ours)(x, kernel))
    assert program.count("dot_general[") == count
    _assert_close(jax.jit(ours)(x, kernel), native(x, kernel), 1e-12)


@pytest.mark.parametrize("name", ["conv3x3/1", "conv4x4/2", "transpose4x4"])
def test_tiles_lose_few_digits(name):
  ours, native, x, kernel = _case(name, np.float32, channels=64)
  with jax.enable_x64(True):
    exact = [jnp.asarray(np.asarray(a), np.float64) for a in (x, kernel)]
    want = np.asarray(native(*exact))
  assert want.dtype == np.float64
  got = jax.jit(ours)(x, kernel)
  assert np.max(np.abs(got - want)) <= 3e-6 * np.max(np.abs(want))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_low_precision_keeps_its_dtype(dtype):
  ours, native, x, kernel = _case("conv4x4/2", dtype)
  share = {jnp.float32: 1e-5, jnp.bfloat16: 0.03}[dtype]
  _assert_close(jax.jit(ours)(x, kernel), native(x, kernel), share)


@pytest.mark.parametrize("name", ["conv4x4/2", "transpose4x4"])
def test_every_transformation_works(name):
  with jax.enable_x64(True):
    ours, native, x, kernel = _case(name)

    variance = lambda f: lambda *a: jnp.var(f(*a))
    several, kernels = jnp.stack([x, x**2]), jnp.stack([kernel, -kernel])

    def transformed(f):
      by = jax.jvp(jax.grad(variance(f)), (x, kernel), (x, kernel))
      over_kernels = jax.vmap(f, (None, 0))(x, kernels)
      over_both = jax.vmap(jax.grad(variance(f), 1))(several, kernels)
      _, looped = lax.scan(lambda c, x: (c, f(x, kernel)), 0, several)
      return by, over_kernels, over_both, looped

    program = jax.jit(transformed, static_argnums=0)
    _assert_close(program(ours), program(native), 1e-12)
    alone = jax.pmap(ours)(x[None], kernel[None])[0]
    _assert_close(alone, native(x, kernel), 1e-12)


def test_a_native_convolution_is_detected():
  _, native, x, kernel = _case("conv4x4/2", np.float32)
  program = jax.jit(native).lower(x, kernel).compile()
  assert " convolution(" in program.as_text()


@pytest.mark.parametrize("name", _CASES)
def test_accelerators_have_only_native_convolutions(name):
  ours, _, x, kernel = _case(name, np.float32)
  step = jax.jit(jax.value_and_grad(lambda *a: jnp.sum(ours(*a) ** 2), (0, 1)))
  traced = step.trace(x, kernel)
  for platform in ("cuda", "tpu"):
    program = traced.lower(lowering_platforms=(platform,)).as_text()
    assert "stablehlo.convolution" in program
    assert "stablehlo.dot_general" not in program


@pytest.mark.parametrize(
  ("function", "image", "kernel", "message"),
  [
    (convolution.conv, (8, 8, 3), (3, 3, 3, 4), r"\(8, 8, 3\)"),
    (convolution.conv, (1, 8, 8, 3), (3, 3, 2, 4), r"\(3, 3, 2, 4\)"),
    (convolution.conv, (1, 8, 8, 3), (3, 5, 3, 4), r"\(3, 5, 3, 4\)"),
    (_CASES["conv4x4/2"][0], (1, 7, 8, 3), (4, 4, 3, 4), r"\(1, 7, 8, 3\)"),
    (convolution.conv_transpose, (1, 8, 8, 3), (3, 3, 3, 4), r"\(3, 3, 3, 4\)"),
    (convolution.upsample_conv, (1, 8, 8, 3), (4, 4, 3, 4), r"\(4, 4, 3, 4\)"),
  ],
)
def test_refused_shapes_are_named(function, image, kernel, message):
  with pytest.raises(ValueError, match=message):
    function(jnp.zeros(image), jnp.zeros(kernel))


def test_mixed_dtypes_are_refused():
  x, kernel = jnp.zeros((1, 6, 6, 2)), jnp.zeros((4, 4, 2, 2))
  with pytest.raises(ValueError, match="float32, the kernel is of bfloat16"):
    convolution.conv(x, kernel.astype(jnp.bfloat16), stride=2)
