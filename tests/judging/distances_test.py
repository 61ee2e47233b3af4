"""Tests of judging/distances.py: distances, their floor and their ceiling."""

import dataclasses

import numpy as np
import pytest

from skinjax.judging import distances
from skinjax.metrics import frechet, kernel, prdc

NAMES = ("a", "b")


def _features(rng, shifts, count, dims=6):
  values = [rng.normal(shift, 1, (count, dims)) for shift in shifts]
  labels = np.repeat(np.arange(len(shifts)), count)
  return distances.Features(
    np.concatenate(values), labels, np.arange(len(labels))
  )


@pytest.fixture(scope="module")
def rows():
  """Rows of two classes; synthetic images match those of the first only."""
  rng = np.random.default_rng(0)
  train = _features(rng, (0, 2), 80)
  held_out = _features(rng, (0, 2), 30)
  synthetic = _features(rng, (0, 5), 60)
  found = distances.compare(train, held_out, synthetic, NAMES, seed=0)
  return {(row["class"], row["comparison"]): row for row in found}


def test_all_rows_of_a_class_compare_the_same_numbers_of_images(rows):
  assert set(rows) == {
    (name, kind) for name in NAMES for kind in ("synthetic", "floor", "ceiling")
  } | {(None, "synthetic"), (None, "floor")}
  assert rows["a", "ceiling"]["against"] == "b"
  for (name, _), row in rows.items():
    assert row["num_fake"] == (30 if name else 60)
    assert row["num_real"] == (80 if name else 160)


def test_matching_images_are_at_the_floor_and_others_are_not(rows):
  kernel = lambda *key: rows[key]["kernel"]
  assert kernel("a", "synthetic")["high"] < kernel("a", "ceiling")["low"] / 5
  assert kernel("a", "floor")["low"] < 0 < kernel("a", "floor")["high"]
  assert kernel("b", "synthetic")["low"] > kernel("b", "ceiling")["high"]
  assert rows["b", "synthetic"]["frechet"] > rows["b", "floor"]["frechet"]
  assert kernel(None, "floor")["low"] < 0 < kernel(None, "floor")["high"]
  assert kernel(None, "synthetic")["low"] > 0


def test_the_kernel_distance_has_all_synthetic_images():
  rng = np.random.default_rng(0)
  train = _features(rng, (0,), 40)
  held_out = _features(rng, (0,), 12)
  synthetic = _features(rng, (1,), 50)
  row = distances.compare(train, held_out, synthetic, ("a",), seed=0)[0]
  assert row["num_fake"] == 12
  everything = kernel.kernel_distance(train.values, synthetic.values)
  assert row["kernel"]["value"] == pytest.approx(everything)


def test_the_ceiling_is_the_nearest_class_with_as_many_images():
  rng = np.random.default_rng(0)
  whole = _features(rng, (0, 1, 3), 40)
  train = whole.take(np.r_[0:40, 40:60, 80:120])  # 20 of the nearest class
  names = ("a", "b", "c")

  def ceiling(held_out):
    rows = distances.compare(train, held_out, held_out, names, seed=0)
    row = next(r for r in rows if r["class"] == "a" and r["against"])
    return row["against"], row["num_fake"]

  assert ceiling(_features(rng, (0, 1, 3), 20)) == ("b", 20)
  assert ceiling(_features(rng, (0, 1, 3), 30)) == ("c", 30)
  assert ceiling(_features(rng, (0, 1, 3), 50)) == ("b", 20)  # none has 50


def test_one_class_has_no_ceiling():
  rng = np.random.default_rng(0)
  parts = [_features(rng, (0,), 20) for _ in range(3)]
  rows = distances.compare(*parts, ("a",), seed=0)
  assert [row["comparison"] for row in rows] == ["synthetic", "floor"]


def test_other_class_proportions_than_in_training_are_no_distance():
  rng = np.random.default_rng(0)
  train = _features(rng, (0, 3), 200)
  train = train.take(np.r_[0:200, 200:250])
  held_out = _features(rng, (0, 3), 30)
  rows = distances.compare(train, held_out, held_out, NAMES, seed=0)
  whole = next(row for row in rows if row["class"] is None)
  assert whole["num_real"] == 100  # 50 of each
  assert whole["kernel"]["low"] < 0.1


def test_a_part_of_many_training_images_is_compared(monkeypatch):
  monkeypatch.setattr(distances, "MOST_TRAINING", 72)
  rng, calls = np.random.default_rng(0), []
  train = _features(rng, (0, 3), 200).take(np.r_[0:200, 200:260])
  held_out = _features(rng, (0, 3), 30).take(np.r_[0:12, 30:54])
  found = distances.compare(
    *(train, held_out, held_out, NAMES),
    seed=0,
    progress=lambda *done: calls.append(done),
  )
  rows = {(row["class"], row["comparison"]): row for row in found}
  assert rows["a", "floor"]["num_real"] == 72
  assert rows["b", "floor"]["num_real"] == 60
  # Twice the 12 and 24, whose proportions the training images must have.
  assert rows[None, "floor"]["num_real"] == 72
  assert rows[None, "floor"]["kernel"]["low"] < 0.1
  assert calls == [(n + 1, 8) for n in range(8)]


def test_a_class_without_images_is_refused_and_left_out_of_all():
  rng = np.random.default_rng(0)
  train, held_out = _features(rng, (0, 3), 60), _features(rng, (0, 3), 30)
  synthetic = held_out.take(held_out.labels == 0)
  found = distances.compare(train, held_out, synthetic, NAMES, seed=0)
  rows = {(row["class"], row["comparison"]): row for row in found}
  assert rows["b", "synthetic"]["refused"].startswith("0 compared lesions")
  assert rows[None, "synthetic"]["num_real"] == 60
  assert rows[None, "synthetic"]["num_fake"] == 30


def test_too_few_lesions_are_refused_with_a_reason():
  rng = np.random.default_rng(0)
  train = _features(rng, (0,), 40)
  few = distances.Features(
    rng.normal(0, 1, (40, 6)), np.zeros(40, int), np.arange(40) // 5
  )
  rows = distances.compare(train, few, train, ("a",), seed=0)
  assert rows[1]["refused"].startswith("8 compared lesions")
  assert "kernel" not in rows[1]
  assert "kernel" in rows[0]


def test_all_distances_are_measured_and_whole_lesions_resampled():
  rng = np.random.default_rng(0)
  real, fake = (
    distances.Features(
      rng.normal(shift, 1, (50, 6)), np.zeros(50, int), np.arange(50) // 2
    )
    for shift in (0, 0.5)
  )
  pair = real.values, fake.values
  row = distances.measure(real, fake, seed=3)
  assert (row["num_real"], row["num_fake"]) == (50, 50)
  assert row["frechet"] == frechet.frechet(*pair)
  expected = frechet.frechet_curve(*pair, seed=3)
  assert row["curve"] == dataclasses.asdict(expected)
  groups = {"groups": real.lesions, "fake_groups": fake.lesions}
  expected = kernel.kernel_distance_interval(*pair, **groups, seed=3)
  assert row["kernel"] == dataclasses.asdict(expected)
  expected = prdc.precision_recall_density_coverage(*pair)
  assert row["prdc"] == dataclasses.asdict(expected)
  other = distances.measure(real, fake, seed=4)
  assert row["kernel"]["low"] != other["kernel"]["low"]
  assert row["curve"]["limit"] != other["curve"]["limit"]
