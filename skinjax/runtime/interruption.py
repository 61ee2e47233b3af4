"""Signals that end a run: SIGTERM from a scheduler, SIGINT from Ctrl-C.

A run that is killed loses what it did since its last checkpoint. One that is
asked to stop saves first: schedulers and clouds that want their machines back
send SIGTERM some 30 seconds before they take them.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(BaseException):
  """A signal has ended the run; not an Exception, so that nothing catches it.

  `number` is the signal's; `kept` says what becomes of the run's work.
  """

  def __init__(self, number: int, kept: str):
    super().__init__(f"{signal.Signals(number).name}: {kept}")
    self.number = number


def end_at_once() -> None:
  """Let signals raise Interrupted wherever the program is.

  Every file is whole or absent at any moment, so this is safe.
  """

  def handle(number, _):
    raise Interrupted(
      number, "stopped. The same command goes on from what is done."
    )

  _handle(handle)


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
  """Hold the first signal back, for what has something to save.

  What ends without an exception has not stopped for it: the signal is sent
  again then.

  Yields:
    `asked() -> int | None`, the number of the signal that has come. A second
    one does what it would have done outside.
  """
  came = []
  before = {number: signal.getsignal(number) for number in _SIGNALS}

  def restore():
    for number, handler in before.items():
      # None: it was set by another language, and cannot be had back.
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
  if came:  # too late for what was done inside to stop
    signal.raise_signal(came[0])


def _handle(handle: Callable) -> bool:
  # Python takes signals in the main thread only.
  if threading.current_thread() is not threading.main_thread():
    return False
  for number in _SIGNALS:
    signal.signal(number, handle)
  return True
