"""Tests of training/gan_step.py, with linear networks."""

import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from skinjax.data import augment
from skinjax.runtime import errors, randomness
from skinjax.training import gan_step, losses
from tests import shrunk

_KEYS = randomness.by_example(jax.random.key(0), 3)
_REAL = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (3, 8, 8, 1)))
_CONFIG = ml_collections.FrozenConfigDict(
  {
    "model": {"latents": 64},
    "loss": {
      "adversarial": "wasserstein",
      "class_loss": "cross_entropy",
      "class_on_fakes": 0.0,
      "penalty": "none",
      "penalty_every": 1,
      "penalty_weight": 0.0,
      "drift": 0.0,
      "lecam": 0.0,
    },
    "augment": {
      "discriminator": "",
      "discriminator_turns": False,
      "discriminator_brightness": 0.0,
      "discriminator_share": 1.0,
      "adapt_target": 0.0,
      "adapt_images": 100,
    },
    "train": {
      "ema_images": 1.0,
      "generated_labels": "",
      "steps": 1000,
      "decay": 0.0,
    },
  }
)


def _generate(variables, latents, labels):
  return variables["params"] * latents.reshape(-1, 8, 8, 1), {}


def _discriminate(variables, images, labels, keys, update_stats):
  source = jnp.einsum("bijc,ijc->b", images, variables["params"])
  return (source, jnp.zeros((len(images), 0))), {}


_NETWORKS = gan_step.Networks(_generate, _discriminate)


@functools.cache
def _step(rate=1.0, networks=_NETWORKS, adversarial="wasserstein", **changes):
  """Return a step of gradient descent, the discriminator's at a rate."""
  config = ml_collections.ConfigDict(_CONFIG.to_dict())
  config.loss.adversarial = adversarial
  for key, value in changes.items():
    config.update_from_flattened_dict({key.replace("__", "."): value})
  optimizers = gan_step.Optimizers(optax.sgd(1.0), optax.sgd(rate))
  weights = np.random.default_rng(1).normal(size=(2, 8, 8, 1))
  state = gan_step.init_state(
    *({"params": jnp.asarray(w, jnp.float32)} for w in weights),
    optimizers,
    config,
  )
  step = functools.partial(
    gan_step.train_step,
    networks=networks,
    optimizers=optimizers,
    config=ml_collections.FrozenConfigDict(config),
    class_weight=1.0,
    batch_size=3,
    seen=3,
    class_counts=(0, 5),
  )
  labels = jnp.zeros(3, jnp.int32)
  run = jax.jit(lambda real, state: step(state, real, labels, _KEYS))
  return state, lambda real, state=state: run(real, state)


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


def _critic_alone(name, critic, real, fake, shares):
  return critic(real) + 2 * critic(fake)


def test_a_discriminator_sees_all_images_augmented(monkeypatch):
  negative = lambda images, keys: -images
  monkeypatch.setitem(augment.DISCRIMINATOR, "negative", negative)
  monkeypatch.setattr(losses, "penalty", _critic_alone)
  results = [
    _step(0.0, augment__discriminator=view, loss__penalty="r1")[1](_REAL)
    for view in ("", "negative")
  ]
  (plain, before), (turned, after) = results
  # With linear networks every logit changes its sign, and so do gradients.
  for name in ("d_real", "d_fake", "d_penalty", "g_loss"):
    np.testing.assert_allclose(after[name], -before[name], rtol=1e-5)
  start = _step(0.0)[0].generator["params"]
  np.testing.assert_allclose(
    turned.generator["params"] - start,
    start - plain.generator["params"],
    rtol=1e-4,
    atol=1e-6,
  )


def test_each_pass_over_an_image_has_its_own_keys(monkeypatch):
  noise = lambda images, keys: randomness.normal(keys, images.shape[1:])
  monkeypatch.setitem(augment.DISCRIMINATOR, "noise", noise)
  monkeypatch.setattr(losses, "penalty", lambda _, critic, *x: critic(x[0]))
  changes = {"augment__discriminator": "noise", "loss__penalty": "r1"}
  _, step = _step(0.0, adversarial="relativistic", **changes)
  state, metrics = step(_REAL)
  logits = [float(metrics[name]) for name in ("d_real", "d_fake", "d_penalty")]
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


def _at(state, step):
  return state.replace(step=jnp.int32(step))


@pytest.mark.parametrize("parts", [1, 3])
def test_a_lazy_penalty_is_computed_seldom_and_weighs_as_much_more(parts):
  networks = _NETWORKS._replace(parts=parts)
  start, plain = _step(0.5, networks)
  changes = {"loss__penalty_every": 4, "loss__penalty_weight": 0.1}
  _, lazy = _step(0.5, networks, loss__penalty="r1", **changes)
  v = np.float64(start.discriminator["params"])
  for step, due in ((0, True), (3, False), (4, True)):
    (wanted, _), (got, metrics) = (
      run(_REAL, _at(start, step)) for run in (plain, lazy)
    )
    # The gradient of |v|^2 / 2, at the rate.
    pull = 0.5 * 4 * 0.1 * v if due else 0 * v
    np.testing.assert_allclose(
      got.discriminator["params"],
      wanted.discriminator["params"] - pull,
      rtol=1e-4,
      atol=1e-6,
    )
    penalty = 4 * (v**2).sum() / 2 if due else 0
    np.testing.assert_allclose(metrics["d_penalty"], penalty, rtol=1e-5)


def test_learning_rates_of_both_networks_fall_at_the_end():
  start, plain = _step(0.5)
  _, step = _step(0.5, train__decay=0.5, train__steps=10)
  for steps, factor in ((5, 1.0), (8, 0.4)):
    whole, less = (run(_REAL, _at(start, steps))[0] for run in (plain, step))
    change = lambda after: (
      after.discriminator["params"] - start.discriminator["params"]
    )
    np.testing.assert_allclose(
      change(less), factor * change(whole), rtol=1e-4, atol=1e-6
    )
    # The generator learns from the discriminator after its step.
    v, w = less.discriminator["params"], start.generator["params"]
    pull = jnp.asarray(_latents()).mean(0) * v
    np.testing.assert_allclose(
      less.generator["params"] - w, factor * pull, rtol=1e-4, atol=1e-6
    )


def test_options_that_are_off_add_nothing_to_the_state():
  state, step = _step()
  assert state.discriminator.keys() == {"params"}
  assert step(_REAL)[0].discriminator.keys() == {"params"}


def test_lecam_acts_on_the_discriminator_from_the_second_step_on():
  start, plain = _step(0.5)
  begun, step = _step(0.5, loss__lecam=0.3)
  first, metrics = step(_REAL, begun)
  np.testing.assert_array_equal(
    first.discriminator["params"], plain(_REAL)[0].discriminator["params"]
  )
  means = [float(metrics["d_real"]), float(metrics["d_fake"])]
  moving = first.discriminator["moving"]
  got = [float(moving["real"]), float(moving["fake"])]
  np.testing.assert_allclose(got, means, rtol=1e-6)
  moving = {"real": jnp.float32(3.0), "fake": jnp.float32(-2.0)}
  before = _at(start, 999).replace(
    discriminator={**start.discriminator, "moving": moving}
  )
  after, metrics = step(_REAL, before)
  without, _ = plain(_REAL, _at(start, 999))
  w, v = (
    np.float64(x["params"]) for x in (start.generator, start.discriminator)
  )
  real, fake = np.float64(_REAL), w * _latents()
  score = lambda images: (images * v).sum((1, 2, 3))
  over = np.maximum(score(real) + 2, 0)[:, None, None, None]
  under = np.maximum(3 - score(fake), 0)[:, None, None, None]
  pull = 0.3 * (2 * over * real - 2 * under * fake).mean(0)
  np.testing.assert_allclose(
    after.discriminator["params"],
    without.discriminator["params"] - 0.5 * pull,
    rtol=1e-4,
    atol=1e-5,
  )
  np.testing.assert_allclose(
    metrics["d_lecam"], (over**2 + under**2).mean(), rtol=1e-5
  )
  np.testing.assert_allclose(
    after.discriminator["moving"]["real"],
    0.99 * 3 + 0.01 * score(real).mean(),
    rtol=1e-5,
  )


def test_the_share_of_augmented_images_follows_the_signs_of_real_logits():
  changes = {
    "augment__discriminator": "affine",
    "augment__adapt_target": 0.6,
    "augment__adapt_images": 30,
  }
  start, step = _step(0.0, adversarial="hinge", **changes)
  share = lambda state: state.discriminator["moving"]["augmented"]
  assert share(start) == 0
  v = jnp.asarray(start.discriminator["params"])
  real = jnp.stack([v, v, v])
  state, metrics = step(real)
  np.testing.assert_allclose(metrics["d_real"], (v**2).sum(), rtol=1e-5)
  assert float(metrics["d_sign"]) == 1
  # 3 images of 30, both ways, and not below 0.
  for images, wanted in ((real, 0.2), (-real, 0.1), (-real, 0), (-real, 0)):
    state, metrics = step(images, state)
    np.testing.assert_allclose(share(state), wanted, atol=1e-6)
  moving = {"augmented": jnp.float32(0.8)}
  shown = state.replace(discriminator={**state.discriminator, "moving": moving})
  assert float(step(real, shown)[1]["d_real"]) != float((v**2).sum())


def test_generated_images_may_have_labels_of_their_own():
  def generate(variables, latents, labels):
    return 0 * _generate(variables, latents, labels)[0] + (
      labels.astype(float)[:, None, None, None]
    ), {}

  def discriminate(variables, images, *others):
    (source, _), changed = _discriminate(variables, images, *others)
    logits = jnp.log(jnp.array([1.0, 3.0]))
    return (source, jnp.tile(logits, (len(images), 1))), changed

  networks = gan_step.Networks(generate, discriminate)
  for sampler, label in (("", 0), ("natural", 1)):  # of class 0 there are none
    state, step = _step(
      0.0, networks, train__generated_labels=sampler, loss__class_on_fakes=1.0
    )
    _, metrics = step(_REAL)
    v = np.float64(state.discriminator["params"])
    np.testing.assert_allclose(metrics["d_fake"], label * v.sum(), rtol=1e-4)
    np.testing.assert_allclose(metrics["d_class_loss"], np.log(4), rtol=1e-5)
    wanted = np.log(4 / 3) if label else np.log(4)
    np.testing.assert_allclose(metrics["g_class_loss"], wanted, rtol=1e-5)


@pytest.mark.parametrize("name", ["acgan", "progan"])
@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"augment__discriminator": ""}, "set augment.discriminator, for example"),
    ({"loss__adversarial": "wasserstein"}, "use non_saturating or hinge"),
    ({"model__conditional_from": 12}, "one of 4, 8, 16 is expected"),
  ],
)
def test_switches_that_do_not_fit_are_refused(name, changes, message):
  few = {**shrunk.FEW, "augment__discriminator_turns": False}
  few["augment__discriminator_brightness"] = 0.0
  gan_step.check(shrunk.frozen(name, **few))
  with pytest.raises(errors.InputError, match=message):
    gan_step.check(shrunk.frozen(name, **few | changes))


def test_features_that_are_computed_once_change_no_update(monkeypatch):
  seen = lambda images: jnp.tanh(2 * images)

  def discriminate(variables, images, *others):
    return _discriminate(variables, seen(images), *others)

  within = _NETWORKS._replace(discriminate=discriminate)
  once = _NETWORKS._replace(features=seen, separate_passes=True)
  (wanted, expected), (got, metrics) = (
    _step(0.1, networks, "relativistic")[1](_REAL)
    for networks in (within, once)
  )
  for name, x in shrunk.leaves((wanted, expected)).items():
    other = shrunk.leaves((got, metrics))[name]
    np.testing.assert_allclose(other, x, rtol=1e-5, atol=1e-6)
  # Both updates see the same augmented images.
  noise = lambda images, keys: randomness.normal(keys, images.shape[1:])
  monkeypatch.setitem(augment.DISCRIMINATOR, "noise", noise)
  view = {"augment__discriminator": "noise"}
  _, metrics = _step(0.0, once, **view)[1](_REAL)
  np.testing.assert_allclose(metrics["g_loss"], -metrics["d_fake"], rtol=1e-6)


def test_the_loss_of_several_heads_is_the_mean_of_theirs():
  def discriminate(*arguments):
    (source, classes), changed = _discriminate(*arguments)
    return (jnp.stack([source, 0 * source + 3], 1), classes), changed

  networks = _NETWORKS._replace(discriminate=discriminate)
  _, metrics = _step(0.0, networks, "hinge")[1](_REAL)
  _, alone = _step(0.0, _NETWORKS, "hinge")[1](_REAL)
  # The second head's losses are max(0, 1 - 3) + max(0, 1 + 3), and -3.
  for name, value in (("d_loss", 4), ("g_loss", -3), ("d_real", 3)):
    wanted = (alone[name] + value) / 2
    np.testing.assert_allclose(metrics[name], wanted, rtol=1e-6)
