"""Tests of runs that are killed, asked to stop, or out of disk."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from skinjax.data import sources
from skinjax.runtime import checkpoint, interruption, parallel
from skinjax.training import loop, tasks, writer
from tests import command, shrunk
from tests.conftest import ROOT

# A call of two steps takes a tenth of what saving it takes, so most moments
# are in the midst of a checkpoint.
_RUN = {
  "train__steps": 64,
  "log_every": 2,
  "eval_every": 8,
  "save_every": 4,
  "sample_every": 8,
}
_KILLS = 8  # few may all miss a checkpoint that is being written
# Processes that have imported JAX but not begun to use it can be forked, which
# takes a fraction of the time that a new one takes to start.
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
  ["skinjax.training.tasks.acgan", "skinjax.training.loop", "tests.shrunk"]
)


def _train(path, cache):
  """Train an ACGAN; this runs in the process that is killed."""
  jax.config.update("jax_disable_most_optimizations", True)
  shrunk.convolve_natively()
  parallel.keep_compiled(cache)
  config = shrunk.config("acgan", **_RUN)
  loop.train(tasks.named("acgan"), config, path, shrunk.dataset())


def _start(path):
  cache = jax.config.jax_compilation_cache_dir
  process = _forks.Process(target=_train, args=(path, cache))
  process.start()
  return process


def _state(path):
  config, info = shrunk.frozen("acgan", **_RUN), shrunk.dataset().info
  like = parallel.like(shrunk.state("acgan"), "one")
  with checkpoint.Checkpoints(path / "checkpoints", read_only=True) as saved:
    step, state = saved.restore(like)
  assert (step, info.size) == (config.train.steps, shrunk.SIZE)
  return shrunk.leaves(state)


def _steps(path, name):
  return [line["step"] for line in shrunk.lines(path, name)]


def _compare(undisturbed, killed):
  states = [_state(path) for path in (undisturbed, killed)]
  assert states[0].keys() == states[1].keys()
  for name, x in states[0].items():
    np.testing.assert_array_equal(x, states[1][name], err_msg=name)
  files = [
    {p.name: p.read_bytes() for p in (path / "samples").iterdir()}
    | {"metrics": (path / "metrics.jsonl").read_bytes()}
    for path in (undisturbed, killed)
  ]
  assert files[0] == files[1]
  timed = _steps(killed, "timing")
  assert timed == sorted(set(timed))
  # Nothing that was half written stays.
  left = [
    p.name for p in killed.rglob("*") if "tmp" in p.name or ".part" in p.name
  ]
  assert not left


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_an_undisturbed_one(
  tmp_path,
):
  undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
  for path in (tmp_path / "compiled", undisturbed):  # the first one compiles
    start = time.monotonic()
    process = _start(path)
    process.join(timeout=200)
    assert process.exitcode == 0
  whole = time.monotonic() - start

  seed = np.random.SeedSequence().entropy
  print(f"moments of seed {seed}")  # shown where the test fails
  rng = np.random.default_rng(seed)
  kills = while_saving = 0
  for _ in range(5 * _KILLS):
    if kills == _KILLS:
      break
    process = _start(killed)
    process.join(timeout=rng.uniform(0.3, 0.9) * whole)
    process.kill()
    process.join()
    if process.exitcode == 0:  # it has ended, so begin another one
      _compare(undisturbed, killed)
      shutil.rmtree(killed)
      continue
    assert process.exitcode == -signal.SIGKILL
    kills += 1
    places = list((killed / "checkpoints").glob("*"))
    while_saving += any(
      not (place / "manifest.json").exists() for place in places
    )
  assert kills == _KILLS, "most runs ended before they were killed"
  assert while_saving > 0, "no kill met a checkpoint that was being written"
  process = _start(killed)
  process.join(timeout=200)
  assert process.exitcode == 0

  _compare(undisturbed, killed)


def _signalled(path, monkeypatch, number, step, times=1):
  """Train a classifier that gets a signal at a step; return its end."""
  plain = writer.Writer.progress

  def progress(self, at, *arguments):
    plain(self, at, *arguments)
    if at == step:
      for _ in range(times):
        os.kill(os.getpid(), number)

  monkeypatch.setattr(writer.Writer, "progress", progress)
  config = shrunk.config("classifier", train__steps=8, save_every=8)
  with pytest.raises(interruption.Interrupted) as ended:
    loop.train(tasks.named("classifier"), config, path, shrunk.dataset())
  monkeypatch.undo()
  return ended.value


@pytest.fixture
def handlers():
  """Set signal handlers as main.py does; restore the former ones afterwards."""
  numbers = signal.SIGTERM, signal.SIGINT
  before = [signal.getsignal(number) for number in numbers]
  interruption.end_at_once()
  yield lambda: [signal.getsignal(number) for number in numbers]
  for number, handler in zip(numbers, before, strict=True):
    signal.signal(number, handler)


def test_a_run_that_is_asked_to_stop_saves_first(
  tmp_path, monkeypatch, handlers
):
  before = handlers()
  ended = _signalled(tmp_path / "stopped", monkeypatch, signal.SIGTERM, step=4)
  assert ended.number == signal.SIGTERM
  assert str(ended) == (
    f"SIGTERM: step 4 is saved in {tmp_path / 'stopped'}. The same "
    "command resumes from there."
  )
  assert handlers() == before
  assert (tmp_path / "stopped" / "checkpoints" / "4").is_dir()
  config = shrunk.config("classifier", train__steps=8, save_every=8)
  task = tasks.named("classifier")
  results = [
    loop.train(task, config, tmp_path / name, shrunk.dataset())
    for name in ("stopped", "whole")
  ]
  states = [shrunk.leaves(result.state) for result in results]
  for name, x in states[0].items():
    np.testing.assert_array_equal(x, states[1][name], err_msg=name)
  lines = [
    (tmp_path / name / "metrics.jsonl").read_bytes()
    for name in ("stopped", "whole")
  ]
  assert lines[0] == lines[1]


def test_a_signal_that_comes_with_the_last_step_is_not_forgotten(
  tmp_path, monkeypatch, handlers
):
  ended = _signalled(tmp_path, monkeypatch, signal.SIGTERM, step=8)
  assert "resumes from the finished work" in str(ended)
  assert (tmp_path / "checkpoints" / "8" / "manifest.json").exists()


def test_a_second_signal_does_not_wait(tmp_path, monkeypatch, handlers):
  ended = _signalled(tmp_path, monkeypatch, signal.SIGINT, step=4, times=2)
  assert "resumes from the finished work" in str(ended)
  assert not list((tmp_path / "checkpoints").iterdir())


def test_a_signal_outside_of_training_ends_the_run_at_once(handlers):
  with pytest.raises(interruption.Interrupted, match="SIGTERM: stopped"):
    os.kill(os.getpid(), signal.SIGTERM)


def _prepare(data_dir):
  config = shrunk.config("classifier", "dataset=toy,size=16").data
  config.data_dir = str(data_dir)
  with shrunk.few_toys():
    sources.read(config)


@pytest.mark.slow
def test_two_processes_prepare_one_data_set_and_one_is_killed(
  tmp_path, toy_dir
):
  # What a process that was killed before has left.
  (tmp_path / "toy_lesions/64x64/incomplete.ABCDEF_1.0.0").mkdir(parents=True)
  started = [
    _forks.Process(target=_prepare, args=(tmp_path,)) for _ in range(3)
  ]
  for process in started:
    process.start()
  deadline = time.monotonic() + 100
  while not list(tmp_path.rglob("incomplete.*/toy_lesions-*")):
    assert time.monotonic() < deadline
    time.sleep(0.05)
  started[0].kill()  # whether it prepares or waits
  for process in started:
    process.join(timeout=200)
  assert [process.exitcode for process in started] == [-9, 0, 0]
  assert not list(tmp_path.rglob("incomplete.*"))
  config = shrunk.config("classifier", "dataset=toy,size=16").data
  config.data_dir = str(tmp_path)
  splits = sources.read(config).splits
  config.data_dir = toy_dir
  wanted = sources.read(config).splits
  for name, split in wanted.items():
    for column, right in zip(splits[name], split, strict=True):
      np.testing.assert_array_equal(column, right)


def _namespaces():
  """Return whether a file system can be mounted for one process."""
  mount = ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
  try:
    return subprocess.run(mount, capture_output=True).returncode == 0
  except OSError:
    return False


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_costs_no_checkpoint(tmp_path, toy_dir):
  if not _namespaces():
    pytest.skip("no file system can be mounted here")
  disk = tmp_path / "disk"
  disk.mkdir()
  arguments = command.classifier(disk / "run", toy_dir, 8, save_every=2)
  script = (
    'disk="$0"\n'
    'mount -t tmpfs -o size=420k tmpfs "$disk"\n'
    '"$@"\n'
    'echo "code $?" >&2\n'
    'ls -a "$disk/run/checkpoints"\n'
    'mount -o remount,size=64m "$disk"\n'
    'exec "$@"\n'
  )
  namespace = ["unshare", "-Urm"]
  process = subprocess.run(
    [*namespace, "sh", "-c", script, disk, sys.executable, *arguments],
    cwd=ROOT,
    env={**os.environ, "XLA_FLAGS": ""},
    capture_output=True,
    text=True,
    timeout=300,
  )
  first, _, second = process.stderr.partition("code 2\n")
  assert second, process.stderr
  message = first.strip().splitlines()[-1]
  assert "No space left on device" in message, first[-3000:]
  assert "same command resumes from" in message, first[-3000:]
  assert "Traceback" not in process.stderr
  kept = process.stdout.split()
  assert any(name.isdigit() for name in kept), kept
  assert not [name for name in kept if "tmp" in name]
  latest = max(int(name) for name in kept if name.isdigit())
  assert process.returncode == 0, second
  assert f"steps {latest} to 8" in second
