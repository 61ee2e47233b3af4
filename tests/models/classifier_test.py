"""Tests of the classifier's network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.models import classifier


def _shapes(size, width, classes=7, channels=3):
  network = classifier.ResNet(size, width, classes, 0.2)
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
  network = classifier.ResNet(16, 4, 3, 0.5)
  x = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))
  init = jax.jit(functools.partial(network.init, train=False))
  variables = init(jax.random.key(1), x, None)
  apply = jax.jit(lambda keys: network.apply(variables, x, keys, train=False))
  plain = apply(None)
  dropped = apply(jax.random.split(jax.random.key(2), 4))
  assert float(abs(plain - dropped).max()) > 1e-4
