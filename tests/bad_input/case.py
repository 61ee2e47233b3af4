"""What a case of bad input is."""

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
  """One kind of bad input, or of odd input that is fine.

  Attributes:
    make: plants it beneath an empty directory and returns what a run does with
      it. Where the input is to be accepted, that asserts the right answer, too.
    told: what the message must match; None where the input is to be accepted.
  """

  make: Callable[[pathlib.Path], Callable[[], object]]
  told: str | None


def of_ham10000(mess: Callable[[pathlib.Path], object], told: str | None):
  """Make a Case of what is done to a user's copy of HAM10000.

  Args:
    mess: changes a folder with an archive of drawn images. If that is to be
      accepted, the data set must be as without the change.
    told: as in Case.

  Returns:
    The case.
  """

  def make(tmp_path):
    folder = shutil.copytree(DUMMY_DATA, tmp_path / "manual")
    mess(folder)

    def run():
      splits = read(tmp_path / "data", folder)
      for name, split in _expected().items():
        for column, right in zip(splits[name], split, strict=True):
          np.testing.assert_array_equal(column, right)

    return run

  return Case(make, told)


@functools.cache
def _expected():
  with tempfile.TemporaryDirectory() as place:
    return read(place)


def read(data_dir, manual_dir=DUMMY_DATA):
  """Read a user's copy of HAM10000, prepared where it is not yet."""
  config = shrunk.config("classifier", "dataset=ham10000").data
  config.size = 64
  config.manual_dir = str(manual_dir)
  config.data_dir = str(data_dir)
  _, names, splits, *_ = sources.read(config)
  assert len(names) == 7
  return splits
