"""A safe reader of published PyTorch weights, without PyTorch.

Such a file is a sequence of pickles and raw numbers, as `torch.save` wrote it
before PyTorch 1.6. Of the names in its pickles, only those that tensors need
are resolved.
"""

import io
import pathlib
import pickle
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from skinjax.models import pretrained
from skinjax.runtime import errors

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
  "DoubleStorage": "<f8",
  "FloatStorage": "<f4",
  "HalfStorage": "<f2",
  "LongStorage": "<i8",
  "IntStorage": "<i4",
}


class _Storage(NamedTuple):
  """Numbers that follow the pickles, under a key."""

  dtype: np.dtype
  key: str
  length: int


class _Tensor(NamedTuple):
  """A view of a storage; offset and strides in numbers, not in bytes."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
  """Unpickles a state_dict, without its numbers, and nothing else."""

  def find_class(self, module: str, name: str) -> Any:
    if module == "torch" and name in _DTYPES:
      return np.dtype(_DTYPES[name])
    if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
      return lambda *parts: _Tensor(*parts[:4])
    if (module, name) == ("collections", "OrderedDict"):
      return OrderedDict
    raise pickle.UnpicklingError(f"it asks for {module}.{name}")

  def persistent_load(self, pid: tuple) -> _Storage:
    _, dtype, key, _, length, _ = pid
    return _Storage(dtype, key, length)


def read(path: str | pathlib.Path, digest: str) -> dict[str, np.ndarray]:
  """Read the tensors of a published file, whose SHA-256 in hex is `digest`.

  Returns:
    Arrays by name, in the file's order, read-only.

  Raises:
    InputError: there is no such file, it has another SHA-256, or it holds
      anything but tensors.
  """
  content = pretrained.content(path, digest)
  try:
    return _arrays(content)
  except Exception as error:  # a damaged file can raise anything
    raise errors.InputError(
      f"Cannot read {path}: not a file of tensors that torch.save wrote before "
      f"PyTorch 1.6 ({error})."
    ) from error


def _arrays(content: bytes) -> dict[str, np.ndarray]:
  file = io.BytesIO(content)
  # Five pickles: a magic number, the version, the machine, the tensors, and the
  # keys of their storages in the order of the file.
  magic, _, system, tensors, keys = (_Unpickler(file).load() for _ in range(5))
  if magic != _MAGIC or not system["little_endian"]:
    raise ValueError("unknown header")
  storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
  numbers = {}
  for key in keys:
    size = 8 + storages[key].length * storages[key].dtype.itemsize
    numbers[key] = file.read(size)[8:]  # after their count
  return {
    name: np.ndarray(
      tensor.shape,
      tensor.storage.dtype,
      numbers[tensor.storage.key],
      tensor.offset * tensor.storage.dtype.itemsize,
      [stride * tensor.storage.dtype.itemsize for stride in tensor.strides],
    )
    for name, tensor in tensors.items()
  }
