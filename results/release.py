"""Puts a trained network among the released ones, with its model card.

  python results/release.py NAME WORKDIR --hardware="2 cores of an Intel Xeon" \
    [--evaluation=DIR] [--folder=DIR]

The network of WORKDIR becomes NAME in skinjax/released (or --folder): averaged
weights in float16, and NAME.md, which says what it is, what it has learnt from
and how good it is: a GAN by the evaluation in DIR (configs/evaluate.py), a
classifier by its own scores.csv. With --folder and without --evaluation there
is no card, as for the generators of a study's folds.
"""

import argparse
import csv
import json
import pathlib
import sys

import jax
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT.parent))

from skinjax.judging import findings  # noqa: E402
from skinjax.runtime import files  # noqa: E402
from skinjax.training import released, schedules, trained  # noqa: E402

MOST = 8 * 2**20  # bytes of a network
_LICENCE = (
  "CC BY-NC 4.0, as the images that it has learnt from (HAM10000, Tschandl et "
  "al. 2018, doi 10.7910/DVN/DBW86T): not for commercial use, and with credit."
)
_LIMITS = {
  True: (
    "For research on training with synthetic images. What is drawn is no "
    "patient's lesion, and says nothing of how often anything occurs.",
    "An image may show another class than that asked for: see the agreement.",
    "A study must not test on lesions that it has learnt from. skinjax refuses "
    "that; elsewhere the ids in released.json tell.",
  ),
  False: (
    "For judging images and for trying the library. It is no medical device, "
    "and nobody's diagnosis may rest on it.",
    "It knows seven kinds of lesions and calls any image one of them.",
  ),
}
_SHARED_LIMITS = (
  "64x64 pixels hold less than a dermatoscope shows.",
  "The images are of two clinics, in Vienna and Queensland, and nearly all of "
  "light skin; classes are as unequal as they came there.",
)


def member(network: trained.Trained, hardware: str) -> released.Member:
  """Return what is kept of a trained network."""
  config = network.config.to_dict()
  for key in ("manual_dir", "data_dir", "folder"):  # of this machine
    config["data"][key] = ""
  return released.Member(
    config=config,
    origin=network.origin,
    step=network.step,
    average=jax.device_get(network.state.average),
    made={"minutes": minutes(network.path), "hardware": hardware},
  )


def minutes(path: pathlib.Path) -> float:
  """Return the minutes of all steps that were timed in a workdir."""
  lines = (path / "timing.jsonl").read_text().splitlines()
  seconds = sum(json.loads(line)["seconds"] for line in lines)
  return round(seconds / 60, 1)


def card(
  name: str,
  network: trained.Trained,
  made: released.Member,
  measured: list[str],
) -> str:
  """Return a network's model card; `measured` are the lines on its worth."""
  info, config = network.info, network.config
  generates = network.task.generates
  first = (
    f"Draws {info.size}x{info.size} images of skin lesions by class: "
    if generates
    else f"Classifies {info.size}x{info.size} images of skin lesions: "
  )
  use = (
    f'images = skinjax.load_generator("{name}").sample(["mel", "df"])'
    if generates
    else f'probabilities = skinjax.load_classifier("{name}").predict(images)'
  )
  kind = network.task.title if generates else config.model.network
  phase = schedules.phase_at(network.task.phases(config), network.step - 1)
  images = int(schedules.images_seen(phase, network.step))
  parameters = sum(np.size(x) for x in jax.tree.leaves(network.state.average))
  pretrained = ", ".join(trained.pretrained_networks(config)) or "none"
  facts = {
    "network": f"{kind}, {parameters:,} numbers in float16",
    "trained": f"{network.step:,} steps, {images:,} images, "
    f"{made.made['minutes']:g} minutes, {made.made['hardware']}",
    "learnt from": f"{sum(info.class_counts):,} images of "
    f"{len(network.origin['groups']):,} lesions of HAM10000, those of the "
    "training split: their ids are in released.json",
    "learnt through": f"networks pretrained on ImageNet: {pretrained}",
    "licence": _LICENCE,
  }
  return "\n".join(
    [
      f"# {name}",
      "",
      first + ", ".join(info.class_names) + ".",
      "",
      *("```python", use, "```", ""),
      *("| | |", "| --- | --- |"),
      *(f"| {key} | {value} |" for key, value in facts.items()),
      *("", "## What it is worth", "", *measured),
      *("", "## Limits", ""),
      *(f"- {text}" for text in _LIMITS[generates] + _SHARED_LIMITS),
      "",
    ]
  )


def of_evaluation(evaluation: dict) -> list[str]:
  """Say what the images of a generator are worth; see `card`."""
  found = findings.describe(evaluation)
  extractor, kernel = findings.kernel_distances(evaluation)
  columns = ("synthetic", "floor", "ceiling")
  shown = lambda value: "" if value is None else f"{value:.3g}"
  agreement = (evaluation["usefulness"] or {}).get("agreement", {})
  rows = [
    (
      row["name"],
      *(shown(kernel.get((row["name"], column))) for column in columns),
      shown(agreement.get(row["name"], {}).get("value")),
      str(evaluation["copies"]["classes"][row["name"]]["suspects"]),
    )
    for row in evaluation["classes"]
  ]
  head = ("class", f"KID in {extractor}", "of held-out real images")
  head += ("of another class", "agreement", "suspected copies")
  return [
    found.headline,
    "",
    *_table(head, rows),
    "",
    *(f"- {sentence}" for sentence in found.sentences + found.cautions),
  ]


def of_scores(file: pathlib.Path) -> list[str]:
  """Say how good a classifier is, from its scores.csv; see `card`."""
  with file.open(newline="") as text:
    rows = list(csv.DictReader(text))
  shown = [
    (row["score"], row["value"], f"{row['low']} to {row['high']}")
    for row in rows
  ]
  head = ("on the test lesions", "value", "95% interval")
  note = "Intervals are over lesions; of one training."
  return [*_table(head, shown), "", note]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
  lines = [head, ["---"] * len(head), *rows]
  return [f"| {' | '.join(line)} |" for line in lines]


def release(
  name: str,
  path: pathlib.Path,
  hardware: str,
  evaluation: pathlib.Path | None,
  folder: pathlib.Path,
) -> None:
  """Write a network into a folder, and its card; see the module."""
  network = trained.load(path)
  made = member(network, hardware)
  size = sum(2 * np.size(x) for x in jax.tree.leaves(made.average))
  if size > MOST:
    sys.exit(f"{path} has {size:,} bytes in float16: {MOST:,} are the most.")
  measured = []
  if evaluation:
    text = (evaluation / "evaluation.json").read_text()
    measured = of_evaluation(json.loads(text))
  elif not network.task.generates:
    measured = of_scores(path / "scores.csv")
  elif folder == released.SHIPPED:
    sys.exit("A generator is released with --evaluation, which its card tells.")
  if measured:
    text = card(name, network, made, measured)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / f"{name}.md", text)
  released.add(folder, name, made)


if __name__ == "__main__":
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("name")
  parser.add_argument("workdir", type=pathlib.Path)
  parser.add_argument("--hardware", required=True)
  parser.add_argument("--evaluation", type=pathlib.Path)
  parser.add_argument("--folder", type=pathlib.Path, default=released.SHIPPED)
  given = parser.parse_args()
  release(
    *(given.name, given.workdir, given.hardware, given.evaluation, given.folder)
  )
