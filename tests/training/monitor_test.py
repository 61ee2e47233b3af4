"""Tests of training/monitor.py: samples, collapse, values not finite."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.metrics import diversity
from skinjax.runtime import errors
from skinjax.training import monitor, tasks
from tests import shrunk


def _generator(collapsed):
  """Return a task whose samples are noise, but for collapsed classes."""
  images = np.random.default_rng(0).integers(0, 256, (256, 16, 16, 3))

  def draw(state, latents, labels, **_):
    # The state says which classes draw one image only.
    rows = jnp.where(state[labels], 0, jnp.arange(len(labels)))
    return jnp.asarray(images, jnp.uint8)[rows]

  task = dataclasses.replace(tasks.named("acgan"), draw=draw)
  return task, jnp.array(collapsed)


def _sheet(task, steps=4, past=()):
  config = shrunk.frozen("acgan", train__steps=steps)
  return monitor.Sheet(task, shrunk.dataset(), config, past)


def _messages(absl_log, sheet, states, first=0):
  """Return the messages that are logged of states at steps 0, 1, …"""
  messages = []
  for step, state in enumerate(states, first):
    absl_log.clear()
    sheet.draw(step, state)
    messages.append([record.getMessage() for record in absl_log.records])
  return messages


def test_a_picture_and_the_diversity_of_each_class():
  task, state = _generator([False, False, True])
  picture, ratios = _sheet(task).draw(4, state)
  assert picture.size[0] > 10 * 2 * shrunk.SIZE
  assert list(ratios) == list(shrunk.CLASSES)
  assert ratios["stripes"] == 0
  assert min(ratios["disc"], ratios["square"]) > shrunk.dataset().info.collapse


def test_the_ratio_is_that_of_the_same_images_alone():
  task, state = _generator([False, False, False])
  sheet = _sheet(task)
  _, ratios = sheet.draw(4, state)
  train = shrunk.dataset().train
  images = np.random.default_rng(0).integers(0, 256, (256, 16, 16, 3))
  fake = images[10:20].astype(np.uint8)  # the second row
  wanted = diversity.mean_pairwise_distance(
    fake
  ) / diversity.mean_pairwise_distance(train.images[train.labels == 1])
  assert ratios["square"] == pytest.approx(wanted)


def test_the_alarm_is_given_once_and_taken_back(absl_log):
  task, fine = _generator([False, False, False])
  _, bad = _generator([True, False, True])
  _, better = _generator([True, False, False])
  messages = _messages(absl_log, _sheet(task), [fine, bad, bad, better, bad])
  assert not messages[0]
  assert messages[1] == [
    "Step 1: collapsed: disc 0.00, stripes 0.00 (diversity relative to real "
    "images; the limit is 0.50). See samples/00000001.png."
  ]
  assert not messages[2]
  assert messages[3] == ["Step 3: no longer collapsed: stripes."]
  assert [m[:36] for m in messages[4]] == [
    "Step 4: collapsed: stripes 0.00 (div"
  ]


def test_a_class_that_has_not_come_up_yet_is_no_alarm_at_first(absl_log):
  task, fine = _generator([False, False, False])
  _, bad = _generator([True, True, False])
  _, worse = _generator([True, True, True])
  messages = _messages(
    absl_log, _sheet(task, 8), [worse, bad, worse, bad, bad, fine]
  )
  assert messages[:2] == [[], []]
  assert [m[:33] for m in messages[2]] == ["Step 2: collapsed: stripes 0.00 ("]
  assert messages[3] == ["Step 3: no longer collapsed: stripes."]
  # From the middle on there is no excuse.
  assert [m[:41] for m in messages[4]] == [
    "Step 4: collapsed: disc 0.00, square 0.00"
  ]
  assert messages[5] == ["Step 5: no longer collapsed: disc, square."]


def test_a_resumed_run_warns_as_one_that_never_stopped(absl_log, tmp_path):
  task, fine = _generator([False, False, False])
  _, bad = _generator([True, False, True])
  states = [fine, bad, bad, fine, bad]
  messages, lines = _messages(absl_log, whole := _sheet(task, 20), states), []
  for step, state in enumerate(states[:2]):
    ratios = whole.draw(step, state)[1]
    row = {f"diversity/{name}": ratio for name, ratio in ratios.items()}
    lines += [{"step": step, "train/d_loss": 0.5}, {"step": step, **row}]
  file = tmp_path / "metrics.jsonl"
  file.write_text("".join(json.dumps(line) + "\n" for line in lines))
  for done in (1, 2):
    past = monitor._diversities(file)[:done]
    resumed = _sheet(task, 20, past)
    assert _messages(absl_log, resumed, states[done:], done) == messages[done:]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_bad_number_is_named(value):
  stacked = {
    "late": np.array([1.0, 1.0, value]),
    "gradient": np.array([1.0, value, value]),
    "fine": np.ones(3),
  }
  message = f"gradient was {value} at step 12: training has diverged. The last "
  with pytest.raises(errors.InputError) as refusal:
    monitor.finite_means(stacked, 10, 8)
  assert str(refusal.value).startswith(message)
  assert "checkpoint is that of step 8" in str(refusal.value)
  with pytest.raises(errors.InputError, match="There is no checkpoint yet"):
    monitor.finite_means(stacked, 10, None)
