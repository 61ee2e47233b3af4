"""From the predictions of a study's classifiers to its report on disk."""

import json
import pathlib
import shlex
import sys
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from absl import logging
from PIL import Image

from skinjax.data import datasets
from skinjax.report import sheets
from skinjax.runtime import files, workdir
from skinjax.study import page, summary
from skinjax.synthesis import synthesize
from skinjax.training import predictions, trained

_COLUMNS = 8  # of the sheets
_CURVES = ("train/loss", "validation/balanced_accuracy")


class Arm(NamedTuple):
  """A way to train the classifier.

  Attributes:
    classical: whether real images are augmented and classes balanced.
    synthetic: whether GAN images join the training set.
    description: in words.
  """

  classical: bool
  synthetic: bool
  description: str


ARMS = {
  "real": Arm(False, False, "real images as they are"),
  "classical": Arm(
    True, False, "real images flipped, turned, recoloured, classes balanced"
  ),
  "real+synthetic": Arm(False, True, "as real, with GAN images added"),
  "classical+synthetic": Arm(True, True, "as classical, with GAN images added"),
}
# What is compared. The first pair decides, and did so before any test lesion
# was looked at: GAN images have to improve on the strongest training without
# them.
PAIRS = (
  ("classical+synthetic", "classical"),
  ("real+synthetic", "real"),
)


def write(
  path: pathlib.Path,
  config,
  *,
  dataset: datasets.Dataset,
  synthetic: datasets.Split,
  generator: trained.Trained,
  units: dict[str, list[pathlib.Path]],
) -> dict:
  """Writes WORKDIR/report: the page, summary.json and two tables.

  Args:
    path: the study's workdir.
    config: FrozenConfigDict of configs/study.py.
    dataset: the real images.
    synthetic: the synthetic set.
    generator: that it came from.
    units: arm to the workdirs of its classifiers, by seed.

  Returns:
    What summary.json holds; see study/summary.py.
  """
  info, train, test = dataset.info, dataset.train, dataset.test
  added = np.bincount(synthetic.labels, minlength=info.num_classes).tolist()
  result = summary.summarize(
    about=_about(config, dataset, synthetic, generator),
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
    descriptions={arm: ARMS[arm].description for arm in units},
    num_synthetic={
      arm: dict(zip(info.class_names, added, strict=True))
      for arm in units
      if ARMS[arm].synthetic
    },
    pairs=[pair for pair in PAIRS if set(pair) <= units.keys()],
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
      name: _records(_trained_in(generator, name), [f"diversity/{name}"])
      for name in info.class_names
    },
  )
  files.write_text(report / "index.html", text)
  _tell(result, report)
  return result


def _trained_in(generator: trained.Trained, name: str) -> pathlib.Path:
  """Returns where the GAN of a class was trained: its own, or that of all."""
  alone = generator.path / name
  return alone if alone.is_dir() else generator.path


def _about(config, dataset, synthetic, generator) -> summary.About:
  info, training = dataset.info, config.classifier.train
  lesions = len(np.unique(dataset.test.groups))
  if config.data.fold == -1:
    split = "the data set's fixed split"
  else:
    split = (
      f"fold {config.data.fold} of {config.data.num_folds} (seed "
      f"{config.data.fold_seed})"
    )
  return summary.About(
    name=f"GAN images for {info.name}",
    data=f"{info.name} at {info.size}\u00d7{info.size} pixels",
    drawn=info.drawn,
    split=(
      f"{split}, by lesion: {len(dataset.train.labels)} training, "
      f"{len(dataset.validation.labels)} validation and "
      f"{len(dataset.test.labels)} test images ({lesions} lesions); no lesion "
      "is in two of them, nor did the GAN see any of the last two, in its "
      f"{generator.step} steps"
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
    diversity=synthesize.judge(synthetic, dataset),
    subject=f"{generator.task.title} images",
  )


def _sheet(
  split: datasets.Split, info, synthetic: datasets.Split
) -> Image.Image:
  """Draws a row for each class that has synthetic images."""
  counts = np.bincount(synthetic.labels, minlength=info.num_classes)
  labels = np.flatnonzero(counts)
  columns = min(_COLUMNS, *counts[labels])
  # Evenly spaced: neighbours often show one lesion.
  pick = lambda rows: rows[np.linspace(0, len(rows) - 1, columns).astype(int)]
  rows = [pick(split.images[split.labels == label]) for label in labels]
  return sheets.contact_sheet(
    np.stack(rows), [info.class_names[label] for label in labels]
  )


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
  logging.info("open %s", report / "index.html")
