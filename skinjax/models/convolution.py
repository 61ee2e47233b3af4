"""The one convolution of the project, chosen by platform.

GPUs and TPUs run XLA's native convolution. XLA's CPU backend is slow at the
gradients of a convolution, and very slow at any convolution inside a loop, so
there the same numbers come out of matrix products. Both are plain JAX: they
differentiate any number of times, forwards and backwards, and batch.

Images are NHWC, kernels HWIO; both must have the same floating dtype, which is
the dtype of the result.
"""

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array


def conv(x: Array, kernel: Array, *, stride: int = 1) -> Array:
  """Convolve with the padding that XLA calls SAME.

  An odd kernel at stride 1 pads (k - 1) / 2 on each side; at stride 2, 4x4
  pads 1 on each side and 5x5 pads 1 before and 2 after.

  Args:
    x: images, [B, H, W, C]; H and W even at stride 2.
    kernel: [k, k, C, O]; k odd at stride 1, k 4 or 5 at stride 2.
    stride: 1 or 2.

  Returns:
    [B, H / stride, W / stride, O].

  Raises:
    ValueError: for any other shape.
  """
  _check(x, kernel, stride)
  if stride == 2 and (x.shape[1] % 2 or x.shape[2] % 2):
    raise ValueError(f"Stride 2 needs an even height and width: {x.shape}")
  return lax.platform_dependent(
    x,
    kernel,
    cpu=lambda x, kernel: _products(x, kernel, stride),
    default=lambda x, kernel: _native(x, kernel, stride),
  )


def conv_transpose(x: Array, kernel: Array, *, stride: int = 2) -> Array:
  """Apply the transpose of `conv`, which doubles height and width.

  As a linear map of the images it is the adjoint of
  `conv(_, kernel.swapaxes(2, 3), stride=2)`.

  Args:
    x: images, [B, H, W, C].
    kernel: [k, k, C, O]; k 4 or 5.
    stride: 2.

  Returns:
    [B, 2 * H, 2 * W, O].

  Raises:
    ValueError: for any other shape.
  """
  if stride != 2:
    raise ValueError(f"A transposed convolution has stride 2, not {stride}")
  _check(x, kernel, stride)
  return lax.platform_dependent(
    x,
    kernel,
    cpu=_transposed_products,
    default=_transposed_native,
  )


def upsample_conv(x: Array, kernel: Array) -> Array:
  """Repeat every pixel 2x2, then convolve with a 3x3 kernel.

  Both in one: a 4x4 transposed convolution whose taps are sums of the
  kernel's, with 4/9 of the products.

  Args:
    x: images, [B, H, W, C].
    kernel: [3, 3, C, O].

  Returns:
    [B, 2 * H, 2 * W, O].

  Raises:
    ValueError: for any other shape.
  """
  return conv_transpose(x, _boxed(kernel)[::-1, ::-1])


def conv_downsample(x: Array, kernel: Array) -> Array:
  """Convolve with a 3x3 kernel, then average every 2x2 pixels.

  Both in one: a 4x4 convolution of stride 2 whose taps are means of the
  kernel's, with 4/9 of the products.

  Args:
    x: images, [B, H, W, C]; H and W even.
    kernel: [3, 3, C, O].

  Returns:
    [B, H / 2, W / 2, O].

  Raises:
    ValueError: for any other shape.
  """
  return conv(x, _boxed(kernel) / 4, stride=2)


def _check(x, kernel, stride):
  """Raise ValueError unless the convolution is one of those promised."""
  if x.ndim != 4:
    raise ValueError(f"Images are [B, H, W, C], not of shape {x.shape}")
  if kernel.ndim != 4 or kernel.shape[2] != x.shape[3]:
    raise ValueError(
      f"A kernel for images of shape {x.shape} is [k, k, {x.shape[3]}, O], "
      f"not of shape {kernel.shape}"
    )
  k = kernel.shape[0]
  if kernel.shape[1] != k or not (
    (stride == 1 and k % 2 == 1) or (stride == 2 and k in (4, 5))
  ):
    raise ValueError(
      "Kernels are odd squares at stride 1, and 4x4 or 5x5 at stride 2; got "
      f"shape {kernel.shape} at stride {stride}"
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


def _native(x, kernel, stride):
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    "SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def _transposed_native(x, kernel):
  return lax.conv_transpose(
    x,
    kernel[::-1, ::-1],
    (2, 2),
    "SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def _products(x, kernel, stride):
  """Convolve by matrix products.

  Products are fast; the copies around them are what takes time. So a kernel is
  applied to tiles of 2x2 outputs, with half the products or less and few
  copies; or, where that copies much less (an image's few channels), to the
  pixels under it laid side by side.

  Args:
    x: images, [B, H, W, C].
    kernel: [k, k, C, O].
    stride: 1 or 2.

  Returns:
    [B, H / stride, W / stride, O].
  """
  dtype = x.dtype
  if dtype.itemsize < 4:  # Sums of tiles need the digits.
    x, kernel = x.astype(jnp.float32), kernel.astype(jnp.float32)
  k, _, c, o = kernel.shape
  taps = -(-k // stride)
  per_tile = (taps + 1) ** 2 * (stride**2 * c + o)
  fast = taps in _FAST and 2 * (4 * k**2 * c) > per_tile
  form = _tiles if fast else _columns
  return form(x, kernel, stride).astype(dtype)


def _columns(x, kernel, stride):
  """Convolve by one product: the taps side by side, times the kernel."""
  height, width = x.shape[1:3]
  k = kernel.shape[0]
  before = (k - stride) // 2
  around = (before, k - stride - before)
  x = jnp.pad(x, ((0, 0), around, around, (0, 0)))
  taps = [
    x[:, i : i + height : stride, j : j + width : stride]
    for i in range(k)
    for j in range(k)
  ]
  x = jnp.concatenate(taps, axis=-1)
  return _times(x, kernel.reshape(-1, kernel.shape[3]))


# Two outputs of a filter of so many taps from one product more than it has
# taps, instead of twice as many: y = outputs @ ((inputs @ x) * (taps @ kernel))
# (Winograd 1980; of images: Lavin, Gray 2016). Larger tiles need still fewer
# products, but lose digits, and took longer.
_FAST = {
  2: (
    ((1, -1, 0), (0, 1, 0), (0, -1, 1)),
    ((1, 0), (1, 1), (0, 1)),
    ((1, 1, 0), (0, 1, 1)),
  ),
  3: (
    ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, -1, 0, 1)),
    ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
    ((1, 1, 1, 0), (0, 1, -1, 1)),
  ),
}


def _tiles(x, kernel, stride):
  """Convolve tile by tile of 2x2 outputs.

  At stride 2 every 2x2 pixels count as one of four times the channels, of a
  convolution of stride 1 with half as many taps.
  """
  b, height, width, c = x.shape
  k, o = kernel.shape[1], kernel.shape[3]
  h, w = height // stride, width // stride
  rows, columns = -(-h // 2), -(-w // 2)
  taps = -(-k // stride)
  inputs, weights, outputs = _FAST[taps]
  before = (k - stride) // 2
  pad = lambda size, n: (before, 2 * stride * (n + 1) - size - before)
  x = jnp.pad(x, ((0, 0), pad(height, rows), pad(width, columns), (0, 0)))
  x = x.reshape(b, rows + 1, 2, stride, columns + 1, 2, stride * c)
  kernel = jnp.pad(kernel, ((0, stride * taps - k),) * 2 + ((0, 0),) * 2)
  kernel = kernel.reshape(taps, stride, taps, stride, c, o)
  reach = range(taps + 1)
  # A tile's pixels: its own two of each axis, then the first of the next tile.
  x = [y.squeeze(2) for y in lax.split(x, [1, 1], axis=2)]
  x = [x[i % 2][:, i // 2 : i // 2 + rows] for i in reach]
  x = [_combine(row, x) for row in inputs]
  x = [[z.squeeze(4) for z in lax.split(y, [1, 1], axis=4)] for y in x]
  x = [[y[j % 2][:, :, :, j // 2 : j // 2 + columns] for j in reach] for y in x]
  x = [[_combine(column, y) for column in inputs] for y in x]
  kernel = [y.squeeze(0) for y in lax.split(kernel, [1] * taps, axis=0)]
  kernel = [_combine(row, kernel) for row in weights]
  kernel = [
    [z.squeeze(1) for z in lax.split(y, [1] * taps, axis=1)] for y in kernel
  ]
  kernel = [[_combine(column, y) for column in weights] for y in kernel]
  products = [
    [
      _times(
        x[i][j].swapaxes(2, 3).reshape(b * rows * columns, -1),
        kernel[i][j].reshape(-1, o),
      )
      for j in reach
    ]
    for i in reach
  ]
  y = [
    [_combine(row, column) for column in zip(*products, strict=True)]
    for row in outputs
  ]
  y = [[_combine(column, z) for column in outputs] for z in y]
  y = [[z.reshape(b, rows, columns, o) for z in row] for row in y]
  return _interleave(y)[:, :h, :w]


@jax.custom_jvp
def _interleave(y):
  """Make images of four images that hold every second row and column."""
  b, rows, columns, o = y[0][0].shape
  y = jnp.stack([jnp.stack(row, axis=3) for row in y], axis=2)
  return y.reshape(b, 2 * rows, 2 * columns, o)


@_interleave.defjvp
def _interleave_tangent(y, tangent):
  """As the function, by way of a padded image.

  The gradient then pads, too, which makes XLA store the gradient that it is
  given instead of computing it anew in each of the 9 or 16 sums that use it.
  """
  (y,), (tangent,) = y, tangent
  rows = y[0][0].shape[1]
  pad = lambda x: jnp.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)))
  return _interleave(y), _interleave(jax.tree.map(pad, tangent))[:, : 2 * rows]


def _combine(weights, arrays):
  """Add up arrays with weights, of which most are 0, 1 or -1."""
  terms = [
    array if weight == 1 else weight * array
    for weight, array in zip(weights, arrays, strict=True)
    if weight
  ]
  return sum(terms[1:], start=terms[0])


def _times(x, kernel):
  """Multiply [..., K] by [K, O]."""
  if x.size > 4 * x.shape[-1] * len(kernel):
    # The kernel's gradient is a product of two tall matrices of which XLA
    # transposes one: the narrow one, if the kernel is laid out like this.
    kernel = lax.optimization_barrier(kernel.T)
    return lax.dot_general(x, kernel, (((x.ndim - 1,), (1,)), ((), ())))
  return x @ kernel


def _transposed_products(x, kernel):
  b, h, w, _ = x.shape
  image = jnp.zeros((b, 2 * h, 2 * w, kernel.shape[3]), x.dtype)
  forward = lambda y: _products(y, kernel.swapaxes(2, 3), 2)
  return jax.vjp(forward, image)[1](x)[0]
