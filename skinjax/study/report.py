"""From the predictions of a study's classifiers to its report on disk."""

import json
import pathlib
import shlex
import sys
from collections.abc import Iterable, Mapping

import numpy as np
from absl import logging
from PIL import Image

from skinjax.data import datasets, external, image_folder, provenance
from skinjax.metrics import diversity
from skinjax.runtime import files, workdir
from skinjax.study import page, summary
from skinjax.synthesis import synthesize
from skinjax.training import predictions

_COLUMNS = 8  # of the sheets
_CURVES = ("train/loss", "validation/balanced_accuracy")


def write(
  path: pathlib.Path,
  config,
  *,
  dataset: datasets.Dataset,
  synthetic: datasets.Split,
  folder: image_folder.ImageFolder,
  units: dict[str, list[pathlib.Path]],
  outside: external.External | None = None,
) -> dict:
  """Writes WORKDIR/report: the page, summary.json and two tables.

  `synthetic` are the images of `folder` that were added to the real ones;
  `units` has by arm the workdirs of its classifiers, by seed, and these the
  predictions of the external test set, if there is one.

  Returns:
    What summary.json holds; see study/summary.py.
  """
  info, train, test = dataset.info, dataset.train, dataset.test
  added = np.bincount(synthetic.labels, minlength=info.num_classes).tolist()
  result = summary.summarize(
    about=_about(config, dataset, synthetic, folder),
    arms={
      arm: np.stack([predictions.read(place, dataset) for place in places])
      for arm, places in units.items()
    },
    labels=test.labels,
    groups=test.groups,
    class_names=info.class_names,
    train_counts=info.class_counts,
    train_groups=[
      len(np.unique(train.groups[train.labels == label]))
      for label in range(info.num_classes)
    ],
    descriptions={arm: config.arm[arm].description for arm in units},
    num_synthetic={
      arm: dict(zip(info.class_names, added, strict=True))
      for arm in units
      if config.arm[arm].synthetic
    },
    pairs=[pair for pair in config.pairs if set(pair) <= units.keys()],
    seed=config.seed,
  )
  if outside:
    result["external"] = summary.summarize_external(
      name=outside.name,
      note=outside.note,
      notes=() if outside.groups_known else (datasets.GROUPS_UNKNOWN,),
      traced=outside.traced,
      left_out=outside.left_out,
      arms={
        arm: np.stack(
          [predictions.read_external(p, outside, info) for p in places]
        )
        for arm, places in units.items()
      },
      labels=outside.split.labels,
      groups=outside.split.groups,
      class_names=info.class_names,
      train_counts=info.class_counts,
      pair=config.pairs[0],
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
      "Real": _sheet(train, info, synthetic),
      "Synthetic": _sheet(synthetic, info, synthetic),
    },
    curves={
      arm: [_records(place, _CURVES) for place in places]
      for arm, places in units.items()
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
  """Returns where the GAN of each class was trained, if that is still there."""
  maker = folder.provenance.get("generator")
  place = maker.get("workdir") if isinstance(maker, Mapping) else None
  if not isinstance(place, str):
    return {}
  found = {}
  for name in class_names:
    for training in (pathlib.Path(place), pathlib.Path(place, name)):
      if (training / "metrics.jsonl").exists():
        found[name] = training  # a GAN of the class comes before one of all
  return found


def _about(config, dataset, synthetic, folder) -> summary.About:
  info, training = dataset.info, config.classifier.train
  lesions = len(np.unique(dataset.test.groups))
  if config.data.fold == -1:
    split = "the data set's fixed split"
  else:
    split = (
      f"fold {config.data.fold} of {config.data.num_folds} (seed "
      f"{config.data.fold_seed})"
    )
  known = provenance.groups_learnt(folder.origin, dataset) is not None
  sizes = (
    f"{len(dataset.train.labels)} training, {len(dataset.validation.labels)} "
    f"validation and {len(dataset.test.labels)} test images ({lesions} lesions)"
  )
  maker = (
    "nor did the maker of the synthetic images see any of the last two"
    if known
    else "but nothing tells which of them the maker of the synthetic images saw"
  )
  notes = [] if info.groups_known else [datasets.GROUPS_UNKNOWN]
  compared = diversity.compare(
    *(
      diversity.distances(part.images, part.labels, info.class_names)
      for part in (synthetic, dataset.train)
    ),
    info.collapse,
  )
  return summary.About(
    name=f"Synthetic images for {info.name}",
    data=f"{info.name} at {info.size}\u00d7{info.size} pixels",
    drawn=info.drawn,
    split=(
      f"{split}, by lesion: {sizes}; no lesion is in two of them, {maker}"
    ),
    compute=(
      f"the same network and optimizer, {training.steps} steps of "
      f"{training.batch_size} images; the weights after the last step are used"
    ),
    command=shlex.join(
      ["python", *(a for a in sys.argv if "config.shard" not in a)]
    ),
    config={
      key: value
      for key, value in workdir.flat(config).items()
      if not workdir.is_free(key)
    },
    diversity={
      name: {"diversity_ratio": found.ratio, "collapsed": found.collapsed}
      for name, found in compared.items()
    },
    subject=folder.title,
    leak_excluded=known,
    notes=notes,
    original=summary.ORIGINAL if info.name == "ham10000" else (),
  )


def _sheet(
  split: datasets.Split, info, synthetic: datasets.Split
) -> Image.Image:
  """Draws a row for each class that has synthetic images."""
  labels, counts = np.unique(synthetic.labels, return_counts=True)
  columns = min(_COLUMNS, *counts)
  # Evenly spaced: neighbours often show one lesion.
  pick = lambda rows: rows[np.linspace(0, len(rows) - 1, columns).astype(int)]
  rows = [pick(np.flatnonzero(split.labels == label)) for label in labels]
  return synthesize.sheet(split.take(np.concatenate(rows)), info.class_names)


def _records(place: pathlib.Path, names: Iterable[str]) -> list[dict]:
  """Reads some of a workdir's metrics."""
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
  rows = [("arm", "score", "class", "value", "low", "high", "seed_sd")]
  for arm in result["arms"]:
    for name, estimate in arm["scores"].items():
      rows.append((arm["name"], name, "", *_numbers(estimate)))
    for by_class in ("recall", "auc"):
      for name, estimate in arm[by_class].items():
        rows.append((arm["name"], by_class, name, *_numbers(estimate)))
  line = f"{result['majority_line']['accuracy']:.4f}"
  rows.append(("majority line", "accuracy", "", line, "", "", ""))
  return files.table(rows)


def _differences_table(result: dict) -> str:
  keys = ("arm", "rival", "metric", "class", "level", "verdict")
  rows = [(*keys, "value", "low", "high", "seed_sd")]
  for row in result["differences"]:
    told = [("" if row[key] is None else row[key]) for key in keys]
    rows.append((*told, *_numbers(row)))
  return files.table(rows)


def _tell(result: dict, report: pathlib.Path) -> None:
  """Logs the verdict, and the original project's numbers beside it."""
  for row in result["original"]:
    logging.info(
      "the original project, %d classes: accuracy %.3f without, %.3f with GAN "
      "images; always nevus: %.4f",
      row["classes"],
      row["without"],
      row["with"],
      row["majority"],
    )
  logging.info("%s", result["verdict"]["headline"])
  logging.info("%s", result["verdict"]["detail"])
  if found := result["external"]:
    logging.info(
      "On %s (external): %s minus %s in balanced accuracy %+.3f "
      "[%+.3f, %+.3f]; majority line %.3f. %s",
      found["name"],
      found["difference"]["arm"],
      found["difference"]["rival"],
      *(found["difference"][key] for key in ("value", "low", "high")),
      found["majority_line"]["accuracy"],
      found["note"],
    )
  logging.info("open %s", report / "index.html")
