"""Tests of checkpoints: what is restored is what was saved, or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.runtime import checkpoint, errors, parallel
from tests import shrunk


def _state(step=0, size=64):
  values = np.random.default_rng(step).normal(size=(size, 8))
  return {"w": jnp.asarray(values), "n": jnp.asarray(step, jnp.int32)}


def _like(state, mode="one"):
  return parallel.like(jax.eval_shape(lambda: state), mode)


def _saved(path, steps, scores=(), **options):
  with checkpoint.Checkpoints(path, **options) as saved:
    for step in steps:
      metrics = {}
      if step in scores:
        metrics = {options.get("best", "score"): scores[step]}
      saved.save(step, parallel.place(_state(step), "one"), metrics)


def _restored(path, like=None, **options):
  with checkpoint.Checkpoints(path, **options) as saved:
    return saved.restore(_like(_state()) if like is None else like)


def _steps(path):
  return sorted(int(p.name) for p in path.iterdir() if p.name.isdigit())


def _same(a, b):
  a, b = shrunk.leaves(a), shrunk.leaves(b)
  assert a.keys() == b.keys()
  for name, x in a.items():
    assert x.dtype == b[name].dtype
    np.testing.assert_array_equal(x, b[name], err_msg=name)


def test_nothing_is_restored_where_nothing_was_saved(tmp_path):
  assert _restored(tmp_path / "none") is None


# The sharding is the same whatever the tree.
@pytest.mark.parametrize(
  ("name", "mode"),
  [("acgan", "one"), ("classifier", "pmap"), ("classifier", "jit")],
)
def test_round_trip(tmp_path, name, mode):
  state = shrunk.state(name)
  with checkpoint.Checkpoints(tmp_path) as saved:
    saved.save(3, parallel.place(state, mode), {})
    assert saved.latest() == 3
  step, restored = _restored(tmp_path, _like(state, mode))
  assert step == 3
  assert type(restored) is type(state)
  _same(restored, state)
  for leaf in jax.tree.leaves(restored):
    assert len(leaf.sharding.device_set) == (1 if mode == "one" else 8)


def test_what_one_device_saved_eight_restore(tmp_path):
  _saved(tmp_path, [1])
  step, state = _restored(tmp_path, _like(_state(), "pmap"))
  assert step == 1
  _same(state, _state(1))
  assert len(state["w"].sharding.device_set) == 8


def test_the_latest_and_the_best_are_kept(tmp_path):
  scores = {1: 0.1, 2: 0.9, 3: 0.3, 4: 0.2, 5: 0.5, 6: 0.4}
  _saved(tmp_path, range(1, 7), scores, best="score")
  assert _steps(tmp_path) == [2, 5, 6]
  _saved(tmp_path / "plain", range(1, 7), scores)
  assert _steps(tmp_path / "plain") == [5, 6]
  step, state = _restored(tmp_path, best="score")
  assert step == 6
  _same(state, _state(6))


def test_the_best_may_be_the_lowest(tmp_path):
  scores = {1: 0.5, 2: -0.1, 3: 0.3, 4: 0.2, 5: 0.1, 6: 0.4}
  _saved(tmp_path, range(1, 7), scores, best="score", lowest=True)
  assert _steps(tmp_path) == [2, 5, 6]


def test_the_best_of_before_is_kept_when_training_goes_on(tmp_path):
  scores = {1: 0.9, 2: 0.1, 3: 0.2, 4: 0.3, 5: 0.4}
  _saved(tmp_path, range(1, 4), scores, best="score")
  _saved(tmp_path, range(4, 6), scores, best="score")
  assert _steps(tmp_path) == [1, 4, 5]


@pytest.mark.parametrize("content", [b"[1]", b"\x80", b"[" * 100_000])
def test_damaged_metrics_are_a_damaged_checkpoint(tmp_path, content, absl_log):
  _saved(tmp_path, [1, 2], {1: 0.5, 2: 0.9}, best="score")
  (tmp_path / "2" / "metrics" / "metrics").write_bytes(content)
  for best in (False, True):
    with checkpoint.Checkpoints(tmp_path, best="score") as saved:
      assert saved.restore(_like(_state()), best=best)[0] == 1
    assert "step 2" in absl_log.text
    absl_log.clear()


def test_the_best_is_restored(tmp_path, absl_log):
  scores = {1: 0.1, 2: 0.9, 3: 0.3, 4: 0.3, 5: 0.2}
  _saved(tmp_path, range(1, 6), scores, best="score", keep=3)
  with checkpoint.Checkpoints(tmp_path, best="score", read_only=True) as saved:
    assert saved.restore(_like(_state()))[0] == 5
    step, state = saved.restore(_like(_state()), best=True)
    assert step == 2
    _same(state, _state(2))
    # One that is damaged is not: of those that are left, of equals the latest.
    (tmp_path / "2" / "manifest.json").write_text("{")
    assert saved.restore(_like(_state()), best=True)[0] == 4
    assert "step 2" in absl_log.text
  with checkpoint.Checkpoints(tmp_path, best="kid", read_only=True) as saved:
    assert saved.restore(_like(_state()), best=True) is None


def test_a_checkpoint_without_an_evaluation_is_not_the_best(tmp_path):
  _saved(tmp_path, range(1, 5), {1: 0.5}, best="score")
  assert _steps(tmp_path) == [1, 3, 4]


def _flip(path, rng):
  content = bytearray(path.read_bytes())
  content[rng.integers(len(content))] ^= 1 << rng.integers(8)
  path.write_bytes(content)


def test_a_flipped_bit_in_any_file_is_noticed(tmp_path, absl_log):
  _saved(tmp_path, [1, 2])
  files = [
    p
    for p in sorted((tmp_path / "2").rglob("*"))
    if p.is_file() and p.stat().st_size
  ]
  rng = np.random.default_rng(0)
  for file in files:
    content = file.read_bytes()
    _flip(file, rng)
    absl_log.clear()
    step, state = _restored(tmp_path)
    assert step == 1, file
    _same(state, _state(1))
    assert "step 2" in absl_log.text
    assert "damaged or unfinished" in absl_log.text
    file.write_bytes(content)
  assert _restored(tmp_path)[0] == 2


@pytest.mark.parametrize("damage", ["removed", "added", "manifest", "nested"])
def test_a_damaged_latest_checkpoint_is_skipped(tmp_path, damage, absl_log):
  _saved(tmp_path, [1, 2])
  arrays = [p for p in (tmp_path / "2").rglob("*") if p.is_file()]
  largest = max(arrays, key=lambda p: p.stat().st_size)
  if damage == "removed":
    largest.unlink()
  elif damage == "added":
    largest.with_name("another").write_bytes(b"x")
  elif damage == "nested":
    (tmp_path / "2" / "manifest.json").write_text("[" * 100_000)
  else:
    (tmp_path / "2" / "manifest.json").unlink()
  step, state = _restored(tmp_path)
  assert step == 1
  _same(state, _state(1))
  assert "step 2" in absl_log.text


def test_no_whole_checkpoint_is_an_error_that_names_them(tmp_path):
  _saved(tmp_path, [1, 2])
  for step in ("1", "2"):
    (tmp_path / step / "manifest.json").write_text("{")
  with pytest.raises(errors.InputError, match=r"is intact \(steps \[1, 2\]\)"):
    _restored(tmp_path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
  "other",
  [
    {"w": np.zeros((64, 9)), "n": np.int32(0)},
    {"w": np.zeros((64, 8)), "m": np.int32(0)},
    {"w": np.zeros((64, 8)), "n": np.int32(0), "more": np.zeros(2)},
  ],
  ids=["shape", "name", "more"],
)
def test_another_network_is_refused(tmp_path, other):
  _saved(tmp_path, [1])
  other = jax.tree.map(jnp.asarray, other)
  with pytest.raises(errors.InputError, match="holds another network"):
    _restored(tmp_path, _like(other))


def test_drop_after(tmp_path):
  _saved(tmp_path, (2, 4, 6), keep=5)
  with checkpoint.Checkpoints(tmp_path, keep=5) as saved:
    saved.drop_after(4)
    assert saved.latest() == 4
    saved.save(6, parallel.place(_state(7), "one"), {})
    step, state = saved.restore(_like(_state()))
  assert step == 6
  _same(state, _state(7))
  assert _steps(tmp_path) == [2, 4, 6]


def test_a_first_checkpoint_that_was_not_finished_counts_as_none(tmp_path):
  _saved(tmp_path, [2])
  (tmp_path / "2" / "manifest.json").unlink()
  assert _restored(tmp_path) is None


def test_steps_done_ignores_other_folders(tmp_path):
  assert checkpoint.steps_done(tmp_path) == 0
  _saved(tmp_path, [2, 4])
  (tmp_path / "4").rename(tmp_path / "4.bak")
  assert checkpoint.steps_done(tmp_path) == 2
