"""Progress of long work, with the time left, in the log."""

import time
from collections.abc import Callable

from absl import logging

_PAUSE = 5  # seconds between lines


def logger(what: str) -> Callable[[int, int], None]:
  """Return a function of (done, total) that logs them and the time left.

  It logs at most every `_PAUSE` seconds.
  """
  start = logged = time.monotonic()

  def tell(done: int, total: int) -> None:
    nonlocal logged
    now = time.monotonic()
    if now - logged > _PAUSE:
      logged, left = now, (now - start) / done * (total - done)
      logging.info("%s: %d of %d, %s left", what, done, total, duration(left))

  return tell


def duration(seconds: float) -> str:
  """Format a duration: `45 s`, `3 min 20 s`, `2 h 05 min`."""
  seconds = round(seconds)
  if seconds < 60:
    return f"{seconds} s"
  minutes, seconds = divmod(seconds, 60)
  if minutes < 60:
    return f"{minutes} min {seconds:02d} s"
  return f"{minutes // 60} h {minutes % 60:02d} min"
