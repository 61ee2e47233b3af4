"""What a generator draws in training, and an alarm when a class collapses."""

from types import ModuleType
from typing import Any

import jax
import numpy as np
from absl import logging
from PIL import Image

from skinjax.data import datasets
from skinjax.metrics import diversity
from skinjax.report import sheets
from skinjax.runtime import randomness
from skinjax.training import inference

_COLUMNS = 10  # images of a class


class Preview:
  """Samples from latents that never change, a row a class."""

  def __init__(self, task: ModuleType, dataset: datasets.Dataset, config):
    """Measures what the samples will be compared with.

    Args:
      task: a module with sample.
      dataset: what it learns from.
      config: FrozenConfigDict of its training.
    """
    self._task, self._config, self._info = task, config, dataset.info
    self._labels = np.repeat(
      np.arange(self._info.num_classes, dtype=np.int32), _COLUMNS
    )
    self._real = diversity.distances(
      dataset.train.images, dataset.train.labels, self._info.class_names
    )
    self._came_up, self._told = set(), set()  # classes

  def draw(self, step: int, state: Any) -> tuple[Image.Image, dict[str, float]]:
    """Draws the samples; warns of each class that has newly collapsed.

    Args:
      step: for the warning.
      state: the task's, on one device.

    Returns:
      The picture, and by class the diversity of the samples over that of real
      images (see metrics/diversity.py).
    """
    info = self._info
    key = randomness.named(jax.random.key(self._config.seed), "sheet")
    images = inference.samples(
      self._task, state, self._labels, key, config=self._config, info=info
    )
    rows = images.reshape(info.num_classes, _COLUMNS, *images.shape[1:])
    compared = diversity.compare(
      diversity.distances(images, self._labels, info.class_names),
      self._real,
      diversity.COLLAPSE[info.name],
    )
    self._warn(step, compared)
    picture = sheets.contact_sheet(rows, info.class_names)
    return picture, {name: c.ratio for name, c in compared.items()}

  def _warn(self, step: int, compared: dict) -> None:
    collapsed = {name for name, c in compared.items() if c.collapsed}
    # Every generator begins with images that are all alike: a class that has
    # not come up yet is no news in the first half of the training.
    late = 2 * step >= self._config.train.steps
    due = collapsed if late else collapsed & self._came_up
    if new := sorted(due - self._told):
      logging.warning(
        "Step %d: collapsed: %s (diversity over that of real images; the limit "
        "is %.2f). Look at samples/%08d.png.",
        step,
        ", ".join(f"{name} {compared[name].ratio:.2f}" for name in new),
        diversity.COLLAPSE[self._info.name],
        step,
      )
    if over := sorted(self._told - collapsed):
      logging.info("Step %d: no longer collapsed: %s.", step, ", ".join(over))
    self._came_up |= compared.keys() - collapsed
    self._told = (self._told & collapsed) | due
