"""Command-line arguments of the benchmarks."""

import argparse
import math
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from skinjax.models import layers
from skinjax.runtime import errors


class Parser(argparse.ArgumentParser):
  """An argument parser that reports errors in one line."""

  def error(self, message: str) -> None:
    """Print the message and exit."""
    self.exit(2, f"{self.prog.split('.')[-1]}: {message}\n")


def positive(text: str) -> int:
  """Read a positive integer."""
  if not text.isdecimal() or not int(text):
    raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
  return int(text)


def minutes(text: str) -> float:
  """Read a number of minutes above 0."""
  try:
    value = float(text)
  except ValueError:
    value = 0.0
  if not 0 < value < math.inf:
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
  return value


def positives(text: str) -> list[int]:
  """Read comma-separated positive integers."""
  return [positive(part) for part in text.split(",")]


def size(text: str) -> int:
  """Read an image size that some model accepts; see `require`."""
  pixels = positive(text)
  try:
    layers.level_of(pixels)
  except ValueError as error:
    raise argparse.ArgumentTypeError(str(error)) from error
  return pixels


def sizes(text: str) -> list[int]:
  """Read comma-separated sizes."""
  return [size(part) for part in text.split(",")]


def names(known: Collection[str]) -> Callable[[str], list[str]]:
  """Return a reader of comma-separated names, each of them in `known`."""

  def read(text):
    for name in text.split(","):
      if name not in known:
        raise argparse.ArgumentTypeError(
          str(errors.unknown("model", name, known))
        )
    return text.split(",")

  return read


def require(
  parser: Parser,
  models: Mapping[str, Any],
  sizes: list[int],
  batches: list[int],
) -> None:
  """Refuse, in one line, sizes and batches that a model does not accept.

  Args:
    parser: the command line's parser.
    models: measure.Model by name.
    sizes: image sizes.
    batches: images per step.
  """
  for name, model in models.items():
    for pixels in sizes:
      if pixels < model.least:
        parser.error(f"{name} takes sizes from {model.least} on, not {pixels}")
      if pixels > model.most:
        parser.error(f"{name} takes sizes up to {model.most}, not {pixels}")
    for batch in batches:
      if batch % model.multiple:
        parser.error(
          f"{name} takes batches of a multiple of {model.multiple}, not {batch}"
        )


def path(text: str) -> pathlib.Path:
  """Read a path, in which a shell may have left a `~`."""
  return pathlib.Path(text).expanduser()


def file(text: str) -> pathlib.Path:
  """Read the path of a file that can be written."""
  path = pathlib.Path(text).expanduser()
  if path.is_dir() or not path.parent.is_dir():
    raise argparse.ArgumentTypeError(f"{text!r} cannot be written")
  return path
