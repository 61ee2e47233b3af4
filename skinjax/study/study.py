"""The task that gives the verdict: classifiers with and without GAN images.

Its units of work are the GAN, the synthetic set, and a classifier for each arm
and seed. Each has a lock of its own, so that any number of processes, on any
machines that share the workdir, can work on one study.
"""

import pathlib
import re
import time

import ml_collections
import numpy as np
from absl import logging

from skinjax.data import datasets, provenance
from skinjax.runtime import errors, files, workdir
from skinjax.study import study_report
from skinjax.study.study_report import ARMS, PAIRS
from skinjax.synthesis import synthesize
from skinjax.training import loop, predictions, tasks, trained
from skinjax.training.writer import duration

_PAUSE = 5.0  # seconds between looks at what another process does


def run(
  config: ml_collections.ConfigDict, path: str | pathlib.Path
) -> dict | None:
  """Runs a study, from where it was left, and writes its report.

  Trains a GAN on the fold's training lesions unless the config names one,
  draws the synthetic set, trains every arm with every seed, and writes
  `report/index.html`, `report/summary.json` and two tables, `report/scores.csv`
  and `report/differences.csv`. A unit of work that is done is not done again;
  one that another process does is waited for.

  With `shard=i/n` only every n-th classifier is trained, and the report is
  written by whichever process finds all classifiers done.

  Args:
    config: of configs/study.py.
    path: the workdir.

  Returns:
    What summary.json holds; None where other shards' classifiers are missing.

  Raises:
    InputError: bad config or data, or a generator that has seen test lesions.
  """
  config = ml_collections.FrozenConfigDict(config)
  path = pathlib.Path(path)
  arms, seeds = _arms(config), range(config.seed, config.seed + config.seeds)
  units = [(arm, seed) for seed in seeds for arm in arms]
  own = _shard(units, config.shard)
  # What may be refused is, before anything is there.
  dataset = datasets.load(config.data)
  missing = _missing(config, dataset.info)
  if config.generator:
    generator = _allowed(config, config.generator, dataset)
  with workdir.claim(path, config, shared=True):
    with files.locked(path / ".lock", wait=True):
      provenance.write_origin(path, dataset)
    if not config.generator:
      place = _train_generator(config, path, dataset)
      generator = _allowed(config, place, dataset)
    with files.locked(path / ".synthetic.lock", wait=True):
      synthetic = synthesize.obtain(
        path / "synthetic", generator, missing, config.seed
      )
    extended = datasets.extended(dataset, synthetic, generator.origin["groups"])
    _train(config, path, own, dataset, extended)
    with files.locked(path / ".report.lock", wait=True):
      if absent := [unit for unit in units if not _is_done(path, unit)]:
        logging.info(
          "This shard, %s, is done; %d of %d classifiers are missing (%s, …). "
          "Whoever finds them all writes the report: the last shard, or the "
          "same command without --config.shard.",
          config.shard,
          len(absent),
          len(units),
          _place(path, absent[0]).name,
        )
        return None
      return study_report.write(
        path,
        config,
        dataset=dataset,
        synthetic=synthetic,
        generator=generator,
        units={
          arm: [_place(path, (arm, seed)) for seed in seeds] for arm in arms
        },
      )


def _shard(units: list, text: str) -> list:
  """Returns the part of a list that `i/n` names, i from 0; all for ``."""
  if not text:
    return units
  match = re.fullmatch(r"(\d+)/(\d+)", text)
  if not match or int(match[1]) >= int(match[2]):
    raise errors.InputError(
      f"shard={text}: i/n is wanted, with i from 0 to n - 1, as in 0/4."
    )
  return units[int(match[1]) :: int(match[2])]


def _train(config, path, units, dataset, extended) -> None:
  """Trains classifiers; those in other hands come last, and are waited for."""
  start, done = time.monotonic(), 0
  left = [unit for unit in units if not _is_done(path, unit)]
  while left:
    busy = []
    for place, unit in enumerate(left):
      rest = len(left) + len(busy) - place
      each = (time.monotonic() - start) / done if done else 0
      logging.info(
        "%s, seed %d: %d of %d classifiers left%s",
        *unit,
        rest,
        len(units),
        f", about {duration(each * rest)}" if done else "",
      )
      try:
        _unit(config, path, unit, dataset, extended)
        done += 1
      except errors.InUseError as error:
        logging.info("%s", error)
        busy.append(unit)
    if len(busy) == len(left):
      time.sleep(_PAUSE)
    left = busy


def _arms(config) -> tuple[str, ...]:
  for arm in config.arms:
    errors.require_known("arm", arm, ARMS)
  if len(set(config.arms)) < len(config.arms):
    raise errors.InputError(f"config.arms={config.arms}: each of them once.")
  for part, draws in (("gan", True), ("classifier", False)):
    task = config[part].task
    if tasks.named(task).generates != draws:
      raise errors.InputError(f"{part}.task={task} trains no {part}.")
  if not set(PAIRS[0]) <= set(config.arms):
    raise errors.InputError(
      f"config.arms={config.arms}: a verdict needs {' and '.join(PAIRS[0])}."
    )
  # What would stop a part of the study in hours is told now.
  if config.seeds < 1:
    raise errors.InputError(f"seeds={config.seeds}: at least 1 is needed.")
  for arm in config.arms:
    loop.check(_unit_config(config, arm, config.seed))
  which = config.generator_checkpoint
  errors.require_known("checkpoint", which, trained.CHECKPOINTS)
  if not config.generator:
    loop.check(_composed(config, "gan", config.seed))
    if which == "best" and not config.gan.best:
      raise errors.InputError("generator_checkpoint=best needs gan.best=kid.")
  return config.arms


def _composed(config, part: str, seed: int) -> ml_collections.ConfigDict:
  """Makes the config of a part of the study out of what the study has."""
  composed = ml_collections.ConfigDict(config[part].to_dict())
  composed.seed = seed
  composed.parallel = config.parallel
  composed.data = ml_collections.ConfigDict(config.data.to_dict())
  return composed


def _train_generator(config, path, dataset) -> pathlib.Path:
  """Trains the GAN in this study's workdir, unless that is done.

  One process does it while the others wait.
  """
  place, gan = path / "generator", _composed(config, "gan", config.seed)
  told = False
  while not trained.is_trained(place, gan.train.steps):
    try:
      loop.train(tasks.named(gan.task), gan, place, dataset)
    except errors.InUseError as error:
      if not told:
        logging.info("%s Waiting.", error)
      told = True
      time.sleep(_PAUSE)
  return place


def _allowed(config, place, dataset: datasets.Dataset) -> trained.Trained:
  """Loads a generator that has not seen what the study tests on."""
  which = config.generator_checkpoint
  generator = trained.load_generator(place, which)
  trained.require_for(generator, dataset.info)
  provenance.refuse_seen(generator.origin, dataset, "The generator", place)
  return generator


def _missing(config, info: datasets.DataInfo) -> np.ndarray:
  """Counts what each class lacks, [classes]."""
  counts = np.maximum(config.fill_to - np.array(info.class_counts), 0)
  if not counts.any():
    raise errors.InputError(
      f"fill_to={config.fill_to} adds no image: every class has as many. The "
      f"smallest has {min(info.class_counts)}."
    )
  return counts


def _place(path: pathlib.Path, unit: tuple[str, int]) -> pathlib.Path:
  return path / "units" / "{}-{}".format(*unit)


def _is_done(path: pathlib.Path, unit: tuple[str, int]) -> bool:
  return (_place(path, unit) / predictions.FILE).exists()


def _unit_config(config, arm: str, seed: int) -> ml_collections.ConfigDict:
  """Makes the config of one classifier."""
  unit = _composed(config, "classifier", seed)
  if ARMS[arm].classical:
    unit.augment.orientations = config.classical.orientations
    unit.augment.jitter = config.classical.jitter
    unit.train.sampler = config.classical.sampler
    unit.loss.balance = config.classical.balance
  return unit


def _unit(config, path, unit, dataset, extended) -> None:
  """Trains one classifier and predicts the test split, unless that is done.

  Raises:
    InUseError: another process is at it.
  """
  place, part = _place(path, unit), _unit_config(config, *unit)
  place.parent.mkdir(exist_ok=True)
  with files.locked(place.with_name(f".{place.name}.lock")):
    if not _is_done(path, unit):
      data_of_arm = extended if ARMS[unit[0]].synthetic else dataset
      task = tasks.named(part.task)
      predictions.predict(
        part, place, loop.train(task, part, place, data_of_arm)
      )
