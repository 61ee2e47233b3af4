"""Runs a config: `python main.py --config=configs/NAME.py --workdir=DIR`.

This file is kept short: what it runs is in skinjax/, where it can be imported
and tested.
"""

import os
import re
import sys

import jax
from absl import app, flags, logging
from ml_collections import config_flags

import tfds_ham10000
from skinjax import run
from skinjax.data import sources
from skinjax.runtime import errors, interruption, parallel, processes, workdir

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "A config, with arguments: configs/acgan.py:dataset=mnist"
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "For several hosts: HOST:PORT of the first one's process, or auto where JAX "
  "finds it out (Cloud TPU slices, Slurm)",
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "How many processes run this command"
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "Which of them this is, from 0"
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "The run's directory; a run that it holds is resumed"
)


def main(argv: list[str]) -> None:
  """Runs the config that the flags name."""
  if len(argv) > 1:
    raise app.UsageError(f"unknown argument {argv[1]!r}")
  logging.set_verbosity(logging.INFO)
  # Orbax tells much that is of no use to users, and what it raises once more.
  logging.get_absl_handler().addFilter(
    lambda record: (
      "orbax" not in record.pathname
      or (
        record.levelno >= logging.converter.STANDARD_ERROR
        and not record.exc_info
      )
    )
  )
  sys.unraisablehook = _unless_loop_is_closed
  parallel.keep_compiled(os.path.join(sources.cache_dir(), "compiled"))
  if _COORDINATOR.value:
    processes.join(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
  interruption.end_at_once()  # joining has set a handler of its own
  devices = ", ".join(map(str, jax.local_devices()))
  logging.info(
    "process %d of %d, %s", jax.process_index(), jax.process_count(), devices
  )
  if not processes.is_first():
    logging.set_verbosity(logging.WARNING)
  result = run.run(_CONFIG.value, _WORKDIR.value)
  sys.exit(getattr(result, "exit_code", 0))


def _unless_loop_is_closed(unraisable) -> None:
  """Tells an error that nothing can catch, but for one that says nothing.

  Where a disk is full, Orbax raises for the first file that fails; what writes
  the others, in threads of its own, then finds no event loop to report to.
  """
  if str(unraisable.exc_value) != "Event loop is closed":
    sys.__unraisablehook__(unraisable)


def parse(argv: list[str]) -> list[str]:
  """Parses flags, or exits with one line that says what is wrong.

  Args:
    argv: the program's name and its arguments.

  Returns:
    What is not a flag.
  """
  text = "\n".join(argv)
  try:
    if path := re.search(r"^--?config[=\n](.+)", text, re.M):
      known = workdir.flat(flags.FLAGS["config"].parser.parse(path[1]))
      for key in re.findall(r"^--?config\.([\w.]+)", text, re.M):
        errors.require_known("config key", key, known)
    rest = flags.FLAGS(argv)
    if _COORDINATOR.value is None and (
      _NUM_PROCESSES.present or _PROCESS_ID.present
    ):
      raise errors.InputError(
        "--num_processes and --process_id need --coordinator=HOST:PORT."
      )
    if not _WORKDIR.value and _CONFIG.value.task != "leaks":
      raise errors.InputError("Flag --workdir must name the run's directory.")
    return rest
  except (flags.Error, OSError, errors.InputError) as error:
    # What a config refuses is wrapped by what loads it: the words are inside.
    told = cause = error
    while cause := cause.__cause__ or cause.__context__:
      told = cause if isinstance(cause, errors.InputError) else told
    _leave(2, told)


def _leave(code: int, words: BaseException) -> None:
  """Ends with one line and an exit code: 2 bad input, 128 + n for signal n."""
  print(f"main.py: {words}", file=sys.stderr)
  sys.exit(code)


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  try:
    app.run(main, flags_parser=parse)
  except (errors.InputError, tfds_ham10000.DataError) as error:
    _leave(2, error)
  except interruption.Interrupted as signal:
    _leave(128 + signal.number, signal)
