"""Tests of training/schedules.py at chosen steps, worked by hand."""

import itertools

import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import progan_paper
from skinjax.runtime import errors
from skinjax.training import schedules
from skinjax.training.schedules import Phase
from skinjax.training.tasks import progan
from tests import shrunk

_GROWTH = {
  "first_size": 4,
  "last_size": 16,
  "batch_sizes": (64, 32, 16, 1),  # the last one is not needed
  "rates": (1e-3, 2e-3, 3e-3),
  "fade_images": 640,
  "stable_images": 1280,
  "round_steps": 10,
  "steps": 300,
}


def test_phases_by_hand():
  # 4x4: 1280 images in 20 steps of 64. 8x8: 1920 in 60 steps of 32. 16x16: to
  # the end, from image 1280 + 1920 on.
  assert schedules.growth(**_GROWTH) == (
    Phase(0, 64, 0, 20, 0, 0, 1e-3, 64.0),
    Phase(1, 32, 20, 80, 1280, 640, 2e-3, 32.0),
    Phase(2, 16, 80, 300, 3200, 640, 3e-3, 16.0),
  )


def test_steps_for_images_by_hand():
  schedule = {k: v for k, v in _GROWTH.items() if k != "steps"}
  # 80 steps before 16x16; 640 images to fade in and 3000 more are 227.5 steps
  # of 16, and 230 in calls of ten.
  assert schedules.steps_for(3000, **schedule) == 310


def test_one_phase_is_no_growth():
  (phase,) = schedules.growth(**_GROWTH | {"first_size": 16})
  assert phase == Phase(2, 16, 0, 300, 0, 0, 3e-3, 16.0)
  assert phase.size == 16
  assert float(schedules.fade(phase, jnp.array(0))) == 1


@pytest.mark.parametrize(
  ("step", "share", "factor"),
  [(299, 0.0, 1), (0, 0.1, 1), (270, 0.1, 1), (285, 0.1, 0.5), (75, 1.0, 0.75)],
)
def test_learning_rates_fall_over_the_last_steps(step, share, factor):
  found = schedules.decay(jnp.array(step), 300, share)
  assert float(found) == pytest.approx(factor)


@pytest.mark.parametrize(
  ("step", "level", "fade", "images"),
  [
    (0, 0, 1.0, 0),
    (19, 0, 1.0, 19 * 64),
    (20, 1, 0.0, 1280),
    (30, 1, 0.5, 1600),
    (40, 1, 1.0, 1920),
    (79, 1, 1.0, 1280 + 59 * 32),
    (80, 2, 0.0, 3200),
    (100, 2, 0.5, 3520),
    (300, 2, 1.0, 3200 + 220 * 16),
  ],
)
def test_at_chosen_steps(step, level, fade, images):
  phase = schedules.phase_at(schedules.growth(**_GROWTH), step)
  assert phase.level == level
  assert phase.size == 4 * 2**level
  now = jnp.array(step)
  assert float(schedules.fade(phase, now)) == pytest.approx(fade)
  assert int(schedules.images_seen(phase, now)) == images


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"first_size": 0}, "first_size=0 does not lead to data.size=16"),
    ({"first_size": 32}, "first_size=32 does not lead to data.size=16"),
    ({"last_size": 24}, "first_size=4 does not lead to data.size=24"),
    (
      {"batch_sizes": (8, 8)},
      "has none for 16x16: one for each size from 4x4 to 16x16 is expected",
    ),
    ({"rates": ()}, r"growth\.rates=\(\) has none for 4x4"),
    (
      {"steps": 119},
      "ends before 16x16 has faded in: use at least 120 steps",
    ),
  ],
)
def test_impossible_growth_is_refused(changes, message):
  with pytest.raises(errors.InputError, match=message):
    schedules.growth(**_GROWTH | changes)


@given(
  st.integers(0, 4),
  st.integers(0, 3),
  st.lists(st.integers(1, 64), min_size=4, max_size=4),
  st.integers(0, 2000),
  st.integers(1, 2000),
  st.integers(1, 50),
)
def test_phases_follow_each_other_without_a_gap(
  first, more, batch_sizes, fading, stable, rounding
):
  phases = schedules.growth(
    first_size=4 << first,
    last_size=4 << first + more,
    batch_sizes=(1,) * first + tuple(batch_sizes[: more + 1]),
    rates=(0.0,) * (first + more + 1),
    fade_images=fading,
    stable_images=stable,
    round_steps=rounding,
    steps=10**6,
  )
  assert [p.level for p in phases] == list(range(first, first + more + 1))
  assert phases[0].first_step == phases[0].first_image == 0
  assert phases[-1].stop == 10**6
  for before, after in itertools.pairwise(phases):
    steps = before.stop - before.first_step
    assert steps % rounding == 0
    # Long enough, and not a call longer than that.
    wanted = before.fade_images + stable
    assert wanted <= steps * before.batch_size
    assert (steps - rounding) * before.batch_size < wanted
    assert after.first_step == before.stop
    assert after.first_image == before.first_image + steps * before.batch_size
    # A level is there in full before the next one begins.
    assert float(schedules.fade(before, jnp.array(before.stop))) == 1


def test_a_task_that_does_not_grow_has_one_phase():
  config = shrunk.frozen("classifier")
  (phase,) = schedules.one_phase(config)
  assert (phase.batch_size, phase.first_step, phase.stop) == (8, 0, 4)
  assert phase.level is None


def test_the_time_left_counts_what_a_step_of_each_phase_takes():
  work = lambda level: 10.0**level
  phases = schedules.growth(**_GROWTH, work=work)
  # A step takes 64 at 4x4, 320 at 8x8, 1600 at 16x16.
  assert schedules.steps_left(phases, 10) == pytest.approx(
    10 + 60 * 320 / 64 + 220 * 1600 / 64
  )
  # In steps like the last one, which was at 4x4.
  assert schedules.steps_left(phases, 20) == pytest.approx(
    60 * 320 / 64 + 220 * 1600 / 64
  )
  assert schedules.steps_left(phases, 21) == pytest.approx(59 + 220 * 5)
  assert schedules.steps_left(phases, 200) == pytest.approx(100)
  assert schedules.steps_left(phases, 300) == 0


def test_phases_are_the_papers():
  # 800,000 images to fade in and as many after that.
  phases = progan.phases(progan_paper.get_config("size=256"))
  images = [(p.stop - p.first_step) * p.batch_size for p in phases]
  assert images == [800_000] + 6 * [1_600_000]
  assert [p.fade_images for p in phases] == [0] + 6 * [800_000]
  assert {(p.batch_size, p.rate) for p in phases} == {(16, 1e-3)}
