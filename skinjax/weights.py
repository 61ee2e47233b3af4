"""PyTorch's weights files, read without PyTorch and without trusting them.

A file of `torch.save` is a pickle beside raw numbers, and a pickle is a program
that may run anything. Here its opcodes are read as data, and only those that a
state_dict needs. pickle.Unpickler would not do, however few names it is let
find: its BUILD sets attributes of what was found, its memo grows to gigabytes
at one opcode's wish, and hashing a deep tuple ends the process.
"""

import dataclasses
import io
import math
import os
import pathlib
import pickletools
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from skinjax import errors

_BYTES = 2**31  # of a file, and of the numbers in all of its tensors
_PICKLE_BYTES = 2**22  # a hundred times what 300 tensors take
_DIMENSIONS = 32  # as many as every numpy has
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of files before 1.6
_DTYPES = {
  "torch.DoubleStorage": "<f8",
  "torch.FloatStorage": "<f4",
  "torch.HalfStorage": "<f2",
  "torch.BFloat16Storage": "<u2",  # numpy has none: see _array
  "torch.LongStorage": "<i8",
  "torch.IntStorage": "<i4",
  "torch.ShortStorage": "<i2",
  "torch.CharStorage": "<i1",
  "torch.ByteStorage": "<u1",
  "torch.BoolStorage": "<u1",  # a damaged one may hold other than 0 and 1
}
_DICT = "collections.OrderedDict"
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_LITERALS = (
  *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
  *("BINUNICODE", "SHORT_BINUNICODE"),
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class _RefusedError(Exception):
  """Why a file is not read, in words that `read` puts the path before."""


@dataclasses.dataclass(frozen=True)
class _Name:
  """What a pickle asks for: a name and nothing that could be called."""

  name: str


@dataclasses.dataclass(frozen=True)
class _Storage:
  kind: str
  key: str
  length: int

  @property
  def nbytes(self) -> int:
    return self.length * np.dtype(_DTYPES[self.kind]).itemsize


@dataclasses.dataclass(frozen=True)
class _Tensor:
  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


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
      raise _RefusedError("there is no such file")
    if path.stat().st_size > _BYTES:
      raise _RefusedError(f"it has more than {_BYTES} bytes")
    return _arrays(path.read_bytes())
  except Exception as error:  # whatever a damaged file makes of the readers
    if isinstance(error, _RefusedError):
      reason = str(error)
    else:
      reason = getattr(error, "strerror", None) or (
        "it is cut short, damaged or of another format"
      )
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
  unpack = _unpack_zip if content[:4] == b"PK\x03\x04" else _unpack_legacy
  tensors, numbers = unpack(content)
  # Views may repeat the numbers of one storage as often as they like.
  total = sum(
    math.prod(max(size, 1) for size in tensor.shape)
    * np.dtype(_DTYPES[tensor.storage.kind]).itemsize
    for tensor in tensors.values()
  )
  if total > _BYTES:
    raise _RefusedError(f"its tensors take more than {_BYTES} bytes")
  return {
    name: _array(tensor, numbers[tensor.storage.key])
    for name, tensor in tensors.items()
  }


def _unpack_zip(
  content: bytes,
) -> tuple[dict[str, _Tensor], dict[str, bytes]]:
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    members = {info.filename: info for info in archive.infolist()}
    # What is stored as it is cannot grow; nor may members share bytes.
    if (
      len(members) < len(archive.infolist())
      or any(i.compress_type != zipfile.ZIP_STORED for i in members.values())
      or sum(info.file_size for info in members.values()) > len(content)
    ):
      raise _RefusedError("its zip is compressed or made by another program")
    roots = [
      name.removesuffix("data.pkl")
      for name in members
      if name.endswith("/data.pkl") and name.count("/") == 1
    ]
    if len(roots) != 1:
      raise _RefusedError("it is a zip without the data.pkl of torch.save")
    order = f"{roots[0]}byteorder"
    if order in members and archive.read(order) != b"little":
      raise _RefusedError("it was saved on a big-endian machine")
    storages = {}
    if members[f"{roots[0]}data.pkl"].file_size > _PICKLE_BYTES:
      raise _RefusedError(f"its data.pkl has more than {_PICKLE_BYTES} bytes")
    pickled = io.BytesIO(archive.read(f"{roots[0]}data.pkl"))
    tensors = _tensors(_interpret(pickled, storages))
    numbers = {}
    for key, storage in storages.items():
      numbers[key] = archive.read(f"{roots[0]}data/{key}")
      if len(numbers[key]) != storage.nbytes:
        raise _RefusedError(f"its storage {key!r:.60} has another size")
  return tensors, numbers


def _unpack_legacy(
  content: bytes,
) -> tuple[dict[str, _Tensor], dict[str, memoryview]]:
  """Reads five pickles, then each storage's length and numbers."""
  stream = io.BytesIO(content[:_PICKLE_BYTES])
  storages = {}
  if _interpret(stream, {}) != _MAGIC or _interpret(stream, {}) != _PROTOCOL:
    raise _RefusedError("it is a pickle that is not of torch.save")
  if _interpret(stream, {}).get("little_endian") is not True:
    raise _RefusedError("it was saved on a big-endian machine")
  tensors = _tensors(_interpret(stream, storages))
  keys = _interpret(stream, {})
  if not _are_texts(keys) or sorted(keys) != sorted(storages):
    raise _RefusedError("its list of storages is not that of its tensors")
  view, start, numbers = memoryview(content), stream.tell(), {}
  for key in keys:
    length = int.from_bytes(view[start : start + 8], "little")
    start += 8
    numbers[key] = view[start : start + storages[key].nbytes]
    start += len(numbers[key])
    if length != storages[key].length or start > len(content):
      raise _RefusedError(f"its storage {key!r:.60} has another size")
  if start != len(content):
    raise _RefusedError("it goes on after its last storage")
  return tensors, numbers


def _interpret(stream: io.BytesIO, storages: dict[str, _Storage]) -> Any:
  """Returns what the next pickle builds of dicts, lists, tuples and tensors.

  Args:
    stream: the pickle; left behind its end.
    storages: by key; gets those that the pickle speaks of.
  """
  stack, below, memo = [], [], {}
  for code, argument, _ in pickletools.genops(stream):
    name = code.name
    if name in ("TUPLE", "APPENDS", "SETITEMS"):
      items, stack = stack, below.pop()
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "SETITEM"):
      count = {"1": 1, "2": 2, "3": 3, "D": 1, "M": 2}[name[-1]]
      items = [stack.pop() for _ in range(count)][::-1]
    match name:
      case "PROTO" | "FRAME":
        pass
      case "MARK":
        below.append(stack)
        stack = []
      case _ if name in _LITERALS:
        stack.append(argument)
      case _ if name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
      case "EMPTY_TUPLE":
        stack.append(())
      case "EMPTY_LIST":
        stack.append([])
      case "EMPTY_DICT":
        stack.append({})
      case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
        stack.append(tuple(items))
      case "APPEND" | "APPENDS" if type(stack[-1]) is list:
        stack[-1].extend(items)
      case "SETITEM" | "SETITEMS" if type(stack[-1]) is dict:
        if not _are_texts(items[::2]):
          raise _RefusedError("it has a dict whose keys are not all names")
        stack[-1].update(zip(items[::2], items[1::2], strict=True))
      case "BINPUT" | "LONG_BINPUT":
        memo[argument] = stack[-1]
      case "MEMOIZE":
        memo[len(memo)] = stack[-1]
      case "BINGET" | "LONG_BINGET":
        stack.append(memo[argument])
      case "GLOBAL":
        stack.append(_named(argument.split(" ", 1)))
      case "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        stack.append(_named([module, attribute]))
      case "BINPERSID":
        storage = _storage(stack.pop())
        if storages.setdefault(storage.key, storage) != storage:
          raise _RefusedError("two of its storages have one key")
        stack.append(storage)
      case "REDUCE":
        arguments = stack.pop()
        stack.append(_called(stack.pop(), arguments))
      case "BUILD" if type(stack[-2]) is dict:
        stack.pop()  # a state_dict's versions of its modules
      case "STOP":
        [value] = stack
        return value
      case _:
        if name == "INST":
          _named(argument.split(" ", 1))  # to tell what it asks for
        raise _RefusedError(f"it uses pickle's {name}, as no state_dict does")
  raise _RefusedError("its pickle has no end")


def _are_texts(values: Any) -> bool:
  """Tells if all are of a type that can be hashed, compared and shown.

  Lists in lists can take for ever, or more stack than there is, in all three.
  """
  return type(values) is list and all(type(value) is str for value in values)


def _named(parts: list[Any]) -> _Name:
  name = ".".join(parts)  # refuses what is not text
  if name not in (_DICT, _TENSOR, _PARAMETER, *_DTYPES):
    raise _RefusedError(
      f"it asks to run {ascii(name)[1:-1]:.80}; a weights file has tensors "
      "only, so it is refused"
    )
  return _Name(name)


def _storage(persistent_id: Any) -> _Storage:
  match persistent_id:
    # The None is the view of a storage, that files before 1.6 have room for.
    case ("storage", _Name(kind), str(key), str(), int(length), *view) if (
      kind in _DTYPES and 0 <= length <= _BYTES and view in ([], [None])
    ):
      return _Storage(kind, key, length)
  raise _RefusedError("it has a storage of an unknown kind")


def _called(function: Any, arguments: Any) -> Any:
  match function, arguments:
    case _Name(name), () if name == _DICT:
      return {}
    case _Name(name), (_Tensor() as tensor, bool(), dict()) if (
      name == _PARAMETER
    ):
      return tensor
    case (
      _Name(name),
      (_Storage() as storage, offset, tuple(shape), tuple(strides), _, dict()),
    ) if name == _TENSOR and len(shape) == len(strides) <= _DIMENSIONS:
      numbers = (offset, *shape, *strides)
      # Bounded, lest products of them take for ever.
      if all(type(n) is int and 0 <= n <= _BYTES for n in numbers):
        steps = zip(shape, strides, strict=True)
        last = offset + sum((size - 1) * stride for size, stride in steps)
        if 0 in shape or last < storage.length:
          return _Tensor(storage, offset, shape, strides)
  raise _RefusedError("it has a tensor that is not within its storage")


def _tensors(value: Any) -> dict[str, _Tensor]:
  if type(value) is not dict:
    raise _RefusedError("it is no dict of tensors")
  for name, tensor in value.items():
    if not isinstance(tensor, _Tensor):
      raise _RefusedError(f"its entry {name!r:.60} is no tensor")
  return value


def _array(tensor: _Tensor, numbers: bytes | memoryview) -> np.ndarray:
  kind = tensor.storage.kind
  dtype = np.dtype(_DTYPES[kind])
  if 0 in tensor.shape:
    view = np.empty(tensor.shape, dtype)
  else:
    strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
    offset = tensor.offset * dtype.itemsize
    view = np.ndarray(tensor.shape, dtype, numbers, offset, strides)
  if kind == "torch.BoolStorage":
    return view.astype(bool, order="C")
  if kind == "torch.BFloat16Storage":  # the upper half of a float32
    wide = view.astype(np.uint32, order="C")
    return np.left_shift(wide, 16, out=wide).view(np.float32)
  return view.astype(dtype.newbyteorder("="), order="C")
