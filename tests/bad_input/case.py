"""The type of a case of bad input, and cases of the files of HAM10000."""

import functools
import pathlib
import shutil
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from skinjax.data import sources
from tests import shrunk

DUMMY_DATA = pathlib.Path(__file__).parents[2] / "tfds_ham10000" / "dummy_data"


class Case(NamedTuple):
  """One kind of bad input, or of unusual input that is accepted.

  Attributes:
    make: writes the input into an empty directory and returns a function that
      reads it as a run does. Where the input is to be accepted, the function
      also checks the result.
    message: a pattern of the error's message; None where the input is to be
      accepted.
  """

  make: Callable[[pathlib.Path], Callable[[], object]]
  message: str | None


def of_ham10000(damage: Callable[[pathlib.Path], object], message: str | None):
  """Make a Case of a changed copy of a user's files of HAM10000.

  Args:
    damage: changes a folder with an archive of drawn images. If the change is
      to be accepted, the data set must be as without it.
    message: as in Case.

  Returns:
    The case.
  """

  def make(tmp_path):
    folder = shutil.copytree(DUMMY_DATA, tmp_path / "manual")
    damage(folder)

    def run():
      splits = read(tmp_path / "data", folder)
      for name, split in _expected().items():
        for column, right in zip(splits[name], split, strict=True):
          np.testing.assert_array_equal(column, right)

    return run

  return Case(make, message)


@functools.cache
def _expected():
  with tempfile.TemporaryDirectory() as place:
    return read(place)


def read(data_dir, manual_dir=DUMMY_DATA):
  """Read a user's copy of HAM10000, after preparing it where needed."""
  config = shrunk.config("classifier", "dataset=ham10000").data
  config.size = 64
  config.manual_dir = str(manual_dir)
  config.data_dir = str(data_dir)
  _, names, splits, *_ = sources.read(config)
  assert len(names) == 7
  return splits
