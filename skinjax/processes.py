"""Processes: how those of one run find each other, agree, and who writes.

On several hosts each runs the same command. They compute the same, and only
the first writes; a directory that all of them see is needed for the workdir.
Alone, every function here is free.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from skinjax import errors


def join(coordinator: str, processes: int | None, index: int | None) -> None:
  """Joins the processes of a run; to be called before any device is used.

  Args:
    coordinator: `HOST:PORT` of process 0; `auto` where JAX finds out by itself
      (Cloud TPU slices, Slurm, Open MPI, Kubernetes).
    processes: their number; None if `auto`.
    index: this process's, from 0; None if `auto`.

  Raises:
    InputError: the others cannot be found.
  """
  address = None if coordinator == "auto" else coordinator
  if address and (processes is None or index is None):
    raise errors.InputError(
      f"--coordinator={coordinator} needs --num_processes and --process_id; "
      "--coordinator=auto finds them out on TPU slices and under Slurm."
    )
  try:
    jax.distributed.initialize(address, processes, index)
  except (ValueError, RuntimeError) as error:
    raise errors.InputError(
      f"--coordinator={coordinator}: the processes of this run did not find "
      f"each other ({error})."
    ) from error


def is_first() -> bool:
  """Returns whether this process is the one that writes."""
  return jax.process_index() == 0


def on_first(call: Callable[[], Any]) -> Any:
  """Calls a function in the first process only, while the others wait.

  Args:
    call: returns what JSON knows.

  Returns:
    What the call returned, in every process.

  Raises:
    InputError: what the call raised, in every process.
  """
  if jax.process_count() == 1:
    return call()
  told = {}
  try:
    if is_first():
      told["value"] = call()
  except BaseException as error:
    told["error"] = str(error)
    raise
  finally:  # whatever happened, the others are waiting for it
    told = _from_first(told)
  if "error" in told:
    raise errors.InputError(told["error"])
  return told["value"]


def _from_first(value: Any) -> Any:
  text = np.frombuffer(json.dumps(value).encode(), np.uint8)
  size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
  text = np.resize(text, size)
  return json.loads(multihost_utils.broadcast_one_to_all(text).tobytes())


def in_any(flag: bool) -> bool:
  """Returns whether the flag is set in any process."""
  if jax.process_count() == 1:
    return flag
  return bool(multihost_utils.process_allgather(np.array(flag)).any())


def require_same(what: str, text: str) -> None:
  """Refuses processes that differ, as they would wait for each other forever.

  Raises:
    InputError: the text is not the same in all processes.
  """
  if jax.process_count() == 1:
    return
  digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
  digests = multihost_utils.process_allgather(digest)
  other = np.flatnonzero((digests != digests[0]).any(axis=1))
  if len(other):
    raise errors.InputError(
      f"{what} of process {other[0]} differs from that of process 0: start "
      "all of a run's processes with the same command, on the same data."
    )
