"""Batches: drawn by index on the device to train, in order to evaluate."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from skinjax.data.datasets import Split

# The exponent of the class frequencies: draws of class c go as counts**power.
SAMPLERS = {"natural": 1.0, "tempered": 0.5, "balanced": 0.0}


def on_device(split: Split, num_classes: int) -> dict[str, np.ndarray]:
  """Returns what the compiled programs draw from, of examples sorted by label.

  Returns:
    `images`, `labels` as in the split, `counts` and `starts` int32 [classes]:
    the images of class c are `images[starts[c] : starts[c] + counts[c]]`.
  """
  counts = np.bincount(split.labels, minlength=num_classes).astype(np.int32)
  return {
    "images": split.images,
    "labels": split.labels,
    "counts": counts,
    "starts": np.cumsum(counts, dtype=np.int32) - counts,
  }


def draw(data: dict[str, jax.Array], keys: jax.Array, sampler: str):
  """Draws a batch by index, with replacement, inside a compiled program.

  From what `on_device` returns, an example from each of the keys [batch]. The
  sampler is `natural` (every image is equally likely), `balanced` (every class)
  or `tempered` (a class by the square root of its count).

  Returns:
    `image` uint8 [batch, size, size, channels] and `label` int32 [batch].
  """
  power = SAMPLERS[sampler]
  counts = data["counts"]
  logits = jnp.where(counts > 0, power * jnp.log(counts), -jnp.inf)

  def index(key):
    label_key, place_key = jax.random.split(key)
    label = jax.random.categorical(label_key, logits)
    place = jax.random.randint(place_key, (), 0, counts[label])
    return data["starts"][label] + place

  indices = jax.vmap(index)(keys)
  return {
    "image": jnp.take(data["images"], indices, axis=0),
    "label": jnp.take(data["labels"], indices, axis=0),
  }


def to_float(images: jax.Array) -> jax.Array:
  """Maps uint8 [0, 255] to [-1, 1] in JAX's default float type."""
  return images.astype(jnp.result_type(float)) / 127.5 - 1


def to_uint8(images: jax.Array) -> jax.Array:
  """Maps [-1, 1] to uint8 [0, 255], rounded, values outside clipped."""
  return jnp.clip(jnp.rint((images + 1) * 127.5), 0, 255).astype(jnp.uint8)


def in_order(split: Split, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
  """Yields a split once, in order, the last batch padded with zeros.

  Yields:
    `image` uint8 [batch_size, …], `label` int32 and `mask` bool, False where an
    example is padding.
  """
  for start in range(0, len(split.labels), batch_size):
    part = slice(start, start + batch_size)
    images, labels = split.images[part], split.labels[part]
    yield {
      "image": _pad(images, batch_size),
      "label": _pad(labels, batch_size),
      "mask": _pad(np.ones(len(labels), bool), batch_size),
    }


def _pad(x: np.ndarray, length: int) -> np.ndarray:
  return np.pad(x, [(0, length - len(x))] + [(0, 0)] * (x.ndim - 1))
