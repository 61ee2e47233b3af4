"""Runs a config: `python main.py --config=configs/NAME.py --workdir=DIR`.

This file is short because the code is in skinjax/, where it can be imported and
tested.
"""

import os

from absl import flags
from ml_collections import config_flags

import tfds_ham10000
from skinjax import run
from skinjax.data import sources
from skinjax.runtime import command_line, errors, files

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "A config, with arguments: configs/acgan.py:dataset=mnist"
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "The run's directory; an existing run there is resumed"
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "For several hosts: HOST:PORT of process 0, or auto where JAX detects it "
  "(Cloud TPU slices, Slurm)",
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "The number of processes that run this command"
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "The index of this process, from 0"
)


def main(argv: list[str]) -> None:
  """Run the config that the flags name."""
  if len(argv) > 1:
    raise errors.InputError(
      f"unknown argument {argv[1]!r}: flags begin with --"
    )
  path = files.user_path(_WORKDIR.value)
  command_line.set_up(
    os.path.join(sources.cache_dir(), "compiled"),
    _COORDINATOR.value,
    _NUM_PROCESSES.value,
    _PROCESS_ID.value,
  )
  run.run(_CONFIG.value, path)


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  flags.register_validator("workdir", bool, "it must name the run's directory")
  refusals = (errors.InputError, tfds_ham10000.DataError)
  command_line.run(main, flags.FLAGS, refusals)
