"""From a config to the task that runs it, its numbers checked once for all."""

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

from skinjax.data import datasets, external
from skinjax.runtime import command_line, errors, processes, workdir
from skinjax.training import loop, predictions, tasks

# Tasks that are more than a training, by name, and the module whose `run` they
# are.
_OTHERS = {
  "by_class": "skinjax.synthesis.by_class",
  "evaluate": "skinjax.judging.evaluate",
  "export": "skinjax.synthesis.export",
  "predict": "skinjax.training.predict",
  "study": "skinjax.study.study",
  "synthesize": "skinjax.synthesis.synthesize",
}


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path | None):
  """Run a config in a workdir, and note in `runs.jsonl` what that took.

  The path may be None for a task that can do without a workdir. Returns what
  the task returns.

  Raises:
    InputError: see the task; or the disk is full, or forbids to read or write.
  """
  start = time.monotonic()
  try:
    return _run(config, path)
  except OSError as error:
    if isinstance(error, PermissionError):
      raise errors.InputError(
        f"{error.filename}: {error.strerror}. Its owner or mode forbids it to "
        "the user who runs this: change these, or name another place."
      ) from error
    # Anything may fill a disk; a bug is to be seen as one.
    if error.errno not in errors.DISK:
      raise
    raise errors.InputError(
      f"{error.filename or path}: {error.strerror}. Once that is mended, the "
      "same command goes on from what is done."
    ) from error
  finally:  # interrupted runs count too; only a kill goes unnoted
    if path and processes.is_first() and workdir.is_of(path, config):
      _note(pathlib.Path(path), time.monotonic() - start)


def _note(path: pathlib.Path, seconds: float) -> None:
  note = {
    "command": command_line.typed(),
    "seconds": round(seconds, 1),
    "devices": [device.device_kind for device in jax.devices()],
    "cores": os.cpu_count(),
  }
  # A note that does not fit on the disk is not worth an error.
  with contextlib.suppress(OSError), (path / "runs.jsonl").open("a") as file:
    file.write(json.dumps(note) + "\n")


def _run(config, path):
  check(config)
  name = str(config.task)
  errors.require_known("task", name, sorted({*tasks.known(), *_OTHERS}))
  if name in _OTHERS:
    if jax.process_count() > 1:
      raise errors.InputError(
        f"task={name} is run by one process, and there are "
        f"{jax.process_count()}: start it without --coordinator. A study is "
        "divided with --config.shard=i/n."
      )
    return importlib.import_module(_OTHERS[name]).run(config, path)
  task = tasks.named(name)
  dataset = outside = None
  if not task.generates and config.external:  # refused before it is trained
    loop.check(config)
    dataset = processes.together(lambda: datasets.load(config.data))
    outside = processes.together(
      lambda: external.load(config.external, dataset)
    )
  result = loop.train(task, config, path, dataset)
  if not task.generates and processes.is_first():
    predictions.run(config, path, result, outside)
  return result


class _Range(NamedTuple):
  low: float
  high: float = math.inf
  below: bool = False  # whether high itself is out of range
  whole: bool = False  # whether it is a tuple of integers


# By key, in a study's parts too, as in "gan.model.dropout". JAX makes keys of
# 32 bits of the seed. Dropout is counted in 256ths, one of which must stay.
# From a jitter of 1 on, contrast is turned round; with no latents all images of
# a class are one. A half-life of 0 images is no average. KID is of pairs.
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
  "model.label_scale": _Range(0),
  "model.embedding": _Range(1),
  "projected.input": _Range(32),
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
  "growth.first_size": _Range(4),
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
  """Refuse numbers that are out of range, or no finite numbers, of any task.

  Only what stops the program, or means nothing, is out of range; whether a
  number is wise is not judged here. Cadences, folds and sizes depend on more
  than themselves, and are looked at where they are used.

  Raises:
    InputError: a number is out of range.
  """
  for key, value in workdir.flat(config).items():
    if isinstance(value, float) and not math.isfinite(value):
      raise errors.InputError(f"{key}={value}: a finite number is wanted.")
    parts = key.split(".")
    allowed = RANGES.get(".".join(parts[-2:])) or RANGES.get(parts[-1])
    if allowed and not _holds(allowed, value):
      raise errors.InputError(f"{key}={value}: {_words(allowed)} is wanted.")


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
  to = "up to, but not," if allowed.below else "to"
  return f"a number from {allowed.low} {to} {allowed.high}"
