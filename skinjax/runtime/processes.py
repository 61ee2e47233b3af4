"""Processes of one run: how they connect, agree, and which one writes.

On several hosts each runs the same command. All compute the same, and only the
first process writes; the workdir must be on a file system that all share. With
a single process, the functions here cost nothing.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from skinjax.runtime import errors


def join(coordinator: str, processes: int | None, index: int | None) -> None:
  """Connect the processes of a run; call it before any device is used.

  The coordinator is the `HOST:PORT` of process 0, or `auto` where JAX detects
  all three arguments (Cloud TPU slices, Slurm, Open MPI, Kubernetes).

  Raises:
    InputError: the other processes cannot be reached.
  """
  address = None if coordinator == "auto" else coordinator
  if address and (processes is None or index is None):
    raise errors.InputError(
      f"--coordinator={coordinator} needs --num_processes and --process_id; "
      "--coordinator=auto detects them on TPU slices and under Slurm."
    )
  try:
    jax.distributed.initialize(address, processes, index)
  except (ValueError, RuntimeError) as error:
    raise errors.InputError(
      f"--coordinator={coordinator}: the processes of this run did not find "
      f"each other ({error})."
    ) from error


def is_first() -> bool:
  """Return whether this process is the one that writes."""
  return jax.process_index() == 0


def on_first(call: Callable[[], Any]) -> Any:
  """Call a function in the first process only, while the others wait.

  Returns:
    In every process, the result of the call, which must be JSON.

  Raises:
    InputError: in every process, if the call failed; the first process raises
      the original error.
  """
  if jax.process_count() == 1:
    return call()
  text = together(lambda: json.dumps(call()) if is_first() else "")
  return json.loads(_gather(text)[0])


def together(call: Callable[[], Any]) -> Any:
  """Call a function in every process; if it fails in one, it fails in all.

  Otherwise the remaining processes would wait forever for the failed one.

  Raises:
    InputError: the call failed in another process. A process whose own call
      failed raises that error.
  """
  if jax.process_count() == 1:
    return call()
  value, failed = None, None
  try:
    value = call()
  except BaseException as error:
    failed = error
  messages = _gather("" if failed is None else _words(failed))
  if failed:
    raise failed
  for text in filter(None, messages):
    raise errors.InputError(text)
  return value


def _words(error: BaseException) -> str:
  if isinstance(error, errors.InputError):
    return str(error)
  kind = type(error).__name__
  return f"Process {jax.process_index()} has stopped ({kind}: {error})."


def _gather(text: str) -> list[str]:
  """Return the texts of all processes, in order of their indices."""
  data = np.frombuffer(text.encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(len(data)))
  padded = np.zeros(max(sizes.max(), 1), np.uint8)
  padded[: len(data)] = data
  every = multihost_utils.process_allgather(padded)
  return [
    row[:size].tobytes().decode()
    for row, size in zip(every, sizes, strict=True)
  ]


def in_any(flag: bool) -> bool:
  """Return whether the flag is set in any process."""
  if jax.process_count() == 1:
    return flag
  return bool(multihost_utils.process_allgather(np.array(flag)).any())


def require_same(what: str, text: str) -> None:
  """Refuse processes that differ; they would wait for each other forever.

  Raises:
    InputError: the text is not the same in all processes.
  """
  if jax.process_count() == 1:
    return
  texts = _gather(hashlib.sha256(text.encode()).hexdigest())
  for index, other in enumerate(texts):
    if other != texts[0]:
      raise errors.InputError(
        f"{what} of process {index} differs from that of process 0: start all "
        "of a run's processes with the same command, on the same data."
      )
