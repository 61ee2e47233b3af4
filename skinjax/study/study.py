"""The study task: tests whether synthetic images help a classifier.

Its units of work are, for each fold, a GAN (unless images are given), its
images, and a classifier for each network, arm and seed. Each has its own lock,
so any number of processes, on any machines that share the workdir, can work on
one study.
"""

import functools
import pathlib
import re
import time
from typing import NamedTuple

import ml_collections
import numpy as np
from absl import logging

from skinjax.data import external, sources
from skinjax.runtime import errors, files, workdir
from skinjax.runtime.progress import duration
from skinjax.study import (
  folds,
  head,
  networks,
  plan,
  report,
  scoring,
  units,
)
from skinjax.synthesis import quality
from skinjax.training import kid, loop, tasks, trained

# To pass the filter, an image must show its class better than this share of the
# class's validation images.
_SHOWN_LESS = 0.2


def run(
  config: ml_collections.ConfigDict, path: str | pathlib.Path
) -> dict | None:
  """Run or resume a study, and write its report.

  For each fold, it reads the images that the config names, or generates them
  with the GAN that the config names, or with a GAN that it first trains on the
  fold's training lesions. It trains every arm with every seed, chooses the arms
  to compare by the validation lesions (see plan.py), and only then predicts the
  test lesions. `report/` is written when all folds are done; see report.write.

  Finished work is not repeated, and work of another process is waited for. With
  other folds, networks, seeds or arms than before, the study resumes from
  existing files, and the report covers those that the config names.

  With `shard=i/n`, only every n-th classifier is trained. The report is written
  by the process that finds all classifiers done.

  Returns:
    The content of summary.json; None if classifiers of other shards are
    missing, and for a dry run.

  Raises:
    InputError: bad config or data; or the generator of the images has seen test
      lesions, or its training data are unknown and `unknown_origin` is not set,
      or it knows more pretrained networks than the network of the verdict and
      `other_pretraining` is not set.
  """
  config = ml_collections.FrozenConfigDict(config)
  path = pathlib.Path(path)
  _check(config)  # before any file is written
  plan.require_same_network(config, path)
  if config.dry_run and not sources.is_there(config.data):
    raise errors.InputError(
      f"dry_run: {config.data.name} would have to be downloaded first. Set "
      "data.manual_dir or data.data_dir to where it is, or start without "
      "dry_run."
    )
  admitted = _admitted(config)
  if config.dry_run:
    logging.info("%s", _dry_run(config, path, admitted))
    return None
  rules = _rules(config, path)
  with workdir.claim(path, config, shared=True, rules=rules):
    plan.keep_network(config, path)
    return _run(config, path, admitted)


class Admitted(NamedTuple):
  """The folds of a study, after all checks."""

  numbers: tuple[int, ...]
  left_out: tuple[int, ...]  # the generator has seen their held-out lesions


def _check(config) -> None:
  """Refuse configs that would fail only after hours."""
  if sum(map(bool, (config.synthetic, config.generator, config.control))) > 1:
    raise errors.InputError(
      "Set at most one of config.synthetic (your images), config.generator (a "
      "GAN that generates them) and config.control (real images instead)."
    )
  plan.check(config)
  folds.numbers(config)
  _shard([], config.shard)
  errors.require_known(
    "checkpoint", config.generator_checkpoint, trained.CHECKPOINTS
  )
  tasks.gan(config.gan.task)
  if not (config.generator or config.synthetic or config.control):
    loop.check(folds.gan_config(config, -1))
    if config.generator_checkpoint == "best" and not config.gan.best:
      name = kid.measured(config.gan)[-1]
      raise errors.InputError(
        f"generator_checkpoint=best: gan.best is empty. Use gan.best={name}, "
        "with a gan.kid_every above 0."
      )


def _shard(every: list, text: str) -> list:
  """Return part i (from 0) of n parts of a list for `i/n`; all of it for ``."""
  if not text:
    return every
  match = re.fullmatch(r"(\d+)/(\d+)", text)
  if not match or int(match[1]) >= int(match[2]):
    raise errors.InputError(
      f"shard={text}: i/n is expected, with i from 0 to n - 1, such as 0/4."
    )
  return every[int(match[1]) :: int(match[2])]


def _rules(config, path: pathlib.Path) -> dict[str, workdir.Rule]:
  """Return which keys of a study's config may change; see workdir.claim.

  Some may change freely, because units are named by everything that they depend
  on, and a fold refuses other images than those that it was started with.
  """

  def arm(before, now):
    # Another description is no other arm.
    recipe = lambda arms, name: (
      {**arms[name], "description": ""} if name in arms else None
    )
    for name in before or {}:
      if recipe(before, name) != recipe(now, name):
        return (
          f"config.arm.{name} has changed: give a changed arm a new name; to "
          "leave out arms, use config.arms"
        )
    return None

  def network(before, now):
    """Refuse a changed network once its classifiers have chosen arms."""
    for name in plan.read(path)["choices"]:
      old, new = (workdir.flat(x.get(name) or {}) for x in (before, now))
      for key in sorted({*old, *new} - {"arms"}):
        if old.get(key) != new.get(key) and not workdir.is_free(key):
          return (
            f"network.{name}.{key} was {old.get(key)!r}, is {new.get(key)!r}, "
            "and the compared arms were chosen with the former"
          )
    return None

  def gan_steps(before, now):
    if config.generator or config.synthetic:  # no GAN is trained here
      return None
    makers = (
      str(folds.place(path, number) / "generator")
      for number in folds.numbers(config)
    )
    return (
      f"gan.train.steps was {before}, is {now}, and classifiers here were "
      "trained on images of the GAN as it was: to train it further, start "
      f"another study in a directory with copies of {', '.join(makers)}"
    )

  def until(before, now):
    words = f"until was {before}, is {now}, and can be set only once"
    return words if before else None

  def seeds(before, now):
    if plan.read(path)["until"]:
      return (
        f"seeds was {before}, is {now}, and the first {before} have decided "
        "how many seeds the verdict gets: use another workdir"
      )
    return None

  def level(before, now):
    if now > before:
      return None
    return f"level was {before}, is {now}, and may only rise"

  # The network of the verdict is kept in plan.json.
  free = ("folds", "seeds_most", "networks", "verdict_network", "arms")
  given = ("generator", "synthetic", "unknown_origin", "other_pretraining")
  return {
    **dict.fromkeys((*free, *given), lambda before, now: None),
    "arm": arm,
    "network": network,
    "gan.train.steps": gan_steps,
    "until": until,
    "seeds": seeds,
    "level": level,
  }


def _admitted(config) -> Admitted:
  """Check every fold's data and images before any work starts.

  Raises:
    InputError: they cannot be used, or no fold can be.
  """
  known, unseen, seen = folds.numbers(config), [], []
  for number in known:
    dataset = folds.load(config, number)
    _require_more(config, dataset.info)
    found = folds.given(config, number, dataset.info, folds.seeds(config))
    _require_same_knowledge(config, found)
    _warn_of_too_few(config, found, dataset.info)
    (unseen if folds.has_not_seen(config, found, dataset) else seen).append(
      number
    )
    makers = (*found.folders.values(), *found.generators.values())
    _outside(config, dataset, [maker.origin for maker in makers])
  if not unseen:
    place = config.synthetic or config.generator
    raise errors.InputError(
      f"The generator of the images in {place} was trained on test or "
      "validation lesions of every fold: give one per fold, with {fold} in the "
      "path, each trained on its fold's training lesions, which "
      "configs/split.py lists."
    )
  if seen:
    logging.warning(
      "Folds %s are left out: the generator has seen their held-out lesions.",
      ", ".join(map(str, seen)),
    )
  return Admitted(tuple(unseen), tuple(seen))


def _require_same_knowledge(config, found: folds.Given) -> None:
  """Refuse a verdict that would measure a pretrained network's knowledge."""
  through = folds.pretrained(config, found)
  more = plan.other_pretraining(config, through)
  if more and not config.other_pretraining:
    network = plan.verdict_network(config)
    raise errors.InputError(
      f"The generator of the images was trained through {', '.join(more)}, "
      f"from which {network} does not start: it would gain from that "
      "pretraining through the images alone. For EfficientNet-Lite0, use "
      "--config.networks=head or efficientnet. For any other network, set "
      "--config.other_pretraining=True; the verdict then states that a gain "
      "may come from it."
    )


def _outside(config, dataset, origins) -> external.External | None:
  """Read the external test set, if there is one.

  `origins` record what the generators of the fold's images were trained on;
  empty if one will be trained here, on `dataset`.
  """
  if not config.external:
    return None
  return external.load(config.external, dataset, origins)


def _warn_of_too_few(config, found: folds.Given, info) -> None:
  """Warn of classes with fewer given images than the arms want."""
  wanted = plan.wanted(plan.recipes(config), info)
  most = np.max(list(wanted.values()), axis=0)
  for folder in found.folders.values():
    short = [
      f"{there} of {info.class_names[label]} ({most[label]} wanted)"
      for label, there in folds.short(folder, most).items()
    ]
    if short:
      logging.warning(
        "%s has few images: %s. Arms use what there is.",
        folder.path,
        ", ".join(short),
      )


def _require_more(config, info) -> None:
  """Refuse doses that add no image."""
  wanted = plan.wanted(plan.recipes(config), info)
  if not any(counts.any() for counts in wanted.values()):
    raise errors.InputError(
      "The arms' doses add no synthetic image: for every class, the dose times "
      "the real images is less than half an image. Raise config.arm.NAME.dose."
    )


def _fold(config, path: pathlib.Path, number: int, extract) -> folds.Fold:
  """Load a fold, and read or generate its image folders."""
  dataset = folds.load(config, number)
  found = folds.given(config, number, dataset.info, folds.seeds(config))
  needed = plan.wanted(plan.recipes(config), dataset.info)
  # Arms that are added later find their images, too.
  possible = plan.wanted(plan.possible(config), dataset.info)
  counts = np.max(list(possible.values()), axis=0)
  fold = folds.prepare(config, path, number, dataset, found, counts, needed)
  units.write_images(fold)
  if not any(arm.filtered for arm in plan.recipes(config).values()):
    return fold
  return fold._replace(
    passes={s: _passes(config, fold, s, extract) for s in fold.folders}
  )


def _passes(config, fold: folds.Fold, seed: int, extract) -> np.ndarray:
  """Return which of a folder's images pass the filter, cached in a file."""
  made = ml_collections.ConfigDict(config.network[networks.HEAD].to_dict())
  del made.arms
  made.train.sampler = "balanced"
  made.augment.orientations = False  # score images in one orientation
  of_head = files.short_digest(made.to_dict())
  record = fold.path / f"passes-{fold.digests[seed][:12]}-{of_head}.npz"
  if record.exists():
    return files.read_arrays(record, "remove it to filter again")["passes"]
  predict = head.learn(
    made, fold.dataset, fold.path / f"filter-{of_head}", extract(made.input)
  )
  split, dataset = fold.folders[seed].split, fold.dataset
  criteria = (
    quality.agreement(predict, dataset.validation, _SHOWN_LESS),
    quality.originality(dataset, dataset.train.groups),
  )
  passes = quality.passes(criteria, split)
  files.write_arrays(record, passes=passes)
  return passes


def _run(config, path: pathlib.Path, admitted: Admitted) -> dict | None:
  """Run the admitted folds; see `run`."""
  extract = functools.cache(lambda size: head.Features(size, path / "features"))
  progress = plan.Progress(config, admitted.numbers)
  done = dict.fromkeys(admitted.numbers)
  for _ in range(2):  # other shards may finish a fold after the first visit
    for number in [n for n, found in done.items() if found is None]:
      done[number] = _do_fold(config, path, number, extract, progress)
  if None in done.values():
    logging.info(
      "Shard %s is done; classifiers of other shards are missing:\n%s\nThe "
      "last shard to finish writes the report, or the same command without "
      "--config.shard.",
      config.shard,
      progress.table(),
    )
    return None
  if config.until:
    done = _with_more_seeds(config, path, done, extract)
  with files.locked(path / ".report.lock", wait=True):
    first = _fold(config, path, admitted.numbers[0], extract)
    return report.write(
      path,
      config,
      list(done.values()),
      first,
      _outside_of(config, first),
      admitted.left_out,
    )


def _do_fold(
  config, path, number: int, extract, progress: plan.Progress
) -> report.FoldRead | None:
  """Train a fold's classifiers, choose arms, and predict the test lesions.

  Returns None if classifiers of other shards are missing.
  """
  fold = _fold(config, path, number, extract)
  outside = _outside_of(config, fold)
  seeds = list(folds.seeds(config))
  every = [
    units.work(config, fold, unit)
    for unit in plan.units_of(config, number, seeds)
  ]
  validation = {units.VALIDATION: fold.dataset.validation}
  progress.find(every)
  logging.info("%s", progress.table())
  _work_off(_shard(every, config.shard), validation, extract, progress)
  progress.find(every)
  if not all(units.has(made, units.VALIDATION) for made in every):
    return None
  for network in config.networks:
    if plan.choice(config, path, network, number) is None:
      plan.choose(
        config,
        path,
        network,
        number,
        {
          arm: [
            units.read(made, units.VALIDATION, fold.dataset.validation)
            for made in every
            if made.unit.network == network and made.unit.arm == arm
          ]
          for arm in plan.arms_of(config, network)
        },
        fold.dataset.validation.labels,
      )
  _work_off(every, units.held_out(fold, outside), extract)
  return report.read_fold(config, path, fold, outside, seeds)


def _with_more_seeds(config, path, done: dict, extract) -> dict:
  """Run the additional seeds that the verdict's interval needs; see plan.py."""
  needed = scoring.seeds_needed(
    [fold.done for fold in done.values()],
    plan.verdict_network(config),
    first=config.seeds,
    half_width=config.until,
    most=config.seeds_most,
    level=config.level,
    seed=config.seed,
  )
  decided = plan.decide_seeds(config, path, needed, list(done))
  logging.info(
    "The verdict gets %d seeds: %s.", decided["seeds"], decided["reason"]
  )
  every = range(config.seed, config.seed + decided["seeds"])
  network = plan.verdict_network(config)
  for number in done:
    fold = _fold(config, path, number, extract)
    chosen = plan.choice(config, path, network, number)
    outside = _outside_of(config, fold)
    made = [
      units.work(config, fold, units.Unit(network, chosen[key], number, seed))
      for seed in every
      for key in scoring.KEYS.values()
    ]
    _work_off(made, units.held_out(fold, outside), extract)
    done[number] = report.read_fold(config, path, fold, outside, list(every))
  return done


def _outside_of(config, fold: folds.Fold) -> external.External | None:
  origins = [folder.origin for folder in fold.folders.values()]
  return _outside(config, fold.dataset, origins)


def _work_off(
  made: list[units.Work], wanted, extract, progress: plan.Progress | None = None
) -> None:
  """Predict splits with units; units that other processes use come last."""
  left = list(made)
  while left:
    busy = []
    for one in left:
      done = all(units.has(one, name) for name in wanted)
      if not done:
        logging.info(
          "%s%s",
          one.unit,
          f"; time left for all: {duration(progress.left())}"
          if progress
          else "",
        )
      try:
        units.predict(one, wanted, extract)
      except errors.InUseError:
        logging.info("%s: another process trains it", one.unit)
        busy.append(one)
        continue
      if progress:
        progress.done(one.unit, units.seconds(one.place))
    if len(busy) == len(left):
      time.sleep(folds.PAUSE)
    left = busy


def _dry_run(config, path: pathlib.Path, admitted: Admitted) -> str:
  """Describe the remaining work, in words and a table."""
  progress = plan.Progress(config, admitted.numbers)
  lines, size, any_done = [], 0.0, False
  for number in admitted.numbers:
    for unit in plan.units_of(config, number, folds.seeds(config)):
      if found := units.named(folds.place(path, number), unit):
        progress.done(unit, units.seconds(found[0]))
        any_done = True
      size += plan.megabytes(config, unit.network)
  for network in config.networks:
    names = ", ".join(plan.arms_of(config, network))
    lines.append(f"{network}: {names}")
    for arm, why in plan.left_out(config, network).items():
      lines.append(f"  left out: {arm} ({why})")
  trains = not (config.generator or config.synthetic or config.control)
  if trains:
    lines.append(
      f"one GAN per fold: {config.gan.task}, {config.gan.train.steps} steps, "
      f"about {duration(plan.estimate_gan(config))} each, unless trained before"
    )
  tested = f"folds: {', '.join(map(str, admitted.numbers))}"
  if admitted.numbers == (-1,):
    tested = "the fixed split"
  lines += [
    f"{tested}; seeds: {config.seeds}",
    f"network of the verdict: {plan.verdict_network(config)}",
    progress.table(),
    *["those done may include classifiers of other settings"] * any_done,
    f"all classifiers, in one process: {duration(progress.left())}, "
    f"{size / 1000:.1f} GB",
  ]
  if trains:
    gans = len(admitted.numbers) * plan.estimate_gan(config)
    lines.append(f"with the GANs: {duration(progress.left() + gans)}")
  return "\n".join(lines)
