"""Tests of training/tasks/progan.py: one step, phases, samples."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skinjax.models import layers
from skinjax.models import progan as models
from skinjax.runtime import errors, randomness
from skinjax.training import schedules
from skinjax.training.tasks import progan
from tests import shrunk

KEY = jax.random.key(5)
INFO = shrunk.dataset().info


def _phase(config, step=0):
  return schedules.phase_at(progan.phases(config), step)


@functools.cache
def _program(function, config, step=0, info=INFO):
  """Return what a task does at a step, to be compiled once."""
  phase = _phase(config, step)
  return jax.jit(
    functools.partial(function, config=config, info=info, phase=phase)
  )


@functools.cache
def _stepped():
  """Return the state before and after the first step, and its metrics."""
  state = shrunk.state("progan")
  run = _program(progan.train_step, shrunk.frozen("progan"))
  return state, *run(state, shrunk.batch(8), KEY)


def _changed(before, after):
  before, after = shrunk.leaves(before), shrunk.leaves(after)
  assert before.keys() == after.keys()
  return {name for name in before if (before[name] != after[name]).any()}


def test_a_step_changes_what_has_grown_and_nothing_else():
  # At 8x8, of 16x16: nothing of the highest level is used. At the first level
  # there is nothing that it fades in over.
  before, after, metrics = _stepped()
  assert int(after.step) == 1
  assert all(np.isfinite(x).all() for x in shrunk.leaves(metrics).values())
  moved = {
    name.split("'")[3] for name in _changed(before.generator, after.generator)
  }
  grown = {"dense", "bias", "first_0", "first_1", "second_0", "to_pixels_1"}
  assert moved == grown
  moved = {
    name.split("'")[3]
    for name in _changed(before.discriminator, after.discriminator)
  }
  assert moved == {
    *("from_pixels_1", "first_1", "second_0", "first_0", "dense", "head")
  }


def test_the_metrics():
  *_, metrics = _stepped()
  assert set(metrics) == {
    *("d_loss", "d_real", "d_fake", "d_penalty", "d_class_loss"),
    *("d_class_accuracy", "g_loss", "g_class_loss", "d_gradient", "g_gradient"),
  }
  assert {x.shape for x in metrics.values()} == {()}


def _at_seven_steps(optimizer):
  """Set an optimizer's count of steps to seven."""
  return jax.tree.map(lambda x: x if x.ndim else np.full_like(x, 7), optimizer)


def test_the_optimizers_are_reset_where_a_phase_begins_and_only_there():
  # Adam's own count tells how many steps it has seen.
  for step, counts in ((1, 8), (2, 1), (3, 8)):
    changes = {"train__steps": 8}
    config = shrunk.frozen("progan", **changes)
    state = shrunk.state("progan", **changes).replace(step=np.int32(step))
    state = state.replace(
      generator_optimizer=_at_seven_steps(state.generator_optimizer),
      discriminator_optimizer=_at_seven_steps(state.discriminator_optimizer),
    )
    run = _program(progan.train_step, config, step)
    after, _ = run(state, shrunk.batch(8), KEY)
    optimizers = after.generator_optimizer, after.discriminator_optimizer
    found = [x for x in jax.tree.leaves(optimizers) if x.ndim == 0]
    assert [int(x) for x in found] == [counts, counts], step


def _naive_update(state, batch, key, config, info, phase):
  """Compute losses and updates in the simplest way, each pass on its own."""
  labels, size = batch["label"], len(batch["label"])
  fade = min((int(state.step) - phase.first_step) * size, phase.fade_images)
  fade = fade / phase.fade_images if phase.fade_images else 1.0
  real = batch["image"] / 127.5 - 1
  while real.shape[1] > phase.size:
    real = (real[:, ::2] + real[:, 1::2]) / 2
    real = (real[:, :, ::2] + real[:, :, 1::2]) / 2
  if phase.level:
    small = (real[:, ::2] + real[:, 1::2]) / 2
    small = (small[:, :, ::2] + small[:, :, 1::2]) / 2
    small = np.kron(np.asarray(small), np.ones((1, 2, 2, 1)))
    real = fade * real + (1 - fade) * small
  keys = randomness.by_example(key, size)
  draw = lambda name, f: jnp.stack(
    [f(k) for k in randomness.stream(keys, name)]
  )
  latents = draw(
    "latents", lambda k: jax.random.normal(k, (config.model.latents,))
  )
  shares = draw("between", jax.random.uniform)[:, None, None, None]
  widths = (config.model.base, config.model.most, info.num_classes)
  generator = models.Generator(
    info.size,
    3,
    *widths,
    layers.level_of(config.model.conditional_from),
  )
  discriminator = models.Discriminator(info.size, *widths)

  def paint(params):
    return generator.apply(
      {"params": params}, latents, labels, phase.level, fade
    )

  def discriminate(params, images):
    return discriminator.apply({"params": params}, images, phase.level, fade)

  def log_loss(logits):
    logs = jax.nn.log_softmax(logits)
    return -jnp.mean(logs[jnp.arange(size), labels])

  weight = config.loss.class_weight
  if phase.size < config.model.conditional_from:
    weight = 0.0

  def penalty(params, fake):
    if config.loss.penalty == "none":
      return 0.0
    images = real
    if config.loss.penalty == "gradient":
      images = (1 - shares) * real + shares * fake
    slope = jax.grad(lambda x: discriminate(params, x)[0].sum())(images)
    squares = (slope**2).sum((1, 2, 3))
    if config.loss.penalty == "r1":
      return jnp.mean(squares) / 2
    return jnp.mean((jnp.sqrt(squares) - 1) ** 2)

  def d_loss(params):
    fake = paint(state.generator["params"])
    (r, r_class), (f, f_class) = (
      discriminate(params, real),
      discriminate(params, fake),
    )
    source = {
      "wasserstein": lambda: f - r,
      "hinge": lambda: jnp.maximum(0, 1 - r) + jnp.maximum(0, 1 + f),
      "non_saturating": lambda: -jax.nn.log_sigmoid(r) - jax.nn.log_sigmoid(-f),
    }[config.loss.adversarial]()
    total = jnp.mean(source) + config.loss.drift * jnp.mean(r**2)
    total += config.loss.penalty_weight * penalty(params, fake)
    if info.num_classes > 1:
      total += weight * log_loss(r_class)
      total += weight * config.loss.class_on_fakes * log_loss(f_class)
    return total

  def stepped(gradients, params):
    adam = optax.adam(phase.rate, config.train.beta1, config.train.beta2)
    updates, _ = adam.update(gradients, adam.init(params), params)
    return jax.tree.map(jnp.add, params, updates)

  params = state.discriminator["params"]
  d_params = stepped(jax.jit(jax.grad(d_loss))(params), params)

  def g_loss(params):
    f, f_class = discriminate(d_params, paint(params))
    source = f * -1
    if config.loss.adversarial == "non_saturating":
      source = -jax.nn.log_sigmoid(f)
    total = jnp.mean(source)
    return total + (weight * log_loss(f_class) if info.num_classes > 1 else 0)

  params = state.generator["params"]
  return stepped(jax.jit(jax.grad(g_loss))(params), params), d_params


_UPDATES = {
  "grown": (0, {"growth__first_size": 8, "loss__class_on_fakes": 1.0}),
  "begins": (2, {}),
  "non-saturating, r1": (
    3,  # in the middle of the fade
    {
      "loss__adversarial": "non_saturating",
      "loss__penalty": "r1",
      "loss__class_weight": 0.3,
      "loss__drift": 0.0,
    },
  ),
  "hinge, no penalty, conditional here": (
    3,
    {
      "loss__adversarial": "hinge",
      "loss__penalty": "none",
      "model__conditional_from": 8,
    },
  ),
  "conditional later": (0, {"model__conditional_from": 8}),
  "one class": (3, {}),
  "in parts": (3, {"parts": 2}),
}


# Each of them compiles programs of its own.
_FAST = ("hinge, no penalty, conditional here",)


@pytest.mark.parametrize(
  "name",
  [
    *_FAST,
    *(
      pytest.param(name, marks=pytest.mark.slow)
      for name in _UPDATES
      if name not in _FAST
    ),
  ],
)
def test_a_step_gives_the_updates_of_separate_losses(name, monkeypatch):
  step, options = _UPDATES[name]
  classes, options = 1 if name == "one class" else 3, dict(options)
  parts = options.pop("parts", 1)
  monkeypatch.setattr(progan.parallel, "parts", lambda *_: parts)
  # 8x8 is compiled fastest.
  plain = {
    "augment__orientations": False,
    "train__steps": 8,
    "data__size": 8,
    "growth__first_size": 4,
  }
  config = shrunk.frozen("progan", **plain | options)
  info = _one_class() if classes == 1 else INFO
  info, batch = dataclasses.replace(info, size=8), shrunk.batch(8)
  batch["image"] = batch["image"][:, ::2, ::2]
  batch["label"] = batch["label"] % classes
  phase = _phase(config, step)
  # As at the first step of a phase: so that Adam begins in both.
  with jax.enable_x64(True):
    init = functools.partial(progan.init_state, config, info)
    state = jax.jit(init)(jax.random.key(1)).replace(step=jnp.int32(step))
    batch = jax.tree.map(jnp.asarray, batch)
    run = functools.partial(
      progan.train_step, config=config, info=info, phase=phase
    )
    after, _ = jax.jit(run)(state, batch, KEY)
    g_params, d_params = _naive_update(state, batch, KEY, config, info, phase)
    got = after.generator["params"], after.discriminator["params"]
    assert {x.dtype.name for x in jax.tree.leaves(got)} == {"float64"}
  got = shrunk.leaves(got)
  for name, wanted in shrunk.leaves((g_params, d_params)).items():
    np.testing.assert_allclose(got[name], wanted, rtol=1e-6, atol=1e-9)


def _one_class():
  return dataclasses.replace(INFO, class_names=("disc",), class_counts=(24,))


def test_one_class_is_a_network_without_labels():
  config, info = shrunk.frozen("progan"), _one_class()
  state = jax.eval_shape(
    functools.partial(progan.init_state, config, info), KEY
  )
  # Latents in, and the source logit out: without labels and classes.
  assert state.generator["params"]["dense"]["kernel"].shape == (6, 16 * 8)
  assert state.discriminator["params"]["head"]["kernel"].shape == (8, 1)
  run = _program(progan.train_step, config, info=info)
  _, metrics = jax.eval_shape(run, state, shrunk.batch(8), KEY)
  assert not [name for name in metrics if "class" in name]


def _sample(state, step):
  config = shrunk.frozen("progan")
  keys = randomness.by_example(KEY, 4)
  latents = randomness.normal(keys, (config.model.latents,))
  state = state.replace(step=np.int32(step))
  draw = _program(progan.TASK.draw, config, step)
  return np.asarray(draw(state, latents, jnp.array([0, 1, 2, 0])))


def test_samples_have_the_full_size_at_every_resolution():
  state = shrunk.state("progan")
  small = _sample(state, 1)
  assert small.shape == (4, 16, 16, 3)
  assert small.dtype == np.uint8
  # Pixels of 8x8, repeated.
  np.testing.assert_array_equal(
    small, small[:, ::2, ::2].repeat(2, 1).repeat(2, 2)
  )
  # At the step at which a resolution begins it has no influence yet.
  np.testing.assert_array_equal(_sample(state, 2), small)
  grown = _sample(state, 4)
  assert (grown[:, ::2] != grown[:, 1::2]).any()


def test_samples_come_from_the_average():
  state = shrunk.state("progan")
  zeros = lambda tree: jax.tree.map(np.zeros_like, tree)
  images = _sample(state, 4)
  others = state.replace(
    generator=zeros(state.generator), discriminator=zeros(state.discriminator)
  )
  np.testing.assert_array_equal(images, _sample(others, 4))
  grey = state.replace(average=zeros(state.average))
  assert (_sample(grey, 4) == 128).all()


def test_eval_step():
  config = shrunk.frozen("progan")
  evaluate = _program(progan.eval_step, config, 1)
  out = evaluate(shrunk.state("progan"), shrunk.batch(8))
  assert out["d_real"].shape == (8,)
  np.testing.assert_allclose(out["probabilities"].sum(1), 1, rtol=1e-5)
  alone = _program(progan.eval_step, config, info=_one_class())
  init = functools.partial(progan.init_state, config, _one_class())
  out = alone(jax.jit(init)(KEY), shrunk.batch(8))
  np.testing.assert_array_equal(out["probabilities"], np.ones((8, 1)))


def test_the_phases_of_a_config():
  config = shrunk.frozen("progan")
  first, last = progan.phases(config)
  assert (first.size, first.batch_size, first.rate) == (8, 8, 2e-3)
  assert (first.first_step, first.stop, last.stop) == (0, 2, 4)
  # A step at 16x16 takes longer than one at 8x8.
  assert last.work > first.work


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"model__conditional_from": 32}, "one of 4, 8, 16 is expected"),
    (
      {"growth__round_steps": 3},
      r"log_every=2 does not divide growth\.round_steps=3",
    ),
    (
      {"growth__batch_sizes": (8, 8, 6), "train__steps": 8},
      "a device's part of 6 images is 6, but .* needs a multiple of 4",
    ),
    ({"growth__rates": (1e-3, 1e-3)}, r"growth\.rates=.* has none for 16x16"),
  ],
)
def test_impossible_configs_are_refused(changes, message):
  with pytest.raises(errors.InputError, match=message):
    progan.check(shrunk.frozen("progan", **changes))


def test_a_device_has_whole_groups():
  changes = {"growth__batch_sizes": (16, 16, 16)}
  config = shrunk.frozen("progan", parallel="pmap", **changes)
  with pytest.raises(errors.InputError, match="16 images is 2, but the mini"):
    progan.check(config)
