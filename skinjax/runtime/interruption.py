"""Signals that end a run: SIGTERM from a scheduler, SIGINT from Ctrl-C.

A run that is killed loses its work since the last checkpoint. A run that gets a
signal saves first: schedulers and clouds that reclaim their machines send
SIGTERM some 30 seconds before they do.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(BaseException):
  """A signal ended the run; not an Exception, so that nothing catches it.

  `number` is the signal's; `kept` describes, in words, what was saved.
  """

  def __init__(self, number: int, kept: str):
    super().__init__(f"{signal.Signals(number).name}: {kept}")
    self.number = number


def end_at_once() -> None:
  """Let signals raise Interrupted at any point of the program.

  This is safe, as every file is complete or absent at any moment.
  """

  def handle(number, _):
    raise Interrupted(
      number, "stopped. The same command resumes from the finished work."
    )

  _handle(handle)


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
  """Defer the first signal, for code that has something to save.

  If the code ends without an exception, it did not stop for the signal, which
  is then sent again.

  Yields:
    `asked() -> int | None`, the number of the signal received, if any. A second
    signal is not deferred.
  """
  came = []
  before = {number: signal.getsignal(number) for number in _SIGNALS}

  def restore():
    for number, handler in before.items():
      # None: the handler was not set from Python, and cannot be restored.
      signal.signal(number, handler or signal.SIG_DFL)

  def handle(number, _):
    came.append(number)
    restore()

  if not _handle(handle):
    yield lambda: None
    return
  try:
    yield lambda: came[0] if came else None
  finally:
    restore()
  if came:  # too late for the code inside to stop
    signal.raise_signal(came[0])


def _handle(handle: Callable) -> bool:
  # Python handles signals in the main thread only.
  if threading.current_thread() is not threading.main_thread():
    return False
  for number in _SIGNALS:
    signal.signal(number, handle)
  return True
