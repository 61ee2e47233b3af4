"""Tests of losses on numbers worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from skinjax.training import losses

LOG2 = 0.6931471805599453


def test_non_saturating():
  # softplus(0) = log 2; softplus(log 3) = log 4; softplus(-log 3) = log 4/3.
  real = jnp.array([0.0, np.log(3), -np.log(3)])
  fake = jnp.array([0.0, np.log(3), 0.0])
  np.testing.assert_allclose(
    losses.non_saturating_d(real, fake),
    [2 * LOG2, np.log(4 / 3) + np.log(4), np.log(4) + LOG2],
    rtol=1e-6,
  )
  np.testing.assert_allclose(
    losses.non_saturating_g(fake), [LOG2, np.log(4 / 3), LOG2], rtol=1e-6
  )


def test_non_saturating_stays_finite_where_a_sigmoid_does_not():
  far = jnp.array([-200.0, 200.0])
  np.testing.assert_allclose(losses.non_saturating_d(far, far), [200, 200])
  np.testing.assert_allclose(losses.non_saturating_g(far), [200, 0])


def test_hinge():
  real = jnp.array([2.0, 1.0, 0.25, -3.0])
  fake = jnp.array([-2.0, -1.0, -0.5, 3.0])
  np.testing.assert_allclose(losses.hinge_d(real, fake), [0, 0, 1.25, 8])
  np.testing.assert_allclose(losses.hinge_g(fake), [2, 1, 0.5, -3])


def test_every_adversarial_loss_has_both_sides():
  assert losses.DISCRIMINATOR.keys() == losses.GENERATOR.keys()
  assert set(losses.GENERATOR) == {"non_saturating", "hinge", "wasserstein"}


@pytest.mark.parametrize("name", list(losses.GENERATOR))
def test_signs_pull_the_sides_apart(name):
  x = jnp.array([0.3, -0.4])
  d_real, d_fake = jax.grad(
    lambda r, f: losses.DISCRIMINATOR[name](r, f).sum(), (0, 1)
  )(x, x)
  assert (d_real < 0).all()
  assert (d_fake > 0).all()
  assert (jax.grad(lambda f: losses.GENERATOR[name](f).sum())(x) < 0).all()


@pytest.mark.parametrize("name", list(losses.GENERATOR))
def test_gradients(name):
  with jax.enable_x64(True):
    real, fake = jnp.array([0.3, -1.7, 2.5]), jnp.array([0.6, -2.2, -0.1])
    check_grads(losses.DISCRIMINATOR[name], (real, fake), 1, ["rev"])
    check_grads(losses.GENERATOR[name], (fake,), 1, ["rev"])


def test_gradient_of_cross_entropy():
  with jax.enable_x64(True):
    logits = jnp.array([[0.1, -1.0, 2.0], [0.5, 0.5, -3.0]])
    loss = lambda x: losses.cross_entropy(x, jnp.array([2, 0]), 0.1)
    check_grads(loss, (logits,), 1, ["rev"])


@pytest.mark.parametrize(
  "loss", [losses.non_saturating_g, losses.hinge_g, losses.hinge_d]
)
def test_logits_of_another_shape_are_refused(loss):
  x = jnp.zeros((4, 1))
  with pytest.raises(ValueError, match=r"shape \(4, 1\); \[batch\] is right"):
    loss(*[x] * (2 if loss is losses.hinge_d else 1))


def test_cross_entropy():
  # Softmax of log [1, 2, 5] is [1, 2, 5] / 8.
  logits = jnp.log(jnp.array([[1.0, 2.0, 5.0]] * 3))
  np.testing.assert_allclose(
    losses.cross_entropy(logits, jnp.array([0, 1, 2])),
    [np.log(8), np.log(4), np.log(8 / 5)],
    rtol=1e-6,
  )


def test_smoothing_spreads_a_share_of_the_target_over_all_classes():
  logits = jnp.log(jnp.array([[1.0, 2.0, 5.0]]))
  # Targets 0.1, 0.1, 0.8 at smoothing 0.3.
  wanted = 0.1 * np.log(8) + 0.1 * np.log(4) + 0.8 * np.log(8 / 5)
  np.testing.assert_allclose(
    losses.cross_entropy(logits, jnp.array([2]), 0.3), [wanted], rtol=1e-6
  )


def test_inverse_frequency():
  # N / (K count) with N = 12, K = 3.
  weights = losses.inverse_frequency((6, 4, 2))
  np.testing.assert_allclose(weights, [2 / 3, 1, 2], rtol=1e-6)
  assert float(weights @ jnp.array([6.0, 4, 2])) / 12 == pytest.approx(1)


def test_log_prior():
  np.testing.assert_allclose(
    losses.log_prior((6, 3, 1)), np.log([0.6, 0.3, 0.1]), rtol=1e-6
  )


def test_wasserstein():
  real, fake = jnp.array([2.0, -1.0]), jnp.array([0.5, 3.0])
  np.testing.assert_allclose(losses.wasserstein_d(real, fake), [-1.5, 4])
  np.testing.assert_allclose(losses.wasserstein_g(fake), [-0.5, -3])


def test_penalties_on_numbers():
  # A critic 3 a + 4 b of images of two pixels: its gradient is (3, 4), of norm
  # 5; and a^2 + b^2, whose gradient is (2 a, 2 b).
  linear = lambda x: x @ jnp.array([3.0, 4.0])
  images = jnp.array([[1.0, 2.0], [0.0, -1.0]])
  squared = losses.squared_gradient(linear, images)
  np.testing.assert_allclose(squared, [25, 25])
  np.testing.assert_allclose(losses.gradient_penalty(squared), [16, 16], 1e-6)
  np.testing.assert_allclose(losses.r1_penalty(squared), [12.5, 12.5])
  square = lambda x: (x**2).sum(1)
  squared = losses.squared_gradient(square, images)
  np.testing.assert_allclose(squared, [20, 4])
  np.testing.assert_allclose(losses.gradient_penalty(squared)[1], 1, 1e-6)


def test_between():
  real, fake = jnp.zeros((3, 2, 2, 1)), jnp.full((3, 2, 2, 1), 4.0)
  mixed = losses.between(real, fake, jnp.array([0.0, 0.25, 1.0]))
  np.testing.assert_allclose(mixed[:, 0, 0, 0], [0, 1, 4])
  np.testing.assert_allclose(mixed[1], 1)


@pytest.mark.parametrize("penalty", ["gradient_penalty", "r1_penalty"])
def test_penalties_train_a_critic(penalty):
  # Their gradient with respect to weights is a second derivative of the
  # critic: against finite differences.
  with jax.enable_x64(True):
    images = jnp.array(np.random.default_rng(0).normal(size=(3, 4)))

    def loss(weights):
      judge = lambda x: jnp.tanh(x @ weights[:, :2]).sum(1) + x @ weights[:, 2]
      squared = losses.squared_gradient(judge, images)
      return getattr(losses, penalty)(squared).mean()

    weights = jnp.array(np.random.default_rng(1).normal(size=(4, 3)))
    check_grads(loss, (weights,), order=1, modes=("rev",), eps=1e-6)


def test_a_critic_without_a_gradient_has_a_finite_penalty():
  flat = lambda scale: losses.gradient_penalty(
    losses.squared_gradient(lambda x: scale * x.sum(1), jnp.ones((2, 3)))
  ).sum()
  value, slope = jax.value_and_grad(flat)(0.0)
  assert value == pytest.approx(2, abs=1e-5)
  assert np.isfinite(slope)


@pytest.mark.parametrize(
  ("name", "wanted"),
  # The gradient of |x|^2 / 2 is x: of (1.5, 2), halfway, the norm is 2.5.
  [("gradient", (2.5 - 1) ** 2), ("r1", (3**2 + 4**2) / 2), ("none", 0.0)],
)
def test_a_penalty_by_name(name, wanted):
  judge = lambda images: jnp.sum(images**2, axis=1) / 2
  real, fake = jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 0.0]])
  got = losses.penalty(name, judge, real, fake, jnp.array([0.5]))
  np.testing.assert_allclose(got, [wanted], rtol=1e-5)
