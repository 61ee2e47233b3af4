"""Tests of batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinjax.data import batches, datasets
from skinjax.data.sources import Split
from skinjax.runtime import randomness

COUNTS = (16, 4, 0, 1)


def _split(counts):
  """Image i is filled with i, so that a draw tells where it came from."""
  labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
  places = np.arange(len(labels), dtype=np.uint8)
  images = np.broadcast_to(places[:, None, None, None], (len(labels), 2, 2, 1))
  ids = places.astype(str)
  return Split(images.copy(), labels, ids, ids)


@functools.cache
def _drawn(sampler, count=12_000):
  data = batches.on_device(_split(COUNTS), len(COUNTS))
  keys = randomness.by_example(jax.random.key(3), count)
  draw = jax.jit(batches.draw, static_argnums=2)
  return jax.device_get(draw(data, keys, sampler))


def test_on_device_says_where_classes_are():
  data = batches.on_device(_split(COUNTS), 4)
  assert data["counts"].tolist() == [16, 4, 0, 1]
  assert data["starts"].tolist() == [0, 16, 20, 20]
  assert data["counts"].dtype == data["starts"].dtype == np.int32


@pytest.mark.parametrize("sampler", list(batches.SAMPLERS))
def test_images_are_whole_and_have_their_labels(sampler):
  batch = _drawn(sampler)
  places = batch["image"][:, 0, 0, 0]
  assert (batch["image"] == places[:, None, None, None]).all()
  np.testing.assert_array_equal(batch["label"], _split(COUNTS).labels[places])
  assert batch["image"].dtype == np.uint8
  assert batch["label"].dtype == np.int32


@pytest.mark.parametrize(
  ("sampler", "shares"),
  [
    # 16, 4, 1 of 21; 1/3 each; 4, 2, 1 of 7.
    ("natural", [16 / 21, 4 / 21, 0, 1 / 21]),
    ("balanced", [1 / 3, 1 / 3, 0, 1 / 3]),
    ("tempered", [4 / 7, 2 / 7, 0, 1 / 7]),
  ],
)
def test_draw_frequencies(sampler, shares):
  batch = _drawn(sampler)
  n = len(batch["label"])
  got = np.bincount(batch["label"], minlength=4) / n
  deviation = np.sqrt(np.array(shares) * (1 - np.array(shares)) / n)
  assert (abs(got - shares) <= 5 * deviation).all()
  # Within a class every image is equally likely.
  first = np.bincount(batch["image"][batch["label"] == 0, 0, 0, 0])
  assert len(first) == 16
  expected = first.sum() / 16
  # 37.7 is the 99.9% quantile of chi-squared with 15 degrees.
  assert ((first - expected) ** 2 / expected).sum() < 37.7


def _drawn_with(added, sampler, step=0, count=12_000):
  """Return labels, whether they were added, and weights."""
  data = batches.on_device(_split(COUNTS), len(COUNTS), added)
  keys = randomness.by_example(jax.random.key(3), count)
  draw = jax.jit(batches.draw, static_argnums=2)
  batch = jax.device_get(draw(data, keys, sampler, step))
  is_added = batch["image"][:, 0, 0, 0] >= 100
  return batch["label"], is_added, batch["weight"]


def _added(counts, **fields):
  split = _split(counts)
  return datasets.Added(split._replace(images=split.images + 100), **fields)


@pytest.mark.parametrize(
  ("share", "sampler", "labels", "parts"),
  [
    # 4 of 16 + 4; 12 of 4 + 12; of class 3 none. Frequencies 20, 16 and 1.
    (1.0, "natural", [20 / 37, 16 / 37, 0, 1 / 37], [1 / 5, 3 / 4, 0, 0]),
    (1.0, "balanced", [1 / 3, 1 / 3, 0, 1 / 3], [1 / 5, 3 / 4, 0, 0]),
    # Capped at 1/3: 4 images and 2 that come on top.
    (1 / 3, "natural", [20 / 27, 6 / 27, 0, 1 / 27], [1 / 5, 1 / 3, 0, 0]),
  ],
)
def test_added_images_have_their_share(share, sampler, labels, parts):
  drawn, is_added, weights = _drawn_with(
    _added((4, 12, 0, 0), share=share, weight=0.3), sampler
  )
  n = len(drawn)
  np.testing.assert_allclose(
    np.bincount(drawn, minlength=4) / n, labels, atol=0.025
  )
  for label in (0, 1, 3):
    part = is_added[drawn == label].mean()
    np.testing.assert_allclose(part, parts[label], atol=0.04)
  # A class's weights are 1 on average.
  mean = (1 - 0.7 * np.array(parts))[drawn]
  expected = np.where(is_added, 0.3, 1) / mean
  np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_pretraining_draws_added_images_alone_and_then_the_others():
  added = _added((4, 12, 0, 0), pretraining=5, share=0.1)
  for step in (0, 4):
    drawn, is_added, _ = _drawn_with(added, "balanced", step)
    # A class that has none goes on with its own.
    np.testing.assert_array_equal(is_added, drawn != 3)
  _, is_added, _ = _drawn_with(added, "balanced", 5)
  assert not is_added.any()


def test_other_images_are_drawn_as_without_any_added():
  alone = _drawn("balanced")
  drawn, is_added, _ = _drawn_with(_added((4, 12, 0, 0)), "balanced")
  np.testing.assert_array_equal(drawn, alone["label"])
  assert is_added.any()


def test_to_float_and_back_for_every_value():
  values = np.arange(256, dtype=np.uint8)
  x = batches.to_float(values)
  assert x.dtype == jnp.float32
  assert float(x[0]) == -1
  assert float(x[255]) == 1
  np.testing.assert_array_equal(batches.to_uint8(x), values)
  with jax.enable_x64(True):
    x = batches.to_float(jnp.asarray(values))
    assert x.dtype == jnp.float64
    np.testing.assert_array_equal(batches.to_uint8(x), values)


def test_to_uint8_rounds_and_clips():
  x = jnp.array([-5.0, -1.0, 0.003, -0.005, 0.99999, 1.0, 7.0])
  assert batches.to_uint8(x).tolist() == [0, 0, 128, 127, 255, 255, 255]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 17))
def test_in_order_shows_each_example_once(count, batch_size):
  split = _split((count,))
  seen = []
  for batch in batches.in_order(split, batch_size):
    mask = batch["mask"]
    assert {len(x) for x in batch.values()} == {batch_size}
    assert not batch["image"][~mask].any()
    assert mask.any()
    seen += batch["image"][mask, 0, 0, 0].tolist()
  assert seen == list(range(count))


@pytest.mark.parametrize("sampler", list(batches.SAMPLERS))
def test_labels_alone_are_drawn_as_images_are(sampler):
  keys = randomness.by_example(jax.random.key(4), 6000)
  draw = jax.jit(batches.draw_labels, static_argnums=(1, 2))
  labels = draw(keys, COUNTS, sampler)
  assert labels.dtype == jnp.int32
  got, wanted = (
    np.bincount(x, minlength=4) / len(x)
    for x in (labels, _drawn(sampler)["label"])
  )
  np.testing.assert_allclose(got, wanted, atol=0.03)
  np.testing.assert_array_equal(draw(keys[7:9], COUNTS, sampler), labels[7:9])
