"""Files that are whole or absent, whenever the program is killed."""

import csv
import io
import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
  """Writes a file beside its place, flushes it, and moves it there."""
  path = pathlib.Path(path)
  partial = path.with_name(f"{path.name}.partial")
  with partial.open("wb") as file:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
  partial.replace(path)


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes UTF-8 text; see `write_bytes`."""
  write_bytes(path, text.encode())


def table(rows: Iterable[Iterable[Any]]) -> str:
  """Returns rows as the text of a CSV file."""
  buffer = io.StringIO()
  csv.writer(buffer, lineterminator="\n").writerows(rows)
  return buffer.getvalue()


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes indented JSON with null for what is not finite."""
  write_text(path, json.dumps(plain(value), indent=2) + "\n")


def plain(value: Any) -> Any:
  """Converts to what JSON knows: no numpy, no tuples; NaN and inf to null."""
  if isinstance(value, Mapping):
    return {str(key): plain(item) for key, item in value.items()}
  if isinstance(value, np.ndarray):
    return plain(value.tolist())
  if isinstance(value, list | tuple):
    return [plain(item) for item in value]
  if isinstance(value, np.generic):
    value = value.item()
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value
