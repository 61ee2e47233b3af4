"""PyTorch's weights files, read without PyTorch and without trusting them.

A file of `torch.save` is a pickle beside raw numbers, in one of two formats:
the zip of PyTorch 1.6 and later, or a row of pickles. Of the pickle no more
than tensors is taken: see `pickled`.
"""

import io
import math
import os
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np

from skinjax.models import pickled
from skinjax.models.pickled import RefusedError, Storage, Tensor
from skinjax.runtime import errors

_BYTES = 2**31  # of a file, and of the numbers in all of its tensors
_PICKLE_BYTES = 2**22  # a hundred times what 300 tensors take
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of files before 1.6


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads a state_dict that `torch.save` wrote, and runs none of it.

  Both of its formats are read: the zip of PyTorch 1.6 and later, and the one
  before. Only tensors by name are; no dict around them, no optimizer's state.

  Args:
    path: of the file, as in "efficientnet-lite0.pth".

  Returns:
    Arrays of their own by name, in the file's order; bfloat16 as float32.

  Raises:
    InputError: the file is absent, damaged, too large or anything else.
  """
  path = pathlib.Path(path)
  try:
    # A pipe or a device would be read for ever.
    if not path.is_file():
      raise RefusedError("there is no such file")
    if path.stat().st_size > _BYTES:
      raise RefusedError(f"it has more than {_BYTES} bytes")
    return _arrays(path.read_bytes())
  except Exception as error:  # whatever a damaged file makes of the readers
    reason = "it is cut short, damaged or of another format"
    if isinstance(error, RefusedError):
      reason = str(error)
    elif isinstance(error, OSError) and error.strerror:
      reason = error.strerror
    raise errors.InputError(
      f"Cannot read {path}: {reason}. Give a file of "
      "torch.save(model.state_dict(), path): tensors by name, nothing else."
    ) from error


def require_shapes(
  arrays: Mapping[str, np.ndarray],
  wanted: Mapping[str, tuple[int, ...]],
  path: str | os.PathLike,
) -> None:
  """Raises an InputError unless the arrays are those that a model wants.

  Args:
    arrays: by name, as `read` returns them.
    wanted: the shapes by name.
    path: of the file, for the message.
  """
  faults = {
    "missing": [repr(name) for name in wanted if name not in arrays],
    "unexpected": [repr(name) for name in arrays if name not in wanted],
    "of another shape": [
      f"{name!r} {arrays[name].shape} for {tuple(shape)}"
      for name, shape in wanted.items()
      if name in arrays and arrays[name].shape != tuple(shape)
    ],
  }
  told = [
    f"{len(names)} {fault} ({', '.join(names[:3])}{', ...' * (len(names) > 3)})"
    for fault, names in faults.items()
    if names
  ]
  if told:
    raise errors.InputError(
      f"{path} has not the {len(wanted)} weights of this model: "
      f"{'; '.join(told)}."
    )


def _arrays(content: bytes) -> dict[str, np.ndarray]:
  if content.startswith(b"PK\x03\x04"):
    tensors, numbers = _unpack_zip(content)
  elif content.startswith(b"\x80"):
    tensors, numbers = _unpack_legacy(content)
  else:
    raise RefusedError("it is neither a zip nor a pickle")
  for storage in {tensor.storage for tensor in tensors.values()}:
    if len(numbers[storage.key]) != storage.nbytes:
      raise RefusedError(f"its storage {storage.key!r:.60} has another size")
  # Views may repeat the numbers of one storage as often as they like.
  total = sum(
    math.prod(tensor.shape) * tensor.storage.dtype.itemsize
    for tensor in tensors.values()
  )
  if total > _BYTES:
    raise RefusedError(f"its tensors take more than {_BYTES} bytes")
  return {
    name: _array(tensor, numbers[tensor.storage.key])
    for name, tensor in tensors.items()
  }


def _unpack_zip(content: bytes) -> tuple[dict[str, Tensor], dict[str, bytes]]:
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    members = {info.filename: info for info in archive.infolist()}
    # What is stored as it is cannot grow; nor may members share bytes.
    if (
      len(members) < len(archive.infolist())
      or any(i.compress_type != zipfile.ZIP_STORED for i in members.values())
      or sum(info.file_size for info in members.values()) > len(content)
    ):
      raise RefusedError("its zip is compressed or made by another program")
    roots = [
      name.removesuffix("data.pkl")
      for name in members
      if name.endswith("/data.pkl") and name.count("/") == 1
    ]
    if len(roots) != 1:
      raise RefusedError("it is a zip without the data.pkl of torch.save")
    [root] = roots
    order = f"{root}byteorder"
    if order in members and archive.read(order) != b"little":
      raise RefusedError("it was saved on a big-endian machine")
    if members[f"{root}data.pkl"].file_size > _PICKLE_BYTES:
      raise RefusedError(f"its data.pkl has more than {_PICKLE_BYTES} bytes")
    tensors, storages = _load(io.BytesIO(archive.read(f"{root}data.pkl")))
    numbers = {key: archive.read(f"{root}data/{key}") for key in storages}
  return tensors, numbers


def _unpack_legacy(
  content: bytes,
) -> tuple[dict[str, Tensor], dict[str, memoryview]]:
  """Reads five pickles, then each storage's length and numbers."""
  stream = io.BytesIO(content[:_PICKLE_BYTES])
  if pickled.load(stream) != _MAGIC or pickled.load(stream) != _PROTOCOL:
    raise RefusedError("it is a pickle that is not of torch.save")
  if pickled.load(stream).get("little_endian") is not True:
    raise RefusedError("it was saved on a big-endian machine")
  tensors, storages = _load(stream)
  keys = pickled.load(stream)
  if not pickled.are_texts(keys) or sorted(keys) != sorted(storages):
    raise RefusedError("its list of storages is not that of its tensors")
  view, numbers = memoryview(content)[stream.tell() :], {}
  for key in keys:
    length = int.from_bytes(view[:8], "little")
    end = 8 + length * storages[key].dtype.itemsize
    numbers[key], view = view[8:end], view[end:]
  if view:
    raise RefusedError("it goes on after its last storage")
  return tensors, numbers


def _load(stream: io.BytesIO) -> tuple[dict[str, Tensor], dict[str, Storage]]:
  """Returns a pickle's tensors by name, and their storages by key."""
  tensors, storages = pickled.load(stream), {}
  if type(tensors) is not dict:
    raise RefusedError("it is no dict of tensors")
  for name, tensor in tensors.items():
    if not isinstance(tensor, Tensor):
      raise RefusedError(f"its entry {name!r:.60} is no tensor")
    storage = tensor.storage
    if storages.setdefault(storage.key, storage) != storage:
      raise RefusedError("two of its storages have one key")
  return tensors, storages


def _array(tensor: Tensor, numbers: bytes | memoryview) -> np.ndarray:
  kind, dtype = tensor.storage.kind, tensor.storage.dtype
  if 0 in tensor.shape:
    view = np.empty(tensor.shape, dtype)
  else:
    strides = [stride * dtype.itemsize for stride in tensor.strides]
    offset = tensor.offset * dtype.itemsize
    view = np.ndarray(tensor.shape, dtype, numbers, offset, strides)
  if kind == "torch.BoolStorage":
    return view.astype(bool, order="C")
  if kind == "torch.BFloat16Storage":  # the upper half of a float32
    wide = view.astype(np.uint32, order="C")
    return np.left_shift(wide, 16, out=wide).view(np.float32)
  return view.astype(dtype.newbyteorder("="), order="C")
