"""Layers of pretrained networks, forward only.

Batch normalization that has been trained is a linear map by channel, so it is
folded into the convolution before it: half the layers, and nothing to go over
the images twice for.
"""

import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import traverse_util
from jax import lax

from skinjax.models import weights

# Of a layer's names in the tree, those of its weights and its normalization
# in the file; None for a layer that has a bias of its own instead.
Names = Callable[[tuple[str, ...]], tuple[str, str | None]]


class Conv(nn.Module):
  """A convolution with bias.

  Attributes:
    features: output channels; 0 for a depthwise one, that has as many as its
      input.
    kernel_size: height and width.
    stride: of both axes.
    padding: "SAME" as TensorFlow has it, or "VALID".
  """

  features: int
  kernel_size: tuple[int, int]
  stride: int = 1
  padding: str = "SAME"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, height, width, channels]."""
    channels = x.shape[-1]
    inputs = channels if self.features else 1
    features = self.features or channels
    shape = (*self.kernel_size, inputs, features)
    kernel = self.param("kernel", nn.initializers.he_normal(), shape)
    bias = self.param("bias", nn.initializers.zeros_init(), (features,))
    if self.features:
      x = _conv(x, kernel, self.stride, self.padding)
    else:
      x = depthwise_conv(x, kernel, self.stride)
    return x + bias


def _conv(x, kernel, stride, padding, groups=1):
  if kernel.shape[:2] == (1, 1) and stride == 1 and groups == 1:
    return x @ kernel[0, 0]
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=groups,
  )


def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """Convolves every channel with a kernel of its own, padded as SAME.

  Args:
    x: [batch, height, width, channels].
    kernel: [k, k, 1, channels].
    stride: of both axes.

  Returns:
    [batch, ceil(height / stride), ceil(width / stride), channels].
  """
  return lax.platform_dependent(
    x,
    kernel,
    cpu=lambda x, kernel: _shifted(x, kernel, stride),
    default=lambda x, kernel: _conv(x, kernel, stride, "SAME", x.shape[-1]),
  )


def _shifted(x, kernel, stride):
  """Sums shifted images: XLA's CPU backend takes 10 to 80 times as long."""
  k = len(kernel)
  height, width = (-(-size // stride) for size in x.shape[1:3])
  pads = []
  for size, out in zip(x.shape[1:3], (height, width), strict=True):
    pad = max((out - 1) * stride + k - size, 0)
    pads.append((pad // 2, pad - pad // 2))
  x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
  under = lambda tap, out: slice(tap, tap + (out - 1) * stride + 1, stride)
  return sum(
    x[:, under(i, height), under(j, width)] * kernel[i, j, 0]
    for i in range(k)
    for j in range(k)
  )


def torch_shapes(
  params: Mapping[str, Any], names: Names
) -> dict[str, tuple[int, ...]]:
  """Lists the weights that PyTorch's network has, before anything is folded.

  Args:
    params: the tree of the folded network, of arrays or of their shapes.
    names: of a layer's weights and normalization.

  Returns:
    Shapes by name, as in "conv.weight", "bn.weight", "bn.bias",
    "bn.running_mean" and "bn.running_var".
  """
  shapes = {}
  for path, kernel in _kernels(params).items():
    weight, norm = names(path)
    shapes[f"{weight}.weight"] = kernel.shape[::-1]
    if kernel.ndim == 4:
      height, width, inputs, features = kernel.shape
      shapes[f"{weight}.weight"] = (features, inputs, height, width)
    if norm is None:
      shapes[f"{weight}.bias"] = kernel.shape[-1:]
      continue
    for name in ("weight", "bias", "running_mean", "running_var"):
      shapes[f"{norm}.{name}"] = kernel.shape[-1:]
  return shapes


def read(
  path: str | pathlib.Path, shapes: Mapping[str, tuple[int, ...]], digest: str
) -> dict[str, np.ndarray]:
  """Reads a network's weights; warns if they are not the published ones.

  Args:
    path: of a file of `torch.save`.
    shapes: of all its weights by name, as `torch_shapes` lists them.
    digest: how the SHA-256 of the published file begins, in hex.

  Returns:
    Arrays by name.

  Raises:
    InputError: there is no such file, or it is not of this network.
  """
  arrays = {
    name: array
    for name, array in weights.read(path).items()
    if not name.endswith(".num_batches_tracked")  # of training only
  }
  weights.require_shapes(arrays, shapes, path)
  found = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
  if not found.startswith(digest):
    logging.warning(
      "%s is not the published file: its SHA-256 begins with %s, not with %s. "
      "Distances of its features do not compare with those of others.",
      path,
      found[: len(digest)],
      digest,
    )
  return arrays


def from_torch(
  params: Mapping[str, Any],
  arrays: Mapping[str, np.ndarray],
  names: Names,
  *,
  epsilon: float,
) -> dict[str, Any]:
  """Converts PyTorch's weights to the tree of the folded network.

  Args:
    params: as of `torch_shapes`.
    arrays: weights by PyTorch's names, of the shapes of `torch_shapes`.
    names: of a layer's weights and normalization.
    epsilon: what batch normalization adds to the variance.

  Returns:
    A tree as `params`: float32 arrays in the host's memory.
  """
  layers = {}
  for path in _kernels(params):
    weight, norm = names(path)
    kernel = arrays[f"{weight}.weight"].astype(np.float64)
    # OIHW to HWIO, [outputs, inputs] to [inputs, outputs].
    kernel = kernel.transpose((2, 3, 1, 0) if kernel.ndim == 4 else (1, 0))
    if norm is None:
      bias = arrays[f"{weight}.bias"]
    else:
      gain, shift, mean, variance = (
        arrays[f"{norm}.{name}"].astype(np.float64)
        for name in ("weight", "bias", "running_mean", "running_var")
      )
      gain = gain / np.sqrt(variance + epsilon)
      kernel, bias = kernel * gain, shift - mean * gain
    layers[*path, "kernel"] = np.ascontiguousarray(kernel, np.float32)
    layers[*path, "bias"] = bias.astype(np.float32)
  return traverse_util.unflatten_dict(layers)


def _kernels(params):
  """Returns the kernels of a tree by the path of their layer."""
  leaves = traverse_util.flatten_dict(dict(params))
  return {p[:-1]: leaf for p, leaf in leaves.items() if p[-1] == "kernel"}
