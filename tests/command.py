"""The command line of a tiny classifier's run, and its start as a process."""

import os
import subprocess
import sys

from tests.conftest import ROOT


def classifier(workdir, data_dir, steps, **changes):
  """Return Python's arguments for a run of main.py.

  Args:
    workdir: where it trains.
    data_dir: where toy_lesions is prepared.
    steps: of training; by default evaluated and saved at the end.
    **changes: keys of the config without parts, as `save_every`.
  """
  changes = {"log_every": 2, "eval_every": steps, "save_every": steps} | changes
  return [
    "main.py",
    "--config=configs/classifier.py:dataset=toy,size=16,quick",
    f"--workdir={workdir}",
    f"--config.data.data_dir={data_dir}",
    "--config.data.classes=('nv','mel')",
    "--config.model.width=4",
    "--config.train.batch_size=8",
    f"--config.train.steps={steps}",
    *(f"--config.{key}={value}" for key, value in changes.items()),
  ]


def start(arguments, **options):
  """Start Python on one device; `options` are subprocess.Popen's."""
  env = {**os.environ, "XLA_FLAGS": "", **options.pop("env", {})}
  return subprocess.Popen(
    [sys.executable, *arguments], cwd=ROOT, env=env, text=True, **options
  )
