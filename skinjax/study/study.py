"""The task that gives the verdict: whether synthetic images help a classifier.

Its units of work are the GAN (unless images are given), the synthetic images,
and a classifier for each arm and seed. Each has a lock of its own, so that any
number of processes, on any machines that share the workdir, can work on one
study.
"""

import pathlib
import re
import time
from typing import NamedTuple

import ml_collections
import numpy as np
from absl import logging

from skinjax.data import datasets, external, image_folder, provenance
from skinjax.runtime import errors, files, workdir
from skinjax.study import report
from skinjax.synthesis import generators, synthesize
from skinjax.training import loop, predictions, tasks, trained
from skinjax.training.writer import duration

_PAUSE = 5.0  # seconds between looks at what another process does


class Unit(NamedTuple):
  """A classifier of a study."""

  arm: str
  seed: int


def run(
  config: ml_collections.ConfigDict, path: str | pathlib.Path
) -> dict | None:
  """Runs a study, from where it was left, and writes its report.

  Takes the images that the config names, or draws them from the GAN that it
  names, or trains one on the fold's training lesions first; then trains every
  arm with every seed, and writes `report/`; see report.write. A unit of work
  that is done is not done again; one that another process does is waited for.
  Other seeds and arms than before go on from what is there, and the report is
  of those that the config names.

  With `shard=i/n` only every n-th classifier is trained, and the report is
  written by whichever process finds all classifiers done.

  Returns:
    What summary.json holds; None where other shards' classifiers are missing.

  Raises:
    InputError: bad config or data, images whose maker has seen test lesions, or
      of which nothing tells unless `unknown_origin` allows it.
  """
  config = ml_collections.FrozenConfigDict(config)
  path = pathlib.Path(path)
  seeds = range(config.seed, config.seed + config.seeds)
  units = [Unit(arm, seed) for seed in seeds for arm in config.arms]
  own = _shard(units, config.shard)
  # What may be refused is, before anything is there; the quickest first.
  _check(config)
  generator = None
  if config.generator:
    generator = generators.load(config.generator, config.generator_checkpoint)
  dataset = datasets.load(config.data)
  wanted = _wanted(config, dataset.info)
  folder = None
  if config.synthetic:
    folder = image_folder.read(config.synthetic, dataset.info)
    _require_origin(config, folder.origin, dataset, folder.path)
  if generator:
    _require_fits(config, generator, dataset)
  outside = None
  if config.external:
    maker = folder or generator  # one trained here learns from `dataset`
    outside = external.load(
      config.external, dataset, maker.origin if maker else None
    )
  contents = {
    "generator": generator and generator.digest,
    "synthetic": folder and datasets.fingerprint(folder.split),
  }
  with workdir.claim(
    path, config, shared=True, rules=_rules(config, path), contents=contents
  ):
    with files.locked(path / ".lock", wait=True):
      provenance.write_origin(path, dataset)
    if not folder:
      if not generator:
        place = _train_generator(config, path, dataset)
        generator = generators.load(place, config.generator_checkpoint)
        _require_fits(config, generator, dataset)
      with files.locked(path / ".synthetic.lock", wait=True):
        folder = synthesize.obtain(
          path / "synthetic", generator, wanted, config.seed
        )
    added = _added(folder, wanted, dataset.info, config.seed)
    learnt = provenance.groups_learnt(folder.origin, dataset)
    extended = datasets.extended(dataset, added, learnt)
    _train(config, path, own, dataset, extended, outside)
    with files.locked(path / ".report.lock", wait=True):
      if absent := [u for u in units if not _is_done(path, u, outside)]:
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
      return report.write(
        path,
        config,
        dataset=dataset,
        synthetic=added,
        folder=folder,
        units={
          arm: [_place(path, Unit(arm, seed)) for seed in seeds]
          for arm in config.arms
        },
        outside=outside,
      )


def _shard(units: list[Unit], text: str) -> list[Unit]:
  """Returns the part of a list that `i/n` names, i from 0; all for ``."""
  if not text:
    return units
  match = re.fullmatch(r"(\d+)/(\d+)", text)
  if not match or int(match[1]) >= int(match[2]):
    raise errors.InputError(
      f"shard={text}: i/n is wanted, with i from 0 to n - 1, as in 0/4."
    )
  return units[int(match[1]) :: int(match[2])]


def _check(config) -> None:
  """Refuses what would stop a part of the study in hours."""
  if config.synthetic and config.generator:
    raise errors.InputError(
      "config.synthetic and config.generator are both given: name the images, "
      "or the GAN that is to draw them."
    )
  for arm in config.arms:
    errors.require_known("arm", arm, config.arm)
  if len(set(config.arms)) < len(config.arms):
    raise errors.InputError(f"config.arms={config.arms}: each of them once.")
  if not set(config.pairs[0]) <= set(config.arms):
    raise errors.InputError(
      f"config.arms={config.arms}: a verdict needs "
      f"{' and '.join(config.pairs[0])}."
    )
  if config.seeds < 1:
    raise errors.InputError(f"seeds={config.seeds}: at least 1 is needed.")
  for part, generates in (("gan", True), ("classifier", False)):
    task = tasks.named(config[part].task)
    if task.generates != generates:
      raise errors.InputError(f"{part}.task={task.name} trains no {part}.")
  for arm in config.arms:
    loop.check(_unit_config(config, Unit(arm, config.seed)))
  which = config.generator_checkpoint
  errors.require_known("checkpoint", which, trained.CHECKPOINTS)
  if not (config.generator or config.synthetic):
    loop.check(workdir.composed(config, "gan"))
    if which == "best" and not config.gan.best:
      raise errors.InputError("generator_checkpoint=best needs gan.best=kid.")


def _rules(config, path: pathlib.Path) -> dict[str, workdir.Rule]:
  """Returns what may become of a study's config; see workdir.claim.

  Units are found by arm and seed: whatever else made them has to stay.
  """

  def arm(before, now):
    for name, known in (before or {}).items():
      if now.get(name) != known:
        return (
          f"config.arm.{name} is not what it was: give a changed arm a name of "
          "its own, and leave out arms in config.arms alone"
        )
    return None

  def gan_steps(before, now):
    if config.generator or config.synthetic:  # no GAN is trained here
      return None
    return (
      f"gan.train.steps was {before}, is {now}, and classifiers here have "
      "learnt from the images of the GAN as it was: to train it further, begin "
      f"another study in a directory with a copy of {path / 'generator'} in it"
    )

  def classifier_steps(before, now):
    return (
      f"classifier.train.steps was {before}, is {now}, and all classifiers of "
      "a study are trained alike"
    )

  return {
    "seeds": lambda before, now: None,
    "arms": lambda before, now: None,
    "arm": arm,
    "gan.train.steps": gan_steps,
    "classifier.train.steps": classifier_steps,
  }


def _require_fits(
  config, generator: generators.Generator, dataset: datasets.Dataset
) -> None:
  """Refuses a generator of other data, or that has seen what is tested on."""
  trained.require_for(generator, dataset.info)
  _require_origin(config, generator.origin, dataset, generator.path)


def _require_origin(config, origin, dataset, place) -> None:
  """Refuses images whose maker has seen held-out lesions, or may have."""
  known = provenance.refuse_seen(origin, dataset, "What made the images", place)
  if not known and not config.unknown_origin:
    raise errors.InputError(
      f"{place} does not tell which lesions the maker of its images has learnt "
      "from, so that it may have seen test lesions: give it a provenance.json "
      'with {"trained_on": {"image_ids": [...]}}, ids of this data set (those '
      f"of HAM10000: python -m tfds_ham10000.folds --fold={config.data.fold}), "
      "or go on with --config.unknown_origin=True; the verdict then says that "
      "a leak cannot be excluded."
    )


def _wanted(config, info: datasets.DataInfo) -> np.ndarray:
  """Counts the synthetic images that each class is to have, [classes]."""
  counts = np.array(info.class_counts)
  fill_to = config.fill_to or max(int(np.median(counts)), 2 * counts.min())
  wanted = np.maximum(fill_to - counts, 0)
  if not wanted.any():
    raise errors.InputError(
      f"fill_to={fill_to} adds no image: every class has as many. The "
      f"smallest has {counts.min()}."
    )
  return wanted


def _added(
  folder: image_folder.ImageFolder,
  wanted: np.ndarray,
  info: datasets.DataInfo,
  seed: int,
) -> datasets.Split:
  """Takes so many images of each class at random, or all that there are."""
  rng, places = np.random.default_rng(seed), []
  for label, count in enumerate(wanted):
    mine = np.flatnonzero(folder.split.labels == label)
    places.append(np.sort(rng.permutation(mine)[:count]))
  added = [len(part) for part in places]
  names = info.class_names
  if not sum(added):
    lacking = [n for n, count in zip(names, wanted, strict=True) if count]
    raise errors.InputError(
      f"{folder.path} has no image of a class that lacks some "
      f"({', '.join(lacking)}): raise fill_to, or give images of these."
    )
  logging.info(
    "Added to the training images: %s",
    ", ".join(f"{n} {k}" for n, k in zip(names, added, strict=True) if k),
  )
  short = [
    f"{name} {given} of {count}"
    for name, given, count in zip(names, added, wanted, strict=True)
    if given < count
  ]
  if short:
    logging.info(
      "The folder has fewer images than fill_to asks for: %s.", ", ".join(short)
    )
  return folder.split.take(np.concatenate(places))


def _train(config, path, units, dataset, extended, outside) -> None:
  """Trains classifiers; those in other hands come last, and are waited for."""
  start, done = time.monotonic(), 0
  left = [unit for unit in units if not _is_done(path, unit, outside)]
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
        _train_unit(config, path, unit, dataset, extended, outside)
        done += 1
      except errors.InUseError as error:
        logging.info("%s", error)
        busy.append(unit)
    if len(busy) == len(left):
      time.sleep(_PAUSE)
    left = busy


def _train_generator(config, path, dataset) -> pathlib.Path:
  """Trains this study's GAN unless that is done; the other processes wait."""
  place, gan = path / "generator", workdir.composed(config, "gan")
  waiting = False
  while not trained.is_trained(place, gan.train.steps):
    try:
      loop.train(tasks.named(gan.task), gan, place, dataset)
    except errors.InUseError as error:
      if not waiting:
        logging.info("%s Waiting.", error)
      waiting = True
      time.sleep(_PAUSE)
  return place


def _place(path: pathlib.Path, unit: Unit) -> pathlib.Path:
  return path / "units" / f"{unit.arm}-{unit.seed}"


def _is_done(path: pathlib.Path, unit: Unit, outside=None) -> bool:
  """Returns whether a unit has predicted what it is to, `outside` too."""
  place = _place(path, unit)
  return (place / predictions.FILE).exists() and (
    outside is None or predictions.has_external(place, outside)
  )


def _unit_config(config, unit: Unit) -> ml_collections.ConfigDict:
  """Makes the config of one classifier."""
  made = workdir.composed(config, "classifier")
  made.seed = unit.seed
  for section, changes in config.arm[unit.arm].changes.items():
    errors.require_known(f"section of arm {unit.arm},", section, made)
    for key, value in changes.items():
      errors.require_known(f"key of arm {unit.arm},", key, made[section])
      made[section][key] = value
  return made


def _train_unit(config, path, unit: Unit, dataset, extended, outside) -> None:
  """Trains one classifier and predicts the test splits, unless that is done.

  Raises:
    InUseError: another process is at it.
  """
  place, made = _place(path, unit), _unit_config(config, unit)
  place.parent.mkdir(exist_ok=True)
  with files.locked(place.with_name(f".{place.name}.lock")):
    if not _is_done(path, unit):
      learnt = extended if config.arm[unit.arm].synthetic else dataset
      result = loop.train(tasks.named(made.task), made, place, learnt)
      predictions.predict(made, place, result, outside)
    elif not _is_done(path, unit, outside):
      predictions.predict_external(place, outside)
