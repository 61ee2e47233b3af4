"""Random keys derived from one seed by name, step and example, never stored.

Each example has its own key, derived from its index in the global batch. So
step n draws the same numbers on any number of devices, and each device draws
only its own part.
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
  """Derive keys [batch_size] from the examples' indices in the global batch.

  The key is the same on every device; `batch_size` is that of this device's
  part of the batch along `axis_name`.
  """
  first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * batch_size
  places = first + jnp.arange(batch_size)
  return jax.vmap(jax.random.fold_in, (None, 0))(key, places)


def by_content(rows: jax.Array) -> jax.Array:
  """Derive keys [batch] by hashing rows, floats [batch, n]."""
  bits = jax.lax.bitcast_convert_type(rows.astype(jnp.float32), jnp.uint32)
  # Odd multipliers are invertible, so every element affects the hash.
  places = jnp.arange(rows.shape[1], dtype=jnp.uint32)
  odd = 2 * places * jnp.uint32(0x9E3779B1) + 1
  words = (bits * odd).sum(1, dtype=jnp.uint32)
  words ^= words >> 15
  return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), words)


def stream(keys: jax.Array, name: str) -> jax.Array:
  """Derive each example's key for a named stream, [batch] from [batch]."""
  return jax.vmap(lambda key: named(key, name))(keys)


def normal(
  keys: jax.Array, shape: tuple[int, ...], most: float = 0.0
) -> jax.Array:
  """Draw standard normal numbers [batch, *shape], one example from each key.

  With `most` above 0 they are truncated: distributed as if those beyond ±`most`
  were drawn again.
  """

  def draw(key):
    if most:
      return jax.random.truncated_normal(key, -most, most, shape)
    return jax.random.normal(key, shape)

  return jax.vmap(draw)(keys)


def keep_mask(
  keys: jax.Array, shape: tuple[int, ...], rate: float
) -> jax.Array:
  """Draw a dropout mask, booleans [batch, *shape], True for kept elements.

  The probability of True is 1 - round(256 rate) / 256, for rates in [0, 1). The
  32 bits of a draw serve several elements: 4 in general, 16 at rate 1/4, 32 at
  1/2. `jax.random.bernoulli` takes 32 bits per element.
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
