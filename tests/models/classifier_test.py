"""Tests of models/classifier.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.data import batches
from skinjax.metrics import features
from skinjax.models import classifier


def _shapes(size, width, classes=7, channels=3):
  network = classifier.ResNet(width, classes, 0.2)
  images = jnp.zeros((2, size, size, channels))
  variables = jax.eval_shape(
    lambda key: network.init(key, images, None, train=False), jax.random.key(0)
  )
  logits = jax.eval_shape(
    lambda v: network.apply(v, images, None, train=False), variables
  )
  return variables, logits


def test_parameters():
  # Size 128, width 4: blocks of widths 8, 16, 32, 32 (capped); the last has no
  # shortcut of its own: 18 * 1024 + 4 * 32 = 18,560.
  #   stem 16 * 3 * 4 = 192, norm 8
  #   a block from a to b channels: 9ab + 9bb + ab (shortcut), three norms 6b
  #   4 -> 8: 10 * 32 + 9 * 64 + 48 = 944
  #   8 -> 16: 10 * 128 + 9 * 256 + 96 = 3,680
  #   16 -> 32: 10 * 512 + 9 * 1024 + 192 = 14,528
  #   heads 32 * 7 + 7 = 231
  variables, _ = _shapes(128, 4)
  count = sum(x.size for x in jax.tree.leaves(variables["params"]))
  assert count == 192 + 8 + 944 + 3_680 + 14_528 + 18_560 + 231


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (64, 3)])
def test_shapes(size, channels):
  _, logits = _shapes(size, 4, channels=channels)
  assert logits.shape == (2, 7)


def test_a_block_is_its_shortcut_where_its_kernels_are_zero():
  block = classifier.Block(4, halve=True)
  x = jnp.abs(jax.random.normal(jax.random.key(0), (2, 8, 8, 4)))
  init = jax.jit(functools.partial(block.init, train=False))
  variables = init(jax.random.key(1), x)
  zero = jax.tree.map(jnp.zeros_like, variables)
  zero["batch_stats"] = variables["batch_stats"]
  wanted = np.asarray(x).reshape(2, 4, 2, 4, 2, 4).mean((2, 4))
  np.testing.assert_allclose(
    jax.jit(functools.partial(block.apply, train=False))(zero, x),
    wanted,
    rtol=1e-5,
  )


def test_dropout_acts_where_there_are_keys():
  network = classifier.ResNet(4, 3, 0.5)
  x = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))
  init = jax.jit(functools.partial(network.init, train=False))
  variables = init(jax.random.key(1), x, None)
  apply = jax.jit(lambda keys: network.apply(variables, x, keys, train=False))
  plain = apply(None)
  dropped = apply(jax.random.split(jax.random.key(2), 4))
  assert float(abs(plain - dropped).max()) > 1e-4


def _fine_tuned(size=32, channels=3, dtype="float32"):
  network = classifier.FineTuned(size, 3, 0.0, dtype)
  images = jnp.zeros((2, 16, 16, channels))
  init = jax.jit(functools.partial(network.init, train=False))
  return network, init(jax.random.key(0), images, None)


def test_a_fine_tuned_network_begins_with_the_extractors_features():
  extractor = features.efficientnet(32)
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
  network, variables = _fine_tuned()
  weights = dict(extractor.variables["params"])
  del weights["_fc"]
  shapes = lambda tree: jax.tree.map(jnp.shape, tree)
  assert shapes(variables["params"]["extractor"]) == shapes(weights)
  params = variables["params"] | {"extractor": weights}
  apply = jax.jit(
    functools.partial(network.apply, train=True), static_argnames="pooled"
  )
  floats = batches.to_float(images)
  got = apply({"params": params}, floats, None, pooled=True)
  wanted = features.extract(extractor, images)
  np.testing.assert_allclose(got, wanted, atol=1e-4)
  # The last layer is zero.
  assert not apply({"params": params}, floats, None).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_resized_and_scaled_for_the_pretrained_network(channels):
  images = jnp.full((2, 28, 28, channels), -1.0)
  made = classifier._as_pretrained(images, 64)
  assert made.shape == (2, 64, 64, 3)
  np.testing.assert_allclose(made, -127 / 128, rtol=1e-6)
  # White, 255, is (255 - 127) / 128.
  np.testing.assert_allclose(
    classifier._as_pretrained(-images, 28), 1, rtol=1e-6
  )


def test_a_fine_tuned_network_computes_in_bfloat16():
  network, variables = _fine_tuned()
  lowered, _ = _fine_tuned(dtype="bfloat16")
  images = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3)) * 2 - 1
  pooled = [
    jax.jit(functools.partial(n.apply, train=True, pooled=True))(
      variables, images, None
    )
    for n in (network, lowered)
  ]
  assert {x.dtype for x in pooled} == {jnp.dtype("float32")}
  error = jnp.linalg.norm(pooled[0] - pooled[1])
  assert 0 < float(error) < 0.05 * float(jnp.linalg.norm(pooled[0]))
