"""Trains generators for the same time, and measures their images.

  python results/generators/measure.py STAGE --manual_dir=DIR --workdir=DIR \
    [--rows=NAME,…] [--seeds=0,1,2] [--minutes=15] [--test]

Stages: `times` benchmarks the rows' steps, interleaved, on an idle machine;
`run` trains a generator for each row and seed for that many minutes, and
measures 500 of its images per class against validation lesions, or with --test
against test lesions; `table` adds the measurements to table.json next to this
file, with sheets of images; `waves` writes waves.json there, which reveals grid
patterns, for the rows and seeds that are trained. Finished work is skipped, and
a training run that was stopped resumes. README.md has the results.
"""

import argparse
import collections
import functools
import itertools
import json
import os
import pathlib
import re
import statistics
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import ml_collections
import numpy as np
from PIL import Image
from scipy import stats

HERE = pathlib.Path(__file__).resolve().parent
TABLE = HERE / "table.json"
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks import skinjax_runner  # noqa: E402
from configs import acgan, progan  # noqa: E402
from configs import classifier as classifiers  # noqa: E402
from skinjax.data import datasets, sources  # noqa: E402
from skinjax.judging import (  # noqa: E402
  copy_search,
  distances,
  evaluate,
  synthetic_training,
)
from skinjax.metrics import features  # noqa: E402
from skinjax.runtime import (  # noqa: E402
  command_line,
  errors,
  files,
  interruption,
)
from skinjax.runtime import workdir as workdirs  # noqa: E402
from skinjax.synthesis import generators, synthesize  # noqa: E402
from skinjax.training import loop, schedules, tasks, trained  # noqa: E402

BASELINE = "acgan-today"  # all times are relative to its step
PER_CLASS = 500  # evaluated images
_TIMES = "times.json"  # in the workdir: step times by row
_SIZE = 64
_FOLD = 0  # the fixed split has too few validation lesions of a class
_ROUNDS, _CALL = 7, 10  # of the benchmark, and steps per call
_NEVER = 1_000_000  # steps that no training run here reaches
_FAMILIES = {"acgan": acgan, "progan": progan}


class Row(NamedTuple):
  """A generator in the comparison."""

  family: str  # its config's module
  variant: str  # the config's argument
  what: str  # description of the difference
  changes: Mapping[str, Any] = {}  # changed values of the config, by key


def _addition(what: str, **changes: Any) -> Row:
  """Return the screening's baseline with changes.

  Keys of `changes` have `__` instead of dots.
  """
  changes = {key.replace("__", "."): value for key, value in changes.items()}
  return Row("acgan", "projected", what, changes)


# Screened changes, the latest first; each row changes one thing in the row that
# it names. Validation lesions chose the defaults of `variant=projected`.
_NEAREST = {"model__upsampling": "nearest", "train__decay": 0.0}
_NO_NOISE = {**_NEAREST, "model__pixel_noise": False}
_NO_PIXELS = {**_NO_NOISE, "model__projected__pixels": False}
_CLASS_1 = {**_NO_PIXELS, "loss__class_weight": 1.0}
_TRANSPOSED = {**_CLASS_1, "model__upsampling": "transposed"}
_PROGAN_NEAREST = {"model.upsampling": "nearest", "model.pixel_noise": False}
SCREENED = {
  "acgan-lead": _addition("projected discriminator"),
  "bilinear": _addition("learning rates do not fall", train__decay=0.0),
  "nearest": _addition(
    "as bilinear, the generator repeats pixels instead of mixing them",
    **_NEAREST,
  ),
  "no-noise": _addition("as nearest, the generator adds no noise", **_NO_NOISE),
  "no-pixels": _addition("as no-noise, no head that sees pixels", **_NO_PIXELS),
  "class-1": _addition(
    "as no-pixels, class losses weigh 1 instead of 0.2", **_CLASS_1
  ),
  "transposed": _addition("as class-1, transposed convolutions", **_TRANSPOSED),
  "transposed-2e-4": _addition(
    "as transposed, learning rates of 2e-4",
    **_TRANSPOSED,
    train__generator_rate=2e-4,
    train__discriminator_rate=2e-4,
  ),
  "transposed-translation": _addition(
    "as transposed, images shifted by whole pixels, not zoomed",
    **_TRANSPOSED,
    augment__discriminator="translation",
  ),
  "projection": _addition(
    "as no-pixels, no class head",
    **_NO_PIXELS,
    model__projected__conditioning="projection",
  ),
  "class-0.4": _addition(
    "as no-noise, class losses weigh 0.4 instead of 0.2",
    **_NO_NOISE,
    loss__class_weight=0.4,
  ),
  "progan-lead": Row(
    "progan", "projected", "the ProGAN's generator, projected discriminator"
  ),
  "progan-nearest": Row(
    "progan",
    "projected",
    "as progan-lead, the generator repeats pixels and adds no noise",
    _PROGAN_NEAREST,
  ),
  "progan-5e-3": Row(
    "progan",
    "projected",
    "as progan-nearest, the generator's rate 5e-3 instead of 2e-3",
    {**_PROGAN_NEAREST, "growth.rates": (5e-3,) * 7},
  ),
  "progan-join-8": Row(
    "progan",
    "projected",
    "as progan-5e-3, classes matter from 8x8 on",
    {
      **_PROGAN_NEAREST,
      "growth.rates": (5e-3,) * 7,
      "model.conditional_from": 8,
    },
  ),
  "progan-class-0.2": Row(
    "progan",
    "projected",
    "as progan-nearest, class losses weigh 0.2 instead of 1",
    {**_PROGAN_NEAREST, "loss.class_weight": 0.2},
  ),
}
ROWS = {
  "acgan-today": Row("acgan", "paper", "plain ACGAN"),
  "progan-today": Row("progan", "paper", "plain ProGAN"),
  **SCREENED,
}


def _say(text: str) -> None:
  print(text, flush=True)


def config_of(row: Row, seed: int, manual_dir: str):
  """Return a row's training config, with the number of steps left open."""
  config = _FAMILIES[row.family].get_config(
    f"dataset=ham10000,variant={row.variant}"
  )
  config.data.manual_dir, config.data.fold = manual_dir, _FOLD
  config.seed, config.best, config.kid_every = seed, "", 0
  config.save_every = 5 * config.log_every
  config.eval_every = config.sample_every = _NEVER
  config.train.steps = _NEVER
  config.update_from_flattened_dict(dict(row.changes))
  return config


def steps_in(config, times: list[float], minutes: float) -> int:
  """Return the number of training steps that fit into a number of minutes.

  `times` are the seconds per step of each phase.
  """
  left = 60 * minutes
  phases = tasks.named(config.task).phases(config)
  for phase, seconds in zip(phases[:-1], times, strict=False):
    left -= (phase.stop - phase.first_step) * seconds
  steps = phases[-1].first_step + int(left / times[-1])
  return steps // config.log_every * config.log_every


def measure_times(args) -> None:
  """Add the rows' step times, relative to the baseline's, to times.json."""
  known = _times(args)
  wanted = [name for name in args.rows if name not in known["rows"]]
  if not wanted:
    return
  steps = {}
  for name in dict.fromkeys([BASELINE, *wanted]):
    config = config_of(ROWS[name], 0, args.manual_dir)
    phases = tasks.named(config.task).phases(config)
    config.log_every = _CALL
    config = ml_collections.FrozenConfigDict(config)
    for number, _ in enumerate(phases):
      steps[name, number] = skinjax_runner.Steps(config, _SIZE, number)
      steps[name, number].build()
      _say(f"{name}, phase {number}: compiled")
  rounds = []
  for number in range(_ROUNDS):
    rounds.append({key: each.run() / _CALL for key, each in steps.items()})
    _say(f"round {number + 1} of {_ROUNDS}")
  base = (BASELINE, 0)
  known.setdefault(
    "baseline_seconds", statistics.median(x[base] for x in rounds)
  )
  ratio = lambda key: statistics.median(x[key] / x[base] for x in rounds)
  for name in wanted:
    known["rows"][name] = [ratio(key) for key in steps if key[0] == name]
  files.write_json(args.workdir / _TIMES, known)


def _times(args, needed: Iterable[str] = ()) -> dict[str, Any]:
  """Read times.json, which has no rows before the stage `times`.

  Raises:
    InputError: rows of the `needed` names are missing.
  """
  file = args.workdir / _TIMES
  known = {"rows": {}}
  if file.exists():
    known |= files.read_json(file, "it has the rows' step times")
  if missing := ",".join(sorted(set(needed) - known["rows"].keys())):
    raise errors.InputError(
      f"{file} has no step times of {missing}: run the stage `times` for "
      f"--rows={missing} first."
    )
  return known


def _seconds(times: Mapping[str, Any], name: str) -> list[float]:
  return [x * times["baseline_seconds"] for x in times["rows"][name]]


def classifier_config(args, seed: int) -> ml_collections.ConfigDict:
  """Return the config of a lesion classifier trained from scratch."""
  config = classifiers.get_config("dataset=ham10000")
  config.data.manual_dir, config.data.fold = args.manual_dir, _FOLD
  config.seed = seed
  config.train.sampler, config.augment.jitter = "balanced", 0.1
  config.train.steps = config.eval_every = config.save_every = 600
  return config


def judge(args, dataset) -> trained.Trained:
  """Return a classifier that no generator is trained through or chosen by."""
  path, config = args.workdir / "classifier", classifier_config(args, 0)
  loop.train(tasks.named(config.task), config, path, dataset)
  return trained.load_classifier(path)


def measure(path: pathlib.Path, classifier, args, dataset) -> dict[str, Any]:
  """Measure a trained generator's images; write a sheet of them.

  The held-out images are the test split of `dataset`. Returns scores by their
  names in table.json: the value for all classes and, in `by_class`, for each.
  """
  info, generator = dataset.info, generators.load(path)
  labels = np.repeat(np.arange(info.num_classes, dtype=np.int32), PER_CLASS)
  ids = np.array([f"{i:05d}" for i in range(len(labels))])
  images = generator.sample(labels.tolist())
  split = datasets.Split(images, labels, ids, ids)
  sheet = path / f"{args.minutes:g}.png"
  synthesize.sheet(split, info.class_names).save(sheet)
  splits = distances.Splits(dataset.train, dataset.test, split)
  scores, names = {}, info.class_names
  for kind, extractor in (
    ("squeezenet", features.squeezenet()),
    ("efficientnet", features.efficientnet()),
    ("lesions", evaluate.of_classifier(classifier)),
  ):
    scores |= _distances(kind, extractor, splits, names)
    _say(f"{kind}: kernel distance {scores[f'kid_{kind}']['value']:.3g}")
  for key, part in (("agreement", split), ("agreement_real", dataset.test)):
    rows = synthetic_training.agreement(classifier, part)
    scores[key] = _by_class({n: row["value"] for n, row in rows.items()})
  if args.test:
    scores |= _copies(splits, names)
    scores |= _usefulness(path, args, dataset, split, generator)
  return scores


def _by_class(values: dict[str, float]) -> dict[str, Any]:
  """Return a score by class, with the mean over classes."""
  return {"value": float(np.mean(list(values.values()))), "by_class": values}


def _distances(kind, extractor, splits, names) -> dict[str, dict]:
  """Measure distances in an extractor's features; see `measure`."""
  of = lambda split: distances.of_split(
    _extracted(extractor, split.images), split
  )
  rows = {
    (row["class"], row["comparison"]): row
    for row in distances.compare(*map(of, splits), names, seed=0)
  }
  found = {}
  for suffix, comparison in (("", "synthetic"), ("_real", "floor")):
    by_class = {n: rows[n, comparison] for n in names}
    found[f"kid_{kind}{suffix}"] = _by_class(
      {n: row["kernel"]["value"] for n, row in by_class.items()}
    )
    for name in ("recall", "coverage"):
      key = name if kind == "squeezenet" else f"{name}_{kind}"
      found[f"{key}{suffix}"] = _by_class(
        {n: row["prdc"][name] for n, row in by_class.items()}
      )
  return found


def _extracted(extractor, images: np.ndarray) -> np.ndarray:
  """Compute features; a cache keeps those of real images for all rows."""
  return features.extract(extractor, images, cache_dir=sources.features_dir())


def _copies(splits, names) -> dict[str, dict]:
  """Measure the share of images that are suspected copies."""
  extractor = features.efficientnet()
  extract = lambda images, what: _extracted(extractor, images)
  upright = [extract(split.images, "") for split in splits]
  vectors = {
    "pixels": copy_search.of_pixels(*splits),
    "features": copy_search.of_features(extract, upright, *splits),
  }
  found = copy_search.search(vectors, *splits, names, seed=0).summary
  rows = found["classes"]
  of_all = lambda key: sum(row[key] for row in rows.values())
  real = of_all("heldout_suspects") / of_all("heldout_images")
  return {
    "copies": _by_class(
      {name: row["suspects"] / PER_CLASS for name, row in rows.items()}
    ),
    "copies_real": {"value": real, "by_class": {}},
  }


def _usefulness(path, args, dataset, split, generator) -> dict[str, dict]:
  """Train classifiers on synthetic images only, and on as many real ones."""
  seed = int(path.name)
  config = classifier_config(args, seed)
  place = path / f"classifiers-{args.minutes:g}"
  shared = args.workdir / "real" / str(seed)
  shared.mkdir(parents=True, exist_ok=True)
  place.mkdir(exist_ok=True)
  if not (place / "real").exists():
    (place / "real").symlink_to(shared)  # the same for all rows
  found = synthetic_training.classification_accuracy_score(
    config, place, dataset, split, generator.origin["groups"]
  )
  return {
    f"train_on_{kind}": {
      "value": found["balanced_accuracy"][kind]["value"],
      "by_class": {
        n: row[kind]["value"] for n, row in found["classes"].items()
      },
    }
    for kind in synthetic_training.KINDS
  }


def _require_own_end(path: pathlib.Path, config) -> None:
  """Refuse to train on after learning rates that have fallen to zero."""
  if not config.train.decay or not (path / "config.json").exists():
    return
  before = workdirs.read_config(path).train.steps
  if before != config.train.steps:
    raise errors.InputError(
      f"{path} was trained with rates that fall over {before} steps, which is "
      f"no part of a training of {config.train.steps}: move it away first."
    )


def run(args) -> None:
  """Train and measure what has not been measured yet.

  Raises:
    InputError: a row has no step times.
  """
  # Test lesions are used only at the end.
  kind = "test" if args.test else "validation"
  known = known_scores(args)
  todo = [
    (seed, name)
    for seed, name in itertools.product(args.seeds, args.rows)
    if seed not in known.get((name, args.minutes, kind), {})
  ]
  times = _times(args, [name for _, name in todo])
  config = config_of(ROWS[BASELINE], 0, args.manual_dir)
  dataset = datasets.load(config.data)
  held = dataset._replace(test=getattr(dataset, kind))
  classifier = judge(args, dataset)
  for seed, name in todo:
    path = args.workdir / name / str(seed)
    config = config_of(ROWS[name], seed, args.manual_dir)
    steps = steps_in(config, _seconds(times, name), args.minutes)
    config.train.steps, task = steps, tasks.named(config.task)
    _require_own_end(path, config)
    loop.train(task, config, path, dataset)
    scores = measure(path, classifier, args, held)
    file = path / f"{args.minutes:g}-{kind}.json"
    images = int(schedules.images_seen(task.phases(config)[-1], steps))
    files.write_json(file, {"steps": steps, "images": images, **scores})
    _say(f"{name}, seed {seed}: measured")


def most_unlike_wave(images: np.ndarray, real: np.ndarray) -> dict[str, Any]:
  """Find the wave that most exceeds its power in real images.

  Args:
    images: uint8 [n, size, size, 3].
    real: uint8 [m, size, size, 3].

  Returns:
    y, x: the wave's cycles per image along either axis; y may be negative.
    power: the mean over images of its power in grey values, relative to the
      mean over real images.
    fixed: the share of it, from 0 to 1, with the same phase in all images.
  """
  grey = lambda x: x.mean(-1) - x.mean((1, 2, 3))[:, None, None]
  # The input is real, so half of the waves along x mirror the other half.
  waves, of_real = np.fft.rfft2(grey(images)), np.fft.rfft2(grey(real))
  power = (np.abs(waves) ** 2).mean(0)
  ratio = power / np.maximum((np.abs(of_real) ** 2).mean(0), 1e-9)
  ratio[0, 0] = 0.0  # the mean, which was subtracted
  y, x = np.unravel_index(ratio.argmax(), ratio.shape)
  return {
    "y": int(y) if y <= len(ratio) / 2 else int(y) - len(ratio),
    "x": int(x),
    "power": float(ratio[y, x]),
    "fixed": float(np.abs(waves[:, y, x].mean()) ** 2 / power[y, x]),
  }


def find_waves(args) -> None:
  """Add the results of `most_unlike_wave`, by class, to waves.json."""
  config = config_of(ROWS[BASELINE], 0, args.manual_dir)
  dataset = datasets.load(config.data)
  file, train = HERE / "waves.json", dataset.train
  known = json.loads(file.read_text()) if file.exists() else {}
  for name, seed in itertools.product(args.rows, args.seeds):
    path = args.workdir / name / str(seed)
    if not path.is_dir():
      continue
    generator = generators.load(path)
    known[f"{name}, seed {seed}, {generator.step} steps"] = {
      class_name: most_unlike_wave(
        generator.sample([label] * PER_CLASS),
        train.images[train.labels == label],
      )
      for label, class_name in enumerate(dataset.info.class_names)
    }
    _say(f"{name}, seed {seed}: found")
  files.write_json(file, known)


def known_scores(args) -> dict[tuple[str, float, str], dict[int, dict]]:
  """Read the measurements in the workdir and in the existing table.

  Returns:
    By row, minutes and lesions, the measurements of `run` for each seed.
  """
  known = collections.defaultdict(dict)
  for row in _tabled()["rows"]:
    known[row["name"], row["minutes"], row["lesions"]] |= by_seed(row)
  for file in args.workdir.glob("*/*/*-*.json"):
    minutes, kind = file.stem.split("-")
    name, seed = file.parts[-3:-1]
    known[name, float(minutes), kind][int(seed)] = json.loads(file.read_text())
  return known


def _tabled() -> dict[str, Any]:
  if TABLE.exists():
    return json.loads(TABLE.read_text())
  return {"hardware": "", "times": {"rows": {}}, "rows": []}


def table(args) -> dict[str, Any]:
  """Return the content of table.json, from all measurements.

  Raises:
    InputError: a measured row has no step times, here or in the table.
  """
  known, before = known_scores(args), _tabled()
  measured = {name for name, _, _ in known} & ROWS.keys()
  # Rows whose config keys did not help and were removed.
  gone = [row for row in before["rows"] if row["name"] not in ROWS]
  times = _times(args, measured - before["times"]["rows"].keys())
  rows = before["times"]["rows"] | times["rows"]
  return {
    "hardware": args.hardware or before["hardware"],
    "times": before["times"] | times | {"rows": rows},
    "rows": [
      {
        "name": name,
        "family": row.family,
        "what": row.what,
        "changes": dict(row.changes),
        "minutes": minutes,
        "lesions": kind,
        "seeds": sorted(known[name, minutes, kind]),
        **summary([x for _, x in sorted(known[name, minutes, kind].items())]),
      }
      for name, row in ROWS.items()
      for _, minutes, kind in sorted(key for key in known if key[0] == name)
    ]
    + gone,
  }


def write_table(args) -> None:
  """Write table.json, and a sheet of images for each trained row."""
  files.write_json(TABLE, table(args))
  for sheet in sorted(args.workdir.glob("*/0/*.png")):
    name = f"{sheet.parent.parent.name}-{sheet.stem}.jpg"
    Image.open(sheet).save(HERE / name, quality=80)


def summary(measured: list[dict[str, Any]]) -> dict[str, Any]:
  """Average scores over seeds.

  `low` and `high` are the 95% interval of the mean over seeds (Student's t),
  clipped to [0, 1] for shares; None for a single seed. `raw` has one value per
  seed.
  """
  found = {key: measured[0][key] for key in ("steps", "images")}
  for key in [key for key in measured[0] if key not in found]:
    by_class = [x[key]["by_class"] for x in measured]
    mean = functools.partial(_mean, share=not key.startswith("kid"))
    found[key] = mean([x[key]["value"] for x in measured]) | {
      "by_class": {n: mean([x[n] for x in by_class]) for n in by_class[0]}
    }
  return found


def by_seed(row: dict[str, Any]) -> dict[int, dict[str, Any]]:
  """Return the measurements for each seed of a row of the table.

  This is the inverse of `summary`.
  """
  scores = {k: x for k, x in row.items() if isinstance(x, dict) and "raw" in x}
  return {
    seed: {key: row[key] for key in ("steps", "images")}
    | {
      key: {
        "value": score["raw"][place],
        "by_class": {n: x["raw"][place] for n, x in score["by_class"].items()},
      }
      for key, score in scores.items()
    }
    for place, seed in enumerate(row["seeds"])
  }


def _mean(values: list[float], share: bool) -> dict[str, Any]:
  mean, low, high = float(np.mean(values)), None, None
  if len(values) > 1:
    error = stats.sem(values)
    low, high = mean + error * stats.t.ppf([0.025, 0.975], len(values) - 1)
    if share:
      low, high = max(low, 0.0), min(high, 1.0)
  return {"value": mean, "low": low, "high": high, "raw": values}


def _seeds(text: str) -> list[int]:
  if not re.fullmatch(r"\d+(,\d+)*", text):
    raise argparse.ArgumentTypeError(f"{text!r}: numbers such as 0,1,2")
  return [int(seed) for seed in text.split(",")]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
  """Parse arguments."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("stage", choices=("times", "run", "table", "waves"))
  add("--manual_dir", required=True, help="with HAM10000's archives")
  # Absolute, for links between its folders.
  absolute = lambda text: pathlib.Path(text).expanduser().resolve()
  add("--workdir", type=absolute, required=True)
  add("--rows", default=",".join(ROWS), help="names; default: all")
  add("--seeds", type=_seeds, default="0", help="such as 0,1,2")
  add("--minutes", type=float, default=15)
  add("--test", action="store_true", help="measure with test lesions")
  add("--hardware", help="for the table, such as '2 cores of …'")
  args = parser.parse_args(argv)
  args.rows = args.rows.split(",")
  if unknown := set(args.rows) - set(ROWS):
    parser.error(f"--rows: {', '.join(unknown)}: there are {', '.join(ROWS)}")
  return args


def main() -> None:
  """Run a stage."""
  args = parse()
  cache = os.path.join(sources.cache_dir(), "compiled")
  command_line.set_up(cache, None, None, None)
  stages = {
    "times": measure_times,
    "run": run,
    "table": write_table,
    "waves": find_waves,
  }
  try:
    stages[args.stage](args)
  except (errors.InputError, interruption.Interrupted) as error:
    sys.exit(str(error))


if __name__ == "__main__":
  main()
