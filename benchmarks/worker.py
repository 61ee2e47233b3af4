"""An object in its own process.

Peak memory is measured per process, and two frameworks' thread pools in one
process would disturb each other.
"""

import importlib
import multiprocessing
import resource
import sys
import traceback
from typing import Any


class RemoteError(Exception):
  """An error in a worker; the message is its traceback."""


def peak_mib() -> float:
  """Return this process's peak memory so far, in MiB."""
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak / (2**20 if sys.platform == "darwin" else 2**10)


class Remote:
  """An object whose methods run in a newly spawned process.

  Use it as a context manager: the process ends with the block.
  """

  def __init__(self, module: str, name: str, barred: str, *args: Any):
    """Create `module.name(*args)` in the process after `module.configure()`.

    Args:
      module: a module that is imported only there.
      name: a class.
      barred: a module whose import is blocked there, also for packages that
        work without it, such as tensorboardX without PyTorch.
      *args: arguments of the class.
    """
    context = multiprocessing.get_context("spawn")
    self._connection, there = context.Pipe()
    self._process = context.Process(
      target=_serve, args=(there, module, name, barred, args), daemon=True
    )
    self._process.start()
    there.close()
    self._answer()

  def __enter__(self) -> "Remote":
    return self

  def __exit__(self, *_):
    self._connection.close()
    self._process.join(timeout=10)
    if self._process.is_alive():
      self._process.kill()

  def __getattr__(self, name: str):
    """Return the remote method of that name."""

    def call(*args):
      self._connection.send((name, args))
      return self._answer()

    return call

  def _answer(self):
    try:
      error, value = self._connection.recv()
    except EOFError:
      self._process.join(timeout=10)
      raise RemoteError(
        f"the process died, exit code {self._process.exitcode}"
      ) from None
    if error:
      raise RemoteError(error)
    return value


def _serve(connection, module, name, barred, args):
  """Serve calls until the connection is closed."""

  def answer(call):
    try:
      connection.send((None, call()))
    except Exception:
      connection.send((traceback.format_exc(), None))

  served = []

  def make():
    sys.modules[barred] = None
    imported = importlib.import_module(module)
    imported.configure()
    served.append(getattr(imported, name)(*args))  # it cannot be pickled

  answer(make)
  while True:
    try:
      method, values = connection.recv()
    except EOFError:
      return
    answer(lambda: getattr(served[0], method)(*values))  # noqa: B023
