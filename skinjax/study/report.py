"""Writes a study's report from the predictions of its classifiers."""

import collections
import importlib.metadata
import json
import os
import pathlib
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from PIL import Image

import skinjax
from skinjax.data import datasets, external, image_folder, provenance
from skinjax.metrics import diversity
from skinjax.runtime import command_line, files, workdir
from skinjax.study import (
  arms,
  folds,
  networks,
  page,
  plan,
  scoring,
  summary,
  units,
)
from skinjax.synthesis import synthesize

_COLUMNS = 8  # of the sheets
_AFTER_CONTROL = (
  "If other lesions' images help here, the study can detect such a gain: run "
  "it without --config.control, to see whether synthetic images give it.",
)
_PACKAGES = ("jax", "flax", "optax", "numpy", "scipy")


class FoldRead(NamedTuple):
  """What a report tells of a fold."""

  done: scoring.FoldDone
  origin_known: bool  # whether it is known what the generators have seen
  pretrained: frozenset[str]  # networks that they were trained through
  pretrained_known: bool  # whether the images' folders record them
  # Whether the images of each seed are known to be of another generator.
  own_generators: bool
  # By class, the least diverse of the fold's image folders.
  diversity: Mapping[str, diversity.ClassDiversity]
  # By arm, the number of images of each class that has too few, by label.
  short: Mapping[str, Mapping[int, int]]
  seconds: Mapping[str, float]  # of all classifiers, by network


def read_fold(
  config,
  path: pathlib.Path,
  fold: folds.Fold,
  outside: external.External | None,
  seeds: Sequence[int],
) -> FoldRead:
  """Read the predictions of a fold's classifiers.

  Every arm has the config's seeds; the arms chosen for the verdict have all of
  `seeds`.
  """
  train, test = fold.dataset.train, fold.dataset.test
  classes = range(fold.dataset.info.num_classes)
  first, decisive = list(folds.seeds(config)), plan.verdict_network(config)
  choices = {
    network: plan.choice(config, path, network, fold.number)
    for network in config.networks
  }
  predicted, of_external, read = {}, {}, {}
  for network in config.networks:
    for arm in plan.arms_of(config, network):
      chosen = [choices[network][key] for key in scoring.KEYS.values()]
      asked = seeds if network == decisive and arm in chosen else first
      made = [
        units.work(config, fold, units.Unit(network, arm, fold.number, seed))
        for seed in asked
      ]
      read |= {one.place: one for one in made}  # seeds may share a unit
      key = network, arm
      predicted[key] = np.stack(
        [units.read(one, units.TEST, test) for one in made]
      )
      if outside:
        name = units.external_name(outside)
        of_external[key] = np.stack(
          [units.read(one, name, outside.split) for one in made]
        )
  chosen = choices[decisive][scoring.KEYS[scoring.WITH]]
  taken = arms.taken(config.arm[chosen], fold, config.seed)
  added = [] if taken.pool is None else taken.pool.labels[taken.added]
  seconds = dict.fromkeys(config.networks, 0.0)
  for one in read.values():
    seconds[one.unit.network] += units.seconds(one.place)
  done = scoring.FoldDone(
    number=fold.number,
    labels=test.labels,
    groups=test.groups,
    train_counts=np.bincount(train.labels, minlength=len(classes)),
    train_groups=np.array(
      [len(np.unique(train.groups[train.labels == k])) for k in classes]
    ),
    choices=choices,
    predictions=predicted,
    external=of_external,
    added=np.bincount(np.array(added, int), minlength=len(classes)),
  )
  folders = fold.folders.values()
  return FoldRead(
    done,
    origin_known=all(
      provenance.groups_learnt(folder.origin, fold.dataset) is not None
      for folder in folders
    ),
    pretrained=frozenset().union(*(folder.pretrained for folder in folders)),
    pretrained_known=all("pretrained" in f.provenance for f in folders),
    own_generators=_own_generators(folders),
    diversity=_diversity(fold),
    short={
      name: found
      for name, counts in plan.wanted(
        plan.recipes(config), fold.dataset.info
      ).items()
      if (found := _short(counts, fold))
    },
    seconds=seconds,
  )


def _own_generators(found: Iterable[image_folder.ImageFolder]) -> bool:
  """Return whether image folders are known to be of different generators."""
  digests = [folder.generator.get("state_sha256") for folder in found]
  known = all(isinstance(digest, str) for digest in digests)
  return known and len(set(digests)) == len(digests)


def _diversity(fold: folds.Fold) -> dict[str, diversity.ClassDiversity]:
  """Compare each class's images with real ones; keep the least diverse."""
  info = fold.dataset.info
  distances = lambda split: diversity.distances(
    split.images, split.labels, info.class_names
  )
  real = distances(fold.dataset.train)
  return _least_diverse(
    diversity.compare(distances(folder.split), real, info.collapse)
    for folder in fold.folders.values()
  )


def _least_diverse(
  found: Iterable[Mapping[str, diversity.ClassDiversity]],
) -> dict[str, diversity.ClassDiversity]:
  least = {}
  for name, row in (item for rows in found for item in rows.items()):
    least[name] = min(row, least.get(name, row), key=lambda x: x.ratio)
  return least


def _short(wanted: np.ndarray, fold: folds.Fold) -> dict[int, int]:
  """Count the images of the classes that have fewer than `wanted`, [classes].

  What a filter drops counts as well: an arm asks for images before it.
  """
  found = {}
  for folder in fold.folders.values():
    for label, there in folds.short(folder, wanted).items():
      found[label] = max(found.get(label, 0), there)
  return found


def write(
  path: pathlib.Path,
  config,
  read: Sequence[FoldRead],
  fold: folds.Fold,
  outside: external.External | None,
  left_out: Sequence[int],
) -> dict:
  """Write WORKDIR/report: the page, summary.json and two tables.

  `fold` is the first of those read; its images are shown. `left_out` are folds
  whose held-out lesions the generator has seen.

  Returns:
    The content of summary.json; see study/summary.py.
  """
  info, decisive = fold.dataset.info, plan.verdict_network(config)
  folder = fold.folders[fold.folder_of(config.seed)]
  decided = plan.read(path)
  until = decided["until"] or None
  done = [one.done for one in read]
  known = {*(str(one.number) for one in done), *map(str, left_out)}
  dropped = sorted(decided["choices"][decisive].keys() - known)
  result = summary.summarize(
    about=_about(config, read, fold, folder, left_out, dropped),
    folds=done,
    class_names=info.class_names,
    networks={
      network: {
        "pretrained": networks.pretrained(config, network),
        "left_out": plan.left_out(config, network),
      }
      for network in config.networks
    },
    arms={name: arm.to_dict() for name, arm in config.arm.items()},
    verdict_network=decisive,
    seeds=config.seeds,
    until=until,
    level=config.level,
    seed=config.seed,
  )
  if outside:
    result["external"] = summary.summarize_external(
      folds=done,
      network=decisive,
      seeds=config.seeds,
      name=outside.name,
      note=outside.note,
      notes=() if outside.groups_known else (datasets.GROUPS_UNKNOWN,),
      traced=outside.traced,
      left_out=outside.left_out,
      labels=outside.split.labels,
      groups=outside.split.groups,
      class_names=info.class_names,
      level=config.level,
      seed=config.seed,
    )
  report = path / "report"
  report.mkdir(exist_ok=True)
  files.write_json(report / "summary.json", result)
  files.write_text(report / "scores.csv", _scores_table(result))
  files.write_text(report / "differences.csv", _differences_table(result))
  text = page.render(
    result,
    sheets={
      "Real": _sheet(fold.dataset.train, info, folder.split),
      folder.title: _sheet(folder.split, info, folder.split),
    },
    diversity={
      name: _records(place, [f"diversity/{name}"])
      for name, place in _trainings(folder, info.class_names).items()
    },
  )
  files.write_text(report / "index.html", text)
  _tell(result, report)
  return result


def _trainings(folder, class_names) -> dict[str, pathlib.Path]:
  """Return the workdir of each class's GAN, if it still exists."""
  place = folder.generator.get("workdir")
  if not isinstance(place, str):
    return {}
  found = {}
  for name in class_names:
    for training in (pathlib.Path(place), pathlib.Path(place, name)):
      if (training / "metrics.jsonl").exists():
        found[name] = training  # a GAN of the class is preferred to one of all
  return found


def _notes(
  read: Sequence[FoldRead],
  info: datasets.DataInfo,
  left_out: Sequence[int],
  dropped: Sequence[str],
) -> list[str]:
  """Tell the limits of this study, besides those of all.

  `dropped` are folds that the study once had.
  """
  notes = [] if info.groups_known else [datasets.GROUPS_UNKNOWN]
  if dropped:
    notes.append(
      f"Folds {', '.join(dropped)} were run in this workdir before, and are "
      "not part of this verdict."
    )
  tested = np.concatenate([one.done.labels for one in read])
  if absent := sorted(set(range(info.num_classes)) - set(tested.tolist())):
    notes.append(
      f"No test image shows {', '.join(info.class_names[k] for k in absent)}: "
      "the balanced accuracy is that of the other classes."
    )
  if left_out:
    notes.append(
      f"Folds {', '.join(map(str, left_out))} are left out: the generator of "
      "the synthetic images has seen their held-out lesions."
    )
  if through := _through(read):
    notes.append(
      f"The generator was trained through {', '.join(sorted(through))}. The "
      "effect of its images on a classifier without this pretraining includes "
      "what it adds."
    )
  elif not all(one.pretrained_known for one in read):
    notes.append(
      "It is not recorded whether the generator was trained through a "
      "pretrained network. If it was, the effect of its images on a classifier "
      "without this pretraining includes that network's knowledge."
    )
  if too_few := _too_few(read, info.class_names):
    notes.append(too_few)
  return notes


def _through(read: Sequence[FoldRead]) -> frozenset[str]:
  """Return the pretrained networks that any generator was trained through."""
  return frozenset().union(*(one.pretrained for one in read))


def _about(config, read, fold, folder, left_out, dropped) -> summary.About:
  info = fold.dataset.info
  known = all(one.origin_known for one in read)
  least = _least_diverse(one.diversity for one in read)
  return summary.About(
    name=f"Synthetic images for {info.name}",
    data=f"{info.name} at {info.size}\u00d7{info.size} pixels",
    drawn=info.drawn,
    split=_split(config, fold, len(read), known),
    groups_known=info.groups_known,
    compute=_compute(config),
    command=command_line.typed(without="shard"),
    config=_config(config),
    diversity={
      name: {"diversity_ratio": found.ratio, "collapsed": found.collapsed}
      for name, found in least.items()
    },
    collapse=info.collapse,
    generator=_generator(config, folder),
    subject=folder.title,
    leak_excluded=known,
    other_pretraining=plan.other_pretraining(config, _through(read)),
    notes=_notes(read, info, left_out, dropped),
    next_steps=_AFTER_CONTROL if config.control else (),
    original=summary.ORIGINAL if info.name == "ham10000" else (),
    versions={
      "skinjax": skinjax.__version__,
      "python": platform.python_version(),
      **{name: importlib.metadata.version(name) for name in _PACKAGES},
    },
    hardware=f"{os.cpu_count()} cores, {jax.devices()[0].device_kind}",
    minutes=_minutes(read),
    own_images=folds.by_seed(config),
    own_generators=folds.by_seed(config)
    and all(one.own_generators for one in read),
  )


def _generator(config, folder: image_folder.ImageFolder) -> str:
  """Describe the generator of a folder's images; empty for the control."""
  if config.control:
    return ""
  words = str(folder.provenance.get("name", "not recorded"))
  if step := folder.generator.get("step"):
    words += f", {step} steps"
    made = folder.generator.get("config")
    made = workdir.flat(made) if isinstance(made, dict) else {}
    if batch := made.get("train.batch_size"):  # others' grow
      words += f" of {batch} images"
  here = not (config.generator or config.synthetic)
  source = "trained here, one" if here else "given, one"
  if config.synthetic:
    source = "given as images, one folder"
  by = {"fold": here or folds.by_fold(config), "seed": folds.by_seed(config)}
  each = " and ".join(name for name, own in by.items() if own)
  each = f"each {each}" if each else "all folds and seeds"
  return f"{words}; {source} for {each}"


def _config(config) -> dict[str, Any]:
  """Return the config that the results depend on, by flat keys.

  Arms and networks that were not trained are left out.
  """
  trained = {"arm": plan.recipes(config), "network": config.networks}

  def matters(key: str) -> bool:
    section, *rest = key.split(".")
    used = section not in trained or rest[0] in trained[section]
    return used and not workdir.is_free(key)

  return {k: v for k, v in workdir.flat(config).items() if matters(k)}


def _split(config, fold: folds.Fold, tested: int, known: bool) -> str:
  dataset, data = fold.dataset, config.data
  by = "lesion" if dataset.info.groups_known else "image"
  sizes = (
    f"{len(dataset.train.labels)} training, {len(dataset.validation.labels)} "
    f"validation and {len(dataset.test.labels)} test images"
  )
  if fold.number == -1:
    words = f"the data set's fixed split by {by}: {sizes}"
  else:
    words = (
      f"{tested} of {data.num_folds} folds by {by} (seed {data.fold_seed}), "
      "each of these tested once, by classifiers that have not seen it; one of "
      f"them has {sizes}"
    )
  if config.control:
    words += (
      "; training uses half of the training lesions, and images of the other "
      "half replace synthetic ones"
    )
    return f"{words}; no {by} is in two of these splits"
  maker = (
    f"and the generator of the synthetic images saw no validation or test {by}"
    if known
    else f"but which {by}s the synthetic images' generator saw is unknown"
  )
  return f"{words}; no {by} is in two of these splits, {maker}"


def _compute(config) -> str:
  parts = []
  for network in config.networks:
    part = config.network[network]
    if part.task == networks.HEAD:
      parts.append(
        f"{network}: logistic regression on frozen features at "
        f"{part.input}\u00d7{part.input} pixels"
      )
    else:
      parts.append(
        f"{network}: {part.train.steps} steps of {part.train.batch_size} "
        "images, with the weights of the last step"
        + ", with mixup"
        * (part.augment.get("mixup", 0.0) > 0)
      )
  return "; ".join(parts)


def _too_few(read: Sequence[FoldRead], class_names) -> str:
  """Tell which arms have fewer images than they ask for; empty if none has."""
  names, counts = dict.fromkeys(arm for one in read for arm in one.short), {}
  if not names:
    return ""
  for one in read:
    for label, there in (x for s in one.short.values() for x in s.items()):
      counts[label] = max(counts.get(label, 0), there)
  limits = (f"{counts[k]} of {class_names[k]}" for k in sorted(counts))
  return (
    f"Arms with fewer synthetic images than their dose: {', '.join(names)}. At "
    f"most these exist, by class: {', '.join(limits)}. Arms that ask for more "
    "have the same ones."
  )


def _minutes(read: Sequence[FoldRead]) -> dict[str, float]:
  """Sum up the minutes of the classifiers that were read, by network."""
  total = collections.Counter()
  for one in read:
    total.update(one.seconds)
  return {network: round(total[network] / 60, 1) for network in total}


def _sheet(
  split: datasets.Split, info, synthetic: datasets.Split
) -> Image.Image:
  """Draw one row per class that has synthetic images."""
  labels, counts = np.unique(synthetic.labels, return_counts=True)
  there = np.bincount(split.labels, minlength=info.num_classes)[labels]
  columns = min(_COLUMNS, *counts, *there)
  # Evenly spaced, as neighbours often show the same lesion.
  pick = lambda rows: rows[np.linspace(0, len(rows) - 1, columns).astype(int)]
  rows = [pick(np.flatnonzero(split.labels == label)) for label in labels]
  return synthesize.sheet(split.take(np.concatenate(rows)), info.class_names)


def _records(place: pathlib.Path, names: Iterable[str]) -> list[dict]:
  """Read the named metrics of a workdir."""
  text = (place / "metrics.jsonl").read_text()
  lines = map(json.loads, text.splitlines())
  return [
    {name: line[name] for name in ("step", *names) if name in line}
    for line in lines
  ]


def _numbers(estimate: dict) -> list[str]:
  return [
    "" if estimate[key] is None else f"{estimate[key]:.4f}"
    for key in ("value", "low", "high", "seed_sd")
  ]


def _scores_table(result: dict) -> str:
  rows = [
    ("network", "arm", "score", "class", "value", "low", "high", "seed_sd")
  ]
  for arm in result["arms"]:
    named = (arm["network"], arm["name"])
    for name, estimate in arm["scores"].items():
      rows.append((*named, name, "", *_numbers(estimate)))
    for by_class in ("recall", "auc"):
      for name, estimate in arm[by_class].items():
        rows.append((*named, by_class, name, *_numbers(estimate)))
  line = f"{result['majority_line']['accuracy']:.4f}"
  rows.append(("", "majority line", "accuracy", "", line, "", "", ""))
  return files.table(rows)


def _differences_table(result: dict) -> str:
  keys = (
    *("network", "arm", "rival", "metric", "class", "level", "verdict"),
    *("p", "p_adjusted", "more_images"),
  )
  rows = [(*keys, "value", "low", "high", "seed_sd")]
  for row in result["differences"]:
    more = (row["more_images"] or {}).get("value")
    flat = row | {"more_images": more}
    fields = [("" if flat[key] is None else flat[key]) for key in keys]
    rows.append((*fields, *_numbers(row)))
  return files.table(rows)


def _tell(result: dict, report: pathlib.Path) -> None:
  """Log the verdict, and the original project's numbers to compare with."""
  for row in result["original"]:
    logging.info(
      "the original project, %d classes: accuracy %.3f without, %.3f with GAN "
      "images; always nevus: %.4f",
      row["classes"],
      row["without"],
      row["with"],
      row["majority"],
    )
  for note in result["notes"]:
    logging.info("%s", note)
  logging.info("%s", result["verdict"]["headline"])
  logging.info("%s", result["verdict"]["detail"])
  if found := result["external"]:
    logging.info(
      "External test set %s: balanced accuracy %s minus %s: %+.3f "
      "[%+.3f, %+.3f]; accuracy of the majority-class baseline: %.3f. %s",
      found["name"],
      found["difference"]["arm"],
      found["difference"]["rival"],
      *(found["difference"][key] for key in ("value", "low", "high")),
      found["majority_line"]["accuracy"],
      found["note"],
    )
  logging.info("open %s", report / "index.html")
