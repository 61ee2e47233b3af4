"""What a run tells people: JSON lines, TensorBoard, pictures, progress."""

import io
import json
import os
import pathlib
import time

import numpy as np
import tensorboardX
from absl import logging
from PIL import Image

from skinjax import errors, files


class Writer:
  """Writes scalars, times and pictures of one run; a context manager.

  `metrics.jsonl` holds only what follows from config and seed, `timing.jsonl`
  what does not. Both are cut back to the step that a run resumes at, so that
  no line is lost or doubled.
  """

  def __init__(
    self, workdir: pathlib.Path, *, step: int, total: int, muted: bool = False
  ):
    """Opens the files of a workdir.

    Args:
      workdir: an existing directory.
      step: the step that the run starts or resumes at.
      total: the step that it ends at.
      muted: write no file, as all of a run's processes do but the first.
    """
    self._samples = workdir / "samples"
    self._total = total
    self._muted = muted
    self._clock = None
    self._files = {}
    for name in () if muted else ("metrics", "timing"):
      path = workdir / f"{name}.jsonl"
      cut_back(path, step)
      self._files[name] = path.open("a")
    self._board = tensorboardX.SummaryWriter(
      str(workdir / "tensorboard"),
      purge_step=step + 1 if step else None,
      write_to_disk=not muted,
    )

  def __enter__(self) -> "Writer":
    """Returns itself."""
    return self

  def __exit__(self, *_) -> None:
    """Closes all files."""
    for file in self._files.values():
      file.close()
    self._board.close()

  def scalars(self, step: int, values: dict[str, float]) -> None:
    """Writes a line of metrics.jsonl and TensorBoard's curves."""
    self._line("metrics", step, values)
    for name, value in values.items():
      self._board.add_scalar(name, value, step)

  def picture(self, step: int, image: Image.Image) -> None:
    """Writes samples/STEP.png, and the same for TensorBoard."""
    if self._muted:
      return
    self._samples.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    files.write_bytes(self._samples / f"{step:08d}.png", buffer.getvalue())
    self._board.add_image(
      "samples", np.asarray(image.convert("RGB")), step, dataformats="HWC"
    )

  def progress(
    self, step: int, steps: int, images: int, values: dict[str, float]
  ) -> None:
    """Logs a line with speed and time left, and times it in timing.jsonl.

    Args:
      step: the step reached.
      steps: steps since the line before.
      images: images since the line before.
      values: what to show.
    """
    now = time.monotonic()
    shown = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
    speed = ""
    if self._clock is not None:  # the first call compiles: it tells no speed
      seconds = now - self._clock
      left = (self._total - step) / steps * seconds
      speed = f"  {images / seconds:.0f} images/s  {duration(left)} left"
      self._line(
        "timing",
        step,
        {"seconds": seconds, "images_per_second": images / seconds},
      )
    self._clock = now
    logging.info("step %d/%d  %s%s", step, self._total, shown, speed)

  def pause(self) -> None:
    """Leaves what happens between two calls of steps out of the speed."""
    self._clock = time.monotonic() if self._clock is not None else None

  def sync(self) -> None:
    """Has the lines on the disk: a checkpoint must not outlive its lines."""
    for file in self._files.values():
      os.fsync(file.fileno())

  def _line(self, name: str, step: int, values: dict[str, float]) -> None:
    if self._muted:
      return
    line = files.plain({"step": step, **values})
    self._files[name].write(json.dumps(line) + "\n")
    self._files[name].flush()


def cut_back(path: pathlib.Path, step: int) -> None:
  """Drops the lines of a JSON-lines file that lie after a step.

  A last line that was cut short is dropped too.

  Raises:
    InputError: it is not what a run has written.
  """
  if not path.exists():
    return
  try:
    kept = [
      line
      for line in path.read_text().splitlines(keepends=True)
      if line.endswith("\n") and json.loads(line)["step"] <= step
    ]
  except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
    raise errors.InputError(
      f"{path} cannot be read, as it is not what the run has written: move it "
      "away, and the run goes on without it."
    ) from error
  files.write_text(path, "".join(kept))


def duration(seconds: float) -> str:
  """Returns a time as people say it: `45 s`, `3 min 20 s`, `2 h 05 min`."""
  seconds = round(seconds)
  if seconds < 60:
    return f"{seconds} s"
  minutes, seconds = divmod(seconds, 60)
  if minutes < 60:
    return f"{minutes} min {seconds:02d} s"
  return f"{minutes // 60} h {minutes % 60:02d} min"
