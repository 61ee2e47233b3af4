"""Convolutions as matrix products, for XLA's CPU backend.

The backend multiplies matrices at the speed of the machine, but is slow at the
gradients of a convolution. This is plain JAX, so all its transformations work.
"""

import jax
import jax.numpy as jnp
from jax import export, lax

Array = jax.Array


def conv(x: Array, kernel: Array, stride: int) -> Array:
  """Convolve by matrix products.

  Products are fast; the copies around them take the time. So a kernel is
  applied to tiles of 2x2 outputs, with half the products or less and few
  copies. If it takes far fewer copies (an image with few channels), the kernel
  is instead applied to the pixels under it, laid side by side (im2col).

  Shapes are those of convolution.conv.
  """
  dtype = x.dtype
  if dtype.itemsize < 4:  # Sums of tiles need the precision.
    x, kernel = x.astype(jnp.float32), kernel.astype(jnp.float32)
  k, _, c, o = kernel.shape
  taps = -(-k // stride)
  per_tile = (taps + 1) ** 2 * (stride**2 * c + o)
  fast = taps in _FAST and 2 * (4 * k**2 * c) > per_tile
  form = _tiles if fast else _columns
  return form(x, kernel, stride).astype(dtype)


def _columns(x, kernel, stride):
  """Convolve by one product: the taps side by side, times the kernel."""
  b, height, width, c = x.shape
  k = kernel.shape[0]
  h, w = height // stride, width // stride
  taps = -(-k // stride)
  before = (k - stride) // 2
  below, right = k - stride - before, stride * (taps - 1) - before
  x = jnp.pad(x, ((0, 0), (before, below), (before, right), (0, 0)))
  # Pixels that are adjacent in the image are copied as one piece.
  x = x.reshape(b, -1, w + taps - 1, stride * c)
  pieces = [
    x[:, i::stride, j : j + w, : min(stride, k - stride * j) * c][:, :h]
    for i in range(k)
    for j in range(taps)
  ]
  x = jnp.concatenate(pieces, axis=-1)
  return _times(x, kernel.reshape(-1, kernel.shape[3]))


# By number of taps n: two outputs of a filter take n + 1 products, not 2 n:
#   y = outputs @ ((inputs @ x) * (weights @ kernel))
# (Winograd 1980; for images: Lavin, Gray 2016). Larger tiles take even fewer
# products, but lose precision, and took longer.
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
  """Convolve in tiles of 2x2 outputs.

  At stride 2, every 2x2 pixels are treated as one pixel with four times the
  channels, in a convolution of stride 1 with half as many taps.
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
  # A tile's pixels: its own two on each axis, then the first of the next tile.
  x = _unstack(x, 2)
  x = [x[i % 2][:, i // 2 : i // 2 + rows] for i in reach]
  x = [_combine(row, x) for row in inputs]
  x = [_unstack(y, 4) for y in x]
  x = [[y[j % 2][:, :, :, j // 2 : j // 2 + columns] for j in reach] for y in x]
  x = [[_combine(column, y) for column in inputs] for y in x]
  kernel = [_combine(row, _unstack(kernel, 0)) for row in weights]
  kernel = [_unstack(y, 1) for y in kernel]
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
  """Interleave four images that each hold every second row and column."""
  b, rows, columns, o = y[0][0].shape
  y = jnp.stack([jnp.stack(row, axis=3) for row in y], axis=2)
  return y.reshape(b, 2 * rows, 2 * columns, o)


@_interleave.defjvp
def _interleave_tangent(y, tangent):
  """Interleave, by way of a padded image.

  The gradient is then padded too, which makes XLA store the incoming gradient
  instead of recomputing it in each of the 9 or 16 sums that use it.
  """
  (y,), (tangent,) = y, tangent
  rows = y[0][0].shape[1]
  pad = lambda x: jnp.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)))
  return _interleave(y), _interleave(jax.tree.map(pad, tangent))[:, : 2 * rows]


def _unstack(x, axis):
  """Split an array along an axis.

  This does the same as indexing, but its gradient is one concatenation. That of
  indexing is a sum of padded arrays, which XLA recomputes for each use.
  """
  parts = lax.split(x, [1] * x.shape[axis], axis)
  return [part.squeeze(axis) for part in parts]


def _combine(weights, arrays):
  """Sum weighted arrays; most weights are 0, 1 or -1."""
  terms = [
    array if weight == 1 else weight * array
    for weight, array in zip(weights, arrays, strict=True)
    if weight
  ]
  return sum(terms[1:], start=terms[0])


def _times(x, kernel):
  """Multiply [..., K] by [K, O]."""
  # A symbolic batch size, as in an exported program, counts as a large one.
  if export.is_symbolic_dim(x.size) or x.size > 4 * x.shape[-1] * len(kernel):
    # The kernel's gradient is a product of two tall matrices, one of which XLA
    # transposes: the narrow one, if the kernel is laid out like this.
    kernel = lax.optimization_barrier(kernel.T)
    return lax.dot_general(x, kernel, (((x.ndim - 1,), (1,)), ((), ())))
  return x @ kernel


def conv_transpose(x: Array, kernel: Array) -> Array:
  """Apply the transpose of `conv` at stride 2; see convolution.py."""
  b, h, w, _ = x.shape
  image = jnp.zeros((b, 2 * h, 2 * w, kernel.shape[3]), x.dtype)
  forward = lambda y: conv(y, kernel.swapaxes(2, 3), 2)
  return jax.vjp(forward, image)[1](x)[0]
