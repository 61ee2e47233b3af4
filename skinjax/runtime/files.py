"""Files that are complete or absent, even if the program is killed."""

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import pathlib
import re
import secrets
import socket
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import filelock
import numpy as np
from absl import logging

from skinjax.runtime import errors


def user_path(path: str | os.PathLike) -> pathlib.Path:
  """Return a path given by the user, with `~` expanded.

  Raises:
    InputError: it is a URL, or in the home directory of an unknown user.
  """
  text = str(path)
  if re.match(r"[A-Za-z][\w+.-]+:/", text):  # pathlib makes one slash of two
    raise errors.InputError(
      f"{text} is a URL, and a path is expected: mount the bucket with Cloud "
      "Storage FUSE (gcsfuse), and use the directory where it is mounted."
    )
  try:
    return pathlib.Path(text).expanduser()
  except RuntimeError as error:
    raise errors.InputError(
      f"{text} is in no user's home directory: {error}"
    ) from error


def make_directory(path: pathlib.Path, name: str) -> None:
  """Make a directory if needed; `name` is the user's flag or key for it.

  Raises:
    InputError: it cannot be made.
  """
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise errors.InputError(
      f"{name}={path} cannot be used as a writable directory: {error.strerror}."
    ) from error


@contextlib.contextmanager
def locked(path: str | os.PathLike, *, wait: bool = False) -> Iterator[None]:
  """Hold a lock, which is released however the process ends.

  The file stays, and records which process had the lock last. On a file system
  shared by several hosts this needs cluster-wide `flock`, and the file system
  decides how long the lock of a host that crashed remains.

  Raises:
    InUseError: another process holds it, and `wait` is False.
    InputError: it cannot be opened, or its file system does not support locks.
  """
  path = pathlib.Path(path)
  # No soft locks as a fallback: they would outlast a killed process.
  lock = filelock.FileLock(path, fallback_to_soft=False)
  try:
    try:
      lock.acquire(timeout=0)
    except filelock.Timeout as error:
      holder = f"Another process ({path.read_text()[:200] or 'unknown'})"
      if not wait:
        raise errors.InUseError(
          f"{holder} is using {path.parent}: wait for it, or use another "
          "directory."
        ) from error
      logging.info("%s holds %s: waiting for it.", holder, path)
      lock.acquire()
    path.write_text(f"{os.getpid()} on {socket.gethostname()}")
  except OSError as error:
    raise errors.InputError(
      f"{path} cannot be locked ({error.strerror}): a writable directory is "
      "needed, on a file system that supports locks."
    ) from error
  try:
    yield
  finally:
    lock.release()


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
  """Write a file atomically: to a temporary file, which is then renamed."""
  path = pathlib.Path(path)
  # Another process, perhaps on another host, may write the same file.
  partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
  try:
    with partial.open("wb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    partial.replace(path)
  except BaseException:
    partial.unlink(missing_ok=True)
    raise


def write_text(path: str | os.PathLike, text: str) -> None:
  """Write UTF-8 text; see `write_bytes`."""
  write_bytes(path, text.encode())


def table(rows: Iterable[Iterable[Any]]) -> str:
  """Return rows as the text of a CSV file."""
  buffer = io.StringIO()
  csv.writer(buffer, lineterminator="\n").writerows(rows)
  return buffer.getvalue()


def markdown(rows: Iterable[Sequence[str]]) -> str:
  """Return rows as a Markdown table; the first are its headings."""
  headings, *rest = rows
  lines = [headings, ["---"] * len(headings), *rest]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def put_between(text: str, start: str, end: str, content: str) -> str:
  """Replace the lines between two marks.

  Raises:
    ValueError: the text does not have both marks, in this order.
  """
  before, found, rest = text.partition(start)
  _, also, after = rest.partition(end)
  if not found or not also:
    raise ValueError(f"the marks {start} and {end} are expected")
  return f"{before}{start}\n{content}\n{end}{after}"


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Write indented JSON, with null for numbers that are not finite."""
  write_text(path, json.dumps(plain(value), indent=2) + "\n")


def read_json(path: pathlib.Path, otherwise: str) -> dict[str, Any]:
  """Read a JSON object.

  Raises:
    InputError: it is absent, damaged or no object; `otherwise` completes the
      message with what that means.
    OSError: it may not be read.
  """
  try:
    value = json.loads(path.read_text())
    if not isinstance(value, dict):
      raise ValueError("no object")
    plain(value)
  # JSON nested deeper than Python's stack counts as damaged, too.
  except (*errors.ABSENT, ValueError, RecursionError) as error:
    raise errors.InputError(f"{path} cannot be read: {otherwise}.") from error
  return value


def texts(value: Any) -> list[str]:
  """Return the items of a list as text; none if the value is not a list."""
  return list(map(str, value)) if isinstance(value, list | tuple) else []


def short_digest(value: Any) -> str:
  """Return the first 12 hex digits of the SHA-256 of a value as JSON.

  It identifies a value in file names; see `plain` for what it may contain.
  """
  text = json.dumps(plain(value), sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_arrays(path: str | os.PathLike, **arrays: np.ndarray) -> None:
  """Write arrays by name to a compressed .npz file, atomically."""
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **arrays)
  write_bytes(path, buffer.getvalue())


def read_arrays(path: pathlib.Path, otherwise: str) -> dict[str, np.ndarray]:
  """Read arrays by name; unlike np.load, no other file formats are tried.

  Raises:
    InputError: the file does not exist or is damaged; `otherwise` completes the
      message with what to do.
    OSError: it may not be read, or the disk fails.
  """
  try:
    content = path.read_bytes()
  except errors.ABSENT as error:
    raise errors.InputError(f"{path} cannot be read: {otherwise}.") from error
  try:
    with zipfile.ZipFile(io.BytesIO(content)) as kept:
      return {
        name.removesuffix(".npy"): np.lib.format.read_array(
          io.BytesIO(kept.read(name)), allow_pickle=False
        )
        for name in kept.namelist()
      }
  # Whatever the readers raise for a forged file.
  except Exception as error:
    raise errors.InputError(
      f"{path} cannot be read as arrays ({error}): {otherwise}."
    ) from error


def plain(value: Any) -> Any:
  """Convert to JSON's types: no numpy, no tuples; NaN and inf become null."""
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


def digest(path: pathlib.Path) -> str:
  """Compute the SHA-256 of a file, in hex."""
  return hashlib.sha256(path.read_bytes()).hexdigest()


def digests(root: pathlib.Path) -> dict[str, str]:
  """Compute the SHA-256 of each file in a directory, by relative path."""
  return {
    str(path.relative_to(root)): digest(path)
    for path in sorted(root.rglob("*"))
    if path.is_file()
  }
