"""Tests of several processes: the numbers of one, and one that writes."""

import json
import signal
import socket
import subprocess
import time

import numpy as np
import pytest

from skinjax.runtime import checkpoint, errors, processes
from tests import command


def _free_port():
  with socket.socket() as sock:
    sock.bind(("localhost", 0))
    return str(sock.getsockname()[1])


def _start(log, arguments, **env):
  """Start a process; to a file, as a pipe that nobody reads would stop it."""
  with log.open("w") as file:
    return command.start(
      arguments, env=env, stdout=file, stderr=subprocess.STDOUT
    )


def _wait(started, logs):
  """Return the exit codes; a process that does not end is a failure."""
  try:
    return [process.wait(timeout=120) for process in started]
  except subprocess.TimeoutExpired:
    pytest.fail("\n".join(log.read_text()[-2000:] for log in logs))
  finally:
    for process in started:
      process.kill()


def _together(path, name, count, arguments):
  """Call a function of processes_worker.py in each of several processes."""
  port = _free_port()
  path.mkdir()
  logs = [path / f"log{index}" for index in range(count)]
  worker = ["-m", "tests.runtime.processes_worker", name, str(count)]
  started = [
    _start(log, [*worker, str(index), port, *arguments(index)])
    for index, log in enumerate(logs)
  ]
  codes = _wait(started, logs)
  texts = [log.read_text() for log in logs]
  assert codes == [0] * count, "\n".join(text[-3000:] for text in texts)
  return [json.loads(text.splitlines()[-1]) for text in texts]


@pytest.mark.slow
def test_processes_agree_or_are_told_why_not(tmp_path):
  reports = _together(
    tmp_path / "logs",
    "agree",
    2,
    lambda index: [str(tmp_path / "a"), str(tmp_path / str(index))],
  )
  assert [each.pop("first") for each in reports] == [True, False]
  for each in reports:
    assert "not one directory for all processes" in each.pop("places")
  assert reports[0] == reports[1]
  report = reports[0]
  assert report["devices"] == [4, 8]
  assert report["value"] == [1, "é" * 3000]
  assert report["fail"] == "the first cannot"
  assert report["together"] == ["done", "the odd one cannot"]
  assert report["bug"] == "Process 0 has stopped (KeyError: 'a')."
  assert report["in_any"] == [True, False]
  assert report["same"] is None
  assert report["claim"] is None
  assert (
    "The text of process 1 differs from that of process 0" in report["differs"]
  )
  assert "The config of process 1 differs" in report["seeds"]
  assert "one is for one process, and there are 2" in report["one"]


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "mode"), [("acgan", "pmap"), ("classifier", "jit")]
)
def test_two_processes_compute_what_one_does(tmp_path, name, mode):
  run = lambda workdir, count: _together(
    tmp_path / f"logs_{workdir}",
    "train",
    count,
    lambda _: [name, mode, str(tmp_path / workdir)],
  )
  (one,), two = run("one", 1), run("two", 2)
  assert two[0] == two[1]
  assert one["leaves"].keys() == two[0]["leaves"].keys()
  for leaf, wanted in one["leaves"].items():
    wanted, got = np.array(wanted), np.array(two[0]["leaves"][leaf])
    assert wanted.shape == got.shape
    error = np.linalg.norm(got - wanted)
    assert error <= 1e-10 * np.linalg.norm(wanted), leaf
  for metric, wanted in one["metrics"].items():
    assert two[0]["metrics"][metric] == pytest.approx(wanted, rel=1e-9)
  # The first process alone has written: no line is doubled.
  lines = [
    [json.loads(line) for line in text.splitlines()]
    for text in (
      (tmp_path / run / "metrics.jsonl").read_text() for run in ("one", "two")
    )
  ]
  assert [x["step"] for x in lines[0]] == [x["step"] for x in lines[1]]
  for a, b in zip(*lines, strict=True):
    assert a == pytest.approx(b, rel=1e-9)
  with checkpoint.Checkpoints(
    tmp_path / "two" / "checkpoints", read_only=True
  ) as saved:
    assert saved.is_whole(5)
    assert not saved.is_whole(6)
  for run in ("one", "two"):
    events = list((tmp_path / run / "tensorboard").iterdir())
    assert len(events) == 1


def test_alone_everything_is_free():
  assert processes.is_first()
  assert processes.on_first(lambda: {"any": object}) == {"any": object}
  assert [processes.in_any(flag) for flag in (True, False)] == [True, False]
  processes.require_same("The text", "a")


@pytest.mark.parametrize(("count", "index"), [(None, 0), (2, None)])
def test_a_coordinator_needs_numbers(count, index):
  with pytest.raises(errors.InputError, match="needs --num_processes"):
    processes.join("localhost:1", count, index)


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on(tmp_path, toy_dir):
  """From the command line; the signal comes to the second process only."""
  arguments = command.classifier(tmp_path / "run", toy_dir, 4000)

  def by_flags(index, port):
    place = ["--num_processes=2", f"--process_id={index}"]
    coordinator = f"--coordinator=localhost:{port}"
    return _start(logs[index], [*arguments, coordinator, *place])

  def by_slurm(index, port):
    # What Slurm tells its processes; JAX makes the port of the job's number.
    return _start(
      logs[index],
      [*arguments, "--coordinator=auto"],
      SLURM_JOB_ID=str(int(port) % 4096),
      SLURM_STEP_NODELIST="localhost",
      SLURM_NTASKS="2",
      SLURM_PROCID=str(index),
      SLURM_LOCALID=str(index),
      JAX_COORDINATOR_PORT=port,
    )

  logs = [tmp_path / f"log{index}" for index in range(2)]
  metrics = tmp_path / "run" / "metrics.jsonl"
  lines = lambda: metrics.exists() and len(metrics.read_text().splitlines())
  for start in (by_flags, by_slurm):
    port = _free_port()
    started = [start(index, port) for index in range(2)]
    before, deadline = lines(), time.monotonic() + 200
    while not lines() > before + 2 and time.monotonic() < deadline:
      assert all(p.poll() is None for p in started), logs[0].read_text()
      time.sleep(0.1)
    started[1].send_signal(signal.SIGTERM)
    codes = _wait(started, logs)
    texts = [log.read_text() for log in logs]
    assert codes == [143, 143], texts
    for text in texts:
      last = text.strip().splitlines()[-1]
      assert "main.py: SIGTERM: step" in last
    assert "process 0 of 2" in texts[0]
    assert "process 1 of 2" in texts[1]
    assert "step 4/4000" in texts[0] or start is by_slurm
    assert "/4000" not in texts[1]
    assert "Traceback" not in texts[0] + texts[1]
  steps = [
    json.loads(line)["step"] for line in metrics.read_text().splitlines()
  ]
  assert steps == list(range(2, steps[-1] + 1, 2))
