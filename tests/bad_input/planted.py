"""A pickle that runs a command when it is loaded."""

import os
import pickle


class _Planted:
  def __init__(self, marker):
    self._marker = marker

  def __reduce__(self):
    return os.system, (f"touch '{self._marker}'",)


def planted(marker, protocol=2):
  """Return a pickle that makes the file `marker` when it is loaded."""
  return pickle.dumps(_Planted(marker), protocol)
