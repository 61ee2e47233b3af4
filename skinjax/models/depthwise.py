"""Depthwise convolution, for XLA's CPU backend.

The backend's own takes 10 to 80 times as long as a sum of shifted images. The
gradients derived from such a sum are slow as well. So both are written here, in
forms that the backend compiles to loops over contiguous memory.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array

# Planes up to this height and width are computed pixel by pixel. That is faster
# for larger ones too, but takes long to compile.
_SMALL = 2


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: Array, kernel: Array, stride: int) -> Array:
  """Convolve by summing shifted images; shapes as in convolution.depthwise."""
  k = len(kernel)
  kernel = kernel[:, :, 0]
  (height, rows), (width, columns) = (
    _axis(size, k, stride) for size in x.shape[1:3]
  )
  if max(height, width) <= _SMALL:
    over = lambda axis, out: [(t, source) for t, o, source in axis if o == out]
    return _pixels(
      [over(rows, out) for out in range(height)],
      [over(columns, out) for out in range(width)],
      *(x, kernel),
    )
  pads = lax.padtype_to_pads(x.shape[1:3], (k, k), (stride, stride), "SAME")
  x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
  under = lambda tap, out: slice(tap, tap + (out - 1) * stride + 1, stride)
  return sum(
    x[:, under(i, height), under(j, width)] * kernel[i, j]
    for i in range(k)
    for j in range(k)
  )


def _axis(size, k, stride):
  """List the indices under the taps along an axis.

  Returns:
    The size of the output; every (tap, output index, input index) except those
    in the padding.
  """
  out = -(-size // stride)
  before = max((out - 1) * stride + k - size, 0) // 2
  triples = [
    (tap, i, i * stride + tap - before) for tap in range(k) for i in range(out)
  ]
  return out, [triple for triple in triples if 0 <= triple[2] < size]


def _pixels(rows, columns, x, kernel):
  """Sum pixel by pixel, given (tap, index in x) for each row and column."""
  pixel = lambda row, column: sum(
    x[:, source, place] * kernel[i, j]
    for i, source in row
    for j, place in column
  )
  lines = [jnp.stack([pixel(r, c) for c in columns], 1) for r in rows]
  return jnp.stack(lines, 1)


def _forward(x, kernel, stride):
  return conv(x, kernel, stride), (x, kernel)


def _backward(stride, inputs, gradient):
  x, kernel = inputs
  return (
    _to_input(gradient, kernel[:, :, 0], x.shape[1:3], stride),
    _to_kernel(gradient, x, len(kernel), stride)[:, :, None],
  )


conv.defvjp(_forward, _backward)


def _to_input(gradient, kernel, sizes, stride):
  """Return the input's gradient, which is also a sum of shifted gradients."""
  k = len(kernel)
  axes = [_axis(size, k, stride)[1] for size in sizes]
  if max(sizes) <= _SMALL:
    under = lambda axis, source: [(t, out) for t, out, s in axis if s == source]
    return _pixels(
      *(
        [under(axis, source) for source in range(size)]
        for axis, size in zip(axes, sizes, strict=True)
      ),
      *(gradient, kernel),
    )
  # By phases: a phase is the input's pixels that are under the same taps.
  (rows, top), (columns, left) = (_phases(size, k, stride) for size in sizes)
  height, width = (-(-size // stride) for size in sizes)
  padding = [(p, p) for p in (top, left)]
  padded = jnp.pad(gradient, ((0, 0), *padding, (0, 0)))
  phase = lambda row, column: sum(
    padded[:, top + di : top + di + height, left + dj : left + dj + width]
    * kernel[i, j]
    for i, di in row
    for j, dj in column
  )
  phases = [jnp.stack([phase(r, c) for c in columns], 3) for r in rows]
  batch, channels = len(gradient), gradient.shape[-1]
  shape = (batch, stride * height, stride * width, channels)
  return jnp.stack(phases, 2).reshape(shape)[:, : sizes[0], : sizes[1]]


def _phases(size, k, stride):
  """List the taps over each phase, which is an index modulo the stride.

  Returns:
    One list of (tap, shift of the gradient) per phase, and the largest shift.
  """
  out = -(-size // stride)
  before = max((out - 1) * stride + k - size, 0) // 2
  phases = [
    [
      (tap, (phase + before - tap) // stride)
      for tap in range(k)
      if (phase + before - tap) % stride == 0
    ]
    for phase in range(stride)
  ]
  return phases, max(abs(shift) for phase in phases for _, shift in phase)


def _to_kernel(gradient, x, k, stride):
  """Return the kernel's gradient: for each tap, a product with ones.

  The terms of a row are added up one by one, which XLA compiles to one loop;
  its own sums over all axes but the channels are ten times as slow.
  """
  (_, rows), (_, columns) = (_axis(size, k, stride) for size in x.shape[1:3])

  def tap(i, j):
    of_row = [(out, source) for t, out, source in rows if t == i]
    of_column = [(out, source) for t, out, source in columns if t == j]
    if not of_row or not of_column:
      return jnp.zeros_like(x[0, 0, 0])
    (first, source), (last, end) = of_row[0], of_row[-1]
    here = x[:, source : end + 1 : stride]
    there = gradient[:, first : last + 1]
    total = sum(here[:, :, s] * there[:, :, out] for out, s in of_column)
    total = total.reshape(-1, x.shape[-1])
    return jnp.ones(len(total), x.dtype) @ total

  return jnp.stack([jnp.stack([tap(i, j) for j in range(k)]) for i in range(k)])
