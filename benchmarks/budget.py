"""A time budget that is shared by the parts of a measurement."""

import sys
import time
from collections.abc import Callable


class Budget:
  """A number of seconds from now, measured by `clock`."""

  def __init__(
    self, seconds: float, clock: Callable[[], float] = time.monotonic
  ):
    self._clock, self._begun = clock, clock()
    self._end = self._begun + seconds

  def left(self) -> float:
    """Return the seconds left; negative once the budget is exceeded."""
    return self._end - self._clock()

  def spent(self) -> float:
    """Return the seconds elapsed."""
    return self._clock() - self._begun

  def share(self, part: float) -> "Budget":
    """Return a budget of a fraction, in [0, 1], of the time left."""
    return Budget(max(self.left(), 0.0) * part, self._clock)

  def say(self, text: str) -> None:
    """Print a line of progress with the time left."""
    print(f"[{self.left():5.0f} s left] {text}", file=sys.stderr, flush=True)


class Items:
  """Measures one item after another until there is no time for the next.

  An item is expected to take the mean time of the items so far, or longer if
  the caller says so. `notes` has the items that failed or were skipped, by
  name.
  """

  def __init__(self, budget: Budget):
    self.budget, self.notes, self._took = budget, {}, []

  def run(self, name: str, call: Callable[[], object], expected: float = 0.0):
    """Call a function if there is time; return None if not or if it fails."""
    mean = sum(self._took) / max(len(self._took), 1)
    needed, left = max(expected, mean), self.budget.left()
    if left <= needed:
      self.notes[name] = (
        f"skipped: it takes about {needed:.1f} s, and only "
        f"{max(left, 0):.1f} s were left"
      )
      return None
    self.budget.say(name)
    try:
      return call()
    # A failure must not prevent the remaining measurements.
    except Exception as error:
      self.notes[name] = f"failed: {type(error).__name__}: {error}"[:500]
      return None
    finally:
      self._took.append(left - self.budget.left())
