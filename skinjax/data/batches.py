"""Batches: sampled on the device for training, in order for evaluation."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skinjax.data.datasets import Added, Split
from skinjax.runtime import randomness

# Exponents of the class counts: class c is sampled in proportion to
# counts[c]**power.
SAMPLERS = {"natural": 1.0, "tempered": 0.5, "balanced": 0.0}


def on_device(
  split: Split, num_classes: int, added: Added | None = None
) -> dict[str, Any]:
  """Return the arrays that compiled programs sample batches from.

  The split's examples are sorted by label.

  Returns:
    `images`, `labels` as in the split, `counts` and `starts` int32 [classes]:
    the images of class c are `images[starts[c] : starts[c] + counts[c]]`. If
    there are `added` images, `added` has the same arrays for them, and the
    fields of Added: `share` by class, float32 [classes], `weight` and
    `pretraining`, [].
  """
  data = _by_label(split, num_classes)
  if added is None:
    return data
  more = _by_label(added.split, num_classes)
  more["share"] = added.shares(data["counts"]).astype(np.float32)
  more["weight"] = np.float32(added.weight)
  more["pretraining"] = np.int32(added.pretraining)
  return data | {"added": more}


def _by_label(split: Split, num_classes: int) -> dict[str, np.ndarray]:
  counts = np.bincount(split.labels, minlength=num_classes).astype(np.int32)
  return {
    "images": split.images,
    "labels": split.labels,
    "counts": counts,
    "starts": np.cumsum(counts, dtype=np.int32) - counts,
  }


def draw(
  data: dict[str, Any],
  keys: jax.Array,
  sampler: str,
  step: jax.Array | int = 0,
) -> dict[str, jax.Array]:
  """Sample a batch with replacement, inside a compiled program.

  `data` is from `on_device`; each of the keys [batch] gives one example. The
  sampler is `natural` (all images are equally likely), `balanced` (all classes
  are) or `tempered` (classes by the square root of their counts). `step` counts
  the steps done, for `pretraining`.

  Returns:
    `image` uint8 [batch, size, size, channels] and `label` int32 [batch]; with
    added images also each image's `weight` in the loss, float32 [batch], which
    is 1 on average for each class.
  """
  counts = data["counts"]
  if "added" in data:
    share = _share(data["added"], step)
    # A share s of added images comes in addition to the real ones.
    counts = counts / jnp.where(share < 1, 1 - share, 1)
  logits = _class_logits(counts, sampler)

  def index(key):
    label_key, place_key = jax.random.split(key)
    label = jax.random.categorical(label_key, logits)
    return label, _place(data, label, place_key)

  labels, places = jax.vmap(index)(keys)
  images = jnp.take(data["images"], places, axis=0)
  batch = {"image": images, "label": jnp.take(data["labels"], places, axis=0)}
  if "added" not in data:
    return batch

  def other(key, label):
    which_key, place_key = jax.random.split(randomness.named(key, "added"))
    is_added = jax.random.bernoulli(which_key, share[label])
    return is_added, _place(data["added"], label, place_key)

  is_added, places = jax.vmap(other)(keys, labels)
  others = jnp.take(data["added"]["images"], places, axis=0)
  weight = data["added"]["weight"]
  mean = mean_weight(share, weight)
  return batch | {
    "image": jnp.where(is_added[:, None, None, None], others, images),
    "weight": jnp.where(is_added, weight, 1.0) / mean[labels],
  }


def mean_weight(share: jax.Array, weight: jax.Array) -> jax.Array:
  """Return the mean weight of a class's samples in the loss, [classes].

  `share` is that of added images, by class; they have `weight`, others 1.
  Divided by their mean, weights leave a class its part of the loss.
  """
  # Above 0 even if all samples are images that do not count.
  return jnp.maximum(1 - share * (1 - weight), 1e-6)


def draw_labels(
  keys: jax.Array, counts: tuple[int, ...], sampler: str
) -> jax.Array:
  """Sample an int32 label from each of the keys [batch], as `draw` does."""
  logits = _class_logits(jnp.asarray(counts), sampler)
  draw = lambda key: jax.random.categorical(key, logits)
  return jax.vmap(draw)(keys).astype(jnp.int32)


def _class_logits(counts, sampler):
  power = SAMPLERS[sampler]
  return jnp.where(counts > 0, power * jnp.log(counts), -jnp.inf)


def _place(data, label, key):
  count = jnp.maximum(data["counts"][label], 1)
  return data["starts"][label] + jax.random.randint(key, (), 0, count)


def _share(added, step):
  """Compute the share of added images in each class's samples, [classes]."""
  pretraining = added["pretraining"]
  alone = (added["counts"] > 0).astype(jnp.float32)
  staged = jnp.where(step < pretraining, alone, 0.0)
  return jnp.where(pretraining > 0, staged, added["share"])


def to_float(images: jax.Array) -> jax.Array:
  """Map uint8 [0, 255] to [-1, 1] in JAX's default float type."""
  return images.astype(jnp.result_type(float)) / 127.5 - 1


def to_uint8(images: jax.Array) -> jax.Array:
  """Map [-1, 1] to uint8 [0, 255], rounded, values outside clipped."""
  return jnp.clip(jnp.rint((images + 1) * 127.5), 0, 255).astype(jnp.uint8)


def in_order(split: Split, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
  """Yield a split once, in order, the last batch padded with zeros.

  Yields:
    `image` uint8 [batch_size, …], `label` int32 and `mask` bool, False for
    padding.
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
