"""Tests of the command line."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def _main(*arguments, **env):
  return subprocess.run(
    [sys.executable, "main.py", *arguments],
    cwd=ROOT,
    env={**os.environ, "XLA_FLAGS": "", **env},
    capture_output=True,
    text=True,
    timeout=500,
    check=False,
  )


@pytest.mark.parametrize(
  ("arguments", "told"),
  [
    (
      ["--config=configs/classifier.py", "--config.train.stepz=5"],
      "Unknown config key 'train.stepz'. Did you mean 'train.steps'?",
    ),
    (
      ["--config=configs/classifier.py:datset=mnist"],
      "Unknown config argument 'datset'. Did you mean 'dataset'?",
    ),
    (["--config=configs/classifier.py:dataset=toy", "more"], "more"),
    (["--config=configs/classifier.py", "--workdri=x"], "workdir"),
    (["--config=configs/classifire.py"], "classifire"),
    (
      ["--config=configs/classifier.py:dataset=toy", "--num_processes=2"],
      "--num_processes and --process_id need --coordinator",
    ),
  ],
)
def test_a_slip_is_told(tmp_path, arguments, told):
  done = _main(*arguments, f"--workdir={tmp_path / 'run'}")
  assert done.returncode != 0
  assert told in done.stderr + done.stdout
  assert "Traceback" not in done.stderr
  assert not (tmp_path / "run").exists()


def test_both_flags_are_needed():
  done = _main()
  assert done.returncode != 0
  assert "--config" in done.stderr + done.stdout
  done = _main("--config=configs/classifier.py")
  assert done.returncode != 0
  assert "--workdir" in done.stderr + done.stdout


@pytest.mark.parametrize(
  ("arguments", "told"),
  [
    (["--config=configs/classifier.py:size=big"], "size='big': int is wanted"),
    (
      ["--config=configs/acgan.py:dataset=toy", "--config.train.steps=7"],
      "train.steps=7 is not a multiple of log_every=50",
    ),
    (
      ["--config=configs/synthesize.py:dataset=toy"],
      "config.generator is empty",
    ),
  ],
)
def test_bad_input_is_one_line_without_a_traceback(tmp_path, arguments, told):
  done = _main(*arguments, f"--workdir={tmp_path / 'run'}")
  assert done.returncode == 2
  assert "Traceback" not in done.stderr
  last = done.stderr.strip().splitlines()[-1]
  assert last.startswith("main.py: ")
  assert told in last


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
  assert "process 0 of 1" in done.stderr
  assert "step 4/4" in done.stderr
  for name in ("config.json", "metrics.jsonl", "predictions.csv", "scores.csv"):
    assert (tmp_path / "run" / name).exists()


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
    env={**os.environ, "XLA_FLAGS": ""},
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
