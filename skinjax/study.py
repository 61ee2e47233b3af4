"""The task that gives the verdict: classifiers with and without GAN images."""

import pathlib
import time

import ml_collections
import numpy as np
from absl import logging

from skinjax import (
  data,
  errors,
  inference,
  loop,
  scores,
  study_report,
  synthesize,
  workdir,
)
from skinjax.study_report import ARMS, PAIRS
from skinjax.writer import duration


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path) -> dict:
  """Runs a study, from where it was left, and writes its report.

  Trains a GAN on the fold's training lesions unless the config names one,
  draws the synthetic set, trains every arm with every seed, and writes
  `report/index.html`, `report/summary.json` and two tables, `report/scores.csv`
  and `report/differences.csv`. A unit of work that is done is not done again.

  Args:
    config: of configs/study.py.
    path: the workdir.

  Returns:
    What summary.json holds.

  Raises:
    InputError: bad config or data, or a generator that has seen test lesions.
  """
  config = ml_collections.FrozenConfigDict(config)
  path = pathlib.Path(path)
  arms = _arms(config)
  with workdir.claim(path, config):
    dataset = data.load(config.data)
    missing = _missing(config, dataset.info)
    generator = _generator(config, path, dataset)
    synthetic = synthesize.obtain(
      path / "synthetic", generator, missing, config.seed
    )
    seeds = range(config.seed, config.seed + config.seeds)
    left = [
      (seed, arm)
      for seed in seeds
      for arm in arms
      if not (_place(path, arm, seed) / scores.FILE).exists()
    ]
    start = time.monotonic()
    for done, (seed, arm) in enumerate(left):
      each = (time.monotonic() - start) / done if done else 0
      logging.info(
        "%s, seed %d: %d of %d classifiers left%s",
        arm,
        seed,
        len(left) - done,
        len(seeds) * len(arms),
        f", about {duration(each * (len(left) - done))}" if done else "",
      )
      _unit(config, path, arm, seed, dataset, synthetic)
    return study_report.write(
      path,
      config,
      dataset=dataset,
      synthetic=synthetic,
      generator=generator,
      units={arm: [_place(path, arm, seed) for seed in seeds] for arm in arms},
    )


def _arms(config) -> tuple[str, ...]:
  for arm in config.arms:
    errors.require_known("arm", arm, ARMS)
  if not set(PAIRS[0]) <= set(config.arms):
    raise errors.InputError(
      f"config.arms={config.arms}: a verdict needs {' and '.join(PAIRS[0])}."
    )
  # What would stop a part of the study in hours is told now.
  if config.seeds < 1:
    raise errors.InputError(f"seeds={config.seeds}: at least 1 is needed.")
  for arm in config.arms:
    loop.check(_unit_config(config, arm, config.seed))
  if not config.generator:
    loop.check(_composed(config, "gan", config.seed))
  return config.arms


def _composed(config, part: str, seed: int) -> ml_collections.ConfigDict:
  """Makes the config of a part of the study out of what the study has."""
  composed = ml_collections.ConfigDict(config[part].to_dict())
  composed.seed = seed
  composed.parallel = config.parallel
  composed.data = ml_collections.ConfigDict(config.data.to_dict())
  return composed


def _generator(config, path, dataset) -> inference.Trained:
  """Returns the generator, trained here unless the config names one."""
  place = config.generator
  if not place:
    place = path / "generator"
    gan = _composed(config, "gan", config.seed)
    loop.train(inference.task_named(gan.task), gan, place, dataset)
  generator = inference.load(place, dataset.info)
  seen = set(generator.origin["groups"])
  for split in ("test", "validation"):
    leaked = seen.intersection(getattr(dataset, split).groups)
    if leaked:
      raise errors.InputError(
        f"The generator in {place} was trained on {len(leaked)} lesions of "
        f"this study's {split} split ({sorted(leaked)[0]}, …): train one with "
        f"data.fold={config.data.fold}, data.num_folds="
        f"{config.data.num_folds}, data.fold_seed={config.data.fold_seed}."
      )
  return generator


def _missing(config, info: data.DataInfo) -> np.ndarray:
  """Counts what each class lacks, [classes]."""
  counts = np.maximum(config.fill_to - np.array(info.class_counts), 0)
  if not counts.any():
    raise errors.InputError(
      f"fill_to={config.fill_to} adds no image: every class has as many. The "
      f"smallest has {min(info.class_counts)}."
    )
  return counts


def _place(path: pathlib.Path, arm: str, seed: int) -> pathlib.Path:
  return path / "units" / f"{arm}-{seed}"


def _unit_config(config, arm: str, seed: int) -> ml_collections.ConfigDict:
  """Makes the config of one classifier."""
  unit = _composed(config, "classifier", seed)
  if ARMS[arm].classical:
    unit.augment.orientations = config.classical.orientations
    unit.augment.jitter = config.classical.jitter
    unit.train.sampler = config.classical.sampler
    unit.loss.balance = config.classical.balance
  return unit


def _unit(config, path, arm, seed, dataset, synthetic) -> None:
  """Trains one classifier and predicts the test split."""
  place, unit = _place(path, arm, seed), _unit_config(config, arm, seed)
  if ARMS[arm].synthetic:
    dataset = data.extended(dataset, synthetic)
  loop.train(inference.task_named(unit.task), unit, place, dataset)
  scores.predict(place, dataset)
