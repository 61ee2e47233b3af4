"""The type of a case of bad input."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple


class Case(NamedTuple):
  """One kind of bad input, or of unusual input that is accepted.

  Attributes:
    make: writes the input into an empty directory and returns a function that
      reads it as a run does. Where the input is to be accepted, the function
      also checks the result.
    message: a pattern of the error's message; None where the input is to be
      accepted.
  """

  make: Callable[[pathlib.Path], Callable[[], object]]
  message: str | None
