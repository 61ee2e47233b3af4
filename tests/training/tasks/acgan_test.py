"""Tests of training/tasks/acgan.py: one step, and its gradients."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skinjax.data import augment
from skinjax.models import acgan as models
from skinjax.runtime import randomness
from skinjax.training.tasks import acgan
from tests import shrunk

KEY = jax.random.key(5)
METRICS = {
  "d_loss",
  "d_class_loss",
  "d_real",
  "d_fake",
  "d_class_accuracy",
  "g_loss",
  "g_class_loss",
  "d_gradient",
  "g_gradient",
}
_PLAIN = {
  "model__dropout": 0.0,
  "augment__orientations": False,
  "train__batch_size": 4,
}


@functools.cache
def _program(function, **changes):
  config, info = shrunk.frozen("acgan", **changes), shrunk.dataset().info
  return jax.jit(
    functools.partial(function, config=config, info=info, phase=None)
  )


_step = functools.partial(_program, acgan.train_step)


@functools.cache
def _stepped():
  state = shrunk.state("acgan")
  return state, *_step(train__batch_size=4)(state, shrunk.batch(), KEY)


def _changed(before, after):
  before, after = shrunk.leaves(before), shrunk.leaves(after)
  assert before.keys() == after.keys()
  return {name for name in before if (before[name] != after[name]).any()}


def test_a_step_is_finite_and_changes_every_part():
  before, after, metrics = _stepped()
  assert int(after.step) == 1
  for name, x in (shrunk.leaves(after) | shrunk.leaves(metrics)).items():
    assert np.isfinite(x).all(), name
  for part in ("generator", "discriminator", "average"):
    was, now = getattr(before, part), getattr(after, part)
    assert _changed(was, now) == shrunk.leaves(was).keys(), part


def test_metrics_are_those_of_both_networks():
  *_, metrics = _stepped()
  assert set(metrics) == METRICS
  assert {x.shape for x in metrics.values()} == {()}
  # Of four images, as many as there are.
  assert float(metrics["d_class_accuracy"]) in (0, 0.25, 0.5, 0.75, 1)


def test_the_average_follows_by_the_decay():
  # Half-life a twentieth of 4 images at the first step: 2 ** -20 stays.
  before, after, _ = _stepped()
  was, now = shrunk.leaves(before.average), shrunk.leaves(after.generator)
  for name, x in shrunk.leaves(after.average).items():
    wanted = 2.0**-20 * was[name] + (1 - 2.0**-20) * now[name]
    np.testing.assert_allclose(x, wanted, rtol=1e-5, atol=1e-7)


def _naive_update(state, batch, key, config, info):
  """Compute losses and updates in the simplest way, each pass on its own."""
  labels = batch["label"]
  real = batch["image"] / 127.5 - 1
  keys = randomness.by_example(key, len(labels))
  latents = jnp.stack(
    [
      jax.random.normal(k, (config.model.latents,))
      for k in randomness.stream(keys, "latents")
    ]
  )
  generator = models.Generator(
    info.size, 3, config.model.generator_width, info.num_classes
  )
  discriminator = models.Discriminator(
    info.size,
    config.model.discriminator_width,
    info.num_classes,
    0.0,
    0.0,
    config.model.spectral,
  )

  def draw(params):
    images, _ = generator.apply(
      {**state.generator, "params": params},
      latents,
      labels,
      train=True,
      mutable=["batch_stats"],
    )
    return images

  def discriminate(params, stats, images, look):
    if config.augment.discriminator:
      images = augment.translate(images, randomness.stream(keys, look))
    out, new = discriminator.apply(
      {"params": params, "batch_stats": stats},
      images,
      None,
      train=True,
      mutable=["batch_stats"],
    )
    return out, new["batch_stats"]

  def log_loss(logits):
    logs = jax.nn.log_softmax(logits)
    return -jnp.mean(logs[jnp.arange(len(labels)), labels])

  log_sigmoid = lambda x: jnp.log(jax.nn.sigmoid(x))
  d_source, g_source = {
    "hinge": (
      lambda r, f: jnp.maximum(0, 1 - r) + jnp.maximum(0, 1 + f),
      lambda r, f: -f,
    ),
    "non_saturating": (
      lambda r, f: -log_sigmoid(r) - jnp.log(1 - jax.nn.sigmoid(f)),
      lambda r, f: -log_sigmoid(f),
    ),
    "relativistic": (
      lambda r, f: -log_sigmoid(r - f),
      lambda r, f: -log_sigmoid(f - r),
    ),
  }[config.loss.adversarial]
  weight, on_fakes = config.loss.class_weight, config.loss.class_on_fakes

  def d_loss(params):
    fake = draw(state.generator["params"])
    (r, r_class), stats = discriminate(
      params, state.discriminator["batch_stats"], real, "real"
    )
    (f, f_class), _ = discriminate(params, stats, fake, "fake")
    total = jnp.mean(d_source(r, f)) + weight * log_loss(r_class)
    if on_fakes:
      total += weight * on_fakes * log_loss(f_class)
    return total, stats

  def stepped(rate, gradients, params):
    adam = optax.adam(rate, b1=config.train.beta1, b2=0.999)
    updates, _ = adam.update(gradients, adam.init(params), params)
    return jax.tree.map(jnp.add, params, updates)

  gradients, stats = jax.grad(d_loss, has_aux=True)(
    state.discriminator["params"]
  )
  d_params = stepped(
    config.train.discriminator_rate, gradients, state.discriminator["params"]
  )

  def g_loss(params):
    (f, f_class), _ = discriminate(d_params, stats, draw(params), "generator")
    (r, _), _ = discriminate(d_params, stats, real, "generator's real")
    return jnp.mean(g_source(r, f)) + weight * log_loss(f_class)

  gradients = jax.grad(g_loss)(state.generator["params"])
  g_params = stepped(
    config.train.generator_rate, gradients, state.generator["params"]
  )
  return g_params, d_params, stats


@pytest.mark.parametrize(
  "options",
  [
    {"loss__class_weight": 0.3, "train__generator_rate": 1e-2},
    {
      "loss__adversarial": "hinge",
      "loss__class_on_fakes": 0.0,
      "train__discriminator_rate": 3e-2,
    },
    {
      "loss__adversarial": "relativistic",
      "loss__class_on_fakes": 1.0,
      "augment__discriminator": "translation",
    },
  ],
  ids=["non-saturating", "hinge", "relativistic, translated"],
)
def test_shared_pass_gives_the_updates_of_separate_losses(options):
  config = shrunk.frozen("acgan", **_PLAIN, **options)
  info = shrunk.dataset().info
  with jax.enable_x64(True):
    init = functools.partial(acgan.init_state, config, info)
    state = jax.jit(init)(jax.random.key(1))
    batch = jax.tree.map(jnp.asarray, shrunk.batch())
    step = functools.partial(acgan.train_step, config=config, info=info)
    naive = functools.partial(_naive_update, config=config, info=info)
    after, metrics = jax.jit(step)(state, batch, KEY)
    g_params, d_params, d_stats = jax.jit(naive)(state, batch, KEY)
    got = (
      after.generator["params"],
      after.discriminator["params"],
      after.discriminator["batch_stats"],
    )
    assert jax.tree.all(jax.tree.map(lambda x: x.dtype == jnp.float64, got))
    assert {metrics[name].dtype for name in METRICS if "loss" in name} == {
      jnp.dtype("float64")
    }
  got = shrunk.leaves(got)
  for name, wanted in shrunk.leaves((g_params, d_params, d_stats)).items():
    np.testing.assert_allclose(got[name], wanted, rtol=1e-7, atol=1e-10)


@pytest.mark.slow
def test_spectral_hinge_step_is_finite_and_keeps_every_dtype():
  changes = {"model__spectral": True, "loss__adversarial": "hinge"}
  config = shrunk.frozen("acgan", **changes)
  state = shrunk.state("acgan", **changes)
  assert not any("BatchNorm" in name for name in state.discriminator["params"])
  after, metrics = _step(**changes)(state, shrunk.batch(), KEY)
  assert all(np.isfinite(x).all() for x in shrunk.leaves(metrics).values())
  # Flax divides the first kernels by their norm, so its first estimate is 1.
  leaves = {n for n in shrunk.leaves(state.discriminator) if "sigma" not in n}
  assert leaves <= _changed(state.discriminator, after.discriminator)
  with jax.enable_x64(True):
    info = shrunk.dataset().info
    init = functools.partial(acgan.init_state, config, info)
    step = functools.partial(acgan.train_step, config=config, info=info)
    state = jax.eval_shape(init, KEY)
    batch = jax.tree.map(jnp.asarray, shrunk.batch())
    after, _ = jax.eval_shape(step, state, batch, KEY)
    # A scan over steps needs this.
    assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(
      lambda x: x.dtype, state
    )


@pytest.mark.slow
def test_spectral_sees_real_and_fake_in_one_pass_as_in_two():
  options = {"model__spectral": True, "model__noise": 0.1}
  config = shrunk.frozen("acgan", **_PLAIN | options)
  info, batch = shrunk.dataset().info, shrunk.batch()
  with jax.enable_x64(True):
    init = functools.partial(acgan.init_state, config, info)
    state = jax.jit(init)(jax.random.key(1))
    step = functools.partial(acgan.train_step, config=config, info=info)
    _, metrics = jax.jit(step)(state, batch, KEY)
    images = jnp.asarray(batch["image"], float) / 127.5 - 1
    keys = randomness.stream(randomness.by_example(KEY, 4), "real")
    network = models.Discriminator(16, 4, 3, 0.0, 0.1, spectral=True)
    (source, _), _ = network.apply(
      state.discriminator,
      images,
      keys,
      train=True,
      update_stats=True,
      mutable=["batch_stats"],
    )
    np.testing.assert_allclose(metrics["d_real"], source.mean(), rtol=1e-9)


@pytest.mark.slow
def test_bfloat16_trains():
  changes = _PLAIN | {"model__dtype": "bfloat16", "train__batch_size": 12}
  # Faster than a run's, so that a few steps show.
  changes |= {"train__discriminator_rate": 2e-3}
  state, batch, step = shrunk.state("acgan"), shrunk.batch(12), _step(**changes)
  history = []
  for n in range(30):
    state, metrics = step(state, batch, jax.random.fold_in(KEY, n))
    history.append(float(metrics["d_class_loss"]))
  assert history[0] > 0.8
  assert history[-1] < 0.3
  networks = state.generator, state.discriminator, state.average
  assert {x.dtype.name for x in jax.tree.leaves(networks)} == {"float32"}


def test_accelerators_convolve_in_bfloat16():
  config = shrunk.frozen("acgan", **_PLAIN, model__dtype="bfloat16")
  step = functools.partial(
    acgan.train_step, config=config, info=shrunk.dataset().info
  )
  traced = jax.jit(step).trace(shrunk.state("acgan"), shrunk.batch(), KEY)
  program = traced.lower(lowering_platforms=("tpu",)).as_text()
  lines = [x for x in program.splitlines() if "stablehlo.convolution" in x]
  assert lines
  assert all(
    re.search(r"-> tensor<[\dx]*bf16>", line) is not None for line in lines
  )


def _source(keys, **noise):
  network = models.Discriminator(
    16, 4, 3, spectral=False, **{"dropout": 0.0, "noise": 0.0, **noise}
  )
  x = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))
  variables = shrunk.state("acgan").discriminator
  apply = jax.jit(functools.partial(network.apply, train=False))
  return np.asarray(apply(variables, x, keys)[0])


@pytest.mark.parametrize("kind", ["dropout", "noise"])
def test_the_discriminator_is_random_only_where_configured(kind):
  keys = jax.random.split(jax.random.key(1), 4)
  others = jax.random.split(jax.random.key(2), 4)
  plain = _source(None)
  np.testing.assert_array_equal(_source(keys), plain)
  np.testing.assert_array_equal(_source(None, **{kind: 0.5}), plain)
  noisy = _source(keys, **{kind: 0.5})
  assert (noisy != plain).all()
  assert (noisy != _source(others, **{kind: 0.5})).all()
  np.testing.assert_array_equal(noisy, _source(keys, **{kind: 0.5}))


def _sample(state, labels, key):
  keys = randomness.by_example(key, len(labels))
  latents = randomness.normal(keys, (shrunk.frozen("acgan").model.latents,))
  draw = _program(acgan.TASK.draw)
  return np.asarray(draw(state, latents, jnp.asarray(labels)))


def test_a_sample_depends_on_its_label_and_the_key_alone():
  state = shrunk.state("acgan")
  images = _sample(state, [0, 1, 2, 0], KEY)
  assert images.shape == (4, 16, 16, 3)
  assert images.dtype == np.uint8
  np.testing.assert_array_equal(images, _sample(state, [0, 1, 2, 0], KEY))
  relabelled = _sample(state, [0, 2, 2, 0], KEY)
  np.testing.assert_array_equal(images[[0, 2, 3]], relabelled[[0, 2, 3]])
  assert (images[1] != relabelled[1]).any()
  assert (images[0] != images[3]).any()
  assert (images != _sample(state, [0, 1, 2, 0], jax.random.key(6))).any()


def test_samples_come_from_the_average():
  state = shrunk.state("acgan")
  zeros = lambda tree: jax.tree.map(np.zeros_like, tree)
  labels = [0, 1, 2, 0]
  images = _sample(state, labels, KEY)
  others = state.replace(
    generator=zeros(state.generator), discriminator=zeros(state.discriminator)
  )
  np.testing.assert_array_equal(images, _sample(others, labels, KEY))
  grey = _sample(state.replace(average=zeros(state.average)), labels, KEY)
  # tanh(0) is the middle of the range, 127.5, rounded to even.
  assert (grey == 128).all()


def test_eval_step():
  evaluate = _program(acgan.eval_step)
  out = evaluate(shrunk.state("acgan"), shrunk.batch(5))
  assert set(out) == {"probabilities", "d_real"}
  assert out["d_real"].shape == (5,)
  assert out["probabilities"].shape == (5, 3)
  np.testing.assert_allclose(out["probabilities"].sum(1), 1, rtol=1e-5)


def test_init_state_follows_the_key_and_averages_from_the_start():
  one, other = shrunk.state("acgan"), shrunk.state("acgan", seed=1)
  kernels = [n for n in shrunk.leaves(one.generator) if "kernel" in n]
  assert set(kernels) <= _changed(one.generator, other.generator)
  assert not _changed(one.average, one.generator)


def test_the_gradients_are_those_of_the_step(monkeypatch):
  # With plain gradient descent at rate 1 the weights move by the gradient.
  monkeypatch.setattr(optax, "adam", lambda *_, **__: optax.sgd(1.0))
  state = shrunk.state.__wrapped__("acgan")  # of another optimizer
  step = functools.partial(
    acgan.train_step,
    config=shrunk.frozen("acgan", train__batch_size=4),
    info=shrunk.dataset().info,
  )
  after, metrics = jax.jit(step)(state, shrunk.batch(), KEY)
  for name in ("generator", "discriminator"):
    moved = jax.tree.map(
      lambda a, b: a - b,
      getattr(state, name)["params"],
      getattr(after, name)["params"],
    )
    wanted = np.sqrt(sum((x**2).sum() for x in shrunk.leaves(moved).values()))
    np.testing.assert_allclose(
      metrics[f"{name[0]}_gradient"], wanted, rtol=1e-3
    )
