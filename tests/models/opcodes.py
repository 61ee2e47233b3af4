"""The opcodes of which torch.save makes its pickles, put together by hand."""

import pickle


def literal(value):
  return pickle.dumps(value, 2)[2:-1]


def name(module, attribute):
  return f"c{module}\n{attribute}\n".encode()


ORDERED = name("collections", "OrderedDict") + b")R"
REBUILD = name("torch._utils", "_rebuild_tensor_v2")


def storage(kind, key, length, rest=b""):
  texts = literal("storage") + name("torch", kind) + literal(key)
  return b"(" + texts + literal("cpu") + literal(length) + rest + b"tQ"


def tensor(of, shape, strides, offset=0):
  numbers = literal(offset) + literal(shape) + literal(strides)
  return REBUILD + b"(" + of + numbers + b"\x89" + ORDERED + b"tR"


def one_tensor(shape, strides, offset=0, length=12):
  return tensor(storage("FloatStorage", "0", length), shape, strides, offset)


def state_dict(entries):
  items = b"".join(literal(key) + value for key, value in entries.items())
  metadata = literal({"_metadata": {"": {"version": 1}}})
  return b"\x80\x02" + ORDERED + b"(" + items + b"u" + metadata + b"b."
