"""Tests of training/losses.py, on numbers worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from skinjax.training import losses

LOG2 = 0.6931471805599453


# softplus(0) = log 2; softplus(log 3) = log 4; softplus(-log 3) = log 4/3.
@pytest.mark.parametrize(
  ("name", "real", "fake", "discriminator", "generator"),
  [
    (
      "non_saturating",
      [0.0, np.log(3), -np.log(3)],
      [0.0, np.log(3), 0.0],
      [2 * LOG2, np.log(4 / 3) + np.log(4), np.log(4) + LOG2],
      [LOG2, np.log(4 / 3), LOG2],
    ),
    (
      "hinge",
      [2.0, 1.0, 0.25, -3.0],
      [-2.0, -1.0, -0.5, 3.0],
      [0, 0, 1.25, 8],
      [2, 1, 0.5, -3],
    ),
    ("wasserstein", [2.0, -1.0], [0.5, 3.0], [-1.5, 4], [-0.5, -3]),
    (
      "relativistic",
      [1.0, 2.0, 5 + np.log(3)],
      [1.0, 2.0 + np.log(3), 5.0],
      [LOG2, np.log(4), np.log(4 / 3)],
      [LOG2, np.log(4 / 3), np.log(4)],
    ),
  ],
)
def test_adversarial_losses_by_hand(name, real, fake, discriminator, generator):
  loss = losses.ADVERSARIAL[name]
  real, fake = jnp.array(real), jnp.array(fake)
  got = loss.discriminator(real, fake)
  np.testing.assert_allclose(got, discriminator, rtol=1e-6)
  got = loss.generator(real if loss.relativistic else None, fake)
  np.testing.assert_allclose(got, generator, rtol=1e-6)


@pytest.mark.parametrize("name", ["non_saturating", "relativistic"])
def test_losses_stay_finite_where_a_sigmoid_does_not(name):
  loss, far = losses.ADVERSARIAL[name], jnp.array([-200.0, 200.0])
  zero = jnp.zeros(2)
  np.testing.assert_allclose(loss.generator(zero, far), [200, 0])
  wanted = {"non_saturating": [200 + LOG2, LOG2], "relativistic": [200, 0]}
  np.testing.assert_allclose(loss.discriminator(far, zero), wanted[name])


@pytest.mark.parametrize("name", list(losses.ADVERSARIAL))
def test_gradients_pull_the_sides_apart(name):
  loss = losses.ADVERSARIAL[name]
  with jax.enable_x64(True):
    real, fake = jnp.array([0.3, -1.7, 0.5]), jnp.array([0.6, -0.2, -0.1])
    for side in loss[:2]:
      check_grads(lambda f, side=side: side(real, f), (fake,), 1, ["rev"])
    check_grads(lambda r: loss.discriminator(r, fake), (real,), 1, ["rev"])
    total = lambda side: lambda r, f: loss[side](r, f).sum()
    d_real, d_fake = jax.grad(total(0), (0, 1))(real, fake)
    assert (d_real < 0).all()
    assert (d_fake > 0).all()
    g_real, g_fake = jax.grad(total(1), (0, 1))(real, fake)
    assert (g_fake < 0).all()
    assert ((g_real > 0) == loss.relativistic).all()


def test_gradient_of_cross_entropy():
  with jax.enable_x64(True):
    logits = jnp.array([[0.1, -1.0, 2.0], [0.5, 0.5, -3.0]])
    loss = lambda x: losses.cross_entropy(x, jnp.array([2, 0]), 0.1)
    check_grads(loss, (logits,), 1, ["rev"])


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


def test_penalties_on_numbers():
  # A critic a^2 + b^2 of images of two pixels: its gradient is (2 a, 2 b).
  images = jnp.array([[1.0, 2.0], [0.0, -1.0]])
  square = lambda x: (x**2).sum(1)
  squared = losses.squared_gradient(square, images)
  np.testing.assert_allclose(squared, [20, 4])
  np.testing.assert_allclose(losses.gradient_penalty(squared)[1], 1, 1e-6)
  np.testing.assert_allclose(losses.r1_penalty(squared), [10, 2])


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
      critic = lambda x: jnp.tanh(x @ weights[:, :2]).sum(1) + x @ weights[:, 2]
      squared = losses.squared_gradient(critic, images)
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
  critic = lambda images: jnp.sum(images**2, axis=1) / 2
  real, fake = jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 0.0]])
  got = losses.penalty(name, critic, real, fake, jnp.array([0.5]))
  np.testing.assert_allclose(got, [wanted], rtol=1e-5)


def test_lecam_by_hand():
  real, fake = jnp.array([2.0, -1.0]), jnp.array([0.5, -3.0])
  # (2 + 0.5)^2 + (1 - 0.5)^2 and 0 + (1 + 3)^2.
  got = losses.lecam(real, fake, jnp.array(1.0), jnp.array(-0.5))
  np.testing.assert_allclose(got, [2.5**2 + 0.5**2, 4**2])


def test_d2d_cross_entropy_by_hand():
  # Features at 0, 60 and 180 degrees; proxies at 0 (twice) and 90 degrees.
  root = np.sqrt(3) / 2
  features = jnp.array([[1.0, 0.0], [0.5, root], [-1.0, 0.0]])
  cosines = features @ jnp.array([[1.0, 0.0], [0.0, 1.0]]).T
  labels = jnp.array([0, 1, 1])
  got = losses.d2d_cross_entropy(
    cosines, labels, features, features, labels, margin=0.9, temperature=0.5
  )
  # Pulls (0.9 - cosine) / 0.5; pushes (cosine - 0.1) / 0.5 where it is over 0.
  pull = [0.0, (0.9 - root) / 0.5, 0.9 / 0.5]
  push = np.exp((0.5 - 0.1) / 0.5)
  wanted = [
    np.log(1 + push + 1),
    pull[1] + np.log(np.exp(-pull[1]) + push),
    pull[2] + np.log(np.exp(-pull[2]) + 1),
  ]
  np.testing.assert_allclose(got, wanted, rtol=1e-6)
  # With one class alone, nothing is pushed.
  got = losses.d2d_cross_entropy(
    cosines, 0 * labels, features, features, 0 * labels, margin=0.9,
    temperature=0.5,
  )  # fmt: skip
  np.testing.assert_allclose(got, [0, 0, 0], atol=1e-6)


def test_d2d_cross_entropy_has_gradients_at_low_temperatures():
  features, labels = jnp.eye(2), jnp.array([0, 1])
  # Of one class, alone and with another that is as near as can be.
  for others in (jnp.array([0, 0]), labels):
    loss = lambda x, others=others: losses.d2d_cross_entropy(
      x @ x.T,
      labels,
      x,
      jnp.ones((2, 2)) / 2**0.5,
      others,
      margin=0.9,
      temperature=1e-3,
    ).sum()
    assert np.isfinite(jax.grad(loss)(features)).all()


def test_d2d_cross_entropy_pulls_to_the_proxy_and_pushes_others_off():
  with jax.enable_x64(True):
    rng = np.random.default_rng(0)
    x, labels = jnp.asarray(rng.normal(size=(5, 4))), jnp.array([0, 1, 2, 1, 0])
    proxies = jnp.asarray(rng.normal(size=(4, 3)))

    def loss(x, proxies):
      unit = x / jnp.linalg.norm(x, axis=1, keepdims=True)
      proxies = proxies / jnp.linalg.norm(proxies, axis=0)
      return losses.d2d_cross_entropy(
        unit @ proxies, labels, unit, unit, labels, margin=0.98, temperature=0.5
      )

    check_grads(loss, (x, proxies), 1, ["rev"])
