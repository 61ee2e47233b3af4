"""Adds a trained network to the released ones, with its model card.

  python results/release.py NAME WORKDIR --hardware="2 cores of an Intel Xeon" \
    [--evaluation=DIR] [--folder=DIR]

The network in WORKDIR becomes NAME in skinjax/released (or --folder): EMA
weights in float16, and NAME.md, which describes the network, its training data
and its quality: for a GAN from the evaluation in DIR (configs/evaluate.py), for
a classifier from its own scores.csv. With --folder and without --evaluation no
card is written, as for the generators of a study's folds.
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

MOST = 8 * 2**20  # maximum bytes of a network
_LICENCE = (
  "CC BY-NC 4.0, like the images that it was trained on (HAM10000, Tschandl et "
  "al. 2018, doi 10.7910/DVN/DBW86T): not for commercial use, and with credit."
)
_LIMITS = {
  True: (
    "For research on training with synthetic images. The images show no "
    "patient's lesion, and say nothing about how often anything occurs.",
    "An image may show another class than the requested one: see the "
    "agreement.",
    "A study must not test on lesions that it was trained on. skinjax refuses "
    "that; for other software, the ids are in released.json.",
  ),
  False: (
    "For evaluating images and for trying the library. It is not a medical "
    "device, and must not be used for diagnosis.",
    "It knows seven kinds of lesions and assigns every image to one of them.",
  ),
}
_SHARED_LIMITS = (
  "64x64 pixels hold less than a dermatoscope shows.",
  "The training images come from two clinics, in Vienna and Queensland, and "
  "nearly all show light skin; classes are as imbalanced as they were there.",
)


def member(network: trained.Trained, hardware: str) -> released.Member:
  """Return the part of a trained network that is released."""
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
  """Return the minutes of all timed steps of a workdir."""
  lines = (path / "timing.jsonl").read_text().splitlines()
  seconds = sum(json.loads(line)["seconds"] for line in lines)
  return round(seconds / 60, 1)


def card(
  name: str,
  network: trained.Trained,
  made: released.Member,
  measured: list[str],
) -> str:
  """Return a network's model card; `measured` are the lines on its quality."""
  info, config = network.info, network.config
  generates = network.task.generates
  first = (
    f"Generates {info.size}x{info.size} images of skin lesions by class: "
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
    "network": f"{kind}, {parameters:,} values in float16",
    "trained": f"{network.step:,} steps, {images:,} images, "
    f"{made.made['minutes']:g} minutes, {made.made['hardware']}",
    "trained on": f"{sum(info.class_counts):,} images of "
    f"{len(network.origin['groups']):,} lesions of HAM10000, those of the "
    "training split; their ids are in released.json",
    "trained through": f"networks pretrained on ImageNet: {pretrained}",
    "licence": _LICENCE,
  }
  return "\n".join(
    [
      f"# {name}",
      "",
      first + ", ".join(info.class_names) + ".",
      "",
      *("```python", use, "```", ""),
      files.markdown([("", ""), *facts.items()]),
      *("", "## Quality", "", *measured),
      *("", "## Limits", ""),
      *(f"- {text}" for text in _LIMITS[generates] + _SHARED_LIMITS),
      "",
    ]
  )


def of_evaluation(evaluation: dict) -> list[str]:
  """Describe the quality of a generator's images; see `card`."""
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
    files.markdown([head, *rows]),
    "",
    *(f"- {sentence}" for sentence in found.sentences + found.cautions),
  ]


def of_scores(file: pathlib.Path) -> list[str]:
  """Describe a classifier's quality, from its scores.csv; see `card`."""
  with file.open(newline="") as text:
    rows = list(csv.DictReader(text))
  shown = [
    (row["score"], row["value"], f"{row['low']} to {row['high']}")
    for row in rows
  ]
  head = ("on the test lesions", "value", "95% interval")
  note = "Intervals are over lesions, for one training run."
  return [files.markdown([head, *shown]), "", note]


def release(
  name: str,
  path: pathlib.Path,
  hardware: str,
  evaluation: pathlib.Path | None,
  folder: pathlib.Path,
) -> None:
  """Write a network and its card to a folder; see the module's docstring."""
  network = trained.load(path)
  made = member(network, hardware)
  size = sum(2 * np.size(x) for x in jax.tree.leaves(made.average))
  if size > MOST:
    sys.exit(f"{path} has {size:,} bytes in float16: the limit is {MOST:,}.")
  measured = []
  if evaluation:
    text = (evaluation / "evaluation.json").read_text()
    measured = of_evaluation(json.loads(text))
  elif not network.task.generates:
    measured = of_scores(path / "scores.csv")
  elif folder == released.SHIPPED:
    sys.exit("A generator needs --evaluation for its card.")
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
