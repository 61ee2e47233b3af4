"""Copies a run's results into results/, and rewrites the READMEs' tables.

  python results/collect.py NAME WORKDIR --hardware="2 cores of an AMD EPYC"
  python results/collect.py  # tables only, as after a benchmark

Only small files are copied: tables, summaries, sheets of generated images. A
report that shows real lesions is not, because they are not ours to publish.
"""

import argparse
import collections
import csv
import json
import math
import pathlib
import re
import shutil
import sys
from collections.abc import Mapping
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT.parent))

from skinjax.judging import findings  # noqa: E402
from skinjax.report.rendering import signed  # noqa: E402
from skinjax.runtime import files  # noqa: E402
from skinjax.runtime import workdir as workdirs  # noqa: E402
from skinjax.study import plots, verdict  # noqa: E402
from skinjax.study.summary import ORIGINAL_ARMS  # noqa: E402
from skinjax.training import schedules, tasks  # noqa: E402

TABLE = ROOT / "runs.csv"
COLUMNS = ("name", "measured", "minutes", "hardware", "command")
KEPT = (
  "scores.csv",
  "summary.json",
  "evaluation.json",
  "sheet.png",
  "report/summary.json",
  "report/scores.csv",
  "report/differences.csv",
)
# A study's files from which its scores can be recomputed, and from which the
# study continues if they are copied into its workdir.
PREDICTIONS = (
  "plan.json",
  "*/images.csv",
  *(f"*/units/*/{n}" for n in ("validation.npz", "test.npz", "unit.json")),
)
MARKS = (
  "<!-- {}: written by results/collect.py, do not edit -->",
  "<!-- /{} -->",
)
# Columns of the generators' tables, as in _SPEED.
_JUDGED = (
  ("kid_squeezenet", "SqueezeNet's distance", ".0f"),
  ("recall", "recall", ".2f"),
  ("coverage", "coverage", ".2f"),
  ("kid_efficientnet", "EfficientNet-Lite0's distance", ".2f"),
  ("agreement", "agreement", ".2f"),
  # Final rows only.
  ("train_on_synthetic", "trained on them alone", ".2f"),
  ("copies", "copies", ".1%"),
)
# The score of real images next to that of generated ones, if not KEY_real.
_REAL = {"train_on_synthetic": "train_on_real"}
# Scores for which the hardest class is shown, too.
_HARDEST = {"kid_squeezenet": max, "agreement": min}
# A classifier's scores that are reported, and their names.
_SCORES = (
  ("balanced_accuracy", "balanced accuracy"),
  ("mean_auc", "mean AUC"),
  ("accuracy", "accuracy"),
)
# The study behind README.md's answer, its positive control, and the arms that
# the answer lists, in words.
STUDY, CONTROL = "ham10000_study", "ham10000_control"
_ANSWERS = {
  "dose_025": "0.25 synthetic images per real one*",
  "uncapped": "1 per real image*",
  "dose_2": "2 per real image*",
  "dose_10": "10 per real image*",
  "capped_25": "up to 2, but at most a quarter of a class's images in a batch*",
  "adjusted_25": "the same with logit adjustment*",
}
# The study whose arms without synthetic images results/README.md shows.
NETWORKS = "ham10000_networks"
# Columns of a training step in benchmarks/README.md: key, heading, format.
_SPEED = (
  ("model", "model", ""),
  ("width", "width", ""),
  ("skinjax_ms", "skinjax, ms", ".0f"),
  ("torch_ms", "PyTorch, ms", ".0f"),
  ("ratio", "ratio", ".2f"),
  ("skinjax_mib", "skinjax, MiB", ".0f"),
  ("torch_mib", "PyTorch, MiB", ".0f"),
  ("torch_variant", "PyTorch's best", ""),
)
# Columns of the memory by size.
_SIZES = (
  ("size", "size", ""),
  ("MiB", "memory, MiB", ".0f"),
)


def portable(text: str) -> str:
  """Replace absolute paths by runs/ and their last part, or from {fold} on."""
  last = r"[^ /\",{]*\{[^ \",]*|[^ /\",]+"
  return re.sub(rf"(?<=[= \"])/[^ \",{{]*/({last})", r"runs/\1", text)


def measured(folder: pathlib.Path) -> str | None:
  """Summarize in words the tables of a run; None if it has none."""
  if (folder / "evaluation.json").exists():
    return judged(json.loads((folder / "evaluation.json").read_text()))
  if (folder / "summary.json").exists():
    classes = json.loads((folder / "summary.json").read_text())
    if "verdict" in classes:
      return study_in_words(classes)
    ratio = lambda name: classes[name]["diversity_ratio"] or 0.0
    least = min(classes, key=ratio)
    words = f"diversity at least {ratio(least):.2f} of "
    words += f"real ({least})"
    collapsed = [name for name in classes if classes[name]["collapsed"]]
    words += f"; collapsed: {', '.join(collapsed) or 'none'}"
    if classes[least]["agreement"] is not None:
      worst = min(classes, key=lambda name: classes[name]["agreement"])
      words += f"; agreement at least {classes[worst]['agreement']:.2f}"
      words += f" ({worst})"
    return words
  if (folder / "scores.csv").exists():
    with (folder / "scores.csv").open() as file:
      scores = {row["score"]: row for row in csv.DictReader(file)}
    words = [f"{words} {_interval(scores[name])}" for name, words in _SCORES]
    line = float(scores["majority_line"]["value"])
    return (
      f"{', '.join(words)} (majority line {line:.3f}; one run: intervals over "
      "test lesions only)"
    )
  return None


def trained(workdir: pathlib.Path) -> str:
  """Summarize in words how a GAN was trained."""
  steps = _records(workdir / "metrics.jsonl")[-1]["step"]
  phases = _phases(workdir)
  if phases[0].level is None:
    return f"{steps} steps; the sheet is of the last"
  images = int(schedules.images_seen(phases[-1], steps))
  sizes = f"{phases[0].size}x{phases[0].size} to "
  sizes += f"{phases[-1].size}x{phases[-1].size}"
  return f"{sizes} in {steps} steps, {images} images; a sheet for each size"


def study_in_words(summary: dict) -> str:
  """Summarize a study in words."""
  found, level = summary["verdict"], summary["level"]
  ends = {key: found[key] for key in ("low", "high")} | {"level": level}
  between = found["between_folds"]
  known = {
    "leak_excluded": found["leak_excluded"],
    "other_pretraining": found.get("other_pretraining", ()),
  }
  return " ".join(
    [
      *["Drawn pictures, not lesions."] * summary["drawn"],
      verdict.headline(summary["subject"], found["kind"], **ends, **known),
      verdict.detail(
        summary["subject"],
        network=found["network"],
        value=found["value"],
        between=[
          math.nan if between[key] is None else between[key]
          for key in ("low", "high")
        ],
        num_seeds=found["seeds"],
        **ends,
      ),
    ]
  )


def judged(evaluation: dict) -> str:
  """Summarize an evaluation in words."""
  extractor, kernel = findings.kernel_distances(evaluation)
  synthetic = {n: v for (n, kind), v in kernel.items() if kind == "synthetic"}
  nearest, farthest = (
    pick((n for n in synthetic if n), key=synthetic.get) for pick in (min, max)
  )
  words = [
    f"kernel distance in {extractor} from {synthetic[nearest]:.2f} "
    f"({nearest}) to {synthetic[farthest]:.2f} ({farthest}); held-out real "
    f"images: {kernel[nearest, 'floor']:.2f} and "
    f"{kernel[farthest, 'floor']:.2f}"
  ]
  copies = evaluation["copies"]["classes"].values()
  suspects, images = (
    sum(row[key] for row in copies) for key in ("suspects", "images")
  )
  words.append(f"{suspects} of {images} suspected of being copies")
  useful = evaluation["usefulness"] or {}
  if useful.get("agreement"):
    values = {n: row["value"] for n, row in useful["agreement"].items()}
    worst = min(values, key=values.get)
    mean = sum(values.values()) / len(values)
    words.append(
      f"agreement {mean:.3f}, at least {values[worst]:.2f} ({worst})"
    )
  if useful.get("cas"):
    balanced = useful["cas"]["balanced_accuracy"]
    words.append(
      "balanced accuracy of a classifier trained on synthetic images alone "
      f"{_interval(balanced['synthetic'])}, on the same number of real ones "
      f"{_interval(balanced['real'])}"
    )
  return "; ".join(words)


def _interval(score: Mapping[str, Any], form: str = ".3f") -> str:
  """Format a score's value and interval, if it has one."""
  words = format(float(score["value"]), form)
  if score.get("low") is None:
    return words
  low, high = (format(float(score[key]), form) for key in ("low", "high"))
  return f"{words} [{low}, {high}]"


def _records(path: pathlib.Path) -> list[dict[str, float]]:
  return [json.loads(line) for line in path.read_text().splitlines()]


def _phases(path: pathlib.Path) -> tuple[schedules.Phase, ...]:
  config = workdirs.read_config(path)
  return tasks.named(config.task).phases(config)


def grown(path: pathlib.Path, target: pathlib.Path) -> None:
  """Copy sheets, times and curves of a growing GAN, by size."""
  phases = _phases(path)
  if phases[0].level is None:
    return
  timed, curves = _records(path / "timing.jsonl"), {}
  rows = [("size", "steps", "images", "batch", "rate", "minutes")]
  for phase in phases:
    name = f"{phase.size}x{phase.size}"
    sheet = path / "samples" / f"{phase.stop:08d}.png"
    if phase is not phases[-1] and sheet.exists():
      shutil.copy(sheet, target / f"samples_{name}.png")
    within = lambda record, phase=phase: (
      phase.first_step < record["step"] <= phase.stop
    )
    steps = phase.stop - phase.first_step
    # The first call of a size is not timed, because it compiles.
    measured = [record["seconds"] for record in timed if within(record)]
    minutes = sum(measured) / 60 if measured else 0.0
    rows.append(
      (
        *(name, steps, steps * phase.batch_size, phase.batch_size, phase.rate),
        f"{minutes:.1f}",
      )
    )
    curves[name] = [[r for r in _curves(path / "metrics.jsonl") if within(r)]]
  files.write_text(target / "growth.csv", files.table(rows))
  _save(plots.curves(curves), target / "curves.png")


def _save(figure, path: pathlib.Path) -> None:
  figure.savefig(path, dpi=110, bbox_inches="tight")


def _curves(path: pathlib.Path) -> list[dict[str, float]]:
  """Return a GAN's metrics to plot, the classes' diversity last."""
  chosen = re.compile(r"step|train/(d_loss|g_loss|d_penalty)|.*accuracy|div.*")
  return [
    {name: value for name, value in record.items() if chosen.fullmatch(name)}
    for record in _records(path)
  ]


def collect(name: str, workdir: pathlib.Path, hardware: str) -> None:
  """Copy a workdir's small files and add the run to runs.csv.

  Raises:
    SystemExit: it is no run's workdir, or the folder of that name is not one of
      a run.
  """
  target = ROOT / name
  if not (workdir / "runs.jsonl").exists():
    sys.exit(f"{workdir} is not the workdir of a finished run.")
  if target.exists() and name not in {row["name"] for row in _rows()}:
    sys.exit(f"{target} holds something else than a run: use another name.")
  shutil.rmtree(target, ignore_errors=True)
  target.mkdir(parents=True)
  for kept in KEPT:
    if (workdir / kept).exists():
      shutil.copy(workdir / kept, target)
  for pattern in PREDICTIONS:
    for found in sorted(workdir.glob(pattern)):
      place = target / found.relative_to(workdir)
      place.parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(found, place)
  # They contain paths of this machine.
  for file in target.glob("*.json"):
    files.write_text(file, portable(file.read_text()))
  notes = _records(workdir / "runs.jsonl")
  minutes = sum(note["seconds"] for note in notes) / 60
  report = workdir / "report"
  if report.exists():
    summary = json.loads((report / "summary.json").read_text())
    # A killed run leaves no note, but its classifiers do.
    minutes = max(minutes, sum(summary["minutes"].values()))
    _save(plots.forest(summary), target / "forest.png")
    if summary["drawn"]:
      shutil.copy(report / "index.html", target)
  sheets = sorted((workdir / "samples").glob("*.png"))
  if sheets:
    shutil.copy(sheets[-1], target / "samples.png")
  if sheets:
    grown(workdir, target)
  rows = {row["name"]: row for row in _rows()} | {
    name: {
      "name": name,
      "measured": measured(target) or trained(workdir),
      "minutes": f"{minutes:.1f}",
      "hardware": hardware,
      "command": portable(notes[-1]["command"]),
    }
  }
  _write([rows[key] for key in sorted(rows)])


def _write(rows: list[dict[str, str]]) -> None:
  lines = [[row[name] for name in COLUMNS] for row in rows]
  files.write_text(TABLE, files.table([COLUMNS, *lines]))


def write_tables() -> None:
  """Rewrite the tables in the READMEs of the project and its folders.

  What was measured is described anew from the kept tables.
  """
  rows = _rows()
  for row in rows:
    row["measured"] = measured(ROOT / row["name"]) or row["measured"]
  _write(rows)
  for row in rows:
    took = f"# {row['minutes']} minutes, {row['hardware']}"
    place = ROOT / row["name"] / "command.txt"
    files.write_text(place, f"{row['command']}\n{took}\n")
  runs = [
    (f"[{row['name']}]({row['name']})", row["measured"], row["minutes"])
    for row in rows
  ]
  tables = [("runs", ("run", "measured", "minutes"), runs)]
  for summary in _read(sorted(ROOT.glob(f"{NETWORKS}/summary.json"))):
    trainings = {
      network: len(list(ROOT.glob(f"{NETWORKS}/fold*/units/{network}-*")))
      for network in summary["minutes"]
    }
    tables.append(("networks", *real_alone(summary, trainings)))
  if originals := _read(sorted(ROOT.glob("ham10000_original*/summary.json"))):
    tables.append(("original", *original(originals)))
  _rewrite(ROOT, tables)
  tables = []
  summaries = [ROOT / name / "summary.json" for name in (STUDY, CONTROL)]
  if all(file.exists() for file in summaries):
    tables.append(("answer", *answer(*_read(summaries))))
  _rewrite(ROOT.parent, tables)
  tables = []
  if speed := _read(sorted((ROOT / "speed").glob("train_step*.json"))):
    rows = [row for document in speed for row in document["rows"]]
    tables.append(("speed", *_columns(_SPEED, rows)))
  if sizes := _read(sorted((ROOT / "speed").glob("sizes*.json"))):
    rows = [row for each in sizes for row in each["steps"]["progan"]]
    rows = [row for row in rows if row["batch"] == 64]
    rows.sort(key=lambda row: row["size"])
    tables.append(("sizes", *_columns(_SIZES, rows)))
  _rewrite(ROOT.parent / "benchmarks", tables)
  for table in _read(sorted((ROOT / "generators").glob("table.json"))):
    by_lesions = collections.defaultdict(list)
    for row in table["rows"]:
      by_lesions[row["lesions"]].append(row)
    names = {"test": "final", "validation": "screening"}
    tables = [(names[k], *generators(rows)) for k, rows in by_lesions.items()]
    _rewrite(ROOT / "generators", tables)


def _rewrite(folder: pathlib.Path, tables) -> None:
  """Write tables (name, headings, rows) between their marks in a README.md."""
  readme = folder / "README.md"
  text = readme.read_text()
  for name, headings, rows in tables:
    start, end = (mark.format(name) for mark in MARKS)
    table = files.markdown([headings, *rows])
    text = files.put_between(text, start, end, table)
  readme.write_text(text)


def generators(rows: list[dict]) -> tuple[list[str], list[list[str]]]:
  """Return headings and rows of the compared generators.

  Each name links to a sheet of images. Scores of real images are in brackets;
  the worst class follows a comma.
  """
  judged = [
    column for column in _JUDGED if all(column[0] in row for row in rows)
  ]
  headings = ["generator", "minutes", "seeds", "images"]
  headings += [heading for _, heading, _ in judged]
  shown = []
  for row in rows:
    minutes = f"{row['minutes']:g}"
    sheet = f"{row['name']}-{minutes}.jpg"
    what = f"[`{row['name']}`]({sheet}): {row['what']}"
    seeds = ", ".join(map(str, row["seeds"]))
    cells = [what, minutes, seeds, f"{row['images']:,}"]
    cells += [_judged(row, key, form) for key, _, form in judged]
    shown.append(cells)
  return headings, shown


def _judged(row: dict, key: str, form: str) -> str:
  """Format a generator's score."""
  score, real = row[key], row.get(_REAL.get(key, f"{key}_real"))
  words = _interval(score, form)
  if real:
    words += f" ({real['value']:{form}})"
  if key in _HARDEST:
    values = {n: x["value"] for n, x in score["by_class"].items()}
    worst = _HARDEST[key](values, key=values.get)
    words += f", {worst} {values[worst]:{form}}"
  return words


def real_alone(
  summary: dict, trainings: Mapping[str, int]
) -> tuple[list[str], list[list[str]]]:
  """Return headings and rows of a study's arms without added images.

  `trainings` has the number of classifiers of each network.
  """
  scores = ("balanced_accuracy", "accuracy", "mean_auc")
  headings = ["network", "trained on", "balanced accuracy"]
  headings += ["accuracy", "mean AUC", "minutes per training"]
  rows = []
  for arm in summary["arms"]:
    if not arm["recipe"] or arm["recipe"]["added"]:
      continue
    shown = (_interval(arm["scores"][name]) for name in scores)
    network = arm["network"]
    minutes = summary["minutes"][network] / trainings[network]
    rows.append([network, arm["name"], *shown, f"{minutes:.1f}"])
  return headings, rows


def original(summaries: list[dict]) -> tuple[list[str], list[list[str]]]:
  """Return headings and rows of the student project's scores and ours."""
  rows = []
  for summary in summaries:
    (found,) = (row for row in summary["original"] if row["measured"])
    reported = [str(found[key]) for key in ("without", "with")]
    classes, none = f"{found['classes']}", ["", ""]
    rows.append([classes, "reported", *reported, f"{found['majority']}", *none])
    arms = {arm["name"]: arm["scores"] for arm in summary["arms"]}
    accuracy, balanced = (
      [_interval(arms[name][score]) for name in ORIGINAL_ARMS]
      for score in ("accuracy", "balanced_accuracy")
    )
    majority = f"{found['measured']['majority']:.4f}"
    rows.append([classes, "here", *accuracy, majority, *balanced])
  headings = ["classes", "", "accuracy without", "with 500 synthetic images"]
  headings += ["always nevus", "balanced accuracy without", "with"]
  return headings, rows


def _read(paths: list[pathlib.Path]) -> list[dict]:
  return [json.loads(path.read_text()) for path in paths]


def _columns(columns, rows: list[dict]) -> tuple[list[str], list[list[str]]]:
  """Return a table's headings and formatted rows."""
  return [heading for _, heading, _ in columns], [
    [format(row[key], form) for key, _, form in columns] for row in rows
  ]


def answer(study: dict, control: dict) -> tuple[list[str], list[list[str]]]:
  """Return headings and rows of a study's answer, the control's row last.

  Raises:
    SystemExit: their intervals have different levels.
  """
  if study["level"] != control["level"]:
    sys.exit(
      f"{STUDY} has intervals of level {study['level']}, and {CONTROL} of "
      f"{control['level']}, which cannot share a column: collect runs of one "
      "level."
    )

  def row(found, what):
    low, high = signed(found["low"]), signed(found["high"])
    return [what, signed(found["value"]), f"{low} to {high}"]

  decided = study["verdict"]
  what = "**best training with synthetic images, minus best training without**"
  rows, worth = [row(decided, what)], decided["more_images"]
  what = "the same; interval between folds, which have other training lesions"
  rows.append(row(decided | decided["between_folds"], what))
  if None not in worth.values():
    value, low, high = (
      f"{worth[key]:+.0%}".replace("-", "\u2212")
      for key in ("value", "low", "high")
    )
    what = "the same, as a change of the number of real images"
    rows.append([what, value, f"{low} to {high}"])
  rows += [
    row(found, what)
    for arm, what in _ANSWERS.items()
    for found in study["matched"]
    if (found["network"], found["arm"]) == (decided["network"], arm)
  ]
  what = (
    f"[control](results/{CONTROL}), trained on half of the lesions: real "
    "images of the other half instead of synthetic ones"
  )
  rows.append(row(control["verdict"], what))
  level = f"{100 * study['level']:.4g}% interval"
  return ["what is compared", "difference in balanced accuracy", level], rows


def _rows() -> list[dict[str, str]]:
  if not TABLE.exists():
    return []
  with TABLE.open(newline="") as file:
    return list(csv.DictReader(file))


if __name__ == "__main__":
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("name", nargs="?", help="folder in results/")
  parser.add_argument("workdir", nargs="?", type=pathlib.Path)
  parser.add_argument("--hardware", help="required with a workdir")
  arguments = parser.parse_args()
  if arguments.name:
    if not (arguments.workdir and arguments.hardware):
      parser.error("a name needs a workdir and --hardware")
    collect(arguments.name, arguments.workdir, arguments.hardware)
  write_tables()
