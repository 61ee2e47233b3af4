"""Tests of results/generators/measure.py: equal training times, the table."""

import argparse
import contextlib
import json

import ml_collections
import numpy as np
import pytest

from skinjax.runtime import errors, files
from skinjax.training import loop
from tests import scripts


@pytest.fixture(scope="module")
def measure():
  """Return results/generators/measure.py."""
  return scripts.load("generators/measure")


def test_every_row_can_be_trained(measure):
  for row in measure.ROWS.values():
    config = measure.config_of(row, seed=3, manual_dir="/nowhere")
    loop.check(ml_collections.FrozenConfigDict(config))
    assert (config.seed, config.data.manual_dir) == (3, "/nowhere")


def test_minutes_are_steps_of_a_measured_length(measure):
  config = measure.config_of(measure.ROWS["acgan-today"], 0, "")
  # 60 s of 0.25 s each are 240 steps; calls have 50.
  assert measure.steps_in(config, [0.25], 1) == 200


def test_minutes_of_a_growing_network_are_those_of_all_its_phases(measure):
  config = measure.config_of(measure.ROWS["progan-today"], 0, "")
  config.growth.fade_images = config.growth.stable_images = 3200
  # 3200 images at 4x4 and 6400 at each size up to 32x32, in batches of 64 but
  # for 32x32's of 32, are 50, 100, 100 and 200 steps.
  times = [0.01, 0.02, 0.03, 0.1, 0.5]
  before = 0.5 + 2 + 3 + 20
  minutes = (before + 0.5 * 130) / 60
  assert measure.steps_in(config, times, minutes) == 450 + 100


def test_training_does_not_go_on_after_its_rate_has_fallen(measure, tmp_path):
  for name, refused in (("acgan-lead", True), ("bilinear", False)):
    config = measure.config_of(measure.ROWS[name], 0, "")
    config.train.steps = 100
    measure._require_own_end(tmp_path / name, config)  # nothing is there yet
    (tmp_path / name).mkdir()
    files.write_json(tmp_path / name / "config.json", config.to_dict())
    measure._require_own_end(tmp_path / name, config)
    config.train.steps = 300
    refusal = pytest.raises(errors.InputError, match="fall over 100 steps")
    with refusal if refused else contextlib.nullcontext():
      measure._require_own_end(tmp_path / name, config)


def test_table_averages_over_seeds(measure, tmp_path, monkeypatch):
  monkeypatch.setattr(measure, "TABLE", tmp_path / "table.json")
  (tmp_path / "times.json").write_text('{"rows": {"acgan-today": [1.0]}}')
  for seed, values in ((0, (1.0, 3.0)), (2, (3.0, 7.0))):
    path = tmp_path / "acgan-today" / str(seed)
    path.mkdir(parents=True)
    score = {
      "value": float(np.mean(values)),
      "by_class": dict(zip(("mel", "df"), values, strict=True)),
    }
    text = json.dumps({"steps": 50, "images": 3200, "kid_squeezenet": score})
    (path / "15-validation.json").write_text(text)
  args = argparse.Namespace(workdir=tmp_path, hardware="a machine")
  (row,) = measure.table(args)["rows"]
  assert (row["name"], row["family"], row["minutes"]) == (
    *("acgan-today", "acgan"),
    15.0,
  )
  assert (row["lesions"], row["seeds"], row["images"]) == (
    *("validation", [0, 2]),
    3200,
  )
  kid = row["kid_squeezenet"]
  assert kid["raw"] == [2.0, 5.0]
  assert kid["value"] == 3.5
  # Student's t with one degree of freedom, 12.706, times 1.5.
  assert kid["low"] == pytest.approx(3.5 - 19.06, abs=0.01)
  assert kid["by_class"]["df"]["raw"] == [3.0, 7.0]
  # A seed that is measured elsewhere joins those of the table.
  measure.TABLE.write_text(json.dumps(measure.table(args)))
  (tmp_path / "times.json").unlink()  # the table has them
  for path in (tmp_path / "acgan-today").iterdir():
    path.rename(path.with_name("1")) if path.name == "2" else None
  again = measure.table(args)["rows"][0]["kid_squeezenet"]
  assert again["raw"] == [2.0, 5.0, 5.0]
  assert again["by_class"]["df"]["raw"] == [3.0, 7.0, 7.0]


def test_rows_without_step_times_are_refused(measure, tmp_path, monkeypatch):
  monkeypatch.setattr(measure, "TABLE", tmp_path / "table.json")
  args = argparse.Namespace(workdir=tmp_path, hardware=None)
  message = "no step times of bilinear: run the stage `times`"
  options = {"rows": ["bilinear"], "seeds": [0], "minutes": 15, "test": False}
  for times in (None, '{"rows": {"acgan-today": [2.0]}}'):
    if times:
      (tmp_path / "times.json").write_text(times)
    with pytest.raises(errors.InputError, match=message):
      measure.run(argparse.Namespace(**vars(args), **options))
  (tmp_path / "bilinear" / "0").mkdir(parents=True)
  scores = tmp_path / "bilinear" / "0" / "15-validation.json"
  scores.write_text('{"steps": 50, "images": 3200}')
  with pytest.raises(errors.InputError, match=message):
    measure.table(args)


def test_seeds_are_numbers(measure, capsys):
  given = ["run", "--manual_dir=a", "--workdir=b"]
  assert measure.parse(given).seeds == [0]
  assert measure.parse([*given, "--seeds=1,20"]).seeds == [1, 20]
  with pytest.raises(SystemExit):
    measure.parse([*given, "--seeds=a"])
  assert "--seeds: 'a': numbers such as 0,1,2" in capsys.readouterr().err


def test_one_seed_has_no_interval(measure):
  score = {"value": 1.0, "by_class": {}}
  found = measure.summary([{"steps": 1, "images": 1, "copies": score}])
  assert found["copies"]["low"] is None


def test_rows_that_are_no_longer_measured_stay_in_the_table(
  measure, tmp_path, monkeypatch
):
  monkeypatch.setattr(measure, "TABLE", tmp_path / "table.json")
  (tmp_path / "times.json").write_text('{"rows": {"new": [1.0]}}')
  gone = {"name": "gone", "minutes": 15.0, "lesions": "validation", "seeds": []}
  before = {"hardware": "a machine", "times": {"rows": {"gone": [2.0]}}}
  measure.TABLE.write_text(json.dumps(before | {"rows": [gone]}))
  args = argparse.Namespace(workdir=tmp_path, hardware=None)
  assert measure.table(args) == {
    "hardware": "a machine",
    "times": {"rows": {"gone": [2.0], "new": [1.0]}},
    "rows": [gone],
  }


def test_a_grid_is_the_most_unlike_wave(measure):
  random = np.random.default_rng(0)
  real = random.integers(100, 110, (50, 16, 16, 3), np.uint8)
  images = random.integers(100, 110, (50, 16, 16, 3), np.uint8)
  images[:, :, ::4] += 20  # four times, and at the same place in each
  found = measure.most_unlike_wave(images, real)
  # Waves of a comb of period 4 are multiples of 4 along x, and equally strong.
  assert (found["y"], found["x"] % 4) == (0, 0)
  assert found["x"] > 0
  assert found["power"] > 100
  assert found["fixed"] > 0.9
  same = measure.most_unlike_wave(real, real)
  assert same["power"] == 1.0
