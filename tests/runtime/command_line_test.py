"""Tests of the command line: what is refused, in which words."""

import errno
import logging
import sys
import types

import jax
import orbax.checkpoint
import pytest
from absl import flags
from ml_collections import config_flags
from tensorflow_datasets.core.utils import file_utils

from skinjax.runtime import command_line, errors
from skinjax.training import loop
from tests.conftest import ROOT


@pytest.fixture
def values():
  values = flags.FlagValues()
  config_flags.DEFINE_config_file("config", flag_values=values)
  flags.DEFINE_string("workdir", None, "", flag_values=values)
  flags.mark_flag_as_required("workdir", flag_values=values)
  return values


@pytest.mark.parametrize(
  ("config", "others", "words"),
  [
    (
      "classifier.py",
      ["--config.train.stepz=5"],
      "Unknown config key 'train.stepz'. Did you mean 'train.steps'?",
    ),
    (
      "classifier.py:datset=mnist",
      [],
      "Unknown config argument 'datset'. Did you mean 'dataset'?",
    ),
    ("acgan.py", ["--config.task=classifier"], "use its own, configs/TASK.py"),
    ("classifire.py", [], "configs/classifier.py'?"),
    ("classifier.py", ["--workdri=x"], "Did you mean: workdir"),
    ("classifier.py", [], "--workdir"),
  ],
)
def test_a_slip_is_one_line(values, capsys, config, others, words):
  arguments = ["main.py", f"--config={ROOT / 'configs' / config}", *others]
  with pytest.raises(SystemExit) as ended:
    command_line.parse(arguments, values)
  assert ended.value.code == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("main.py: ")
  assert words in line


def test_flags_are_parsed(values):
  path = ROOT / "configs" / "classifier.py:dataset=toy"
  arguments = ["main.py", f"--config={path}", "--workdir=a", "more"]
  assert command_line.parse(arguments, values) == ["main.py", "more"]
  assert values.workdir == "a"
  assert values.config.data.name == "toy_lesions"


@pytest.mark.parametrize(
  ("text", "classes"),
  [
    ("mel,nv", ("mel", "nv")),
    ("mel, actinic keratosis,", ("mel", "actinic keratosis")),
    ("mel", ("mel",)),
    ("3,8", (3, 8)),
    ("3", (3,)),
    ('("mel","nv")', ("mel", "nv")),
    ("()", ()),
  ],
)
def test_names_need_no_quotes(monkeypatch, values, text, classes):
  path = ROOT / "configs" / "classifier.py"
  arguments = ["main.py", f"--config={path}", "--workdir=a"]
  arguments.append(f"--config.data.classes={text}")
  monkeypatch.setattr(sys, "argv", arguments)  # of which ml_collections knows
  command_line.parse(arguments, values)
  assert values.config.data.classes == classes


def test_several_processes_need_a_coordinator():
  with pytest.raises(errors.InputError, match="need --coordinator=HOST:PORT"):
    command_line.set_up("cache", None, 2, None)


@pytest.mark.parametrize(
  ("level", "line"),
  [
    ("INFO", "step 2 of 4"),
    ("WARNING", "Warning: step 2 of 4"),
    ("ERROR", "Error: step 2 of 4"),
  ],
)
def test_people_are_shown_no_logger(level, line):
  record = logging.makeLogRecord(
    {"levelname": level, "msg": "step %d of %d", "args": (2, 4)}
  )
  assert command_line.Formatter().format(record) == line


@pytest.mark.parametrize(
  ("path", "level", "raised", "shown"),
  [
    (loop.__file__, logging.INFO, False, True),
    (jax.__file__, logging.INFO, False, False),
    (jax.__file__, logging.WARNING, False, True),
    (orbax.checkpoint.__file__, logging.WARNING, False, False),
    (file_utils.__file__, logging.WARNING, False, False),
    (orbax.checkpoint.__file__, logging.ERROR, False, True),
    (orbax.checkpoint.__file__, logging.ERROR, True, False),
  ],
)
def test_people_are_shown_what_is_for_them(path, level, raised, shown):
  error = (ValueError, ValueError("a"), None) if raised else None
  record = logging.LogRecord("absl", level, path, 1, "words", (), error)
  assert command_line._is_for_people(record) == shown


def test_a_full_disk_is_said_once(monkeypatch):
  printed = []
  monkeypatch.setattr(sys, "__unraisablehook__", printed.append)
  full = OSError(errno.ENOSPC, "No space left on device")
  for error, shown in ((full, False), (KeyError("a"), True)):
    unraisable = types.SimpleNamespace(exc_value=error)
    command_line._unraisable(unraisable)
    assert (unraisable in printed) == shown
    exc_info = (type(error), error, None)
    record = logging.LogRecord(
      "asyncio", logging.ERROR, "base_events.py", 1, "words", (), exc_info
    )
    assert command_line._is_for_people(record) == shown
