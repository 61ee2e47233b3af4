"""Tests of models/torch_weights.py, mostly with files made by hand."""

import hashlib
import pickle
import struct

import numpy as np
import pytest

from skinjax.models import torch_weights
from skinjax.runtime import errors

MAGIC = 0x1950A86A20F9469CFC6C
FLOATS = np.arange(12, dtype="<f4")
LONGS = np.array([7], "<i8")


def _literal(value):
  return pickle.dumps(value, 2)[2:-1]


def _name(module, name):
  return f"c{module}\n{name}\n".encode()


ORDERED = _name("collections", "OrderedDict") + b")R"


def _tensor(storage, offset, shape, strides):
  kind, key, length = storage
  texts = _literal("storage") + _name("torch", kind) + _literal(key)
  storage = b"(" + texts + _literal("cpu") + _literal(length) + b"NtQ"
  numbers = b"".join(map(_literal, (offset, shape, strides)))
  rebuild = _name("torch._utils", "_rebuild_tensor_v2")
  return rebuild + b"(" + storage + numbers + b"\x89" + ORDERED + b"tR"


def _file(entries, magic=MAGIC):
  """Make a file of opcodes of tensors, by name, of the numbers above."""
  heads = [magic, 1001, {"protocol_version": 1001, "little_endian": True}]
  items = b"".join(_literal(key) + value for key, value in entries.items())
  metadata = _literal({"_metadata": {"": {"version": 1}}})
  return b"".join(
    [
      *(pickle.dumps(head, 2) for head in heads),
      b"\x80\x02" + ORDERED + b"(" + items + b"u" + metadata + b"b.",
      pickle.dumps(["0", "1"], 2),
      struct.pack("<q", 12) + FLOATS.tobytes(),
      struct.pack("<q", 1) + LONGS.tobytes(),
    ]
  )


ONE = ("FloatStorage", "0", 12)
ENTRIES = {
  "conv.weight": _tensor(ONE, 0, (3, 4), (4, 1)),
  "view": _tensor(ONE, 4, (2, 2), (2, 4)),
  "bn.num_batches_tracked": _tensor(("LongStorage", "1", 1), 0, (), ()),
}


def _read(tmp_path, content, digest=None):
  path = tmp_path / "model.pth"
  path.write_bytes(content)
  digest = digest or hashlib.sha256(content).hexdigest()
  return torch_weights.read(path, digest)


def test_a_file_made_by_hand(tmp_path):
  arrays = _read(tmp_path, _file(ENTRIES))
  wanted = {
    "conv.weight": FLOATS.reshape(3, 4),
    "view": FLOATS.reshape(3, 4)[1:, ::2].T,
    "bn.num_batches_tracked": np.array(7),
  }
  assert list(arrays) == list(wanted)
  for name, array in wanted.items():
    assert arrays[name].dtype == array.dtype
    np.testing.assert_array_equal(arrays[name], array)


def test_round_trip_from_torch(tmp_path):
  torch = pytest.importorskip("torch")
  tensors = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)
  ).state_dict()
  base = torch.linspace(-300, 300, 120).reshape(4, 5, 6)
  tensors |= {"turned": base.permute(2, 0, 1), "part": base[1:3, ::2, 4]}
  for kind in ("float64", "float16", "int64", "int32"):
    tensors[kind] = base.to(getattr(torch, kind))
  path = tmp_path / "saved.pth"
  torch.save(tensors, path, _use_new_zipfile_serialization=False)
  arrays = _read(tmp_path, path.read_bytes())
  assert list(arrays) == list(tensors)
  for name, tensor in tensors.items():
    assert arrays[name].dtype == tensor.numpy().dtype
    np.testing.assert_array_equal(arrays[name], tensor.numpy())


def test_another_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
  monkeypatch.setattr(torch_weights, "_arrays", pytest.fail)
  content = _file(ENTRIES)
  digest = hashlib.sha256(content).hexdigest()
  for other in (content[:-1], content + b"x", b"", b"<html>Not found</html>"):
    with pytest.raises(errors.InputError, match="not the published") as caught:
      _read(tmp_path, other, digest)
    assert f"published one is {digest}. Fetch it" in str(caught.value)


@pytest.mark.parametrize(
  ("path", "why"),
  [("none.pth", "No such file"), (".", "Is a directory"), ("a\0b", "null")],
)
def test_a_path_of_no_file_is_refused(tmp_path, path, why):
  with pytest.raises(errors.InputError, match=f"Cannot read .*{why}"):
    torch_weights.read(tmp_path / path, "")


def _call(module, name, marker):
  return _name(module, name) + _literal(f"mkdir '{marker}'") + b"\x85R"


# In a file of the right digest, which only its author could put there.
PROGRAMS = {
  "entry": lambda call: _file({"x": call}),
  "first pickle": lambda call: b"\x80\x02" + call + b".",
  "newer opcodes": lambda call: (
    b"\x80\x04\x8c\x05posix\x8c\x06system\x93" + call[call.index(b"X") :] + b"."
  ),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_nothing_that_a_pickle_asks_for_is_run(tmp_path, program):
  marker = tmp_path / "ran"
  content = program(_call("posix", "system", marker))
  with pytest.raises(errors.InputError, match=r"asks for posix\.system"):
    _read(tmp_path, content)
  assert not marker.exists()


@pytest.mark.parametrize(
  ("module", "name"),
  [
    ("builtins", "eval"),
    ("torch.storage", "_load_from_bytes"),
    ("collections", "OrderedDict.__init__"),
  ],
)
def test_other_names_are_refused(tmp_path, module, name):
  content = _file({"x": _name(module, name)})
  with pytest.raises(errors.InputError, match=f"asks for {module}.{name}"):
    _read(tmp_path, content)


@pytest.mark.parametrize(
  "content",
  [
    _file({"x": _tensor(ONE, 1, (3, 4), (4, 1))}),
    _file({"x": _tensor(ONE, 0, (3, 5), (4, 1))}),
    _file({"x": _tensor(ONE, -1, (2,), (1,))}),
    _file({"x": _tensor(("FloatStorage", "2", 1), 0, (1,), (1,))}),
    _file({"x": _literal(0.1)}),
    _file(ENTRIES, magic=3),
    _file(ENTRIES)[:-9],
    _file(ENTRIES)[:200],
    pickle.dumps({"x": 1}),
  ],
  ids=range(9),
)
def test_other_contents_than_whole_tensors_are_refused(tmp_path, content):
  with pytest.raises(errors.InputError, match="not a file of tensors that"):
    _read(tmp_path, content)
