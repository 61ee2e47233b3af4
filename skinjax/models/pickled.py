"""Reads pickles of tensors without running what they ask for.

A pickle is a program that may run anything. Here its opcodes are read as data,
and only those that torch.save writes of a state_dict. pickle.Unpickler would
not do, however few names it is let find: its BUILD sets attributes of what was
found, its memo grows to gigabytes at one opcode's wish, and hashing a deep
tuple ends the process.
"""

import dataclasses
import io
import pickletools
from typing import Any

import numpy as np

_PROTOCOL = 2  # torch.save's, unless it is told otherwise
_LARGEST = 2**31  # offset, size or stride, lest products of them take for ever
_DIMENSIONS = 32  # as many as every numpy has
# By what a pickle calls the kind of a storage.
_DTYPES = {
  "torch.DoubleStorage": "<f8",
  "torch.FloatStorage": "<f4",
  "torch.HalfStorage": "<f2",
  "torch.BFloat16Storage": "<u2",  # numpy has none of its own
  "torch.LongStorage": "<i8",
  "torch.IntStorage": "<i4",
  "torch.ShortStorage": "<i2",
  "torch.CharStorage": "<i1",
  "torch.ByteStorage": "<u1",
  "torch.BoolStorage": "<u1",  # a damaged one may hold other than 0 and 1
}
_NAMES = (
  "collections.OrderedDict",
  "torch._utils._rebuild_tensor_v2",
  "torch._utils._rebuild_parameter",
  *_DTYPES,
)
# How many values of the stack an opcode takes; None for all above the mark.
_TAKES = {"TUPLE": None, "APPENDS": None, "SETITEMS": None}
_TAKES |= {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_TAKES |= {"APPEND": 1, "SETITEM": 2}


class RefusedError(Exception):
  """Why a file is not read, in words to put its path before."""


@dataclasses.dataclass(frozen=True)
class _Name:
  """What a pickle asks for: a name and nothing that could be called."""

  name: str


@dataclasses.dataclass(frozen=True)
class Storage:
  """The numbers of tensors, that lie beside the pickle under a key."""

  kind: str
  key: str
  length: int

  @property
  def dtype(self) -> np.dtype:
    """Returns the numbers' dtype, little-endian."""
    return np.dtype(_DTYPES[self.kind])

  @property
  def nbytes(self) -> int:
    """Returns how many bytes all of the numbers take."""
    return self.length * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A view of a storage, and within it; all in numbers, not in bytes."""

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def load(stream: io.BytesIO) -> Any:
  """Returns what a pickle builds of dicts, lists, tuples and tensors.

  Args:
    stream: begins with the pickle; it is left behind its end.

  Raises:
    RefusedError: it needs more than a state_dict does.
    Exception: it is damaged, or no pickle at all.
  """
  stack, below, memo = [], [], {}
  for code, argument, _ in pickletools.genops(stream):
    name = code.name
    if name in _TAKES:
      if _TAKES[name] is None:
        items, stack = stack, below.pop()
      else:
        items = [stack.pop() for _ in range(_TAKES[name])][::-1]
    match name:
      case "PROTO":
        if argument != _PROTOCOL:
          raise RefusedError(
            f"it is a pickle of protocol {argument} and not of torch.save's "
            f"own, which is {_PROTOCOL}"
          )
      case "MARK":
        below.append(stack)
        stack = []
      case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
        stack.append(argument)
      case "BINFLOAT":  # of a checkpoint, and no tensor: weights says so
        stack.append(argument)
      case "NONE" | "NEWTRUE" | "NEWFALSE":
        stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
      case "EMPTY_LIST":
        stack.append([])
      case "EMPTY_DICT":
        stack.append({})
      case "EMPTY_TUPLE" | "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
        stack.append(tuple(items))
      case "APPEND" | "APPENDS" if type(stack[-1]) is list:
        stack[-1].extend(items)
      case "SETITEM" | "SETITEMS" if type(stack[-1]) is dict:
        if not are_texts(items[::2]):
          raise RefusedError("it has a dict whose keys are not all names")
        stack[-1].update(zip(items[::2], items[1::2], strict=True))
      case "BINPUT" | "LONG_BINPUT":
        memo[argument] = stack[-1]
      case "BINGET" | "LONG_BINGET":
        stack.append(memo[argument])
      case "GLOBAL":
        stack.append(_name(argument.replace(" ", ".")))
      case "BINPERSID":
        stack.append(_storage(stack.pop()))
      case "REDUCE":
        arguments = stack.pop()
        stack.append(_call(stack.pop(), arguments))
      case "BUILD" if type(stack[-2]) is dict:
        stack.pop()  # a state_dict's versions of its modules
      case "STOP":
        [value] = stack
        return value
      case _:
        raise RefusedError(f"it uses pickle's {name}, as no state_dict does")
  raise RefusedError("its pickle has no end")


def are_texts(values: Any) -> bool:
  """Tells if all are of a type that can be hashed, compared and shown.

  Lists in lists can take for ever, or more stack than there is, in all three.
  """
  return type(values) is list and all(type(value) is str for value in values)


def _name(name: str) -> _Name:
  if name not in _NAMES:
    raise RefusedError(
      f"it asks to run {ascii(name)[1:-1]:.80}; a weights file has tensors "
      "only, so it is refused"
    )
  return _Name(name)


def _storage(persistent_id: Any) -> Storage:
  match persistent_id:
    # The None is the view of a storage, that files before 1.6 have room for.
    case ("storage", _Name(kind), str(key), str(), int(length)) | (
      "storage",
      _Name(kind),
      str(key),
      str(),
      int(length),
      None,
    ) if kind in _DTYPES and 0 <= length <= _LARGEST:
      return Storage(kind, key, length)
  raise RefusedError("it has a storage of an unknown kind")


def _call(function: Any, arguments: Any) -> Any:
  match function, arguments:
    case _Name("collections.OrderedDict"), ():
      return {}
    case (
      _Name("torch._utils._rebuild_parameter"),
      (Tensor() as tensor, bool(), dict()),
    ):
      return tensor
    case (
      _Name("torch._utils._rebuild_tensor_v2"),
      (
        Storage() as storage,
        offset,
        tuple(shape),
        tuple(strides),
        bool(),
        dict(),
      ),
    ) if len(shape) == len(strides) <= _DIMENSIONS:
      numbers = (offset, *shape, *strides)
      if all(type(n) is int and 0 <= n <= _LARGEST for n in numbers):
        steps = zip(shape, strides, strict=True)
        last = offset + sum((size - 1) * stride for size, stride in steps)
        if 0 in shape or last < storage.length:
          return Tensor(storage, offset, shape, strides)
  raise RefusedError("it has a tensor that is not within its storage")
