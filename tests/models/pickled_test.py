"""Tests of reading pickles without running them, most of them made by hand."""

import io
import pickle
import time
import tracemalloc

import pytest

from skinjax.models import pickled
from tests.models.opcodes import (
  ORDERED,
  REBUILD,
  literal,
  name,
  one_tensor,
  storage,
)


def _load(content):
  return pickled.load(io.BytesIO(b"\x80\x02" + content + b"."))


def test_what_a_state_dict_has():
  tensor = pickled.Tensor(
    pickled.Storage("torch.FloatStorage", "0", 12), 4, (2, 2), (2, 4)
  )
  content = one_tensor((2, 2), (2, 4), 4)
  parameter = name("torch._utils", "_rebuild_parameter") + b"(" + content
  assert _load(content) == tensor
  assert _load(parameter + b"\x88" + ORDERED + b"tR") == tensor
  value = {"a": [1, (2**40, -1)], "b": {"c": [None, True, False, 0.5, "é"]}}
  assert _load(literal(value)) == value
  assert _load(literal(value | {str(i): [i] * i for i in range(300)}))["299"]


def test_a_stream_is_left_behind_its_first_pickle():
  stream = io.BytesIO(pickle.dumps(1, 2) + pickle.dumps([2], 2) + b"rest")
  assert (pickled.load(stream), pickled.load(stream)) == (1, [2])
  assert stream.read() == b"rest"


# What comes before and after the text of what to run, and what is told of it.
SYSTEM = name("posix", "system")
GETATTR = name("builtins", "getattr") + name("builtins", "__import__")
PAYLOADS = {
  "reduce": (SYSTEM, b"\x85R", "asks to run posix.system"),
  "stack_global": (
    b"\x8c\x05posix\x8c\x06system\x93",
    b"\x85R",
    "uses pickle's SHORT_BINUNICODE",
  ),
  "inst": (b"(", b"iposix\nsystem\n", "uses pickle's INST"),
  "obj": (b"(csubprocess\ngetoutput\n", b"o", "run subprocess.getoutput"),
  "memo": (
    ORDERED[:-2] + b"q\x07" + SYSTEM + b"q\x07h\x07",
    b"\x85R",
    "asks to run posix.system",
  ),
  "getattr": (
    GETATTR + literal("os") + b"\x85R" + literal("system") + b"\x86R",
    b"\x85R",
    "asks to run builtins.getattr",
  ),
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_nothing_that_a_pickle_asks_for_is_run(tmp_path, payload):
  before, after, told = payload
  marker = tmp_path / "ran"
  content = before + literal(f"mkdir '{marker}'") + after
  with pytest.raises(pickled.RefusedError, match=told):
    _load(content)
  assert not marker.exists()
  # Elsewhere it is.
  pickle.loads(b"\x80\x02" + content + b".")
  assert marker.exists()


STATE = literal({"__setstate__": 1, "__class__": 2, "shape": (9**9,)})
KIND = "a storage of an unknown kind"
WITHIN = "a tensor that is not within its storage"
FORMS = {
  "build of a name": (REBUILD + STATE + b"b", "uses pickle's BUILD"),
  "build of a tensor": (
    one_tensor((3, 4), (4, 1)) + STATE + b"b",
    "uses pickle's BUILD",
  ),
  "newobj": (REBUILD + b")\x81", "uses pickle's NEWOBJ"),
  "extension": (b"\x82\xf0", "uses pickle's EXT1"),
  "old persistent id": (b"P0\n", "uses pickle's PERSID"),
  "set": (b"\x8f", "uses pickle's EMPTY_SET"),
  "bytes": (b"C\x01x", "uses pickle's SHORT_BINBYTES"),
  "protocol": (b"\x80\x04", "a pickle of protocol 4"),
  "call of a storage": (name("torch", "FloatStorage") + b")R", WITHIN),
  "call of a text": (literal("x") + b")R", WITHIN),
  "arguments of a dict": (ORDERED[:-2] + literal(((),)) + b"R", WITHIN),
  "parameter of a dict": (
    name("torch._utils", "_rebuild_parameter") + b"}\x88}\x87R",
    WITHIN,
  ),
  "dotted name": (
    name("collections", "OrderedDict.__init__"),
    "asks to run collections.OrderedDict.__init__",
  ),
  "escaped name": (name("os", r"a\x07\n"), r"to run os\.a\\x07\\n"),
  "other storage": (storage("QInt8Storage", "0", 1), "run torch.QInt8Storage"),
  "storage by text": (literal("0") + b"Q", KIND),
  "storage of a text": (
    literal(("storage", "torch.FloatStorage", "0", "cpu", 12)) + b"Q",
    KIND,
  ),
  "storage of dicts": (
    b"(" + literal("storage") + ORDERED[:-2] + literal("0") * 2 + b"K\x0ctQ",
    KIND,
  ),
  "storage of -1": (storage("FloatStorage", "0", -1), KIND),
  "storage of 2**80": (storage("FloatStorage", "0", 2**80), KIND),
  "view of a storage": (
    storage("FloatStorage", "0", 12, literal(("1", 0, 4))),
    KIND,
  ),
  "keys that are numbers": (literal({1: 2}), "keys are not all names"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_other_forms_are_refused(form):
  content, told = form
  with pytest.raises(pickled.RefusedError, match=told):
    _load(content)


@pytest.mark.parametrize(
  ("shape", "strides", "offset"),
  [
    ((3, 5), (4, 1), 0),
    ((3, 4), (4, 1), 1),
    ((3, 4), (-4, 1), 8),
    ((-3, 4), (4, 1), 0),
    ((3, 4), (4, 1), -1),
    ((), (), 12),
    ((3, 4), (4,), 0),
    ((1,) * 33, (1,) * 33, 0),
    ((2**63, 2), (2, 1), 0),
    ((2, 2), (2**64, 1), 0),
    ((True, 2), (2, 1), 0),
    ((2.0, 2), (2, 1), 0),
    ([3, 4], [4, 1], 0),
    ((3, 4), (4, 1), None),
    ((3, 4), (4, 1), 2**2000),
  ],
)
def test_a_tensor_beyond_its_storage_is_refused(shape, strides, offset):
  with pytest.raises(pickled.RefusedError, match=WITHIN):
    _load(one_tensor(shape, strides, offset))


def _doubled(count=60):
  """Pickles (((..), (..)), ((..), (..))) of few opcodes and 2**count leaves."""
  return b"]" + b"q\x05h\x05\x86" * count


MANY = 2 * 10**5
HARMFUL = {
  "a deep tuple as a key": b"}" + b")" + b"\x85" * MANY + b"Ns",
  "a far memo without a value": b"r\xff\xff\xff\xff",
  "a long text": b"X\xff\xff\xff\xffx",
  "a long number": b"\x8b\xff\xff\xff\x7fx",
  "a large number": b"\x8b\x40\x42\x0f\x00" + b"\x7f" * MANY,
  "a large number in digits": b"I" + b"9" * MANY + b"\n",
  "a large frame": b"\x95" + b"\xff" * 7 + b"\x7fN",
  "marks": b"(" * MANY,
  "marks too few": b"ttt",
  "two values": b"NN",
  "an unknown opcode": b"\xff",
  "a large number as a size": one_tensor((2 ** (8 * 10**5),), (1,)),
  "a call of doubled tuples": _doubled() + b")R",
  "a key of doubled tuples": b"}" + _doubled() + b"Ns",
  "a storage of doubled tuples": _doubled() + b"Q",
}


@pytest.mark.parametrize("content", HARMFUL.values(), ids=HARMFUL)
def test_no_pickle_takes_all_memory_or_time(content):
  start = time.monotonic()
  with pytest.raises(Exception):  # noqa: B017, PT011  of whatever kind
    _load(content)
  assert time.monotonic() - start < 10


def test_a_far_memo_takes_no_memory():
  tracemalloc.start()
  assert _load(b"Nr\xff\xff\xff\xff") is None
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 10**7
