"""Tests of main.py: exit codes and messages."""

import signal
import subprocess

import pytest

from tests import command

# Programs compile in less time.
_ENV = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def _start(arguments, **env):
  return command.start(arguments, env=_ENV | env, stderr=subprocess.PIPE)


def _main(arguments, **env):
  """Return the exit code and the standard error."""
  process = _start(arguments, **env)
  try:
    _, output = process.communicate(timeout=500)
  finally:
    process.kill()
  return process.returncode, output


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    (["more"], "unknown argument 'more'"),
    (["--workdir="], "--workdir=: it must name the run's directory"),
    (
      ["--config.train.steps=7"],
      "train.steps=7 is not a multiple of log_every=50",
    ),
  ],
)
def test_bad_input_is_one_line(tmp_path, arguments, words):
  config = "--config=configs/acgan.py:dataset=toy"
  workdir = f"--workdir={tmp_path / 'run'}"
  code, output = _main(["main.py", config, workdir, *arguments])
  assert code == 2
  last = output.splitlines()[-1]
  assert last.startswith("main.py: ")
  assert words in last
  assert "Traceback" not in output
  assert not (tmp_path / "run").exists()


def test_a_run_from_the_command_line(tmp_path, toy_dir):
  arguments = command.classifier(tmp_path / "run", toy_dir, 4)
  code, output = _main(arguments, XDG_CACHE_HOME=str(tmp_path / "cache"))
  assert code == 0, output
  lines = output.splitlines()
  assert any(line.startswith("process 0 of 1, ") for line in lines)
  assert any(line.startswith("step 4/4  ") for line in lines)
  for name in ("config.json", "metrics.jsonl", "predictions.csv", "scores.csv"):
    assert (tmp_path / "run" / name).exists()


@pytest.mark.slow
def test_ctrl_c_is_one_line(tmp_path, toy_dir):
  arguments = command.classifier(tmp_path / "run", toy_dir, 100_000)
  with _start(arguments) as process:
    for line in process.stderr:
      if "step 6/" in line:
        break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
  assert process.returncode == 130, rest
  assert "Traceback" not in rest
  last = rest.strip().splitlines()[-1]
  assert last.startswith("main.py: SIGINT: step ")
  assert last.endswith("The same command resumes from there.")
