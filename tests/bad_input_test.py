"""Tests of bad input: it is refused in one message, leaving nothing behind."""

import hashlib
import os
import re
import stat

import pytest

import tfds_ham10000
from skinjax.runtime import errors
from tests.bad_input import checkpoints, configs, prepared, workdirs
from tfds_ham10000.sources import INSTRUCTIONS

# Orbax leaves coroutines behind when it fails, and Python warns about them.
pytestmark = [
  pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
  pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_MODULES = (checkpoints, configs, prepared, workdirs)
_CASES = {
  f"{module.__name__.rpartition('.')[2]}/{name}": case
  for module in _MODULES
  for name, case in module.CASES.items()
}
# Before TFDS prepares a variant, it records which is the default, and takes a
# lock.
_NOTES = (os.path.join(".config", "metadata.json"), ".lock")


def _files(folder):
  """Return the content of the files beneath a folder, by path."""
  found = {}
  for root, folders, names in os.walk(folder):
    for path in (os.path.join(root, name) for name in folders + names):
      mode = os.lstat(path).st_mode
      if stat.S_ISLNK(mode):
        found[path] = os.readlink(path)
      elif stat.S_ISREG(mode) and os.access(path, os.R_OK):
        with open(path, "rb") as file:
          found[path] = hashlib.file_digest(file, "sha256").hexdigest()
      elif not stat.S_ISDIR(mode):
        found[path] = mode
  return {
    os.path.relpath(path, folder): content
    for path, content in found.items()
    if not path.endswith(_NOTES)
  }


@pytest.mark.parametrize("case", _CASES.values(), ids=_CASES)
def test_bad_input(tmp_path, case):
  run = case.make(tmp_path)
  if case.message is None:
    run()
    return
  before = _files(tmp_path)
  with pytest.raises((errors.InputError, tfds_ham10000.DataError)) as refusal:
    run()
  message = str(refusal.value)
  assert re.search(case.message, message)
  assert "Traceback" not in message
  assert len(message.replace(INSTRUCTIONS, "")) <= 600
  assert _files(tmp_path) == before
