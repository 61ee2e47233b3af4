"""A budget of time, of which each part of a measurement gets its share."""

import sys
import time
from collections.abc import Callable


class Budget:
  """So many seconds from now on; `clock` counts them."""

  def __init__(
    self, seconds: float, clock: Callable[[], float] = time.monotonic
  ):
    self._clock, self._begun = clock, clock()
    self._end = self._begun + seconds

  def left(self) -> float:
    """Return the seconds that are left; below 0 once they are over."""
    return self._end - self._clock()

  def spent(self) -> float:
    """Return the seconds that have gone."""
    return self._clock() - self._begun

  def share(self, part: float) -> "Budget":
    """Return a budget of a part, in [0, 1], of what is left."""
    return Budget(max(self.left(), 0.0) * part, self._clock)

  def say(self, text: str) -> None:
    """Print a line of progress with the time left."""
    print(f"[{self.left():5.0f} s left] {text}", file=sys.stderr, flush=True)


class Items:
  """What is measured one after the other, until there is no time for the next.

  An item is expected to take as long as those so far did in the mean, unless
  more is known. What fails or is left out is said in `notes`, by its name.
  """

  def __init__(self, budget: Budget):
    self.budget, self.notes, self._took = budget, {}, []

  def run(self, name: str, call: Callable[[], object], expected: float = 0.0):
    """Call a function if there is time; return None if not or if it fails."""
    mean = sum(self._took) / max(len(self._took), 1)
    needed, left = max(expected, mean), self.budget.left()
    if left <= needed:
      self.notes[name] = (
        f"left out: it takes about {needed:.1f} s, of which "
        f"{max(left, 0):.1f} were left"
      )
      return None
    self.budget.say(name)
    try:
      return call()
    # One failure is not to cost the other measurements.
    except Exception as error:
      self.notes[name] = f"failed: {type(error).__name__}: {error}"[:500]
      return None
    finally:
      self._took.append(left - self.budget.left())
