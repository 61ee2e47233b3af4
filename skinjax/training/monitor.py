"""Monitoring of a training run.

It logs metrics and the time left, writes curves and sheets of samples, warns
when a class collapses, and stops the run when a metric is not finite.
"""

import contextlib
import functools
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from PIL import Image

from skinjax.data import datasets
from skinjax.metrics import diversity
from skinjax.report import sheets
from skinjax.runtime import errors, processes, randomness
from skinjax.training import kid, schedules, tasks, trained
from skinjax.training.writer import Writer

_SHOWN = 7  # metrics per log line
_COLUMNS = 10  # samples per class on a sheet


def _by_first(method: Callable) -> Callable:
  """Run a method in the first process only, as processes.on_first does."""

  @functools.wraps(method)
  def call(*arguments, **options):
    return processes.on_first(lambda: method(*arguments, **options))

  return call


class Monitor(contextlib.ExitStack):
  """Watches one run and writes its files; a context manager."""

  def __init__(
    self,
    path: pathlib.Path,
    task: tasks.Task,
    dataset: datasets.Dataset,
    config,
    *,
    step: int,
  ):
    """Open the files of a workdir at the step where a run starts or resumes.

    Raises:
      InputError: the files were not written by a run, or the kernel distance
        cannot be measured.
    """
    super().__init__()
    self._begin(path, task, dataset, config, step)

  @_by_first
  def _begin(self, path, task, dataset, config, step) -> None:
    self._every, self._phases = config.log_every, task.phases(config)
    self._images = len(dataset.train.labels)
    writer = Writer(path, step=step, total=config.train.steps)
    self._writer = self.enter_context(writer)
    if task.generates:
      past = path / "metrics.jsonl"  # cut back to the step by the writer
      self._sheet = Sheet(task, dataset, config, _diversities(past))
      if config.kid_every:
        self._kid = kid.Kid(task, dataset, config)

  @_by_first
  def begun(self, step: int, phase: schedules.Phase) -> None:
    """Log the new phase of a task whose resolution grows."""
    if phase.level is None:
      return
    self._writer.pause(forget=True)  # the next call compiles
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

  @_by_first
  def trained(self, step: int, means: dict[str, float]) -> None:
    """Write the mean metrics of one compiled call; log the time left."""
    self._scalars(step, means, "train/")
    images = self._every * schedules.phase_at(self._phases, step - 1).batch_size
    shown = [item for item in means.items() if "gradient" not in item[0]]
    left = schedules.steps_left(self._phases, step)
    self._writer.progress(step, self._every, images, dict(shown[:_SHOWN]), left)

  @_by_first
  def evaluated(self, step: int, metrics: dict[str, float]) -> None:
    """Write the scores on the validation split."""
    self._scalars(step, metrics, "validation/")
    _log(step, metrics)

  @_by_first
  def measure(self, step: int, state: Any) -> dict[str, float]:
    """Measure how far samples are from real images; see kid.Kid.measure."""
    distances = self._kid.measure(state)
    self._scalars(step, distances)
    _log(step, distances)
    return distances

  @_by_first
  def draw(self, step: int, state: Any) -> None:
    """Generate samples and compare their diversity with real images."""
    picture, ratios = self._sheet.draw(step, state)
    self._writer.picture(step, picture)
    self._scalars(step, ratios, "diversity/")

  @_by_first
  def sync(self) -> None:
    """Flush all files to disk."""
    self._writer.sync()

  @_by_first
  def pause(self) -> None:
    """Exclude the time since the last call of steps from the speed."""
    self._writer.pause()

  def _scalars(self, step: int, values: dict[str, float], place="") -> None:
    self._writer.scalars(step, {place + n: x for n, x in values.items()})


def _log(step: int, values: dict[str, float]) -> None:
  words = (f"{name} {value:.3f}" for name, value in values.items())
  logging.info("step %d  %s", step, "  ".join(words))


class Sheet:
  """Samples from fixed latents, one row per class."""

  def __init__(
    self,
    task: tasks.Task,
    dataset: datasets.Dataset,
    config,
    past: Iterable[tuple[int, dict[str, float]]] = (),
  ):
    """Measure the diversity of the real images, for comparison.

    `past` are the steps and ratios of a resumed run's earlier sheets.
    """
    self._task, self._config, self._info = task, config, dataset.info
    self._labels = np.repeat(
      np.arange(self._info.num_classes, dtype=np.int32), _COLUMNS
    )
    self._real = diversity.distances(
      dataset.train.images, dataset.train.labels, self._info.class_names
    )
    # Classes that have been diverse, and those already warned about.
    self._came_up, self._warned = set(), set()
    for step, ratios in past:
      self._note(step, ratios)

  def draw(self, step: int, state: Any) -> tuple[Image.Image, dict[str, float]]:
    """Generate the samples; warn about each newly collapsed class.

    Returns:
      The picture, and for each class the diversity of the samples divided by
      that of real images (see metrics/diversity.py).
    """
    info = self._info
    key = randomness.named(jax.random.key(self._config.seed), "sheet")
    images = trained.samples(
      self._task, state, self._labels, key, config=self._config, info=info
    )
    rows = images.reshape(info.num_classes, _COLUMNS, *images.shape[1:])
    compared = diversity.compare(
      diversity.distances(images, self._labels, info.class_names),
      self._real,
      info.collapse,
    )
    ratios = {name: c.ratio for name, c in compared.items()}
    new, over = self._note(step, ratios)
    if new:
      logging.warning(
        "Step %d: collapsed: %s (diversity relative to real images; the limit "
        "is %.2f). See samples/%08d.png.",
        step,
        ", ".join(f"{name} {ratios[name]:.2f}" for name in new),
        info.collapse,
        step,
      )
    if over:
      logging.info("Step %d: no longer collapsed: %s.", step, ", ".join(over))
    return sheets.contact_sheet(rows, info.class_names), ratios

  def _note(self, step: int, ratios: dict[str, float]):
    """Return the newly collapsed classes, and those collapsed no longer."""
    collapsed = {
      n for n, ratio in ratios.items() if ratio < self._info.collapse
    }
    # Every generator starts with images that are all alike. So in the first
    # half of training, a class that has never been diverse causes no warning.
    late = 2 * step >= self._config.train.steps
    due = collapsed if late else collapsed & self._came_up
    new, over = sorted(due - self._warned), sorted(self._warned - collapsed)
    self._came_up |= ratios.keys() - collapsed
    self._warned = (self._warned & collapsed) | due
    return new, over


def _diversities(path: pathlib.Path) -> list[tuple[int, dict[str, float]]]:
  """Read the steps and ratios of the sheets in a metrics.jsonl."""
  found = []
  for line in path.read_text().splitlines():
    values = json.loads(line)
    ratios = {
      name.removeprefix("diversity/"): ratio
      for name, ratio in values.items()
      if name.startswith("diversity/")
    }
    if ratios:
      found.append((values["step"], ratios))
  return found


def finite_means(
  stacked: Mapping[str, np.ndarray], step: int, latest: int | None
) -> dict[str, float]:
  """Average metrics [steps] over a call's steps; raise if one has diverged.

  The call began after `step` steps; `latest` is the step of the last
  checkpoint.

  Raises:
    InputError: a value is not finite; names the first one and the checkpoint.
  """
  stacked = {name: np.asarray(values) for name, values in stacked.items()}
  bad = {
    name: int(np.argmin(np.isfinite(values)))
    for name, values in stacked.items()
    if not np.isfinite(values).all()
  }
  if bad:
    name = min(bad, key=bad.get)
    kept = "There is no checkpoint yet"
    if latest is not None:
      kept = f"The last good checkpoint is that of step {latest}"
    raise errors.InputError(
      f"{name} was {stacked[name][bad[name]]} at step {step + bad[name] + 1}: "
      f"training has diverged. {kept}; start again in another workdir, with a "
      "lower learning rate or a more stable loss."
    )
  return {name: float(values.mean()) for name, values in stacked.items()}
