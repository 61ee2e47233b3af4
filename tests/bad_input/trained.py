"""Workdirs of tiny networks: trained once per process, copied for each case."""

import contextlib
import functools
import pathlib
import shutil
import tempfile
from unittest import mock

from skinjax import run
from skinjax.data import datasets
from skinjax.training import loop, tasks
from tests import shrunk

_KEPT = []  # directories that are removed when the process ends


def _directory():
  _KEPT.append(tempfile.TemporaryDirectory())
  return pathlib.Path(_KEPT[-1].name) / "run"


def train(name, path, dataset=None, **changes):
  """Train a network of the data set in memory, as a run does."""
  task = tasks.named(name)
  config = shrunk.config(name, **changes)
  return loop.train(task, config, path, dataset or shrunk.dataset())


@functools.cache
def finished(name):
  """Return a workdir with checkpoints of steps 2 and 4, and the result."""
  path = _directory()
  return path, train(name, path)


def network(name):
  """Return the workdir of a network; see `finished`."""
  return finished(name)[0]


@contextlib.contextmanager
def tiny_data():
  """Put the data set in memory where a run looks for its own."""
  with mock.patch.object(datasets, "load", return_value=shrunk.dataset()):
    yield


def draw(path, **changes):
  """Run synthesize.py's config with the networks above."""
  changes = {"generator": str(network("acgan")), **changes}
  with tiny_data():
    return run.run(shrunk.config("synthesize", **changes), path)


def copy(original, path):
  """Copy a workdir, so that the copy may be damaged."""
  return shutil.copytree(original, path)
