"""A safe reader of published weights that are a pickle of NumPy arrays.

It resolves only the names that a pickle of float32 arrays needs, and replaces
them by plain records: NumPy's own are never called.
"""

import io
import pathlib
import pickle
from typing import Any

import numpy as np

from skinjax.models import pretrained
from skinjax.runtime import errors


class _DType:
  """The name and byte order of a pickled dtype."""

  def __init__(self, name: str, *_: Any):
    self.name = name

  def __setstate__(self, state: tuple) -> None:
    self.name = state[1] + self.name


class _Array:
  """The shape, dtype and bytes of a pickled array."""

  def __init__(self, *_: Any):
    self.state = None

  def __setstate__(self, state: tuple) -> None:
    self.state = state


class _Marker:
  """Stands for `numpy.ndarray`, which pickles name but never call."""


_KNOWN = {
  ("numpy", "dtype"): _DType,
  ("numpy", "ndarray"): _Marker,
  ("numpy.core.multiarray", "_reconstruct"): _Array,
}


class _Unpickler(pickle.Unpickler):
  """Unpickles lists and dicts of records of arrays, and nothing else."""

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) not in _KNOWN:
      raise pickle.UnpicklingError(f"it asks for {module}.{name}")
    return _KNOWN[module, name]


def read(path: str | pathlib.Path, digest: str) -> dict[str, list[np.ndarray]]:
  """Read a pickled dict of lists of arrays, whose SHA-256 must be `digest`.

  Returns:
    float32 arrays, read-only.

  Raises:
    InputError: there is no such file, it has another SHA-256, or it holds
      anything but float32 arrays.
  """
  content = pretrained.content(path, digest)
  try:
    named = _Unpickler(io.BytesIO(content)).load()
    return {
      str(name): [_array(record) for record in records]
      for name, records in named.items()
    }
  except Exception as error:  # a damaged file can raise anything
    raise errors.InputError(
      f"Cannot read {path}: not a pickle of float32 arrays ({error})."
    ) from error


def _array(record: _Array) -> np.ndarray:
  _, shape, dtype, fortran, numbers = record.state
  if dtype.name != "<f4":
    raise ValueError(f"its dtype is {dtype.name}")
  order = "F" if fortran else "C"
  return np.frombuffer(numbers, np.dtype("<f4")).reshape(shape, order=order)
