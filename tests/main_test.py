"""Tests of the command line."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# One device, and programs that compile in less time.
_ENV = {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def _main(*arguments, **env):
  return subprocess.run(
    [sys.executable, "main.py", *arguments],
    cwd=ROOT,
    env={**os.environ, **_ENV, **env},
    capture_output=True,
    text=True,
    timeout=500,
    check=False,
  )


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
  done = _main(config, f"--workdir={tmp_path / 'run'}", *arguments)
  assert done.returncode == 2
  last = done.stderr.splitlines()[-1]
  assert last.startswith("main.py: ")
  assert words in last
  assert "Traceback" not in done.stderr
  assert not (tmp_path / "run").exists()


def test_a_run_from_the_command_line(tmp_path, toy_dir):
  arguments = [
    "--config=configs/classifier.py:dataset=toy,size=16,quick",
    f"--workdir={tmp_path / 'run'}",
    f"--config.data.data_dir={toy_dir}",
    "--config.model.width=4",
    "--config.train.steps=4",
    "--config.log_every=2",
    "--config.eval_every=4",
    "--config.save_every=4",
    "--config.train.batch_size=8",
    "--config.data.classes=('nv','mel')",
  ]
  done = _main(*arguments, XDG_CACHE_HOME=str(tmp_path / "cache"))
  assert done.returncode == 0, done.stderr
  lines = done.stderr.splitlines()
  assert any(line.startswith("process 0 of 1, ") for line in lines)
  assert any(line.startswith("step 4/4  ") for line in lines)
  for name in ("config.json", "metrics.jsonl", "predictions.csv", "scores.csv"):
    assert (tmp_path / "run" / name).exists()


@pytest.mark.slow
def test_ctrl_c_is_one_line(tmp_path, toy_dir):
  arguments = [
    "main.py",
    "--config=configs/classifier.py:dataset=toy,size=16,quick",
    f"--workdir={tmp_path / 'run'}",
    f"--config.data.data_dir={toy_dir}",
    "--config.model.width=4",
    "--config.train.steps=100000",
    "--config.log_every=2",
    "--config.eval_every=100000",
    "--config.save_every=100000",
    "--config.train.batch_size=8",
  ]
  with subprocess.Popen(
    [sys.executable, *arguments],
    cwd=ROOT,
    env={**os.environ, **_ENV},
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    for line in process.stderr:
      if "step 6/" in line:
        break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
  assert process.returncode == 130, rest
  assert "Traceback" not in rest
  last = rest.strip().splitlines()[-1]
  assert last.startswith("main.py: SIGINT: step ")
  assert last.endswith("The same command goes on from there.")
