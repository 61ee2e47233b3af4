"""The workload of both frameworks: settings, images and the data's shape.

The process of benchmarks.torch_runner imports it with JAX blocked. So only
`config` imports JAX, through configs/.
"""

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_collections
import numpy as np

CHANNELS = 3
CLASSES = 7
_IMAGES = 512


class Variant(NamedTuple):
  """How PyTorch runs a model.

  Attributes:
    compiled: whether it uses torch.compile, or runs eagerly.
    fused: whether a 3x3 convolution and 2x2 average pooling after it, or 2x
      upsampling before it, are one 4x4 convolution, as in skinjax.
  """

  compiled: bool
  fused: bool

  def __str__(self) -> str:
    """Return the variant's name in the table."""
    return f"{('eager', 'compile')[self.compiled]}{', fused' * self.fused}"


def config(
  name: str,
  width_keys: Mapping[str, int],
  width: int,
  size: int,
  batch: int,
  changes: Mapping[str, Any],
) -> ml_collections.FrozenConfigDict:
  """Return a shipped config with the settings that both frameworks share.

  A growing network is full-grown from the first step, in a single phase.

  Args:
    name: a module in configs/, and further arguments after a colon.
    width_keys: the keys that set a model's width, each with its factor.
    width: number of channels.
    size: height and width of the images.
    batch: images per step.
    changes: other values, by key.
  """
  name, *more = name.split(":")
  module = importlib.import_module(f"configs.{name}")
  values = module.get_config(
    ",".join(["dataset=ham10000", f"size={size}", *more])
  )
  values.parallel = "one"
  if "growth" in values:
    values.growth.first_size = size
    values.growth.batch_sizes = (batch,) * len(values.growth.batch_sizes)
  else:
    values.train.batch_size = batch
  values.train.sampler = "natural"
  values.augment.orientations = False
  if "input" in values.model:
    values.model.input = size
  widths = {key: width * factor for key, factor in width_keys.items()}
  values.update_from_flattened_dict({**widths, **changes})
  return ml_collections.FrozenConfigDict(values)


def batch_size(values: ml_collections.FrozenConfigDict) -> int:
  """Return the images per step of a config from `config`."""
  if "growth" in values:
    return values.growth.batch_sizes[-1]
  return values.train.batch_size


def changed(
  values: ml_collections.FrozenConfigDict, **changes
) -> ml_collections.FrozenConfigDict:
  """Return a config with changes, whose keys have `__` instead of dots."""
  values = ml_collections.ConfigDict(values)
  changes = {key.replace("__", "."): value for key, value in changes.items()}
  values.update_from_flattened_dict(changes)
  return ml_collections.FrozenConfigDict(values)


def to_compare(
  values: ml_collections.FrozenConfigDict,
) -> ml_collections.FrozenConfigDict:
  """Return a config for comparing, without randomness that is not passed in.

  The run is short, so that the warm-up ends after the first step.
  """
  random = {"dropout", "noise"} & set(values.model)
  return changed(
    values, train__steps=20, **{f"model__{key}": 0.0 for key in random}
  )


def examples(size: int, count: int = _IMAGES) -> tuple[np.ndarray, np.ndarray]:
  """Return random uint8 images and int32 labels, sorted by label."""
  rng = np.random.default_rng(0)
  shape = (count, size, size, CHANNELS)
  images = rng.integers(0, 256, shape, dtype=np.uint8)
  return images, np.sort(rng.integers(0, CLASSES, count, dtype=np.int32))


def clocked(call: Callable[[], object]) -> float:
  """Return the seconds of a call."""
  start = time.perf_counter()
  call()
  return time.perf_counter() - start
