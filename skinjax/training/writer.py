"""The output of a run: JSON lines, TensorBoard, pictures, progress."""

import json
import os
import pathlib
import time

import numpy as np
from absl import logging
from PIL import Image
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2

from skinjax.runtime import errors, files, progress
from tfds_ham10000.images import encode_png


class Writer:
  """Writes scalars, times and pictures of one run; a context manager.

  `metrics.jsonl` holds only what is determined by config and seed,
  `timing.jsonl` what is not. Both are truncated to the step at which a run
  starts or resumes, so that no line is lost or duplicated.
  """

  def __init__(self, workdir: pathlib.Path, *, step: int, total: int):
    self._samples = workdir / "samples"
    self._total = total
    self._clock = None
    self._files = {}
    for name in ("metrics", "timing"):
      path = workdir / f"{name}.jsonl"
      cut_back(path, step)
      self._files[name] = path.open("a")
    for picture in self._samples.glob("*.png"):
      if picture.stem.isdigit() and int(picture.stem) > step:
        picture.unlink()  # this run writes its own, if any
    board = workdir / "tensorboard"
    board.mkdir(exist_ok=True)
    again = any(board.iterdir())
    # SummaryWriter would write in a thread, which dies silently on a full disk
    # and leaves the run waiting for it.
    self._board = EventsWriter(str(board / "events"), f".{os.getpid()}.{step}")
    if again:  # drop what a killed run has written after its checkpoint
      restart = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      self._event(step + 1, session_log=restart)

  def __enter__(self) -> "Writer":
    return self

  def __exit__(self, *_) -> None:
    for file in self._files.values():
      file.close()
    self._board.close()

  def scalars(self, step: int, values: dict[str, float]) -> None:
    """Write a line of metrics.jsonl and TensorBoard's curves."""
    self._line("metrics", step, values)
    for name, value in values.items():
      self._event(step, summary=summary.scalar(name, value))

  def picture(self, step: int, image: Image.Image) -> None:
    """Write samples/STEP.png, and the same picture to TensorBoard."""
    self._samples.mkdir(exist_ok=True)
    files.write_bytes(self._samples / f"{step:08d}.png", encode_png(image))
    pixels = np.asarray(image.convert("RGB"))
    self._event(
      step, summary=summary.image("samples", pixels, dataformats="HWC")
    )

  def progress(
    self,
    step: int,
    steps: int,
    images: int,
    values: dict[str, float],
    left: float,
  ) -> None:
    """Log a line with speed and time left; write the speed to timing.jsonl.

    `steps` and `images` count since the previous line; `left` is the work left,
    in steps that take as long as these.
    """
    now = time.monotonic()
    shown = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
    speed = ""
    if self._clock is not None:  # the first call also compiles
      seconds = now - self._clock
      rest = progress.duration(left / steps * seconds)
      speed = f"  {images / seconds:.0f} images/s  {rest} left"
      self._line(
        "timing",
        step,
        {"seconds": seconds, "images_per_second": images / seconds},
      )
    self._clock = now
    logging.info("step %d/%d  %s%s", step, self._total, shown, speed)

  def pause(self, *, forget: bool = False) -> None:
    """Exclude the time since the last call of steps from the speed.

    With `forget` the next call is not timed at all, because it compiles.
    """
    timed = self._clock is not None and not forget
    self._clock = time.monotonic() if timed else None

  def sync(self) -> None:
    """Flush the lines to disk: a checkpoint must not outlive its lines."""
    self._board.flush()
    for file in self._files.values():
      os.fsync(file.fileno())

  def _event(self, step: int, **content) -> None:
    event = event_pb2.Event(wall_time=time.time(), step=step, **content)
    self._board.write_event(event)

  def _line(self, name: str, step: int, values: dict[str, float]) -> None:
    line = files.plain({"step": step, **values})
    self._files[name].write(json.dumps(line) + "\n")
    self._files[name].flush()


def cut_back(path: pathlib.Path, step: int) -> None:
  """Drop the lines of a JSON-lines file that are for later steps.

  A truncated last line is dropped too.

  Raises:
    InputError: the file was not written by a run.
  """
  if not path.exists():
    return
  try:
    kept = [
      line
      for line in path.read_text().splitlines(keepends=True)
      if line.endswith("\n") and json.loads(line)["step"] <= step
    ]
  except (KeyError, TypeError, ValueError, RecursionError) as error:
    raise errors.InputError(
      f"{path} cannot be read, because it is not as the run wrote it: move it "
      "away, and the run resumes without it."
    ) from error
  files.write_text(path, "".join(kept))
