"""Keys derived from one seed by name, step and example: nothing is stored.

What differs by example is drawn from a key of its own, made from the example's
place in the whole batch. So step n draws the same numbers on any number of
devices, and each device draws only its own part.
"""

import zlib

import jax
import jax.numpy as jnp


def named(key: jax.Array, name: str) -> jax.Array:
  """Derives the key of a named stream."""
  return jax.random.fold_in(key, zlib.crc32(name.encode()))


def by_example(
  key: jax.Array, batch_size: int, axis_name: str | None = None
) -> jax.Array:
  """Derives a key for each example of this device's part of the batch.

  Args:
    key: one key, the same on every device.
    batch_size: examples on this device.
    axis_name: the device axis inside pmap; None where the batch is whole.

  Returns:
    Keys [batch_size], by the examples' places in the whole batch.
  """
  first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * batch_size
  places = first + jnp.arange(batch_size)
  return jax.vmap(jax.random.fold_in, (None, 0))(key, places)


def stream(keys: jax.Array, name: str) -> jax.Array:
  """Derives each example's key of a named stream, [batch] from [batch]."""
  return jax.vmap(lambda key: named(key, name))(keys)


def normal(keys: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Draws standard normal numbers [batch, *shape], an example from each key."""
  return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


def keep_mask(
  keys: jax.Array, shape: tuple[int, ...], rate: float
) -> jax.Array:
  """Draws the elements that dropout keeps.

  Four elements share the 32 bits of a draw: the rate is rounded to 1/256, and
  a mask costs a quarter of the numbers that `jax.random.bernoulli` takes.

  Args:
    keys: keys [batch].
    shape: the shape of an example.
    rate: the share of elements to drop, in [0, 1).

  Returns:
    Booleans [batch, *shape], True with probability 1 - round(256 rate) / 256.
  """
  size = 1
  for n in shape:
    size *= n
  words = jax.vmap(lambda key: jax.random.bits(key, (-(-size // 4),)))(keys)
  octets = jax.lax.bitcast_convert_type(words, jnp.uint8)
  octets = octets.reshape(len(keys), -1)[:, :size]
  return (octets >= round(256 * rate)).reshape(-1, *shape)
