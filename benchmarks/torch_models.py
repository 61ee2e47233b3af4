"""The ACGAN's and the classifier's networks in PyTorch, channels last.

Layers are in lists by kind, in flax's numbering: flax's `Conv_1` is `convs.1`.
Images are NCHW tensors that are NHWC in memory.
"""

import itertools
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

_KINDS = {
  "Conv": "convs",
  "BatchNorm": "norms",
  "Dense": "denses",
  "Block": "blocks",
}
_NAMES = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}


def _leaves(tree, path=()):
  if not isinstance(tree, Mapping):
    yield path, tree
    return
  for name, branch in tree.items():
    yield from _leaves(branch, (*path, name))


def _module_path(path):
  # skinjax's BatchNorm_1 contains flax's own, which is always BatchNorm_0.
  if path and path[-1].startswith("BatchNorm"):
    path = path[:-1]
  parts = []
  for name in path:
    kind, _, number = name.rpartition("_")
    numbered = [_KINDS.get(kind, kind), number]
    # Module names can't have dots: the pretrained `_blocks.0` is `_blocks_0`.
    parts += numbered if number.isdigit() else [name.replace(".", "_")]
  return parts


def load_flax(network: nn.Module, variables: Mapping) -> None:
  """Load a flax network's variables.

  Args:
    network: its modules have flax's names, mapped by `_KINDS`.
    variables: collections `params` and `batch_stats`, of numpy arrays.

  Raises:
    RuntimeError: names or shapes do not match the network.
  """
  state = {}
  for collection in ("params", "batch_stats"):
    for (*path, leaf), value in _leaves(variables.get(collection, {})):
      parts = _module_path(path)
      value = torch.tensor(value)
      if value.ndim == 4:
        # HWIO. A transposed convolution has the weight of the convolution that
        # it transposes, whose outputs are its inputs.
        layer = network.get_submodule(".".join(parts))
        up = isinstance(layer, nn.ConvTranspose2d)
        value = value.permute((2, 3, 0, 1) if up else (3, 2, 0, 1))
      elif value.ndim == 2:
        value = value.T
      state[".".join([*parts, _NAMES[leaf]])] = value
  counters = {
    name: value
    for name, value in network.state_dict().items()
    if name.endswith("num_batches_tracked")
  }
  network.load_state_dict({**counters, **state})


def parameters(network: nn.Module) -> int:
  """Count the trainable parameters of a network."""
  return sum(p.numel() for p in network.parameters())


def _mask(rate: float, batch: int, *shape: int) -> torch.Tensor:
  """Sample a dropout mask, 0 or 1 / kept, for NHWC images or for features.

  `F.dropout` samples one number per element, serially on most CPUs. Eight from
  one 64-bit word take a tenth of the time, with the rate rounded to 1/256. The
  mask is float because operations that mix types are slow, even compiled.
  """
  size = batch * math.prod(shape)
  words = torch.empty(-(-size // 8), dtype=torch.int64)
  octets = words.random_(-(2**63), None).view(torch.uint8)[:size]
  dropped = round(256 * rate)
  mask = (octets >= dropped).float().mul_(256 / (256 - dropped))
  mask = mask.view(batch, *shape)
  return mask.permute(0, 3, 1, 2) if mask.ndim == 4 else mask


def _widths(size, width):
  levels = size.bit_length() - 3
  return [width * 2 ** min(level, 4) for level in range(levels)]


def _pairs(features):
  return itertools.pairwise(features)


class Generator(nn.Module):
  """Generates images of given classes; see skinjax/models/acgan.py."""

  def __init__(self, size, channels, width, latents, classes):
    super().__init__()
    features = _widths(size, width)[::-1]
    self.classes, self.first = classes, features[0]
    self.denses = nn.ModuleList([nn.Linear(latents + classes, 16 * self.first)])
    self.norms = nn.ModuleList(map(nn.BatchNorm2d, features))
    self.convs = nn.ModuleList(
      nn.ConvTranspose2d(c, o, 4, stride=2, padding=1, bias=o == channels)
      for c, o in _pairs([*features, channels])
    )

  def forward(self, latents: torch.Tensor, labels: torch.Tensor):
    """Map latents [batch, dims] and labels [batch] to images."""
    one_hot = F.one_hot(labels, self.classes).to(latents.dtype)
    x = self.denses[0](torch.cat([latents, one_hot], dim=1))
    x = x.view(-1, 4, 4, self.first).permute(0, 3, 1, 2)
    for norm, up in zip(self.norms, self.convs, strict=True):
      x = up(F.relu(norm(x), inplace=True))
    return torch.tanh(x)


class Discriminator(nn.Module):
  """Classifies images as real or generated, and by class."""

  def __init__(self, size, channels, width, classes, dropout, noise):
    super().__init__()
    features = _widths(size, width)
    self.size, self.dropout, self.noise = size, dropout, noise
    self.convs = nn.ModuleList(
      nn.Conv2d(c, o, 4, stride=2, padding=1, bias=not level)
      for level, (c, o) in enumerate(_pairs([channels, *features]))
    )
    self.norms = nn.ModuleList(map(nn.BatchNorm2d, features[1:]))
    self.denses = nn.ModuleList([nn.Linear(16 * features[-1], 1 + classes)])

  def draw(self, batch: int) -> list[torch.Tensor]:
    """Sample the masks for `forward`; none without dropout."""
    if not self.dropout:
      return []
    return [
      _mask(
        self.dropout, batch, self.size >> i, self.size >> i, conv.out_channels
      )
      for i, conv in enumerate(self.convs, 1)
    ]

  def forward(self, x: torch.Tensor, masks: list[torch.Tensor]):
    """Map images to source logits [batch] and class logits."""
    if self.noise:
      x = x + self.noise * torch.randn_like(x)
    for level, conv in enumerate(self.convs):
      x = conv(x)
      if level:
        x = self.norms[level - 1](x)
      x = F.leaky_relu(x, 0.2, inplace=True)
      if masks:
        x = x * masks[level]
    logits = self.denses[0](x.permute(0, 2, 3, 1).flatten(1))
    return logits[:, 0], logits[:, 1:]


class Block(nn.Module):
  """A residual block that halves the size; see skinjax/models/classifier.py."""

  def __init__(self, inputs, outputs, fused):
    super().__init__()
    self.fused = fused
    convs = [
      nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
      nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
    ]
    if inputs != outputs:
      convs.append(nn.Conv2d(inputs, outputs, 1, bias=False))
    self.convs = nn.ModuleList(convs)
    self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in convs)

  def forward(self, x: torch.Tensor):
    """Map [batch, inputs, height, width]."""
    y = F.relu(self.norms[0](self.convs[0](x)), inplace=True)
    if self.fused:
      # The 3x3 kernel convolved with a 2x2 mean.
      kernel = F.pad(self.convs[1].weight, (1, 1, 1, 1))
      kernel = F.avg_pool2d(kernel, 2, stride=1)
      y = F.conv2d(y, kernel, stride=2, padding=1)
    else:
      y = F.avg_pool2d(self.convs[1](y), 2)
    y = self.norms[1](y)
    x = F.avg_pool2d(x, 2)
    if len(self.convs) == 3:
      x = self.norms[2](self.convs[2](x))
    return F.relu(x + y, inplace=True)


class ResNet(nn.Module):
  """Classifies images."""

  def __init__(self, size, channels, width, classes, dropout, fused):
    super().__init__()
    self.dropout = dropout
    stem = nn.Conv2d(channels, width, 4, stride=2, padding=1, bias=False)
    self.convs = nn.ModuleList([stem])
    self.norms = nn.ModuleList([nn.BatchNorm2d(width)])
    levels = size.bit_length() - 4
    features = [width * 2 ** min(level, 3) for level in range(levels + 1)]
    self.blocks = nn.ModuleList(Block(c, o, fused) for c, o in _pairs(features))
    self.denses = nn.ModuleList([nn.Linear(features[-1], classes)])

  def draw(self, batch: int) -> list[torch.Tensor]:
    """Sample the masks for `forward`; none without dropout."""
    if not self.dropout:
      return []
    return [_mask(self.dropout, batch, self.denses[0].in_features)]

  def forward(self, x: torch.Tensor, masks: list[torch.Tensor]):
    """Map images to logits."""
    x = F.relu(self.norms[0](self.convs[0](x)), inplace=True)
    for block in self.blocks:
      x = block(x)
    x = x.mean((2, 3))
    if masks:
      x = x * masks[0]
    return self.denses[0](x)


# EfficientNet-Lite0: blocks, kernel, first block's stride, expansion, features.
_STAGES = (
  (1, 3, 1, 1, 16),
  (2, 3, 2, 6, 24),
  (2, 5, 2, 6, 40),
  (3, 3, 2, 6, 80),
  (3, 5, 1, 6, 112),
  (4, 5, 2, 6, 192),
  (1, 3, 1, 6, 320),
)


class _Folded(nn.Conv2d):
  """A convolution padded as TensorFlow's SAME."""

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Map images to images smaller by the stride."""
    k, stride = self.kernel_size[0], self.stride[0]
    pads = []
    for size in (x.shape[3], x.shape[2]):
      total = max((-(-size // stride) - 1) * stride + k - size, 0)
      pads += [total // 2, total - total // 2]
    same = pads[0] == pads[1] == pads[2] == pads[3]
    padding = pads[0] if same else 0
    x = x if same else F.pad(x, pads)
    return F.conv2d(
      x, self.weight, self.bias, stride, padding, groups=self.groups
    )


class InvertedResidual(nn.Module):
  """A block of EfficientNet-Lite0; see skinjax/models/efficientnet.py."""

  def __init__(self, channels, kernel, stride, expansion, features):
    super().__init__()
    wide = channels * expansion
    if expansion > 1:
      self._expand_conv = _Folded(channels, wide, 1)
    self._depthwise_conv = _Folded(wide, wide, kernel, stride, groups=wide)
    self._project_conv = _Folded(wide, features, 1)
    self.expands = expansion > 1
    self.adds = stride == 1 and channels == features

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Map images with `channels` to images with `features` channels."""
    y = F.relu6(self._expand_conv(x), inplace=True) if self.expands else x
    y = F.relu6(self._depthwise_conv(y), inplace=True)
    y = self._project_conv(y)
    return x + y if self.adds else y


class FineTuned(nn.Module):
  """EfficientNet-Lite0 with frozen batch statistics and a last layer."""

  def __init__(self, classes, dropout):
    super().__init__()
    self.dropout = dropout
    self.extractor, channels = nn.Module(), 32
    self.extractor._conv_stem = _Folded(3, channels, 3, 2)
    number = 0
    for blocks, kernel, first, expansion, features in _STAGES:
      for stride in [first] + [1] * (blocks - 1):
        block = InvertedResidual(channels, kernel, stride, expansion, features)
        self.extractor.add_module(f"_blocks_{number}", block)
        number, channels = number + 1, features
    self.extractor._conv_head = _Folded(channels, 1280, 1)
    self.denses = nn.ModuleList([nn.Linear(1280, classes)])

  def draw(self, batch: int) -> list[torch.Tensor]:
    """Sample the masks for `forward`; none without dropout."""
    if not self.dropout:
      return []
    return [_mask(self.dropout, batch, self.denses[0].in_features)]

  def forward(self, x: torch.Tensor, masks: list[torch.Tensor]):
    """Map images to logits."""
    for name, layer in self.extractor.named_children():
      x = layer((x * 127.5 + 0.5) / 128 if name == "_conv_stem" else x)
      if name in ("_conv_stem", "_conv_head"):
        x = F.relu6(x, inplace=True)
    x = x.mean((2, 3))
    if masks:
      x = x * masks[0]
    return self.denses[0](x)
