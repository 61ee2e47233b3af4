"""Times of compiled calls, and the rate that this machine multiplies at."""

import time

import jax
import jax.numpy as jnp
import numpy as np

_SIDE = 2048


def seconds(f, *args, repeats):
  """Return the least time of a call, compilation apart."""
  jax.block_until_ready(f(*args))
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(f(*args))
    times.append(time.perf_counter() - start)
  return min(times)


def product_rate(*, repeats: int = 8) -> float:
  """Return the machine's measured matrix-product rate, in FLOP/s.

  That of a product of two 2048x2048 float32 matrices: the best of several.
  """
  rng = np.random.default_rng(0)
  square = jnp.asarray(rng.normal(size=(_SIDE, _SIDE)), jnp.float32)
  took = seconds(jax.jit(jnp.matmul), square, square, repeats=repeats)
  return 2 * _SIDE**3 / took
