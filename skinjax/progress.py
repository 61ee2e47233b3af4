"""What a training run shows: lines, curves, pictures, time left.

The first process alone writes. The others wait for it, and stop with it if it
cannot.
"""

import contextlib
import pathlib
from types import ModuleType
from typing import Any

from absl import logging

from skinjax import data, previews, processes
from skinjax.writer import Writer

_SHOWN = 7  # metrics on a line


class Progress(contextlib.ExitStack):
  """The writer and the preview of a run; a context manager."""

  def __init__(
    self,
    path: pathlib.Path,
    task: ModuleType,
    dataset: data.Dataset,
    config,
    *,
    step: int,
  ):
    """Opens the files of a workdir.

    Args:
      path: the workdir.
      task: what is trained.
      dataset: what it learns from.
      config: FrozenConfigDict.
      step: where the run starts or resumes.

    Raises:
      InputError: they are not what a run has written.
    """
    super().__init__()
    self._config, self._preview = config, None

    def begin() -> None:
      writer = Writer(path, step=step, total=config.train.steps)
      self._writer = self.enter_context(writer)
      if hasattr(task, "sample"):
        self._preview = previews.Preview(task, dataset, config)

    processes.on_first(begin)

  def trained(self, step: int, means: dict[str, float]) -> None:
    """Writes the metrics of a call of steps, and a line with the time left."""
    every, batch_size = self._config.log_every, self._config.train.batch_size
    shown = [item for item in means.items() if "gradient" not in item[0]]

    def write() -> None:
      self._writer.scalars(step, _named("train", means))
      self._writer.progress(
        step, every, every * batch_size, dict(shown[:_SHOWN])
      )

    processes.on_first(write)

  def evaluated(self, step: int, metrics: dict[str, float]) -> None:
    """Writes the scores on the validation split."""

    def write() -> None:
      self._writer.scalars(step, _named("validation", metrics))
      words = (f"{name} {value:.3f}" for name, value in metrics.items())
      logging.info("step %d  %s", step, "  ".join(words))

    processes.on_first(write)

  def draw(self, step: int, state: Any) -> None:
    """Draws samples of a generator and compares them with real images."""

    def write() -> None:
      picture, ratios = self._preview.draw(step, state)
      self._writer.picture(step, picture)
      self._writer.scalars(step, _named("diversity", ratios))

    processes.on_first(write)

  def sync(self) -> None:
    """Has all of it on the disk."""
    processes.on_first(lambda: self._writer.sync())

  def pause(self) -> None:
    """Leaves what happens between two calls of steps out of the speed."""
    processes.on_first(lambda: self._writer.pause())


def _named(split: str, values: dict[str, float]) -> dict[str, float]:
  return {f"{split}/{name}": value for name, value in values.items()}
