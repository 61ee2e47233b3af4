"""What a training run shows: lines, curves, pictures, time left.

The first process alone writes. The others wait for it, and stop with it if it
cannot.
"""

import contextlib
import pathlib
from types import ModuleType
from typing import Any

from absl import logging

from skinjax.data import datasets
from skinjax.runtime import processes
from skinjax.training import kid, previews, schedules
from skinjax.training.writer import Writer

_SHOWN = 7  # metrics on a line


class Progress(contextlib.ExitStack):
  """The writer and the preview of a run; a context manager."""

  def __init__(
    self,
    path: pathlib.Path,
    task: ModuleType,
    dataset: datasets.Dataset,
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
      InputError: they are not what a run has written, or the kernel distance
        cannot be measured.
    """
    super().__init__()
    self._config, self._preview, self._kid = config, None, None
    self._phases = schedules.phases(task, config)
    self._images = len(dataset.train.labels)

    def begin() -> None:
      writer = Writer(path, step=step, total=config.train.steps)
      self._writer = self.enter_context(writer)
      if hasattr(task, "sample"):
        self._preview = previews.Preview(task, dataset, config)
        if config.kid_every:
          self._kid = kid.Kid(task, dataset, config)

    processes.on_first(begin)

  def begun(self, step: int, phase: schedules.Phase) -> None:
    """Tells the resolution that training is at, if it changes at all."""
    if phase.level is None:
      return
    self.pause(forget=True)  # the next call compiles
    images = (phase.stop - phase.first_step) * phase.batch_size
    logging.info(
      "%dx%d, steps %d to %d: %d images (%.1f passes over the data), %d of "
      "them to fade in; batch %d, rate %g%s",
      phase.size,
      phase.size,
      phase.first_step,
      phase.stop,
      images,
      images / self._images,
      phase.fade_images,
      phase.batch_size,
      phase.rate,
      "; resumed" if step > phase.first_step else "",
    )

  def trained(self, step: int, means: dict[str, float]) -> None:
    """Writes the metrics of a call of steps, and a line with the time left."""
    every = self._config.log_every
    batch_size = schedules.phase_at(self._phases, step - 1).batch_size
    left = schedules.steps_left(self._phases, step)
    shown = [item for item in means.items() if "gradient" not in item[0]]

    def write() -> None:
      self._writer.scalars(step, _named("train", means))
      self._writer.progress(
        step, every, every * batch_size, dict(shown[:_SHOWN]), left
      )

    processes.on_first(write)

  def evaluated(self, step: int, metrics: dict[str, float]) -> None:
    """Writes the scores on the validation split."""

    def write() -> None:
      self._writer.scalars(step, _named("validation", metrics))
      _tell(step, metrics)

    processes.on_first(write)

  def measure(self, step: int, state: Any) -> dict[str, float]:
    """Measures how far samples of a generator are from real images.

    Returns:
      The kernel distances, in every process; see kid.Kid.measure.
    """

    def write() -> dict[str, float]:
      distances = self._kid.measure(state)
      self._writer.scalars(step, distances)
      _tell(step, distances)
      return distances

    return processes.on_first(write)

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

  def pause(self, *, forget: bool = False) -> None:
    """Leaves what happens between two calls of steps out of the speed.

    Args:
      forget: time the next call not at all.
    """
    processes.on_first(lambda: self._writer.pause(forget=forget))


def _tell(step: int, values: dict[str, float]) -> None:
  words = (f"{name} {value:.3f}" for name, value in values.items())
  logging.info("step %d  %s", step, "  ".join(words))


def _named(split: str, values: dict[str, float]) -> dict[str, float]:
  return {f"{split}/{name}": value for name, value in values.items()}
