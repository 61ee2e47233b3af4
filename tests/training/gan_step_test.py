"""Tests of what the GANs' step does with any networks: here linear ones."""

import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from skinjax.data import augment
from skinjax.runtime import randomness
from skinjax.training import gan_step
from tests import shrunk

_KEYS = randomness.by_example(jax.random.key(0), 3)
_REAL = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (3, 8, 8, 1)))
_CONFIG = ml_collections.FrozenConfigDict(
  {
    "model": {"latents": 64},
    "loss": {"adversarial": "wasserstein", "class_on_fakes": 0.0},
    "augment": {"discriminator": ""},
    "train": {"ema_images": 1.0},
  }
)


def _generate(variables, latents, labels):
  return variables["params"] * latents.reshape(-1, 8, 8, 1), {}


def _discriminate(variables, images, keys, update_stats):
  source = jnp.einsum("bijc,ijc->b", images, variables["params"])
  return (source, jnp.zeros((len(images), 0))), {}


_NETWORKS = gan_step.Networks(_generate, _discriminate)


@functools.cache
def _step(rate=1.0, networks=_NETWORKS, adversarial="wasserstein", view=""):
  """Returns a step of gradient descent, the discriminator's at a rate."""
  config = _CONFIG.to_dict()
  config["loss"]["adversarial"] = adversarial
  config["augment"]["discriminator"] = view
  optimizers = gan_step.Optimizers(optax.sgd(1.0), optax.sgd(rate))
  weights = np.random.default_rng(1).normal(size=(2, 8, 8, 1))
  state = gan_step.init_state(
    *({"params": jnp.asarray(w, jnp.float32)} for w in weights), optimizers
  )
  step = functools.partial(
    gan_step.train_step,
    networks=networks,
    optimizers=optimizers,
    config=ml_collections.FrozenConfigDict(config),
    class_weight=1.0,
    batch_size=3,
    seen=3,
  )
  labels = jnp.zeros(3, jnp.int32)
  return state, jax.jit(lambda real: step(state, real, labels, _KEYS))


def _latents():
  drawn = randomness.normal(randomness.stream(_KEYS, "latents"), (64,))
  return np.asarray(drawn).reshape(3, 8, 8, 1)


def test_a_relativistic_generator_learns_from_real_images():
  state, step = _step(0.5, adversarial="relativistic")
  after, metrics = step(_REAL)
  w, v = (
    np.float64(x["params"]) for x in (state.generator, state.discriminator)
  )
  latents, real = _latents(), np.float64(_REAL)
  score = lambda images: (images * v).sum((1, 2, 3))
  share = lambda x: (1 / (1 + np.exp(-x)))[:, None, None, None]
  # d softplus(f - r) = sigmoid(f - r) (fake - real), and so for the generator.
  gap = score(w * latents) - score(real)
  v = v - 0.5 * (share(gap) * (w * latents - real)).mean(0)
  np.testing.assert_allclose(
    after.discriminator["params"], v, rtol=1e-5, atol=1e-6
  )
  gap = score(w * latents) - score(real)  # of the updated discriminator
  w = w + (share(-gap) * v * latents).mean(0)
  np.testing.assert_allclose(after.generator["params"], w, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(
    metrics["g_loss"], np.log1p(np.exp(-gap)).mean(), rtol=1e-4
  )


@pytest.mark.parametrize("adversarial", ["relativistic", "wasserstein"])
def test_real_images_reach_the_generator_only_where_they_are_compared(
  adversarial,
):
  # The discriminator does not learn: nothing reaches the generator through it.
  _, step = _step(0.0, adversarial=adversarial)
  one, other = (step(real)[0].generator["params"] for real in (_REAL, -_REAL))
  assert (one != other).all() == (adversarial == "relativistic")


def _critic_alone(critic, real, fake, source_of_real, keys):
  return 0 * source_of_real, {"real": critic(real), "fake": critic(fake)}


def test_a_discriminator_sees_all_images_augmented(monkeypatch):
  negative = lambda images, keys: -images
  monkeypatch.setitem(augment.DISCRIMINATOR, "negative", negative)
  networks = _NETWORKS._replace(regularize=_critic_alone)
  results = [
    _step(0.0, networks, view=view)[1](_REAL) for view in ("", "negative")
  ]
  (plain, before), (turned, after) = results
  # Of linear networks every logit is turned round, and the gradient with them.
  for name in ("d_real", "d_fake", "real", "fake", "g_loss"):
    np.testing.assert_allclose(after[name], -before[name], rtol=1e-5)
  start = _step(0.0, networks)[0].generator["params"]
  np.testing.assert_allclose(
    turned.generator["params"] - start,
    start - plain.generator["params"],
    rtol=1e-4,
    atol=1e-6,
  )


def test_each_look_at_an_image_has_its_own_keys(monkeypatch):
  noise = lambda images, keys: randomness.normal(keys, images.shape[1:])
  monkeypatch.setitem(augment.DISCRIMINATOR, "noise", noise)
  networks = _NETWORKS._replace(regularize=_critic_alone)
  _, step = _step(0.0, networks, "relativistic", "noise")
  state, metrics = step(_REAL)
  logits = [float(metrics[name]) for name in ("d_real", "d_fake", "real")]
  assert len({*logits, float(metrics["g_loss"])}) == 4
  again, _ = step(_REAL)
  for name, x in shrunk.leaves(state).items():
    np.testing.assert_array_equal(x, shrunk.leaves(again)[name])


def test_source_logits_of_another_shape_are_refused():
  def discriminate(*arguments):
    (source, classes), changed = _discriminate(*arguments)
    return (source[:, None, None], classes), changed

  networks = _NETWORKS._replace(discriminate=discriminate)
  with pytest.raises(ValueError, match=r"shape \(6, 1, 1\); \[batch\] or"):
    _step(1.0, networks)[1](_REAL)
