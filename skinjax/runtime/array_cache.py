"""Arrays that took long to compute, kept in a directory."""

import hashlib
import io
import pathlib
from collections.abc import Callable

import numpy as np
from absl import logging

from skinjax.runtime import files

_DIGEST_BYTES = 32


def fetch(
  directory: str | pathlib.Path,
  key: str,
  shape: tuple[int, ...],
  compute: Callable[[], np.ndarray],
) -> np.ndarray:
  """Reads an array, or computes and keeps it.

  Nothing is deleted: to remove the directory is safe at any time.

  Args:
    directory: where arrays are kept; it is made.
    key: a digest of all that the array follows from.
    shape: of the array.
    compute: makes it, float32.

  Returns:
    float32 of that shape; a file that is damaged is computed anew.

  Raises:
    InputError: the directory cannot be written in.
  """
  directory = pathlib.Path(directory)
  files.make_directory(directory, "cache_dir")
  path = directory / f"{key}.npy"
  array = _read(path, shape)
  if array is None:
    array = compute()
    with files.locked(directory / "lock", wait=True):
      _write(path, array)
  return array


def _write(path: pathlib.Path, array: np.ndarray) -> None:
  """Writes a .npy file with its SHA-256 behind, which np.load passes over."""
  buffer = io.BytesIO()
  np.save(buffer, array, allow_pickle=False)
  content = buffer.getvalue()
  files.write_bytes(path, content + hashlib.sha256(content).digest())


def _read(path: pathlib.Path, shape: tuple[int, ...]) -> np.ndarray | None:
  """Reads what `_write` wrote; None if it is not there, or not whole."""
  if not path.exists():
    return None
  try:
    content = path.read_bytes()
    content, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
      raise ValueError("its SHA-256 is another")
    stream = io.BytesIO(content)
    array = np.lib.format.read_array(stream, allow_pickle=False)
    if array.dtype != np.float32 or array.shape != shape:
      raise ValueError(f"it has {array.dtype} {list(array.shape)}")
  except Exception as error:  # whatever a forged file makes of the reader
    logging.warning("%s is damaged (%s): it is computed anew.", path, error)
    return None
  return array
