"""What both frameworks are given: settings, images and the data's shape.

Neither framework is imported here, nor by what is imported: each has a process
of its own.
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
    compiled: by torch.compile, or eagerly.
    fused: whether a 3x3 convolution and the mean over 2x2 pixels after it, or
      their repetition before it, are one 4x4 convolution, as in skinjax.
  """

  compiled: bool
  fused: bool

  def __str__(self) -> str:
    """Name the variant in the table."""
    return f"{('eager', 'compile')[self.compiled]}{', fused' * self.fused}"


def config(
  name: str,
  width_keys: Mapping[str, int],
  width: int,
  size: int,
  batch: int,
  changes: Mapping[str, Any],
) -> ml_collections.FrozenConfigDict:
  """Return a shipped config with what is the same for both set.

  What grows is all there from the first step: its one phase is the last.

  Args:
    name: of a module in configs/, and after a colon more of its arguments.
    width_keys: the keys that a model's width is set by, and what multiplies it.
    width: channels.
    size: height and width of the images.
    batch: images a step.
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
  """Return the images a step of a config that `config` returns."""
  if "growth" in values:
    return values.growth.batch_sizes[-1]
  return values.train.batch_size


def changed(
  values: ml_collections.FrozenConfigDict, **changes
) -> ml_collections.FrozenConfigDict:
  """Return a config with keys changed; `changes` have `__` for the dots."""
  values = ml_collections.ConfigDict(values)
  changes = {key.replace("__", "."): value for key, value in changes.items()}
  values.update_from_flattened_dict(changes)
  return ml_collections.FrozenConfigDict(values)


def to_compare(
  values: ml_collections.FrozenConfigDict,
) -> ml_collections.FrozenConfigDict:
  """Return a config for comparing: what is random in it is passed.

  The run is short, so that a warm-up is over after its first step.
  """
  random = {"dropout", "noise"} & set(values.model)
  return changed(
    values, train__steps=20, **{f"model__{key}": 0.0 for key in random}
  )


def examples(size: int, count: int = _IMAGES) -> tuple[np.ndarray, np.ndarray]:
  """Return made-up uint8 images and their int32 labels, sorted by label."""
  rng = np.random.default_rng(0)
  shape = (count, size, size, CHANNELS)
  images = rng.integers(0, 256, shape, dtype=np.uint8)
  return images, np.sort(rng.integers(0, CLASSES, count, dtype=np.int32))


def clocked(call: Callable[[], object]) -> float:
  """Return the seconds that a call takes."""
  start = time.perf_counter()
  call()
  return time.perf_counter() - start
