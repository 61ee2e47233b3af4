"""Keys derived from one seed by name, step and example: nothing is stored.

What differs by example is drawn from a key of its own, made from the example's
place in the whole batch. So step n draws the same numbers on any number of
devices, and each device draws only its own part.
"""

import math
import zlib

import jax
import jax.numpy as jnp


def named(key: jax.Array, name: str) -> jax.Array:
  """Derive the key of a named stream."""
  return jax.random.fold_in(key, zlib.crc32(name.encode()))


def by_example(
  key: jax.Array, batch_size: int, axis_name: str | None = None
) -> jax.Array:
  """Derive keys [batch_size], by the examples' places in the whole batch.

  The key is the same on every device; `batch_size` counts this device's
  examples, its part of the batch along `axis_name`.
  """
  first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * batch_size
  places = first + jnp.arange(batch_size)
  return jax.vmap(jax.random.fold_in, (None, 0))(key, places)


def by_content(rows: jax.Array) -> jax.Array:
  """Derive keys [batch] from the numbers of rows, floats [batch, n]."""
  bits = jax.lax.bitcast_convert_type(rows.astype(jnp.float32), jnp.uint32)
  # An odd multiplier each: no place of a row counts for nothing.
  places = jnp.arange(rows.shape[1], dtype=jnp.uint32)
  odd = 2 * places * jnp.uint32(0x9E3779B1) + 1
  words = (bits * odd).sum(1, dtype=jnp.uint32)
  words ^= words >> 15
  return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), words)


def stream(keys: jax.Array, name: str) -> jax.Array:
  """Derive each example's key of a named stream, [batch] from [batch]."""
  return jax.vmap(lambda key: named(key, name))(keys)


def normal(
  keys: jax.Array, shape: tuple[int, ...], most: float = 0.0
) -> jax.Array:
  """Draw standard normal numbers [batch, *shape], an example from each key.

  With `most` above 0 they are distributed as if those beyond ±`most` were
  drawn again.
  """

  def draw(key):
    if most:
      return jax.random.truncated_normal(key, -most, most, shape)
    return jax.random.normal(key, shape)

  return jax.vmap(draw)(keys)


def keep_mask(
  keys: jax.Array, shape: tuple[int, ...], rate: float
) -> jax.Array:
  """Draw the elements that dropout keeps, booleans [batch, *shape].

  True with probability 1 - round(256 rate) / 256, for rates in [0, 1). Elements
  share the 32 bits of a draw, as many as the rate leaves room for: 4 in
  general, 16 at 1/4, 32 at 1/2. `jax.random.bernoulli` takes 32 bits an
  element.
  """
  dropped, width = round(256 * rate), 8  # dropped of 2**width
  while width > 1 and dropped % 2 ** (width // 2) == 0:
    dropped, width = dropped >> width // 2, width // 2
  size = math.prod(shape)
  words = -(-size * width // 32)
  words = jax.vmap(lambda key: jax.random.bits(key, (words, 1)))(keys)
  shifts = jnp.arange(0, 32, width, dtype=words.dtype)
  numbers = (words >> shifts) & (2**width - 1)
  numbers = numbers.reshape(len(keys), -1)[:, :size]
  return (numbers >= dropped).reshape(-1, *shape)
