"""Tests of training/tasks/classifier.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skinjax.data import augment
from skinjax.models import classifier as models
from skinjax.models import efficientnet
from skinjax.runtime import errors
from skinjax.training.tasks import classifier
from tests import shrunk

KEY = jax.random.key(5)
_PLAIN = {
  "model__dropout": 0.0,
  "augment__orientations": False,
  "train__batch_size": 12,
}


@functools.cache
def _step(**changes):
  return jax.jit(
    functools.partial(
      classifier.train_step,
      config=shrunk.frozen("classifier", **changes),
      info=shrunk.dataset().info,
    )
  )


@functools.cache
def _evaluate(**changes):
  config, info = shrunk.frozen("classifier", **changes), shrunk.dataset().info
  return jax.jit(
    functools.partial(classifier.eval_step, config=config, info=info)
  )


def _logits(state, images):
  network = models.ResNet(4, 3, 0.0)
  apply = functools.partial(network.apply, train=True, mutable=["batch_stats"])
  images = np.float32(images / 127.5 - 1)
  logits, _ = jax.jit(apply)(state.variables, images, None)
  return np.asarray(logits, np.float64)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_overfits_a_tiny_set(dtype):
  changes = _PLAIN | {"model__dtype": dtype}
  step = _step(**changes, train__rate=1e-2, train__steps=60)
  state, batch = shrunk.state("classifier"), shrunk.batch(12)
  for n in range(40):
    state, metrics = step(state, batch, jax.random.fold_in(KEY, n))
    if n == 0:
      assert float(metrics["loss"]) > 0.5
  assert float(metrics["loss"]) < 0.1
  assert float(metrics["accuracy"]) == 1
  assert {x.dtype.name for x in jax.tree.leaves(state.variables)} == {"float32"}
  out = _evaluate(model__dtype=dtype)(state, batch)
  predicted = np.asarray(out["probabilities"]).argmax(1)
  np.testing.assert_array_equal(predicted, batch["label"])
  np.testing.assert_allclose(out["probabilities"].sum(1), 1, rtol=1e-5)


# Class counts of the tiny set: 12, 7, 5 of 24.
_PRIOR = np.array([12, 7, 5]) / 24
_BALANCES = {
  "none": (np.zeros(3), np.ones(3)),
  "weights": (np.zeros(3), 24 / (3 * np.array([12, 7, 5]))),
  "logit_adjustment": (np.log(_PRIOR), np.ones(3)),
}


@pytest.mark.parametrize("balance", list(_BALANCES))
def test_loss_by_balance(balance):
  state, batch = shrunk.state("classifier"), shrunk.batch(12)
  step = _step(**_PLAIN, loss__balance=balance, loss__smoothing=0.2)
  _, metrics = step(state, batch, KEY)
  added, weights = _BALANCES[balance]
  bare = _logits(state, batch["image"])
  logits, labels = bare + added, batch["label"]
  logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
  targets = 0.8 * np.eye(3)[labels] + 0.2 / 3
  wanted = np.mean(weights[labels] * -(targets * logs).sum(1))
  assert float(metrics["loss"]) == pytest.approx(wanted, rel=1e-4)
  # Accuracy is of the bare logits, which evaluation uses.
  assert float(metrics["accuracy"]) == pytest.approx(
    np.mean(bare.argmax(1) == labels)
  )


def test_weights_reach_the_gradient(monkeypatch):
  # With SGD of rate 1, the heads' bias moves by minus the loss's gradient:
  # the mean of weight * (softmax - one-hot).
  monkeypatch.setattr(optax, "adamw", lambda *_, **__: optax.sgd(1.0))
  config = shrunk.frozen("classifier", **_PLAIN, loss__balance="weights")
  info = shrunk.dataset().info
  init = functools.partial(classifier.init_state, config, info)
  state, batch = jax.jit(init)(jax.random.key(0)), shrunk.batch(12)
  step = functools.partial(classifier.train_step, config=config, info=info)
  after, _ = jax.jit(step)(state, batch, KEY)
  logits, labels = _logits(state, batch["image"]), batch["label"]
  softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  weights = _BALANCES["weights"][1][labels]
  wanted = -np.mean(weights[:, None] * (softmax - np.eye(3)[labels]), 0)
  got = after.variables["params"]["Dense_0"]["bias"]
  np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-6)


def _optimizer_steps(**changes):
  """Return by how much each step moves weights without a gradient."""
  config = shrunk.frozen("classifier", **changes)
  optimizer = classifier._optimizer(config)
  params = {"matrix": jnp.ones((2, 2)), "gain": jnp.ones(2)}
  zero = jax.tree.map(jnp.zeros_like, params)

  @jax.jit
  def one(memory):
    return optimizer.update(zero, memory, params)

  memory, steps = optimizer.init(params), []
  for _ in range(config.train.steps + 1):
    updates, memory = one(memory)
    steps.append({k: float(u.ravel()[0]) for k, u in updates.items()})
  return steps


def test_schedule_and_weight_decay():
  # Without gradients AdamW moves by -rate * decay * value: decay tells rate.
  steps = _optimizer_steps(
    train__steps=40, train__rate=0.5, train__weight_decay=0.1
  )
  rates = [step["matrix"] / -0.1 for step in steps]
  assert rates[0] == 0
  assert rates[1] == pytest.approx(0.25)  # warmed up over 40 // 20 steps
  assert rates[2] == pytest.approx(0.5)
  assert rates[21] == pytest.approx(0.25, rel=1e-4)  # half-way down
  assert rates[40] == pytest.approx(0, abs=1e-7)
  assert (np.diff(rates[2:]) < 0).all()
  # Gains and biases are not decayed.
  assert not any(step["gain"] for step in steps)


def test_evaluation_uses_the_average():
  state, batch = shrunk.state("classifier"), shrunk.batch()
  evaluate = _evaluate()
  zeros = lambda tree: jax.tree.map(np.zeros_like, tree)
  one = evaluate(state, batch)["probabilities"]
  other = evaluate(state.replace(variables=zeros(state.variables)), batch)
  np.testing.assert_array_equal(one, other["probabilities"])
  flat = evaluate(state.replace(average=zeros(state.average)), batch)
  np.testing.assert_allclose(flat["probabilities"], 1 / 3, rtol=1e-6)


def test_a_step_is_finite_and_changes_every_part():
  state = shrunk.state("classifier")
  # The first step of the schedule has rate 0.
  first, _ = _step()(state, shrunk.batch(), KEY)
  after, metrics = _step(train__steps=10)(first, shrunk.batch(), KEY)
  assert set(metrics) == {"loss", "accuracy", "gradient"}
  assert int(after.step) == 2
  for part in ("variables", "average"):
    was = shrunk.leaves(getattr(first, part))
    for name, x in shrunk.leaves(getattr(after, part)).items():
      assert np.isfinite(x).all(), name
      assert (x != was[name]).any(), name


@pytest.mark.parametrize(
  ("size", "fits"), [(16, True), (48, True), (100, False), (45, False)]
)
def test_a_size_that_cannot_be_halved_is_refused(size, fits):
  config = shrunk.frozen("classifier", data__size=size)
  if fits:
    classifier.check(config)
    return
  with pytest.raises(errors.InputError, match=f"data.size={size}: the network"):
    classifier.check(config)


def test_classes_are_not_balanced_twice():
  config = shrunk.frozen(
    "classifier", loss__balance="weights", train__sampler="balanced"
  )
  with pytest.raises(errors.InputError, match="use one of them"):
    classifier.check(config)


def test_the_gradient_is_that_of_the_step(monkeypatch):
  # With plain gradient descent at rate 1 the weights move by the gradient.
  monkeypatch.setattr(optax, "adamw", lambda *_, **__: optax.sgd(1.0))
  state = shrunk.state.__wrapped__("classifier")  # of another optimizer
  step = functools.partial(
    classifier.train_step,
    config=shrunk.frozen("classifier", train__batch_size=4),
    info=shrunk.dataset().info,
  )
  after, metrics = jax.jit(step)(state, shrunk.batch(), KEY)
  moved = jax.tree.map(
    lambda a, b: a - b, state.variables["params"], after.variables["params"]
  )
  wanted = np.sqrt(sum((x**2).sum() for x in shrunk.leaves(moved).values()))
  np.testing.assert_allclose(metrics["gradient"], wanted, rtol=1e-3)


_TUNED = "dataset=toy,network=efficientnet"


def test_fine_tuning_begins_with_the_pretrained_weights():
  config, info = shrunk.frozen("classifier", _TUNED), shrunk.dataset().info
  init = functools.partial(classifier.init_state, config, info, KEY)
  state = jax.jit(init)(classifier.pretrained(config))
  weights = efficientnet.load()["params"]
  del weights["_fc"]
  for part in (state.variables, state.average):
    params = shrunk.leaves(part["params"]["extractor"])
    for name, x in shrunk.leaves(weights).items():
      np.testing.assert_array_equal(params[name], x)
  # Nothing else is kept of them, and without them the shapes are the same.
  shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert shapes(jax.eval_shape(init)) == shapes(state)


def test_fine_tuning_overfits_a_tiny_set(two_stages):
  changes = _PLAIN | {"augment__mixup": 0.0, "augment__jitter": 0.0}
  changes |= {"train__rate": 1e-2, "train__steps": 60}
  config, info = (
    shrunk.frozen("classifier", _TUNED, **changes),
    shrunk.dataset().info,
  )
  init = functools.partial(classifier.init_state, config, info)
  state, batch = jax.jit(init)(jax.random.key(0)), shrunk.batch(12)
  step = jax.jit(
    functools.partial(classifier.train_step, config=config, info=info)
  )
  for n in range(40):
    was = shrunk.leaves(state.variables)
    state, metrics = step(state, batch, jax.random.fold_in(KEY, n))
    if n == 0:
      assert float(metrics["loss"]) == pytest.approx(np.log(3))
  assert float(metrics["loss"]) < 0.1
  for name, x in shrunk.leaves(state.variables).items():
    assert (x != was[name]).any(), name


def test_the_loss_of_mixed_images_is_mixed_by_the_same_shares(monkeypatch):
  # The last layer is 0, but for its bias: all images have the same logits.
  monkeypatch.setattr(
    augment,
    "mixup",
    lambda images, keys, alpha: (images, jnp.array([0.5, 1.0, 0.75, 0.9])),
  )
  config = shrunk.frozen(
    "classifier", augment__mixup=0.3, loss__balance="weights"
  )
  state = shrunk.state("classifier")
  params = dict(state.variables["params"])
  logs = np.log([0.5, 0.3, 0.2])
  kernel = np.zeros_like(params["Dense_0"]["kernel"])
  params["Dense_0"] = {"kernel": kernel, "bias": np.float32(logs)}
  state = state.replace(variables={**state.variables, "params": params})
  step = functools.partial(
    classifier.train_step, config=config, info=shrunk.dataset().info
  )
  batch = {**shrunk.batch(4), "label": np.array([0, 1, 2, 2])}
  _, metrics = jax.jit(step)(state, batch, KEY)
  w = -logs * 24 / (3 * np.array([12, 7, 5]))
  pairs = [0.5 * w[0] + 0.5 * w[1], w[1], w[2], w[2]]
  assert float(metrics["loss"]) == pytest.approx(np.mean(pairs), rel=1e-5)


@pytest.mark.parametrize("name", ["resnet", "efficientnet"])
def test_the_mean_over_orientations_is_that_of_every_orientation(
  name, two_stages
):
  arguments = f"dataset=toy,network={name}"
  info, batch = shrunk.dataset().info, shrunk.batch()

  def classified(mean, images):
    config = shrunk.frozen(
      "classifier", arguments, augment__test_orientations=mean
    )
    state = shrunk.state.__wrapped__("classifier", arguments=arguments)
    # The last layer may begin at 0.
    dense = state.average["params"]["Dense_0"]
    dense["kernel"] = dense["kernel"] + np.eye(*dense["kernel"].shape)
    step = functools.partial(classifier.eval_step, config=config, info=info)
    classify = jax.jit(lambda images: step(state, {"image": images}))
    return [np.asarray(classify(x)["probabilities"]) for x in images]

  turned = np.rot90(batch["image"], axes=(1, 2))[:, ::-1]
  wanted, got = classified(True, [batch["image"], turned])
  assert wanted.std(0).max() > 1e-4
  np.testing.assert_allclose(got, wanted, rtol=1e-4)
  views = augment.all_orientations(batch["image"])
  np.testing.assert_allclose(
    wanted, np.mean(classified(False, views), axis=0), rtol=1e-4
  )


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"model__network": "efficientnett"}, "Did you mean 'efficientnet'"),
    ({"model__network": "efficientnet"}, "classifier.py:network=efficientnet"),
    ({"augment__mixup": 0.2, "train__batch_size": 7}, "mixes images in pairs"),
  ],
)
def test_options_that_a_network_does_not_take_are_refused(changes, message):
  with pytest.raises(errors.InputError, match=message):
    classifier.check(shrunk.frozen("classifier", **changes))


@pytest.mark.parametrize("size", [30, 33])
def test_an_input_of_another_size_is_refused(size):
  config = shrunk.frozen("classifier", _TUNED, model__input=size)
  with pytest.raises(errors.InputError, match="even number of at least 32"):
    classifier.check(config)
