"""The convolutions of the project, implemented by platform.

GPUs and TPUs run XLA's native convolution. XLA's CPU backend is slow at the
gradients of a convolution, and very slow at any convolution inside a loop, so
there the same numbers are computed by matrix products. Both are plain JAX: they
can be differentiated any number of times, in forward and reverse mode, and
batched (a depthwise convolution has only reverse-mode gradients).

Images are NHWC, kernels HWIO; both must have the same floating dtype, which is
the dtype of the result.
"""

import jax
import jax.numpy as jnp
from jax import lax

from skinjax.models import depthwise as shifted
from skinjax.models import products

Array = jax.Array


def conv(x: Array, kernel: Array, *, stride: int = 1) -> Array:
  """Convolve images [B, H, W, C] to [B, H / stride, W / stride, O].

  Padding is what XLA calls SAME: an odd kernel at stride 1 pads (k - 1) / 2 on
  each side; at stride 2, 4x4 pads 1 on each side, 5x5 1 before and 2 after.

  `kernel` is [k, k, C, O]: k is odd at stride 1, and 4 or 5 at stride 2, where
  H and W are even. Raises ValueError for any other shape.
  """
  _check(x, kernel, stride)
  if stride == 2 and (x.shape[1] % 2 or x.shape[2] % 2):
    raise ValueError(f"Stride 2 needs an even height and width: {x.shape}")
  return _by_platform(
    x,
    kernel,
    cpu=lambda x, kernel: products.conv(x, kernel, stride),
    native=lambda x, kernel: _native(x, kernel, stride),
  )


def conv_transpose(x: Array, kernel: Array) -> Array:
  """Apply the transpose of `conv` at stride 2, which doubles height and width.

  As a linear map of images [B, H, W, C] to [B, 2 * H, 2 * W, O] it is the
  adjoint of `conv(_, kernel.swapaxes(2, 3), stride=2)`. Raises ValueError for
  a kernel other than [k, k, C, O], k 4 or 5.
  """
  _check(x, kernel, stride=2)
  return _by_platform(
    x, kernel, cpu=products.conv_transpose, native=_transposed_native
  )


def upsample_conv(x: Array, kernel: Array) -> Array:
  """Repeat every pixel 2x2, then convolve with a kernel [3, 3, C, O].

  Both in one: a 4x4 transposed convolution whose taps are sums of the
  kernel's, with 4/9 of the products. Returns [B, 2 * H, 2 * W, O] of images
  [B, H, W, C]; raises ValueError for any other shape.
  """
  return conv_transpose(x, _boxed(kernel)[::-1, ::-1])


def conv_downsample(x: Array, kernel: Array) -> Array:
  """Convolve with a kernel [3, 3, C, O], then average every 2x2 pixels.

  Both in one: a 4x4 convolution of stride 2 whose taps are means of the
  kernel's, with 4/9 of the products. Returns [B, H / 2, W / 2, O] of images
  [B, H, W, C], H and W even; raises ValueError for any other shape.
  """
  return conv(x, _boxed(kernel) / 4, stride=2)


def depthwise(x: Array, kernel: Array, *, stride: int = 1) -> Array:
  """Convolve every channel with its own kernel, with SAME padding.

  Maps images [B, H, W, C] with kernels [k, k, 1, C] to
  [B, ceil(H / stride), ceil(W / stride), C].
  """
  return _by_platform(
    x,
    kernel,
    cpu=lambda x, kernel: shifted.conv(x, kernel, stride),
    native=lambda x, kernel: _native(x, kernel, stride, x.shape[3]),
  )


def _by_platform(x, kernel, *, cpu, native):
  return lax.platform_dependent(x, kernel, cpu=cpu, default=native)


def _check(x, kernel, stride):
  """Raise ValueError unless the convolution is supported."""
  k = kernel.shape[0]
  if (
    x.ndim != 4
    or kernel.shape[:-1] != (k, k, x.shape[3])
    or not (k in (4, 5) if stride == 2 else stride == 1 and k % 2)
  ):
    raise ValueError(
      "Images are [B, H, W, C], kernels [k, k, C, O], k odd at stride 1, 4 or "
      f"5 at stride 2; got {x.shape} and {kernel.shape} at stride {stride}"
    )
  if x.dtype != kernel.dtype:
    raise ValueError(
      f"Images are of {x.dtype}, the kernel is of {kernel.dtype}"
    )


def _boxed(kernel):
  """Convolve a 3x3 kernel with a 2x2 box: [3, 3, C, O] to [4, 4, C, O]."""
  if kernel.shape[:2] != (3, 3):
    raise ValueError(f"The kernel is [3, 3, C, O], not {kernel.shape}")
  rows = jnp.pad(kernel, ((1, 1), (1, 1), (0, 0), (0, 0)))
  columns = rows[:-1] + rows[1:]
  return columns[:, :-1] + columns[:, 1:]


def _native(x, kernel, stride, groups=1):
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    "SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=groups,
  )


def _transposed_native(x, kernel):
  return lax.conv_transpose(
    x,
    kernel[::-1, ::-1],
    (2, 2),
    "SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
