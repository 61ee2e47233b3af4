"""Makes inception.npz: features by a PyTorch network with made-up weights.

The network is FID's Inception-v3, written as its authors list it, with
the names of layers in pt_inception-2015-12-05-6726825d.pth.

python -m pip install torch
python -m tests.golden.inception
"""

import pathlib

import numpy as np

PATH = pathlib.Path(__file__).with_suffix(".npz")
SIZES = (75, 139)
EVERY = 8  # of the features one in eight is kept


def _block_a(inputs, pooled):
  return {
    "branch1x1": (64, inputs, 1, 1),
    "branch5x5_1": (48, inputs, 1, 1),
    "branch5x5_2": (64, 48, 5, 5),
    "branch3x3dbl_1": (64, inputs, 1, 1),
    "branch3x3dbl_2": (96, 64, 3, 3),
    "branch3x3dbl_3": (96, 96, 3, 3),
    "branch_pool": (pooled, inputs, 1, 1),
  }


def _block_c(c):
  return {
    "branch1x1": (192, 768, 1, 1),
    "branch7x7_1": (c, 768, 1, 1),
    "branch7x7_2": (c, c, 1, 7),
    "branch7x7_3": (192, c, 7, 1),
    "branch7x7dbl_1": (c, 768, 1, 1),
    "branch7x7dbl_2": (c, c, 7, 1),
    "branch7x7dbl_3": (c, c, 1, 7),
    "branch7x7dbl_4": (c, c, 7, 1),
    "branch7x7dbl_5": (192, c, 1, 7),
    "branch_pool": (192, 768, 1, 1),
  }


def _block_e(inputs):
  return {
    "branch1x1": (320, inputs, 1, 1),
    "branch3x3_1": (384, inputs, 1, 1),
    "branch3x3_2a": (384, 384, 1, 3),
    "branch3x3_2b": (384, 384, 3, 1),
    "branch3x3dbl_1": (448, inputs, 1, 1),
    "branch3x3dbl_2": (384, 448, 3, 3),
    "branch3x3dbl_3a": (384, 384, 1, 3),
    "branch3x3dbl_3b": (384, 384, 3, 1),
    "branch_pool": (192, inputs, 1, 1),
  }


_BLOCKS = {
  "Mixed_5b": _block_a(192, 32),
  "Mixed_5c": _block_a(256, 64),
  "Mixed_5d": _block_a(288, 64),
  "Mixed_6a": {
    "branch3x3": (384, 288, 3, 3),
    "branch3x3dbl_1": (64, 288, 1, 1),
    "branch3x3dbl_2": (96, 64, 3, 3),
    "branch3x3dbl_3": (96, 96, 3, 3),
  },
  "Mixed_6b": _block_c(128),
  "Mixed_6c": _block_c(160),
  "Mixed_6d": _block_c(160),
  "Mixed_6e": _block_c(192),
  "Mixed_7a": {
    "branch3x3_1": (192, 768, 1, 1),
    "branch3x3_2": (320, 192, 3, 3),
    "branch7x7x3_1": (192, 768, 1, 1),
    "branch7x7x3_2": (192, 192, 1, 7),
    "branch7x7x3_3": (192, 192, 7, 1),
    "branch7x7x3_4": (192, 192, 3, 3),
  },
  "Mixed_7b": _block_e(1280),
  "Mixed_7c": _block_e(2048),
}


def shapes():
  """Return the published file's shapes by name."""
  layers = {
    "Conv2d_1a_3x3": (32, 3, 3, 3),
    "Conv2d_2a_3x3": (32, 32, 3, 3),
    "Conv2d_2b_3x3": (64, 32, 3, 3),
    "Conv2d_3b_1x1": (80, 64, 1, 1),
    "Conv2d_4a_3x3": (192, 80, 3, 3),
  }
  for block, inner in _BLOCKS.items():
    layers |= {f"{block}.{name}": shape for name, shape in inner.items()}
  result = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
  for name, shape in layers.items():
    result[f"{name}.conv.weight"] = shape
    for part in ("weight", "bias", "running_mean", "running_var"):
      result[f"{name}.bn.{part}"] = shape[:1]
  return result


def weights():
  """Return made-up weights that keep the scale of what passes them."""
  rng = np.random.default_rng(0)
  result = {}
  for name, shape in shapes().items():
    values = rng.random(shape, np.float32)
    if len(shape) > 1:
      values = (values - 0.5) * np.sqrt(24 / np.prod(shape[1:]))
    elif name.endswith((".bias", ".running_mean")):
      values = (values - 0.5) / 5
    else:
      values += 0.5
    result[name] = values.astype(np.float32)
  return result


def images(size):
  """Return uint8 [2, size, size, 3] of noise."""
  rng = np.random.default_rng(size)
  return rng.integers(0, 256, (2, size, size, 3), np.uint8)


def features(arrays, x):
  """Apply the network as PyTorch's functions do."""
  import torch
  import torch.nn.functional as F

  tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}

  def layer(name, x, stride=1, padding=None):
    kernel = tensors[f"{name}.conv.weight"]
    if padding is None:
      padding = tuple((size - 1) // 2 for size in kernel.shape[2:])
    x = F.conv2d(x, kernel, stride=stride, padding=padding)
    mean, var, gain, bias = (
      tensors[f"{name}.bn.{part}"]
      for part in ("running_mean", "running_var", "weight", "bias")
    )
    return F.relu(F.batch_norm(x, mean, var, gain, bias, eps=0.001))

  def row(block, names, x, last=None):
    for name in names:
      options = last if last and name == names[-1] else {}
      x = layer(f"{block}.{name}", x, **options)
    return x

  def mean(x):
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)

  def halved(x):
    return F.max_pool2d(x, 3, stride=2)

  strided = {"stride": 2, "padding": 0}
  double = [f"branch3x3dbl_{i}" for i in (1, 2, 3)]
  x = layer("Conv2d_1a_3x3", x, **strided)
  x = layer("Conv2d_2a_3x3", x, padding=0)
  x = halved(layer("Conv2d_2b_3x3", x))
  x = layer("Conv2d_4a_3x3", layer("Conv2d_3b_1x1", x), padding=0)
  x = halved(x)
  for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
    parts = [
      row(block, ["branch1x1"], x),
      row(block, ["branch5x5_1", "branch5x5_2"], x),
      row(block, double, x),
      row(block, ["branch_pool"], mean(x)),
    ]
    x = torch.cat(parts, 1)
  parts = [
    row("Mixed_6a", ["branch3x3"], x, strided),
    row("Mixed_6a", double, x, strided),
    halved(x),
  ]
  x = torch.cat(parts, 1)
  for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
    parts = [
      row(block, ["branch1x1"], x),
      row(block, [f"branch7x7_{i}" for i in (1, 2, 3)], x),
      row(block, [f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)], x),
      row(block, ["branch_pool"], mean(x)),
    ]
    x = torch.cat(parts, 1)
  parts = [
    row("Mixed_7a", ["branch3x3_1", "branch3x3_2"], x, strided),
    row("Mixed_7a", [f"branch7x7x3_{i}" for i in (1, 2, 3, 4)], x, strided),
    halved(x),
  ]
  x = torch.cat(parts, 1)
  for block in ("Mixed_7b", "Mixed_7c"):
    three = row(block, ["branch3x3_1"], x)
    deep = row(block, double[:2], x)
    last = F.max_pool2d(x, 3, stride=1, padding=1)
    parts = [
      row(block, ["branch1x1"], x),
      row(block, ["branch3x3_2a"], three),
      row(block, ["branch3x3_2b"], three),
      row(block, ["branch3x3dbl_3a"], deep),
      row(block, ["branch3x3dbl_3b"], deep),
      row(block, ["branch_pool"], mean(x) if block == "Mixed_7b" else last),
    ]
    x = torch.cat(parts, 1)
  return F.adaptive_avg_pool2d(x, 1).flatten(1)


def _main():
  import torch

  golden, arrays = {}, weights()
  for size in SIZES:
    # From [0, 1] to [-1, 1], as it takes them.
    batch = 2 * (images(size).astype(np.float32) / 255) - 1
    batch = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
      made = features(arrays, batch)
    golden[f"features{size}"] = made.numpy()[:, ::EVERY]
  np.savez(PATH, **golden)


if __name__ == "__main__":
  _main()
