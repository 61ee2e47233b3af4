"""Tests of training/state.py: averages of weights, updates of optimizers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skinjax.training import state


@pytest.mark.parametrize(
  ("step", "decay"),
  [
    # Half-life 0.05 * 64 images at step 0: 0.5 ** (64 / 3.2) = 2 ** -20.
    (0, 2.0**-20),
    # 0.05 * 640 = 32 images: 0.5 ** 2.
    (9, 0.25),
    # 0.05 * 64 * 400 = 1280, the half-life: 0.5 ** (64 / 1280).
    (399, 0.5**0.05),
    (100_000, 0.5**0.05),
  ],
)
def test_ema_decay(step, decay):
  got = state.ema_decay(jnp.int32((step + 1) * 64), 64, 1280.0)
  assert float(got) == pytest.approx(decay, rel=1e-5)


def test_half_of_an_average_is_forgotten_in_a_half_life():
  average = {"w": jnp.array(1.0)}
  for step in range(10_000, 10_020):
    decay = state.ema_decay(jnp.int32((step + 1) * 50), 50, 1000.0)
    average = state.ema_update(average, {"w": jnp.array(0.0)}, decay)
  assert float(average["w"]) == pytest.approx(0.5, rel=1e-4)


def test_ema_update():
  old = {"params": {"a": jnp.array([1.0, 5.0])}}
  new = {"params": {"a": jnp.array([3.0, 5.0])}}
  moved = state.ema_update(old, new, jnp.float32(0.25))
  # 0.25 * 1 + 0.75 * 3
  np.testing.assert_allclose(moved["params"]["a"], [2.5, 5.0])
  assert moved["params"]["a"].dtype == jnp.float32


def test_ema_update_keeps_the_dtype_of_each_array():
  with jax.enable_x64(True):
    moved = state.ema_update(
      {"a": jnp.float32(1), "b": jnp.float64(1)},
      {"a": jnp.float32(2), "b": jnp.float64(2)},
      jnp.float64(0.5),
    )
    assert [moved[k].dtype for k in "ab"] == [jnp.float32, jnp.float64]


def test_optimizer_update_changes_params_alone():
  variables = {"params": {"w": jnp.array(2.0)}, "batch_stats": {"m": 7.0}}
  optimizer = optax.sgd(0.5, momentum=0.9)
  gradients = {"w": jnp.array(1.0)}
  memory = optimizer.init(variables["params"])
  memory, variables = state.optimizer_update(
    optimizer, gradients, memory, variables
  )
  # 2 - 0.5 * 1, then with momentum 1.5 - 0.5 * (1 + 0.9).
  assert float(variables["params"]["w"]) == 1.5
  memory, variables = state.optimizer_update(
    optimizer, gradients, memory, variables
  )
  assert float(variables["params"]["w"]) == pytest.approx(0.55)
  assert variables["batch_stats"] == {"m": 7.0}
