"""Shared by the package's commands: errors are reported in one line."""

import argparse
from collections.abc import Callable

from tfds_ham10000.errors import DataError


class Parser(argparse.ArgumentParser):
  """Reports bad arguments in one line and exits with code 2."""

  def __init__(self, name: str, description: str):
    super().__init__(
      prog=f"python -m tfds_ham10000.{name}",
      description=description,
      formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
    )

  def error(self, message: str) -> None:
    """Print the message and exit."""
    self.exit(2, f"{self.prog.split('.')[-1]}: {message}\n")

  def run(
    self, work: Callable[[argparse.Namespace], int], argv: list[str] | None
  ) -> int:
    """Parse arguments, do the work, and return its exit code."""
    args = self.parse_args(argv)
    try:
      return work(args)
    except DataError as error:
      # Further lines explain where to get HAM10000; so does the README.
      return self.error(str(error).splitlines()[0])
    except OSError as error:
      place = f"{error.filename}: " if error.filename else ""
      return self.error(f"{place}{error.strerror}")
