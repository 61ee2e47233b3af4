"""The command line: flags, logging, set-up, and exit codes."""

import ast
import logging as python_logging
import os
import pathlib
import re
import shlex
import sys
import threading
from collections.abc import Callable
from typing import Any

import jax
from absl import app, flags, logging

from skinjax.runtime import errors, interruption, parallel, processes, workdir

_PACKAGES = tuple(
  str(pathlib.Path(__file__).parents[2] / name) + os.sep
  for name in ("skinjax", "tfds_ham10000")
)
# Warnings of these are not for people: Orbax, and TFDS's search for prepared
# data sets, which warns of one that is not prepared yet.
_QUIET = ("orbax", "tensorflow_datasets/core/utils/file_utils.py")
_PREFIXES = {"WARNING": "Warning: ", "ERROR": "Error: ", "CRITICAL": "Error: "}


def run(
  main: Callable[[list[str]], None],
  values: flags.FlagValues,
  refusals: tuple[type[Exception], ...],
) -> None:
  """Parse flags, run a program and exit; bad input is reported in one line.

  The exit code is 0, 2 for bad input (one of the `refusals`), or 128 + n for
  signal n. `main` gets the program's name and the arguments that are not flags.
  """
  try:
    app.run(main, flags_parser=lambda argv: parse(argv, values))
  except refusals as error:
    _leave(2, error)
  except interruption.Interrupted as signal:
    _leave(128 + signal.number, signal)


def parse(argv: list[str], values: flags.FlagValues) -> list[str]:
  """Parse flags, or exit with one line that explains the error.

  Returns the program's name and the arguments that are not flags. Sets the
  flags' values in `values`, of which `config` is a flag of ml_collections.
  """
  text = "\n".join(argv)
  try:
    if path := re.search(r"^--?config[=\n](.+)", text, re.M):
      _require_config(pathlib.Path(path[1].partition(":")[0]))
      known = workdir.flat(values["config"].parser.parse(path[1]))
      for key in re.findall(r"^--?config\.([\w.]+)", text, re.M):
        errors.require_known("config key", key, known)
        if key == "task":
          raise errors.InputError(
            f"config.task={known[key]} belongs to this config: for another "
            "task, use its own, configs/TASK.py."
          )
      argv = [_quoted(argument, known) for argument in argv]
    return values(argv)
  except (flags.Error, OSError, errors.InputError) as error:
    # The config's loader wraps errors that a config raises: find the original.
    words = cause = error
    while cause := cause.__cause__ or cause.__context__:
      words = cause if isinstance(cause, errors.InputError) else words
    _leave(2, " ".join(str(words).split()))


def _require_config(path: pathlib.Path) -> None:
  """Refuse a config that does not exist, and suggest those next to it."""
  if not path.is_file():
    others = sorted(path.parent.glob("*.py"))
    raise errors.unknown("config", str(path), map(str, others))


def _quoted(argument: str, known: dict[str, Any]) -> str:
  """Quote names in a tuple, so that `--config.data.classes=mel,nv` works."""
  match = re.fullmatch(r"--?config\.([\w.]+)=([^()\[\]'\"]+)", argument)
  if not match or not isinstance(known[match[1]], tuple):
    return argument
  try:
    ast.literal_eval(match[2])
  except (ValueError, SyntaxError):
    names = filter(None, map(str.strip, match[2].split(",")))
    return f"--config.{match[1]}={tuple(names)!r}"
  return argument


def typed(without: str | None = None) -> str:
  """Return the running command, quoted for a shell.

  Arguments that set the config key `without` are left out.
  """
  left_out = lambda argument: without and f"config.{without}" in argument
  return shlex.join(["python", *(a for a in sys.argv if not left_out(a))])


def set_up(
  cache: str,
  coordinator: str | None,
  num_processes: int | None,
  process_id: int | None,
) -> None:
  """Set up logging, the compilation cache, processes and signals.

  For processes see `processes.join`; without a coordinator there is only one.

  Raises:
    InputError: the processes of the run cannot find each other.
  """
  if coordinator is None and (num_processes, process_id) != (None, None):
    raise errors.InputError(
      "--num_processes and --process_id need --coordinator=HOST:PORT."
    )
  show_progress()
  sys.unraisablehook, threading.excepthook = _unraisable, _in_thread
  parallel.keep_compiled(cache)
  if coordinator:
    processes.join(coordinator, num_processes, process_id)
  interruption.end_at_once()  # after joining, which sets its own handlers
  devices = ", ".join(map(str, jax.local_devices()))
  logging.info(
    "process %d of %d, %s", jax.process_index(), jax.process_count(), devices
  )
  if not processes.is_first():
    logging.set_verbosity(logging.WARNING)


def show_progress() -> None:
  """Log the progress of runs for people, without messages of libraries."""
  logging.use_absl_handler()  # absl's app.run does this, notebooks do not
  logging.set_verbosity(logging.INFO)
  handler = logging.get_absl_handler()
  handler.setFormatter(Formatter())
  handler.addFilter(_is_for_people)


class Formatter(python_logging.Formatter):
  """Formats messages for people: without time and file, the level as a word."""

  def format(self, record: python_logging.LogRecord) -> str:
    """Return the message, after "Warning: " or "Error: " if it is one."""
    return _PREFIXES.get(record.levelname, "") + super().format(record)


def _is_for_people(record):
  """Leave out libraries' information, and errors that Orbax also raises."""
  if any(name in record.pathname for name in _QUIET):
    return record.levelno >= python_logging.ERROR and not record.exc_info
  if record.name == "asyncio" and record.exc_info:
    return not _is_said_already(record.exc_info[1])
  own = record.pathname.startswith(_PACKAGES)
  return own or record.levelno >= python_logging.WARNING


def _is_said_already(error):
  """Recognize errors in the threads that write a checkpoint's other files.

  If a disk is full, Orbax raises for the first file that fails, which is
  reported in one line. The others fail too, or find their event loop closed.
  """
  words = [os.strerror(number) for number in errors.DISK]
  words.append("Event loop is closed")
  return any(word in str(error) for word in words)


def _unraisable(unraisable):
  if not _is_said_already(unraisable.exc_value):
    sys.__unraisablehook__(unraisable)


def _in_thread(arguments):
  if not _is_said_already(arguments.exc_value):
    threading.__excepthook__(arguments)


def _leave(code, words):
  print(f"main.py: {words}", file=sys.stderr)
  sys.exit(code)
