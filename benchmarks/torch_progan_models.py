"""ProGAN's networks in PyTorch, channels last, at full resolution.

They are those of skinjax/models/progan.py with nothing fading in. Modules have
flax's names: flax's `first_1` is `first.1`. Layers that only smaller images use
are included, so that parameter counts agree.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from benchmarks import workload

_GAIN = math.sqrt(2)
_GROUP = 4  # images per group of the minibatch standard deviation
_SLOPE = 0.2
_LAST = torch.channels_last
_leaky_relu_backward = torch.ops.aten.leaky_relu_backward


def _activation(x):
  return F.leaky_relu(x, _SLOPE, inplace=True)


def _sloped(gradient, activated):
  """Backpropagate through `_activation`, given its result.

  Only the signs of the result matter.
  """
  return _leaky_relu_backward(gradient, activated.detach(), _SLOPE, True)


class _Normalized(torch.autograd.Function):
  """An activation, then division of each pixel's features by their RMS.

  The gradient is written out because PyTorch's own takes three times as long:
  it keeps, and backpropagates through, an image for each operation.
  """

  @staticmethod
  def forward(ctx, x):
    y = F.leaky_relu(x, _SLOPE)
    scale = torch.linalg.vector_norm(y, dim=1, keepdim=True).square_()
    scale = scale.div_(x.shape[1]).add_(1e-8).rsqrt_()
    y.mul_(scale)
    ctx.save_for_backward(y, scale)
    return y

  @staticmethod
  def backward(ctx, gradient):
    y, scale = ctx.saved_tensors
    along = (gradient * y).mean(1, keepdim=True)
    gradient = torch.addcmul(gradient, y, along, value=-1).mul_(scale)
    return _leaky_relu_backward(gradient, y, _SLOPE, True)


class _Equalized(nn.Module):
  """A layer with an equalized learning rate; see skinjax/models/layers.py."""

  def __init__(self, shape, gain, bias=True):
    super().__init__()
    self.weight = nn.Parameter(torch.randn(shape))
    self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
    self._scale = gain / math.sqrt(math.prod(shape[1:]))

  def scaled(self):
    """Return the scaled weight."""
    return self.weight * self._scale


class _Dense(_Equalized):
  def __init__(self, inputs, outputs, gain=_GAIN, bias=True):
    super().__init__((outputs, inputs), gain, bias)

  def forward(self, x):
    return F.linear(x, self.scaled(), self.bias)

  def transposed(self, gradient):
    """Map a gradient by the outputs to the gradient by the inputs."""
    return gradient @ self.scaled()


def _boxed(kernel):
  """Convolve 3x3 kernels with a 2x2 box, for 4/9 of the products.

  Without it, a ProGAN's step takes two fifths longer.
  """
  rows = F.pad(kernel, (1, 1, 1, 1))
  columns = rows[:, :, 1:] + rows[:, :, :-1]
  return (columns[..., 1:] + columns[..., :-1]).contiguous(memory_format=_LAST)


class _Conv(_Equalized):
  def __init__(self, inputs, outputs, size=3, gain=_GAIN):
    super().__init__((outputs, inputs, size, size), gain)
    self._padding = size // 2

  def forward(self, x):
    return F.conv2d(x, self.scaled(), self.bias, padding=self._padding)

  def transposed(self, gradient):
    """Map a gradient by the outputs to the gradient by the inputs."""
    return F.conv_transpose2d(gradient, self.scaled(), padding=self._padding)


class _UpConv(_Conv):
  """Repeats pixels 2x2 and convolves, in one transposed convolution."""

  def forward(self, x):
    kernel = _boxed(self.scaled().flip(2, 3).transpose(0, 1))
    return F.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


class _DownConv(_Conv):
  """Convolves and averages 2x2 pixels, in one convolution."""

  def forward(self, x):
    kernel = _boxed(self.scaled() / 4)
    return F.conv2d(x, kernel, self.bias, stride=2, padding=1)

  def transposed(self, gradient):
    kernel = _boxed(self.scaled() / 4)
    return F.conv_transpose2d(gradient, kernel, stride=2, padding=1)


def _widths(size, model):
  return [
    max(1, min(model.base >> level, model.most))
    for level in range(size.bit_length() - 2)
  ]


class Generator(nn.Module):
  """Generates images of given classes; see skinjax/models/progan.py."""

  def __init__(self, size, model):
    super().__init__()
    widths = _widths(size, model)
    inputs = model.latents + workload.CLASSES
    self.dense = _Dense(inputs, 16 * widths[0], _GAIN / 4, bias=False)
    self.bias = nn.Parameter(torch.zeros(widths[0]))
    first = _Conv(widths[0], widths[0])
    self.first = nn.ModuleList([first, *map(_UpConv, widths, widths[1:])])
    self.second = nn.ModuleList(_Conv(w, w) for w in widths[1:])
    self.to_pixels = nn.ModuleList(
      _Conv(w, workload.CHANNELS, 1, gain=1.0) for w in widths
    )

  def forward(self, latents: torch.Tensor, labels: torch.Tensor):
    """Map latents [batch, dims] and labels [batch] to images."""
    one_hot = F.one_hot(labels, workload.CLASSES).to(latents.dtype)
    latents = torch.cat([latents, one_hot], dim=1)
    scale = torch.rsqrt(latents.square().mean(1, keepdim=True) + 1e-8)
    x = self.dense(latents * scale)
    x = x.view(len(x), 4, 4, -1) + self.bias
    x = _Normalized.apply(x.permute(0, 3, 1, 2))
    x = _Normalized.apply(self.first[0](x))
    for n in range(1, len(self.first)):
      x = _Normalized.apply(self.first[n](x))
      x = _Normalized.apply(self.second[n - 1](x))
    return self.to_pixels[-1](x)


def _deviation(x):
  """Return the images centered within their group, and the deviations.

  Both are [groups, images or 1, channels, height, width].
  """
  groups = x.view(-1, _GROUP, *x.shape[1:])
  centered = groups - groups.mean(1, keepdim=True)
  return centered, torch.sqrt(centered.square().mean(1, keepdim=True) + 1e-8)


class Discriminator(nn.Module):
  """Classifies images as real or generated, and by class."""

  def __init__(self, size, model):
    super().__init__()
    widths = _widths(size, model)
    self.from_pixels = nn.ModuleList(
      _Conv(workload.CHANNELS, w, 1) for w in widths
    )
    inputs = [widths[0] + 1, *widths[1:]]
    self.first = nn.ModuleList(map(_Conv, inputs, widths))
    self.second = nn.ModuleList(map(_DownConv, widths[1:], widths))
    self.dense = _Dense(16 * widths[0], widths[0])
    self.head = _Dense(widths[0], 1 + workload.CLASSES, gain=1.0)

  def _shrink(self, x):
    """Yield each layer and its activated outputs, from the images to 4x4."""
    layers = [self.from_pixels[-1]]
    for pair in zip(self.first[:0:-1], self.second[::-1], strict=True):
      layers += pair
    for layer in layers:
      x = _activation(layer(x))
      yield layer, x

  def _end(self, x):
    """Apply `first` and `dense` to the 4x4 features; return both outputs."""
    _, deviation = _deviation(x)
    plane = deviation.mean((1, 2, 3, 4)).repeat_interleave(_GROUP)
    plane = plane[:, None, None, None].expand(-1, 1, *x.shape[2:])
    x = torch.cat([x, plane], dim=1).contiguous(memory_format=_LAST)
    x = _activation(self.first[0](x))
    return x, _activation(self.dense(x.permute(0, 2, 3, 1).flatten(1)))

  def forward(self, x: torch.Tensor):
    """Map images to source logits [batch] and class logits."""
    *_, (_, x) = self._shrink(x)
    logits = self.head(self._end(x)[1])
    return logits[:, 0], logits[:, 1:]

  def gradient(self, x: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the source logits' sum by the images.

    It is written out, so that its derivative by the weights is an ordinary
    backward pass. With `torch.autograd.grad(create_graph=True)`, in which the
    second derivative of a convolution has images as kernels, the penalty takes
    about 1.4 times as long, and the step 1.1 times.
    """
    shrunk = list(self._shrink(x))
    x = shrunk[-1][1]
    with torch.no_grad():
      features, dense = self._end(x)  # only their signs matter
    gradient = self.head.scaled()[:1].expand(len(x), -1)
    gradient = self.dense.transposed(_sloped(gradient, dense))
    gradient = gradient.view(len(x), 4, 4, -1).permute(0, 3, 1, 2)
    gradient = self.first[0].transposed(_sloped(gradient, features))
    centered, deviation = _deviation(x)
    scale = gradient[:, -1].reshape(-1, _GROUP * 16).sum(1)
    scale = scale[:, None, None, None, None] / (_GROUP * deviation[0].numel())
    gradient = gradient[:, :-1] + (centered * scale / deviation).view(x.shape)
    for layer, y in reversed(shrunk):
      gradient = layer.transposed(_sloped(gradient, y))
    return gradient
