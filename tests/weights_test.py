"""Tests of reading PyTorch's weights files, most of them made by hand."""

import contextlib
import copyreg
import io
import os
import pathlib
import pickle
import struct
import subprocess
import time
import tracemalloc
import warnings
import zipfile
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skinjax import errors, weights

# Numbers of two storages; "view" is a turned part of the first.
FLOATS = np.arange(12, dtype="<f4")
LONGS = np.array([7], "<i8")
STORAGES = {"0": FLOATS.tobytes(), "1": LONGS.tobytes()}
WANTED = {
  "conv.weight": FLOATS.reshape(3, 4),
  "view": FLOATS.reshape(3, 4)[1:, ::2].T,
  "bn.num_batches_tracked": np.array(7),
}


def _literal(value):
  return pickle.dumps(value, 2)[2:-1]


def _name(module, attribute):
  return f"c{module}\n{attribute}\n".encode()


ORDERED = _name("collections", "OrderedDict") + b")R"
REBUILD = _name("torch._utils", "_rebuild_tensor_v2")


def _storage(kind, key, length, rest=b""):
  texts = _literal("storage") + _name("torch", kind) + _literal(key)
  return b"(" + texts + _literal("cpu") + _literal(length) + rest + b"tQ"


def _tensor(storage, shape, strides, offset=0):
  numbers = _literal(offset) + _literal(shape) + _literal(strides)
  return REBUILD + b"(" + storage + numbers + b"\x89" + ORDERED + b"tR"


def _one(shape=(3, 4), strides=(4, 1), offset=0, length=12):
  storage = _storage("FloatStorage", "0", length)
  return {"conv.weight": _tensor(storage, shape, strides, offset)}


def _state_dict(entries):
  items = b"".join(_literal(key) + value for key, value in entries.items())
  metadata = _literal({"_metadata": {"": {"version": 1}}})
  return b"\x80\x02" + ORDERED + b"(" + items + b"u" + metadata + b"b."


def _good(rest=b""):
  floats = _storage("FloatStorage", "0", 12, rest)
  longs = _storage("LongStorage", "1", 1, rest)
  return _state_dict(
    {
      "conv.weight": _tensor(floats, (3, 4), (4, 1)),
      "view": _tensor(floats, (2, 2), (2, 4), 4),
      "bn.num_batches_tracked": _tensor(longs, (), ()),
    }
  )


def _zip(pickled, storages=None, order=b"little", **options):
  storages = STORAGES if storages is None else storages
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w", **options) as archive:
    archive.writestr("archive/data.pkl", pickled)
    if order:
      archive.writestr("archive/byteorder", order)
    for key, content in storages.items():
      archive.writestr(f"archive/data/{key}", content)
    archive.writestr("archive/version", b"3\n")
  return buffer.getvalue()


def _legacy(pickled, storages=None, keys=None, little=True, magic=None):
  storages = STORAGES if storages is None else storages
  system = {"protocol_version": 1001, "little_endian": little}
  heads = [magic or 0x1950A86A20F9469CFC6C, 1001, system]
  keys = pickle.dumps(list(storages), 2) if keys is None else keys
  sizes = {"0": 4, "1": 8}
  return b"".join(
    [
      *(pickle.dumps(head, 2) for head in heads),
      pickled + keys,
      *(
        struct.pack("<q", len(content) // sizes[key]) + content
        for key, content in storages.items()
      ),
    ]
  )


def _read(tmp_path, content):
  path = tmp_path / "model.pth"
  path.write_bytes(content)
  return weights.read(path)


def _refused(tmp_path, content, told):
  with pytest.raises(errors.InputError, match=told) as caught:
    _read(tmp_path, content)
  message = str(caught.value)
  assert message.count(str(tmp_path / "model.pth")) == 1
  assert "torch.save(model.state_dict(), path)" in message
  assert "\n" not in message
  assert len(message) < len(str(tmp_path)) + 300


GOOD_FILES = {
  "zip": _zip(_good()),
  "zip without an order": _zip(_good(), order=None),
  "legacy": _legacy(_good(b"N")),
}


@pytest.mark.parametrize("content", GOOD_FILES.values(), ids=GOOD_FILES)
def test_files_made_by_hand(tmp_path, content):
  arrays = _read(tmp_path, content)
  assert list(arrays) == list(WANTED)
  for name, wanted in WANTED.items():
    assert type(arrays[name]) is np.ndarray
    assert arrays[name].dtype == wanted.dtype
    assert arrays[name].dtype.isnative
    assert arrays[name].flags.c_contiguous
    assert arrays[name].flags.writeable
    np.testing.assert_array_equal(arrays[name], wanted)
  # Of one storage in the file, but not here.
  arrays["conv.weight"][:] = -1
  np.testing.assert_array_equal(arrays["view"], WANTED["view"])


@pytest.mark.parametrize("content", GOOD_FILES.values(), ids=GOOD_FILES)
def test_torch_takes_the_files_made_by_hand_as_its_own(tmp_path, content):
  torch = pytest.importorskip("torch")
  path = tmp_path / "model.pth"
  path.write_bytes(content)
  tensors = torch.load(path, weights_only=True)
  for name, wanted in WANTED.items():
    np.testing.assert_array_equal(tensors[name].numpy(), wanted)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_round_trip_from_torch(tmp_path, is_zip, protocol):
  torch = pytest.importorskip("torch")
  base = torch.linspace(-300, 300, 120).reshape(4, 5, 6)
  kinds = "float64 float32 float16 bfloat16 int64 int32 int16 int8 bool"
  tensors = {kind: base.to(getattr(torch, kind)) for kind in kinds.split()}
  tensors |= {
    "uint8": base.abs().to(torch.uint8),
    "scalar": torch.tensor(3.5),
    "bfloat16 scalar": torch.tensor(3.5, dtype=torch.bfloat16),
    "bool scalar": torch.tensor(True),
    "turned": base.permute(2, 0, 1),
    "part": base[1:3, ::2, 4],
    "one of it": base[2, 3, 4],
    "repeated": torch.arange(3.0).expand(4, 3),
    "empty": torch.zeros(0),
    "empty too": base[:0, 1:],
    "not finite": torch.tensor([float("nan"), float("inf"), -0.0]),
    "parameter": torch.nn.Parameter(torch.ones(2, 3)),
    "channels last": torch.rand(2, 3, 4, 5).to(
      memory_format=torch.channels_last
    ),
  }
  path = tmp_path / "model.pth"
  torch.save(
    tensors,
    path,
    _use_new_zipfile_serialization=is_zip,
    pickle_protocol=protocol,
  )
  arrays = weights.read(path)
  assert list(arrays) == list(tensors)
  for name, tensor in tensors.items():
    tensor = tensor.detach()
    wanted = (
      tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    ).numpy()
    assert arrays[name].dtype == wanted.dtype, name
    assert arrays[name].flags.c_contiguous, name
    assert arrays[name].shape == wanted.shape, name
    assert arrays[name].tobytes() == wanted.tobytes(), name


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_modules_state_dict_from_torch(tmp_path, is_zip):
  torch = pytest.importorskip("torch")
  module = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)
  )
  path = tmp_path / "model.pth"
  state = module.state_dict()
  torch.save(state, path, _use_new_zipfile_serialization=is_zip)
  arrays = weights.read(path)
  weights.require_shapes(
    arrays, {k: tuple(v.shape) for k, v in state.items()}, path
  )
  for name, tensor in state.items():
    np.testing.assert_array_equal(arrays[name], tensor.numpy())


@pytest.mark.parametrize(
  "kind", ["ComplexFloatStorage", "QInt8Storage", "UntypedStorage"]
)
def test_other_kinds_of_numbers_are_refused(tmp_path, kind):
  entries = {"x": _tensor(_storage(kind, "0", 12), (12,), (1,))}
  _refused(tmp_path, _zip(_state_dict(entries)), f"asks to run torch.{kind}")


# What comes before and after the text of what to run, and what is told of it.
SYSTEM = _name("posix", "system")
GETATTR = _name("builtins", "getattr") + _name("builtins", "__import__")
PAYLOADS = {
  "reduce": (SYSTEM, b"\x85R", "asks to run posix.system"),
  "stack_global": (
    b"\x8c\x05posix\x8c\x06system\x93",
    b"\x85R",
    "asks to run posix.system",
  ),
  "inst": (b"(", b"iposix\nsystem\n", "asks to run posix.system"),
  "inst of Popen": (b"(", b"isubprocess\nPopen\n", "run subprocess.Popen"),
  "obj": (b"(csubprocess\ngetoutput\n", b"o", "run subprocess.getoutput"),
  "memo": (
    _name("collections", "OrderedDict") + b"q\x07" + SYSTEM + b"q\x07h\x07",
    b"\x85R",
    "asks to run posix.system",
  ),
  "getattr": (
    GETATTR + _literal("os") + b"\x85R" + _literal("system") + b"\x86R",
    b"\x85R",
    "asks to run builtins.getattr",
  ),
  "extension": (b"\x82\xf0", b"\x85R", "uses pickle's EXT1"),
  "eval": (_name("builtins", "eval"), b"\x85R", "run builtins.eval"),
  "eval of python 2": (
    _name("__builtin__", "eval"),
    b"\x85R",
    "run __builtin__.eval",
  ),
}
PLACES = {
  "zip": lambda payload: _zip(payload),
  "entry": lambda payload: _zip(_state_dict({"x": payload[2:-1]})),
  "legacy": lambda payload: _legacy(payload),
  "keys of legacy": lambda payload: _legacy(_good(), keys=payload),
  "bare": lambda payload: payload,
}


def _live(tmp_path, payload):
  """Returns a pickle, and the path that is there once it has run."""
  before, after, told = payload
  marker = tmp_path / "ran"
  run = f"mkdir '{marker}'"
  if "eval" in told:
    run = f"open({str(marker)!r}, 'w')"
  elif "Popen" in told:
    run = ["mkdir", str(marker)]
  return b"\x80\x02" + before + _literal(run) + after + b".", marker


@pytest.fixture
def extension():
  copyreg.add_extension("posix", "system", 0xF0)
  yield
  copyreg.remove_extension("posix", "system", 0xF0)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.usefixtures("extension")
def test_nothing_that_a_pickle_asks_for_is_run(tmp_path, payload, place):
  told = payload[-1]
  pickled, marker = _live(tmp_path, payload)
  _refused(tmp_path, place(pickled), told)
  assert not marker.exists()


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.usefixtures("extension")
def test_those_pickles_do_run_it_elsewhere(tmp_path, payload):
  pickled, marker = _live(tmp_path, payload)
  result = pickle.loads(pickled)
  if isinstance(result, subprocess.Popen):
    result.wait()
  assert marker.exists()


STATE = _literal({"__setstate__": 1, "__class__": 2, "shape": (9**9,)})
FORMS = {
  "build of a name": (REBUILD + STATE + b"b", "uses pickle's BUILD"),
  "build of a tensor": (
    _one()["conv.weight"] + STATE + b"b",
    "uses pickle's BUILD",
  ),
  "build of a storage": (
    _storage("FloatStorage", "0", 12) + b"N" + STATE + b"\x86b",
    "uses pickle's BUILD",
  ),
  "newobj": (REBUILD + b")\x81", "uses pickle's NEWOBJ"),
  "a storage that is called": (
    _name("torch", "FloatStorage") + b")R",
    "not within its storage",
  ),
  "a text that is called": (_literal("x") + b")R", "not within"),
  "a dict with arguments": (
    ORDERED[:-2] + _literal(((),)) + b"R",
    "not within",
  ),
  "a parameter of a dict": (
    _name("torch._utils", "_rebuild_parameter") + b"}\x88}\x87R",
    "not within",
  ),
  "a dotted name": (
    b"\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93",
    "asks to run collections.OrderedDict.__init__",
  ),
  "a name that is none": (b"N]\x93", "cut short, damaged"),
  "a name beyond ascii": (
    b"\x8c\x02os\x8c\x02\xc3\xa9\x93",
    r"asks to run os\.\\xe9",
  ),
  "a lone surrogate": (
    b"X\x03\x00\x00\x00\xed\xb0\x80X\x01\x00\x00\x00x\x93",
    r"asks to run \\udc00\.x",
  ),
  "a text for a storage": (_literal("0") + b"Q", "storage of an unknown kind"),
  "a text for a storage, old": (b"P0\n", "uses pickle's PERSID"),
  "a module": (
    _literal(("module", "x", "y", "z")) + b"Q",
    "storage of an unknown kind",
  ),
  "a storage without a kind": (
    _literal(("storage", "torch.FloatStorage", "0", "cpu", 12)) + b"Q",
    "storage of an unknown kind",
  ),
  "a storage of dicts": (
    b"(" + _literal("storage") + ORDERED[:-2] + _literal("0") * 2 + b"K\x0ctQ",
    "storage of an unknown kind",
  ),
  "a storage of -1": (_storage("FloatStorage", "0", -1), "unknown kind"),
  "a storage of 2**80": (_storage("FloatStorage", "0", 2**80), "unknown kind"),
  "a view of a storage": (
    _storage("FloatStorage", "0", 12, _literal(("1", 0, 4))),
    "storage of an unknown kind",
  ),
  "one storage as two": (
    _storage("FloatStorage", "0", 12) + _storage("IntStorage", "0", 12),
    "two of its storages have one key",
  ),
  "a number": (b"K\x01", "its entry 'x' is no tensor"),
  "a learning rate": (_literal(0.1), "its entry 'x' is no tensor"),
  "a dict of tensors": (ORDERED, "its entry 'x' is no tensor"),
  "a dict of numbers": (_literal({1: 2}), "keys are not all names"),
  "a list": (_literal([1, 2]), "its entry 'x' is no tensor"),
  "a set": (b"\x8f", "uses pickle's EMPTY_SET"),
  "bytes": (b"C\x01x", "uses pickle's SHORT_BINBYTES"),
  "too little of the stack": (b"00", "POP"),
  "a mark too few": (b"ttt", "cut short, damaged"),
  "unknown opcode": (b"\xff", "cut short, damaged"),
  "a stop too soon": (b".", "no dict of tensors"),
  "a value too many": (b"NN", "keys are not all names"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_other_forms_are_refused(tmp_path, form):
  pickled, told = form
  content = _state_dict({"x": pickled})
  _refused(tmp_path, _zip(content), told)
  _refused(tmp_path, _legacy(content), told)
  # And nothing of it stays.
  assert list(_read(tmp_path, GOOD_FILES["zip"])) == list(WANTED)


@pytest.mark.parametrize("whole", [b"N", b"]", b"K\x01", _one()["conv.weight"]])
def test_what_is_no_dict_is_refused(tmp_path, whole):
  _refused(tmp_path, _zip(b"\x80\x02" + whole + b"."), "is no dict of tensors")


def test_a_checkpoint_around_a_state_dict_is_refused(tmp_path):
  inner = _state_dict(_one())[2:-1]
  content = _state_dict({"epoch": b"K\x01", "state_dict": inner})
  _refused(tmp_path, _zip(content), "its entry 'epoch' is no tensor")


@pytest.mark.parametrize(
  ("shape", "strides", "offset"),
  [
    ((3, 5), (4, 1), 0),
    ((3, 4), (5, 1), 0),
    ((3, 4), (4, 1), 1),
    ((3, 4), (4, -1), 3),
    ((3, 4), (-4, 1), 8),
    ((-3, 4), (4, 1), 0),
    ((-3, -4), (4, 1), 0),
    ((3, 4), (4, 1), -1),
    ((), (), 12),
    ((), (), -1),
    ((3,), (4, 1), 0),
    ((3, 4), (4,), 0),
    ((1,) * 33, (1,) * 33, 0),
    ((2**63, 2), (2, 1), 0),
    ((2, 2), (2**63, 1), 0),
    ((2, 2), (2**64, 1), 0),
    ((True, 2), (2, 1), 0),
    ((2.0, 2), (2, 1), 0),
    (("2", 2), (2, 1), 0),
    ([3, 4], [4, 1], 0),
    ((3, 4), (4, 1), None),
    ((3, 4), (4, 1), 2**2000),
  ],
)
def test_a_tensor_beyond_its_storage_is_refused(
  tmp_path, shape, strides, offset
):
  pickled = _state_dict(_one(shape, strides, offset))
  told = "a tensor that is not within its storage"
  _refused(tmp_path, _zip(pickled, {"0": FLOATS.tobytes()}), told)


@pytest.mark.parametrize("length", [0, 11, 13, 2**29])
def test_a_storage_of_another_size_is_refused(tmp_path, length):
  # The member is that of 12 numbers; the tensor takes one or none.
  shape = (min(length, 1),)
  pickled = _state_dict(_one(shape, (1,), length=length))
  storages = {"0": FLOATS.tobytes()}
  told = "its storage '0' has another size"
  _refused(tmp_path, _zip(pickled, storages), told)
  _refused(tmp_path, _legacy(pickled, storages), told)


@pytest.mark.parametrize("shape", [(2**29 + 1,), (2**16, 2**16), (0, 2**30)])
def test_a_tensor_that_repeats_numbers_for_ever_is_refused(tmp_path, shape):
  pickled = _state_dict(_one(shape, (0,) * len(shape)))
  content = _zip(pickled, {"0": FLOATS.tobytes()})
  _refused(tmp_path, content, "its tensors take more than 2147483648 bytes")


def test_a_large_file_is_refused(tmp_path, monkeypatch):
  content = GOOD_FILES["zip"]
  monkeypatch.setattr(weights, "_BYTES", len(content))
  assert _read(tmp_path, content)
  monkeypatch.setattr(weights, "_BYTES", len(content) - 1)
  _refused(tmp_path, content, f"it has more than {len(content) - 1} bytes")


def test_a_large_pickle_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(weights, "_PICKLE_BYTES", 200)
  _refused(tmp_path, GOOD_FILES["zip"], "data.pkl has more than 200 bytes")
  _refused(tmp_path, GOOD_FILES["legacy"], "cut short, damaged")


def _doubled(count=60):
  """Pickles (((..), (..)), ((..), (..))) of few opcodes and 2**count leaves."""
  return b"]" + b"q\x05h\x05\x86" * count


MANY = 2 * 10**5
HARMFUL = {
  "a deep tuple as a key": b"}" + b")" + b"\x85" * MANY + b"Ns",
  "a deep list": b"]" * MANY + b"a" * (MANY - 1),
  "a list in itself": b"]q\x00h\x00a",
  "a far memo": b"Nr\xff\xff\xff\xff",
  "a long text": b"X\xff\xff\xff\xffx",
  "a longer text": b"\x8d" + b"\xff" * 7 + b"\x7fx",
  "a long bytearray": b"\x96" + b"\xff" * 7 + b"\x7fx",
  "a long number": b"\x8b\xff\xff\xff\x7fx",
  "a large number": b"\x8b\x40\x42\x0f\x00" + b"\x7f" * MANY,
  "a large number in digits": b"I" + b"9" * MANY + b"\n",
  "a large frame": b"\x95" + b"\xff" * 7 + b"\x7fN",
  "marks": b"(" * MANY,
  "a large number as a size": _one((2 ** (8 * 10**5),), (1,))["conv.weight"],
  "a name of doubled tuples": _doubled() + b"\x8c\x01x\x93",
  "a key of doubled tuples": b"}" + _doubled() + b"Ns",
  "a storage of doubled tuples": _doubled() + b"Q",
}


@pytest.mark.parametrize("harmful", HARMFUL.values(), ids=HARMFUL)
def test_no_pickle_takes_all_memory_or_time(tmp_path, harmful):
  content = _state_dict({"x": harmful})
  start = time.monotonic()
  _refused(tmp_path, _zip(content), "Cannot read")
  _refused(tmp_path, _legacy(content), "Cannot read")
  _refused(
    tmp_path,
    _legacy(_good(b"N"), keys=b"\x80\x02" + harmful + b"."),
    "Cannot read",
  )
  assert time.monotonic() - start < 30


def test_lists_that_are_alike_are_not_compared(tmp_path):
  keys = b"\x80\x02](" + _doubled() + _doubled() + b"e."
  _refused(tmp_path, _legacy(_good(b"N"), keys=keys), "list of storages")


def test_claims_of_size_take_no_memory(tmp_path):
  content = _zip(_state_dict({"x": HARMFUL["a far memo"]}))
  tracemalloc.start()
  _refused(tmp_path, content, "Cannot read")
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 10**7


def _array_archive():
  buffer = io.BytesIO()
  np.savez(buffer, x=np.array([{}], object))
  return buffer.getvalue()


def _twice(name):
  buffer = io.BytesIO(_zip(_good()))
  with warnings.catch_warnings(), zipfile.ZipFile(buffer, "a") as archive:
    warnings.simplefilter("ignore")
    archive.writestr(name, b"x")
  return buffer.getvalue()


OTHERS = {
  "empty": (b"", "cut short"),
  "html": (b"<!DOCTYPE html><html>Not found</html>", "another format"),
  "json": (b'{"message": "Not found"}', "another format"),
  "a pointer to a large file": (b"version https://git-lfs", "another format"),
  "safetensors": (struct.pack("<q", 2) + b"{}", "another format"),
  "npy": (b"\x93NUMPY\x01\x00", "another format"),
  "npz of objects": (_array_archive(), "zip without the data.pkl"),
  "zip magic": (b"PK\x03\x04", "cut short"),
  "pickle": (pickle.dumps({"x": 1}), "a pickle that is not of torch.save"),
  "pickled array": (pickle.dumps(np.ones(3)), "asks to run numpy"),
  "other magic": (_legacy(_good(), magic=3), "pickle that is not of"),
  "big-endian zip": (_zip(_good(), order=b"big"), "big-endian"),
  "big-endian legacy": (_legacy(_good(), little=False), "big-endian"),
  "compressed": (_zip(_good(), compression=zipfile.ZIP_DEFLATED), "compressed"),
  "a bomb": (
    _zip(_good(), {"0": bytes(10**7)}, compression=zipfile.ZIP_LZMA),
    "compressed",
  ),
  "no storage": (_zip(_good(), {"0": STORAGES["0"]}), "cut short, damaged"),
  "two pickles": (_twice("other/data.pkl"), "without the data.pkl"),
  "no storage, legacy": (_legacy(_good(), {}), "list of storages"),
  "keys that are none": (_legacy(_good(), keys=b"\x80\x02]]a."), "list of"),
  "more than all": (_legacy(_good()) + b"x", "goes on after its last storage"),
  "a member twice": (_twice("archive/data/0"), "by another program"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_other_files_are_refused(tmp_path, other):
  _refused(tmp_path, *other)


def test_members_that_share_bytes_are_refused(tmp_path):
  # Every entry of the zip's table is made to point at the largest member.
  content = bytearray(_zip(_good(), {"0": bytes(48), "1": bytes(8)}))
  start = content.index(b"PK\x01\x02")
  while (start := content.find(b"PK\x01\x02", start)) >= 0:
    content[start + 20 : start + 28] = struct.pack("<II", 900, 900)
    start += 4
  _refused(tmp_path, bytes(content), "by another program")


@pytest.mark.parametrize("content", GOOD_FILES.values(), ids=GOOD_FILES)
def test_a_file_cut_short_is_refused_wherever_it_is_cut(tmp_path, content):
  for length in range(0, len(content), 7):
    _refused(tmp_path, content[:length], "Cannot read")


def test_a_flipped_number_is_seen_in_a_zip(tmp_path):
  content = bytearray(GOOD_FILES["zip"])
  content[content.index(FLOATS.tobytes()) + 5] ^= 1
  _refused(tmp_path, bytes(content), "cut short, damaged")


def test_what_is_no_file_is_refused(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  for path in (tmp_path, tmp_path / "none.pth", tmp_path / "pipe", "a\0b"):
    with pytest.raises(errors.InputError, match="there is no such file"):
      weights.read(path)
  with pytest.raises(errors.InputError, match="File name too long"):
    weights.read(tmp_path / ("x" * 300))


def test_bytes_other_than_0_and_1_are_true(tmp_path):
  entries = {"x": _tensor(_storage("BoolStorage", "0", 4), (4,), (1,))}
  content = _zip(_state_dict(entries), {"0": b"\x00\x01\x02\xff"})
  array = _read(tmp_path, content)["x"]
  assert array.tobytes() == b"\x00\x01\x01\x01"


@st.composite
def _mutated(draw):
  """A good file with bytes set, cut out, or put in; or its pickle alone so."""
  inside = draw(st.sampled_from(["zip", "legacy", None]))
  content = bytearray(_good() if inside else _choose(draw))
  for _ in range(draw(st.integers(1, 4))):
    at = draw(st.integers(0, len(content) - 1))
    piece = draw(st.binary(max_size=4))
    content[at : at + draw(st.integers(0, 4))] = piece
  whole = {"zip": _zip, "legacy": _legacy, None: bytes}[inside]
  return whole(bytes(content))


def _choose(draw):
  return draw(st.sampled_from(list(GOOD_FILES.values())))


@settings(
  max_examples=500,
  deadline=None,
  derandomize=True,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(_mutated())
def test_a_damaged_file_is_read_or_refused(tmp_path, content):
  with (
    mock.patch.object(weights, "_BYTES", 2**20),
    contextlib.suppress(errors.InputError),
  ):
    arrays = _read(tmp_path, content)
    assert all(type(array) is np.ndarray for array in arrays.values())


def test_shapes_that_are_wanted():
  arrays = {"a": np.zeros((2, 3)), "b": np.zeros(())}
  weights.require_shapes(arrays, {"b": (), "a": (2, 3)}, "model.pth")
  weights.require_shapes(arrays, {"b": [], "a": [2, 3]}, "model.pth")


def test_shapes_that_are_not_wanted():
  arrays = {f"old{i}": np.zeros(1) for i in range(5)} | {"a": np.zeros((2, 3))}
  wanted = {"a": (3, 2), "b": (), "c": (4,)}
  with pytest.raises(errors.InputError) as caught:
    weights.require_shapes(arrays, wanted, pathlib.Path("model.pth"))
  assert str(caught.value) == (
    "model.pth has not the 3 weights of this model: 2 missing ('b', 'c'); "
    "5 unexpected ('old0', 'old1', 'old2', ...); "
    "1 of another shape ('a' (2, 3) for (3, 2))."
  )
