"""What the package's commands share: one line says what is wrong."""

import argparse
from collections.abc import Callable

from tfds_ham10000.errors import DataError


class Parser(argparse.ArgumentParser):
  """Ends with exit code 2 and one line where arguments are bad."""

  def __init__(self, name: str, description: str):
    super().__init__(
      prog=f"python -m tfds_ham10000.{name}",
      description=description,
      formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
    )

  def error(self, message: str) -> None:
    """End the program."""
    self.exit(2, f"{self.prog.split('.')[-1]}: {message}\n")

  def run(
    self, work: Callable[[argparse.Namespace], int], argv: list[str] | None
  ) -> int:
    """Parse arguments, do the work, and return its exit code."""
    args = self.parse_args(argv)
    try:
      return work(args)
    except DataError as error:
      # Further lines say where HAM10000 can be had; the README does too.
      return self.error(str(error).splitlines()[0])
    except OSError as error:
      return self.error(f"{error.filename}: {error.strerror}")
