"""Tests of randomness: the same draws however the batch is divided."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from skinjax.runtime import randomness

KEY = jax.random.key(7)


def _bits(keys):
  return np.asarray(jax.random.key_data(keys))


def test_named_is_fold_in_of_the_names_crc32():
  # CRC-32 of "123456789" is 0xCBF43926, the check value of its definition.
  np.testing.assert_array_equal(
    _bits(randomness.named(KEY, "123456789")),
    _bits(jax.random.fold_in(KEY, 0xCBF43926)),
  )


def test_names_and_keys_tell_streams_apart():
  keys = [
    randomness.named(jax.random.key(seed), name)
    for seed in (0, 1)
    for name in ("init", "train", "sheet", "train ")
  ]
  assert len({tuple(_bits(key)) for key in keys}) == len(keys)


@pytest.mark.parametrize("parts", [1, 8])
@pytest.mark.parametrize("over", ["vmap", "pmap"])
def test_parts_of_a_batch_have_the_keys_of_the_whole(parts, over):
  whole = _bits(randomness.by_example(KEY, 16))

  def part(_):
    keys = randomness.by_example(KEY, 16 // parts, "devices")
    return jax.random.key_data(randomness.stream(keys, "latents"))

  mapped = getattr(jax, over)(part, axis_name="devices")
  got = np.asarray(mapped(jnp.arange(parts))).reshape(16, -1)
  wanted = _bits(randomness.stream(randomness.by_example(KEY, 16), "latents"))
  np.testing.assert_array_equal(got, wanted)
  assert len({tuple(row) for row in whole}) == 16
  assert not (got == whole).all(axis=1).any()


def test_a_longer_batch_begins_with_the_shorter_ones_keys():
  np.testing.assert_array_equal(
    _bits(randomness.by_example(KEY, 9))[:4],
    _bits(randomness.by_example(KEY, 4)),
  )


def test_keys_by_content_differ_where_rows_do():
  rows = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
  changed = np.repeat(rows[:1], 6, axis=0)
  changed[range(6), range(6)] += 1e-3
  swapped = rows[:1, ::-1]
  keys = _bits(randomness.by_content(np.concatenate([rows, changed, swapped])))
  assert len({tuple(key) for key in keys}) == 3 + 6 + 1
  np.testing.assert_array_equal(
    _bits(randomness.by_content(rows[1:])), keys[1:3]
  )


def test_stream_is_named_example_by_example():
  keys = randomness.by_example(KEY, 3)
  for one, key in zip(randomness.stream(keys, "noise"), keys, strict=True):
    np.testing.assert_array_equal(
      _bits(one), _bits(randomness.named(key, "noise"))
    )


def test_normal_is_standard_and_each_examples_own():
  keys = randomness.by_example(KEY, 200)
  x = np.asarray(randomness.normal(keys, (5, 20)))
  assert x.shape == (200, 5, 20)
  # 20,000 numbers: the mean is within 5 / sqrt(20,000) = 0.035.
  assert abs(x.mean()) < 0.035
  assert abs(x.std() - 1) < 0.03
  np.testing.assert_array_equal(x[3], jax.random.normal(keys[3], (5, 20)))


@pytest.mark.parametrize(
  ("rate", "rounded"),
  [(0.5, 128), (0.25, 64), (0.1, 26), (0.9, 230), (0.002, 1), (0.001, 0)],
)
def test_keep_mask_drops_the_rate_rounded_to_a_256th(rate, rounded):
  keys = randomness.by_example(KEY, 64)
  mask = np.asarray(randomness.keep_mask(keys, (31, 33), rate))
  p, n = rounded / 256, mask.size
  # Five standard deviations of a binomial share.
  assert abs((~mask).mean() - p) <= 5 * np.sqrt(p * (1 - p) / n)
  assert (~mask).any() == (rounded > 0)


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 3, 7)])
def test_keep_mask_has_any_shape(shape):
  mask = randomness.keep_mask(randomness.by_example(KEY, 2), shape, 0.5)
  assert mask.shape == (2, *shape)
  assert mask.dtype == bool


@pytest.mark.parametrize("rate", [0.5, 0.0625, 0.1])
def test_keep_mask_elements_are_independent(rate):
  # Neighbours share a 32-bit word; their correlation must be none.
  keys = randomness.by_example(KEY, 20_000)
  mask = np.asarray(randomness.keep_mask(keys, (40,), rate), float)
  correlation = np.corrcoef(mask.T) - np.eye(40)
  assert abs(correlation).max() < 5 / np.sqrt(20_000)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 6))
def test_an_examples_mask_depends_on_its_key_alone(seed, place):
  keys = randomness.by_example(jax.random.key(seed), 7)
  whole = np.asarray(randomness.keep_mask(keys, (6,), 0.4))
  one = np.asarray(randomness.keep_mask(keys[place : place + 1], (6,), 0.4))
  np.testing.assert_array_equal(whole[place : place + 1], one)


def test_truncated_normal_numbers():
  keys = randomness.by_example(KEY, 4000)
  numbers = np.asarray(randomness.normal(keys, (5,), 1.0))
  assert abs(numbers).max() <= 1
  # As those of normal numbers that are within a standard deviation of 0.
  plain = np.asarray(randomness.normal(keys, (5,)))
  assert abs(plain).max() > 3
  kept = plain[abs(plain) <= 1]
  assert stats.ks_2samp(numbers.ravel(), kept).pvalue > 0.01
