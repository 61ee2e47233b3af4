"""Tests of reading PyTorch's weights files, most of them made by hand."""

import contextlib
import io
import os
import pathlib
import pickle
import struct
import warnings
import zipfile
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skinjax.models import weights
from skinjax.runtime import errors
from tests.models import opcodes

# Numbers of two storages; "view" is a turned part of the first.
FLOATS = np.arange(12, dtype="<f4")
LONGS = np.array([7], "<i8")
STORAGES = {"0": FLOATS.tobytes(), "1": LONGS.tobytes()}
WANTED = {
  "conv.weight": FLOATS.reshape(3, 4),
  "view": FLOATS.reshape(3, 4)[1:, ::2].T,
  "bn.num_batches_tracked": np.array(7),
}


def _good(rest=b""):
  floats = opcodes.storage("FloatStorage", "0", 12, rest)
  longs = opcodes.storage("LongStorage", "1", 1, rest)
  return opcodes.state_dict(
    {
      "conv.weight": opcodes.tensor(floats, (3, 4), (4, 1)),
      "view": opcodes.tensor(floats, (2, 2), (2, 4), 4),
      "bn.num_batches_tracked": opcodes.tensor(longs, (), ()),
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


KINDS = ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8")
KINDS += ("bool",)


@pytest.mark.parametrize("is_zip", [True, False])
def test_round_trip_from_torch(tmp_path, is_zip):
  torch = pytest.importorskip("torch")
  tensors = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)
  ).state_dict()
  base = torch.linspace(-300, 300, 120).reshape(4, 5, 6)
  for kind in KINDS:
    tensors[kind] = base.to(getattr(torch, kind))
    tensors[f"{kind} scalar"] = base[0, 0, 0].to(getattr(torch, kind))
  tensors |= {
    "uint8": base.abs().to(torch.uint8),
    "turned": base.permute(2, 0, 1),
    "part": base[1:3, ::2, 4],
    "one of it": base[2, 3, 4],
    "repeated": torch.arange(3.0).expand(4, 3),
    "empty": torch.zeros(0),
    "empty too": base[:0, 1:],
    "not finite": torch.tensor([float("nan"), float("inf"), -0.0]),
    "parameter": torch.nn.Parameter(torch.ones(2, 3)),
  }
  path = tmp_path / "model.pth"
  torch.save(tensors, path, _use_new_zipfile_serialization=is_zip)
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


PAYLOAD = b"\x80\x02" + opcodes.name("posix", "system") + b"."
PLACES = {
  "zip": _zip(PAYLOAD),
  "entry": _zip(opcodes.state_dict({"x": PAYLOAD[2:-1]})),
  "legacy": _legacy(PAYLOAD),
  "keys of legacy": _legacy(_good(), keys=PAYLOAD),
  "bare": PAYLOAD,
}


@pytest.mark.parametrize("content", PLACES.values(), ids=PLACES)
def test_a_pickle_that_asks_for_more_is_refused(tmp_path, content):
  told = "asks to run posix.system; a weights file has tensors only"
  _refused(tmp_path, content, told)


TENSOR = opcodes.one_tensor((3, 4), (4, 1))
INTS = opcodes.tensor(opcodes.storage("IntStorage", "0", 12), (12,), (1,))
ENTRIES = {
  "a learning rate": (opcodes.literal(0.1), "its entry 'x' is no tensor"),
  "a storage": (
    opcodes.storage("FloatStorage", "0", 12),
    "its entry 'x' is no tensor",
  ),
  "a dict": (opcodes.ORDERED, "its entry 'x' is no tensor"),
  "one storage as two": (
    TENSOR + opcodes.literal("y") + INTS,
    "two of its storages have one key",
  ),
  "an end too soon": (b".", "no dict of tensors"),
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_other_than_tensors_by_name_is_refused(tmp_path, entry):
  content, told = entry
  content = opcodes.state_dict({"x": content})
  _refused(tmp_path, _zip(content), told)
  _refused(tmp_path, _legacy(content), told)


@pytest.mark.parametrize("whole", [b"N", b"]", TENSOR])
def test_what_is_no_dict_is_refused(tmp_path, whole):
  _refused(tmp_path, _zip(b"\x80\x02" + whole + b"."), "is no dict of tensors")


@pytest.mark.parametrize("length", [0, 11, 13, 2**29])
def test_a_storage_of_another_size_is_refused(tmp_path, length):
  # The member is that of 12 numbers; the tensor takes one or none.
  shape = (min(length, 1),)
  tensor = opcodes.one_tensor(shape, (1,), length=length)
  pickled = opcodes.state_dict({"x": tensor})
  storages = {"0": FLOATS.tobytes()}
  told = "its storage '0' has another size"
  _refused(tmp_path, _zip(pickled, storages), told)
  _refused(tmp_path, _legacy(pickled, storages), told)


@pytest.mark.parametrize("shape", [(2**29 + 1,), (2**16, 2**16)])
def test_a_tensor_that_repeats_numbers_for_ever_is_refused(tmp_path, shape):
  tensor = opcodes.one_tensor(shape, (0,) * len(shape))
  pickled = opcodes.state_dict({"x": tensor})
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


DOUBLED = b"]" + b"q\x05h\x05\x86" * 60  # 2**60 lists in tuples
HARMFUL = {
  "a deep list": b"]" * 10**5 + b"a" * (10**5 - 1),
  "a list in itself": b"]q\x00h\x00a",
  "doubled tuples": DOUBLED,
  "doubled tuples that are alike": b"](" + DOUBLED + DOUBLED + b"e",
}


@pytest.mark.parametrize("harmful", HARMFUL.values(), ids=HARMFUL)
def test_what_takes_for_ever_to_show_or_compare_is_refused(tmp_path, harmful):
  pickled = opcodes.state_dict({"x": harmful})
  _refused(tmp_path, _zip(pickled), "its entry 'x' is no tensor")
  keys = b"\x80\x02" + harmful + b"."
  _refused(tmp_path, _legacy(_good(b"N"), keys=keys), "list of storages")


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
  "empty": (b"", "neither a zip nor a pickle"),
  "html": (b"<!DOCTYPE html><html>Not found</html>", "neither a zip nor"),
  "safetensors": (struct.pack("<q", 2) + b"{}", "neither a zip nor"),
  "npy": (b"\x93NUMPY\x01\x00", "neither a zip nor"),
  "npz of objects": (_array_archive(), "zip without the data.pkl"),
  "zip magic": (b"PK\x03\x04", "cut short"),
  "pickle": (pickle.dumps({"x": 1}, 2), "pickle that is not of torch.save"),
  "pickled array": (pickle.dumps(np.ones(3), 2), "asks to run numpy"),
  "pickle of today": (pickle.dumps({"x": 1}, 4), "a pickle of protocol 4"),
  "other magic": (_legacy(_good(), magic=3), "pickle that is not of"),
  "big-endian zip": (_zip(_good(), order=b"big"), "big-endian"),
  "big-endian legacy": (_legacy(_good(), little=False), "big-endian"),
  "compressed": (_zip(_good(), compression=zipfile.ZIP_DEFLATED), "compressed"),
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
  entries = {
    "x": opcodes.tensor(opcodes.storage("BoolStorage", "0", 4), (4,), (1,))
  }
  content = _zip(opcodes.state_dict(entries), {"0": b"\x00\x01\x02\xff"})
  array = _read(tmp_path, content)["x"]
  assert array.tobytes() == b"\x00\x01\x01\x01"


FILES = st.sampled_from(list(GOOD_FILES.values()))


@st.composite
def _mutated(draw):
  """A good file with bytes set, cut out, or put in; or its pickle alone so."""
  inside = draw(st.sampled_from(["zip", "legacy", None]))
  content = bytearray(_good() if inside else draw(FILES))
  for _ in range(draw(st.integers(1, 4))):
    at = draw(st.integers(0, len(content) - 1))
    piece = draw(st.binary(max_size=4))
    content[at : at + draw(st.integers(0, 4))] = piece
  whole = {"zip": _zip, "legacy": _legacy, None: bytes}[inside]
  return whole(bytes(content))


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
