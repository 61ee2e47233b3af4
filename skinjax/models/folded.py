"""Layers of pretrained networks.

Trained batch normalization is a linear map per channel, so it is folded into
the convolution before it: half the layers, and no second pass over the images.
Fine-tuning changes the folded weights.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax import lax

from skinjax.models import convolution

# Maps a layer's path in the tree to the names of its weights and of its
# normalization in the file; None for a layer with its own bias instead.
Names = Callable[[tuple[str, ...]], tuple[str, str | None]]


class Conv(nn.Module):
  """A convolution with bias."""

  features: int  # outputs; 0 for a depthwise convolution
  kernel_size: tuple[int, int]
  stride: int = 1  # of both axes
  padding: str = "SAME"  # as in TensorFlow, or "VALID"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Map [batch, height, width, channels]."""
    channels = x.shape[-1]
    inputs = channels if self.features else 1
    features = self.features or channels
    shape = (*self.kernel_size, inputs, features)
    kernel = self.param("kernel", nn.initializers.he_normal(), shape)
    bias = self.param("bias", nn.initializers.zeros_init(), (features,))
    kernel, bias = kernel.astype(x.dtype), bias.astype(x.dtype)
    if self.features:
      x = _conv(x, kernel, self.stride, self.padding)
    else:
      x = convolution.depthwise(x, kernel, stride=self.stride)
    return x + bias


def _conv(x, kernel, stride, padding):
  if kernel.shape[:2] == (1, 1) and stride == 1:
    return convolution.conv(x, kernel)
  even = x.shape[1] % 2 == x.shape[2] % 2 == 0
  if (len(kernel), stride, padding) == (3, 2, "SAME") and even:
    # SAME pads an even image at the end only; for 4x4 kernels, on both sides.
    kernel = jnp.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0)))
    return convolution.conv(x, kernel, stride=2)
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def from_torch(
  network: nn.Module,
  size: int,
  arrays: Mapping[str, np.ndarray],
  names: Names,
  *,
  epsilon: float,
) -> dict[str, Any]:
  """Convert PyTorch's weights, by its names, to variables of a folded network.

  The network consists of `Conv` and `nn.Dense` and takes images of `size`
  pixels; `names` finds a layer's weights; `epsilon` is what normalization adds
  to the variance.

  Returns:
    Variables: float32 arrays in the host's memory.
  """
  images = jnp.zeros((1, size, size, 3))
  shapes = jax.eval_shape(network.init, jax.random.key(0), images)["params"]
  layers = {}
  for path in {path[:-1] for path in traverse_util.flatten_dict(shapes)}:
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
  return {"params": traverse_util.unflatten_dict(layers)}
