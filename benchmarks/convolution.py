r"""Compare the project's convolutions with XLA's own, layer by layer.

  python -m benchmarks.convolution [--batch=64] [--width=32] [--layers=REGEX] \
    [--repeats=5]

Each row times one layer's value and its gradients with respect to images and
kernel, in float32: XLA's native convolution outside a loop, then ours inside a
`lax.scan`, as in training. The share is relative to the throughput of a product
of large matrices.
"""

import functools
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import arguments
from skinjax.models import convolution

_STEPS = 4  # of the scan
_SIDE = 2048  # of the matrices multiplied for comparison


def layers(batch, width):
  """Yield name, function, native function, image shape and kernel shape."""
  conv, transpose = convolution.conv, convolution.conv_transpose
  down = functools.partial(conv, stride=2)
  for size, colors in ((64, 3), (32, 1)):
    widths = [width * 2**i for i in range(4 if size == 64 else 3)]
    pairs = list(zip([colors, *widths], widths, strict=False))
    for i, (c, o) in enumerate(pairs):
      s = size >> i
      image, kernel = (batch, s, s, c), (4, 4, c, o)
      yield f"down {s}x{s}x{c}", down, _native_down, image, kernel
    for i, (o, c) in reversed(list(enumerate(pairs))):
      s = size >> (i + 1)
      image, kernel = (batch, s, s, c), (4, 4, c, o)
      yield f"up {s}x{s}x{c}", transpose, _native_up, image, kernel
  for s, c in ((64, 32), (32, 32), (16, 64), (8, 128)):
    for k in (3, 1):
      image, kernel = (batch, s, s, c), (k, k, c, c)
      yield f"{k}x{k} {s}x{s}x{c}", conv, _native_same, image, kernel


def _native_same(x, kernel, stride=1):
  dimensions = ("NHWC", "HWIO", "NHWC")
  return lax.conv_general_dilated(
    x, kernel, (stride, stride), "SAME", dimension_numbers=dimensions
  )


_native_down = functools.partial(_native_same, stride=2)


def _native_up(x, kernel):
  dimensions = ("NHWC", "HWIO", "NHWC")
  return lax.conv_transpose(
    x, kernel, (2, 2), "SAME", dimension_numbers=dimensions
  )


def once(f):
  """Return a jitted function of f's value and the pullback of g."""

  def run(x, kernel, g):
    y, pullback = jax.vjp(f, x, kernel)
    return *pullback(g), y

  return jax.jit(run)


def looped(f):
  """Run `once(f)` in a scan in which each step depends on the previous one."""

  def step(carry, _):
    x, kernel, y = once(f)(*carry)
    return (x, kernel / jnp.linalg.norm(kernel), y), None

  return jax.jit(lambda *carry: lax.scan(step, carry, length=_STEPS)[0])


def seconds(f, *args, repeats):
  """Return the minimum time of a call, without compilation."""
  jax.block_until_ready(f(*args))
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(f(*args))
    times.append(time.perf_counter() - start)
  return min(times)


def product_rate(*, repeats: int = 8) -> float:
  """Return the machine's measured matrix-product throughput, in FLOP/s.

  This is the best of several products of two 2048x2048 float32 matrices.
  """
  rng = np.random.default_rng(0)
  square = jnp.asarray(rng.normal(size=(_SIDE, _SIDE)), jnp.float32)
  took = seconds(jax.jit(jnp.matmul), square, square, repeats=repeats)
  return 2 * _SIDE**3 / took


def main():
  """Print the table."""
  parser = arguments.Parser(
    "python -m benchmarks.convolution", description=__doc__.split("\n")[0]
  )
  add, number = parser.add_argument, arguments.positive
  add("--batch", type=number, default=64)
  add("--width", type=number, default=32)
  add("--layers", default="", help="regular expression")
  add("--repeats", type=number, default=5)
  args = parser.parse_args()
  rng = np.random.default_rng(0)
  draw = lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
  matmul = product_rate(repeats=args.repeats)
  print(f"product of 2048x2048 matrices: {matmul / 1e9:.0f} GFLOP/s")
  print(f"{'':16}{'native, no loop':>24}{'ours, in a scan':>28}")
  columns = f"{'ms':>12}{'GFLOP/s':>12}"
  print(f"{'layer':16}{columns}{columns}{'share':>8}")
  for name, f, native, image, kernel in layers(args.batch, args.width):
    if not re.search(args.layers, name):
      continue
    x, kernel = draw(image), draw(kernel) / np.sqrt(np.prod(kernel[:3]))
    g = draw(jax.eval_shape(f, x, kernel).shape)
    # A kernel is applied at every pixel of the smaller of the two images.
    operations = 6 * min(x[..., 0].size, g[..., 0].size) * kernel.size
    row = f"{name:16}"
    for run, steps in ((once(native), 1), (looped(f), _STEPS)):
      took = seconds(run, x, kernel, g, repeats=args.repeats) / steps
      row += f"{took * 1e3:12.1f}{operations / took / 1e9:12.0f}"
    print(f"{row}{operations / took / matmul:8.0%}", flush=True)


if __name__ == "__main__":
  main()
