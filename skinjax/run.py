"""Checks a config's numbers, then runs its task."""

import contextlib
import importlib
import json
import math
import os
import pathlib
import time
from typing import Any, NamedTuple

import jax
import ml_collections
from absl import logging

from skinjax.data import datasets, external
from skinjax.runtime import command_line, errors, processes, workdir
from skinjax.training import loop, tasks, testing

# Tasks other than plain training: the module whose `run` runs them, by name.
_OTHERS = {
  "by_class": "skinjax.synthesis.by_class",
  "evaluate": "skinjax.judging.evaluate",
  "export": "skinjax.synthesis.export",
  "predict": "skinjax.training.predict",
  "split": "skinjax.study.split",
  "study": "skinjax.study.study",
  "synthesize": "skinjax.synthesis.synthesize",
}


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path):
  """Run a config in a workdir, and log its time and devices in `runs.jsonl`.

  Returns what the task returns.

  Raises:
    InputError: see the task; or the disk is full or fails, or a file may not be
      read or written.
  """
  start = time.monotonic()
  try:
    return _run(config, path)
  except OSError as error:
    if isinstance(error, PermissionError):
      raise errors.InputError(
        f"{error.filename}: {error.strerror}. Its owner or mode denies access "
        "to the user who runs this: change these, or use another path."
      ) from error
    # Disk errors are not bugs; all others keep their traceback.
    if error.errno not in errors.DISK:
      raise
    raise errors.InputError(
      f"{error.filename or path}: {error.strerror}. Once that is fixed, the "
      "same command resumes from the finished work."
    ) from error
  finally:  # interrupted runs are logged too, killed ones cannot be
    if processes.is_first() and workdir.was_claimed(path):
      _note(pathlib.Path(path), time.monotonic() - start)


def _note(path: pathlib.Path, seconds: float) -> None:
  note = {
    "command": command_line.typed(),
    "seconds": round(seconds, 1),
    "devices": [device.device_kind for device in jax.devices()],
    "cores": os.cpu_count(),
  }
  # If the disk is full, a missing log entry is not worth an error.
  with contextlib.suppress(OSError), (path / "runs.jsonl").open("a") as file:
    file.write(json.dumps(note) + "\n")


def _run(config, path):
  check(config)
  name = str(config.task)
  errors.require_known("task", name, sorted({*tasks.known(), *_OTHERS}))
  if name in _OTHERS:
    if jax.process_count() > 1:
      raise errors.InputError(
        f"task={name} runs in one process, and there are "
        f"{jax.process_count()}: start it without --coordinator. To divide a "
        "study, use --config.shard=i/n."
      )
    return importlib.import_module(_OTHERS[name]).run(config, path)
  task = tasks.named(name)
  dataset = outside = None
  if not task.generates and config.external:  # check it before training
    loop.check(config)
    dataset = processes.together(lambda: datasets.load(config.data))
    outside = processes.together(
      lambda: external.load(config.external, dataset)
    )
  result = loop.train(task, config, path, dataset)
  if not processes.is_first():
    return result
  if task.generates:
    logging.info(
      "Sheets of samples are in %s. For a folder of images by class: python "
      "main.py --config=configs/synthesize.py --config.generator=%s "
      "--workdir=DIR",
      pathlib.Path(path) / "samples",
      path,
    )
  else:
    testing.run(config, path, result, outside)
  return result


class _Range(NamedTuple):
  low: float
  high: float = math.inf
  below: bool = False  # whether `high` itself is excluded
  whole: bool = False  # whether the value is a tuple of integers


# Allowed values by key, also within a study's parts, as "gan.model.dropout".
# JAX uses 32 bits of the seed. Dropout is in 256ths, and 1/256 must be kept.
# A jitter above 1 would invert contrast. Without latents all images of a class
# would be equal. An EMA half-life of 0 images means no averaging. KID needs
# pairs.
RANGES = {
  "seed": _Range(0, 2**32 - 1),
  "level": _Range(0.5, 1, below=True),
  "kid_images": _Range(2),
  "truncation": _Range(0),
  "drop_unlike": _Range(0, 1, below=True),
  "drop_distant": _Range(0, 1, below=True),
  "train.batch_size": _Range(1),
  "train.rate": _Range(0),
  "train.generator_rate": _Range(0),
  "train.discriminator_rate": _Range(0),
  "train.weight_decay": _Range(0),
  "train.beta1": _Range(0, 1, below=True),
  "train.beta2": _Range(0, 1, below=True),
  "train.ema_images": _Range(0),
  "train.decay": _Range(0, 1),
  "model.width": _Range(1),
  "model.generator_width": _Range(1),
  "model.discriminator_width": _Range(1),
  "model.latents": _Range(1),
  "model.base": _Range(1),
  "model.most": _Range(1),
  "model.embedding": _Range(1),
  "input_size": _Range(32),
  "head.input": _Range(32),
  "projected.width": _Range(1),
  "projected.most": _Range(1),
  "model.dropout": _Range(0, 255 / 256),
  "model.noise": _Range(0),
  "loss.class_weight": _Range(0),
  "loss.class_on_fakes": _Range(0),
  "loss.penalty_weight": _Range(0),
  "loss.penalty_every": _Range(1),
  "loss.drift": _Range(0),
  "loss.lecam": _Range(0),
  "loss.class_margin": _Range(0, 1),
  "loss.class_temperature": _Range(1e-3),
  "growth.batch_sizes": _Range(1, whole=True),
  "growth.rates": _Range(0),
  "growth.fade_images": _Range(0),
  "growth.stable_images": _Range(0),
  "growth.round_steps": _Range(1),
  "loss.smoothing": _Range(0, 1, below=True),
  "augment.jitter": _Range(0, 1),
  "augment.discriminator_share": _Range(0, 1),
  "augment.discriminator_brightness": _Range(0, 1),
  "augment.adapt_target": _Range(0, 1, below=True),
  "augment.adapt_images": _Range(1),
  "augment.mixup": _Range(0),
}


def check(config: Any) -> None:
  """Refuse numbers of any task that are out of range or not finite.

  Only values that would crash or are meaningless are out of range; this is no
  check for good values. Cadences, folds and sizes depend on other values and
  are checked where they are used.

  Raises:
    InputError: a number is out of range.
  """
  for key, value in workdir.flat(config).items():
    if isinstance(value, float) and not math.isfinite(value):
      raise errors.InputError(f"{key}={value}: a finite number is expected.")
    parts = key.split(".")
    allowed = RANGES.get(".".join(parts[-2:])) or RANGES.get(parts[-1])
    if allowed and not _holds(allowed, value):
      raise errors.InputError(f"{key}={value}: {_words(allowed)} is expected.")


def _holds(allowed: _Range, value: Any) -> bool:
  if isinstance(value, tuple | list):
    return all(_holds(allowed, part) for part in value)
  if allowed.whole and not isinstance(value, int):
    return False
  if isinstance(value, bool) or not isinstance(value, int | float):
    return False
  if allowed.below and value == allowed.high:
    return False
  return allowed.low <= value <= allowed.high


def _words(allowed: _Range) -> str:
  if allowed.whole:
    return f"integers of at least {allowed.low}"
  if allowed.high == math.inf:
    return f"a number of at least {allowed.low}"
  to = "to below" if allowed.below else "to"
  return f"a number from {allowed.low} {to} {allowed.high}"
