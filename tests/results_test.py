"""Tests of results/: READMEs show what was measured, releases have cards."""

import csv
import importlib
import json
import re
import shutil

import numpy as np
import pytest
from scipy import special

import skinjax
from skinjax.metrics import classification, statistics
from skinjax.runtime import workdir
from skinjax.training import tasks, trained
from tests import scripts, shrunk
from tests.bad_input import trained as runs
from tests.conftest import ROOT


@pytest.fixture
def collect(tmp_path, monkeypatch):
  """Return results/collect.py for a project in a temporary folder."""
  module = scripts.load("collect")
  results = tmp_path / "project" / "results"
  results.mkdir(parents=True)
  monkeypatch.setattr(module, "ROOT", results)
  monkeypatch.setattr(module, "TABLE", results / "runs.csv")
  (tmp_path / "project" / "benchmarks").mkdir()
  for folder, name in ((".", ""), ("results", "runs"), ("benchmarks", "speed")):
    start, end = (mark.format(name) for mark in module.MARKS)
    readme = f"before\n{start}\nold\n{end}\nafter\n"
    (tmp_path / "project" / folder / "README.md").write_text(readme)
  return module


def _workdir(path, seconds):
  path.mkdir()
  command = "python main.py --workdir=/a/b/run --config.seed=1"
  notes = [{"command": command, "seconds": s} for s in seconds]
  lines = "".join(json.dumps(note) + "\n" for note in notes)
  (path / "runs.jsonl").write_text(lines)
  (path / "scores.csv").write_text(
    "score,value,low,high\n"
    "majority_line,0.6700,0.6700,0.6700\n"
    "balanced_accuracy,0.5012,0.4500,0.5500\n"
    "mean_auc,0.8000,0.7500,0.8500\n"
    "accuracy,0.7000,0.6900,0.7100\n"
  )
  return path


def test_nothing_but_a_run_is_collected_or_replaced(collect, tmp_path):
  with pytest.raises(SystemExit, match="run is not the workdir of a finished"):
    collect.collect("a", tmp_path / "run", "a machine")
  other = collect.ROOT / "generators" / "measure.py"
  other.parent.mkdir()
  other.touch()
  run = _workdir(tmp_path / "run", [60])
  with pytest.raises(SystemExit, match="generators holds something else"):
    collect.collect("generators", run, "a machine")
  assert other.exists()


def test_a_study_is_kept_with_its_predictions(collect, tmp_path):
  old, run = ROOT / "results" / "quickstart", tmp_path / "run"
  unit = run / "split" / "units" / "resnet-classical-0-0123456789ab"
  for place in (run / "report", unit / "checkpoints"):
    place.mkdir(parents=True)
  shutil.copy(old / "plan.json", run)
  summary = json.loads((old / "summary.json").read_text())
  summary |= {"drawn": False, "minutes": {"head": 1.25, "resnet": 2.0}}
  (run / "report" / "summary.json").write_text(json.dumps(summary))
  (run / "report" / "index.html").write_text("shows real lesions")
  # The first of two runs was killed.
  note = {"command": "python main.py --workdir=/a/run", "seconds": 60}
  (run / "runs.jsonl").write_text(json.dumps(note) + "\n")
  predicted = ("validation.npz", "test.npz", "unit.json")
  for name in (*predicted, "config.json", "checkpoints/x"):
    (unit / name).touch()
  collect.collect("study", run, "a machine")
  kept = collect.ROOT / "study"
  assert {path.name for path in kept.iterdir()} == {
    *("plan.json", "summary.json", "forest.png", "split"),
  }
  found = kept / unit.relative_to(run)
  assert {path.name for path in found.iterdir()} == set(predicted)
  (row,) = collect._rows()
  assert row["measured"] == collect.study_in_words(summary)
  assert (row["minutes"], row["hardware"]) == ("3.2", "a machine")


def test_readme_shows_what_was_measured(collect, tmp_path):
  run = _workdir(tmp_path / "run", [60, 30])
  collect.collect("b", run, "a machine")
  collect.collect("a", run, "a machine")
  collect.collect("b", run, "another")
  collect.write_tables()
  lines = (collect.ROOT / "README.md").read_text().splitlines()
  assert (lines[0], lines[-1]) == ("before", "after")
  assert "old" not in lines
  rows = [line for line in lines if line.startswith("| [")]
  assert [row.split("]")[0] for row in rows] == ["| [a", "| [b"]
  assert (
    "balanced accuracy 0.501 [0.450, 0.550], mean AUC 0.800 [0.750, 0.850], "
    "accuracy 0.700 [0.690, 0.710] (majority line 0.670; one run: intervals "
    "over test lesions only) | 1.5 |"
  ) in rows[1]
  assert (collect.ROOT / "b" / "command.txt").read_text().splitlines() == [
    "python main.py --workdir=runs/run --config.seed=1",
    "# 1.5 minutes, another",
  ]
  assert (collect.ROOT / "b" / "scores.csv").exists()


@pytest.mark.parametrize(
  ("text", "wanted"),
  [
    ("main.py --workdir=/a/b/run -s=1", "main.py --workdir=runs/run -s=1"),
    ("'--synthetic=/a/fold{fold}/set'", "'--synthetic=runs/fold{fold}/set'"),
    (
      '{"manual_dir": "/a/data", "x": 1}',
      '{"manual_dir": "runs/data", "x": 1}',
    ),
    ("configs/acgan.py 1/2", "configs/acgan.py 1/2"),
  ],
)
def test_paths_of_a_machine_are_shortened(collect, text, wanted):
  assert collect.portable(text) == wanted


def test_readme_shows_the_speed_that_was_noted(collect):
  row = {"model": "acgan", "width": 32, "skinjax_ms": 90.4, "torch_ms": 100.2}
  row |= {"ratio": 0.9022, "torch_mib": 99.6, "skinjax_mib": 1000.1}
  row |= {"torch_variant": "eager", "notes": []}
  (collect.ROOT / "speed").mkdir()
  path = collect.ROOT / "speed" / "train_step.json"
  path.write_text(json.dumps({"rows": [row]}))
  collect.write_tables()
  text = (collect.ROOT.parent / "benchmarks" / "README.md").read_text()
  wanted = "| acgan | 32 | 90 | 100 | 0.90 | 1000 | 100 | eager |"
  assert wanted in text.splitlines()
  assert "old" not in text


def test_generators_are_shown_beside_held_out_real_images():
  value = lambda number, **classes: {
    "value": number,
    "low": None,
    "high": None,
    "by_class": {n: {"value": x} for n, x in classes.items()},
  }
  row = {"name": "a", "what": "as it is", "minutes": 15.0, "seeds": [0, 2]}
  row |= {"images": 3200, "agreement": value(0.5, df=0.25, nv=0.75)}
  row |= {"kid_efficientnet": value(1.234), "agreement_real": value(0.625)}
  row |= {"kid_squeezenet": value(226.4, df=400.0, nv=52.8)}
  row |= {"recall": value(0.5), "coverage": value(0.25)}
  headings, (shown,) = scripts.load("collect").generators([row])
  assert len(headings) == len(shown)
  assert shown[:4] == ["[`a`](a-15.jpg): as it is", "15", "0, 2", "3,200"]
  assert shown[4:7] == ["226, df 400", "0.50", "0.25"]
  assert shown[7:] == ["1.23", "0.50 (0.62), df 0.25"]
  # Final rows have more columns.
  row |= {"train_on_synthetic": value(0.4), "train_on_real": value(0.5)}
  row |= {"copies": {**value(0.01), "low": 0.005, "high": 0.015}}
  _, (shown,) = scripts.load("collect").generators([row])
  assert shown[-2:] == ["0.40 (0.50)", "1.0% [0.5%, 1.5%]"]


def test_an_evaluation_in_words():
  place = ROOT / "results" / "ham10000_acgan64_evaluation"
  evaluation = json.loads((place / "evaluation.json").read_text())
  useful, judged = evaluation["usefulness"], scripts.load("collect").judged
  useful["agreement"] = {"df": {"value": 0.5}, "nv": {"value": 0.75}}
  words = judged(evaluation)
  assert "; agreement 0.625, at least 0.50 (df); balanced accuracy" in words
  useful["agreement"] = None  # no classifier was given
  assert "agreement" not in judged(evaluation)
  assert judged(evaluation | {"usefulness": None}) in words


def test_tables_of_the_project_are_current(monkeypatch):
  module, written = scripts.load("collect"), {}
  write = lambda path, text: written.update({path: text})
  monkeypatch.setattr(type(ROOT), "write_text", write)
  monkeypatch.setattr(module.files, "write_text", write)
  module.write_tables()
  folders = (ROOT, ROOT / "results", ROOT / "benchmarks")
  assert {folder / "README.md" for folder in folders} < set(written)
  for readme, text in written.items():
    assert text == readme.read_text()


def test_samples_and_times_of_a_growing_gan_are_kept(collect, tmp_path):
  run = tmp_path / "run"
  with workdir.claim(run, shrunk.frozen("progan", train__steps=8)):
    pass
  lines = {
    "metrics": [{"step": n, "train/d_loss": 1 / n} for n in (1, 2, 5, 8)],
    # The first call of a size compiles, and is not timed.
    "timing": [{"step": n, "seconds": 90.0} for n in (2, 6, 8)],
    "runs": [{"command": "python", "seconds": 60}],
  }
  for name, records in lines.items():
    text = "".join(json.dumps(record) + "\n" for record in records)
    (run / f"{name}.jsonl").write_text(text)
  (run / "samples").mkdir()
  for step in (1, 2, 8):
    (run / "samples" / f"{step:08d}.png").write_text(f"sheet of step {step}")
  collect.collect("gan", run, "a machine")
  kept = collect.ROOT / "gan"
  names = {path.name for path in kept.iterdir()}
  assert names == {"samples.png", "samples_8x8.png", "growth.csv", "curves.png"}
  # The sheet of the step at which 8x8 ends, and of the last step.
  assert (kept / "samples_8x8.png").read_text() == "sheet of step 2"
  assert (kept / "samples.png").read_text() == "sheet of step 8"
  with (kept / "growth.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
  columns = ("size", "steps", "images", "batch", "minutes")
  assert [tuple(row[name] for name in columns) for row in rows] == [
    ("8x8", "2", "16", "8", "1.5"),
    ("16x16", "6", "48", "8", "3.0"),
  ]
  (row,) = collect._rows()
  wanted = "8x8 to 16x16 in 8 steps, 64 images; a sheet for each size"
  assert row["measured"] == wanted


def test_networks_are_compared_without_synthetic_images():
  score = {"value": 0.5, "low": 0.4, "high": 0.6}
  names = ("balanced_accuracy", "accuracy", "mean_auc")
  arm = {"seeds": 3, "scores": dict.fromkeys(names, score)}
  recipes = {
    "real": {"added": "", "fraction": 1.0},
    "capped_25": {"added": "synthetic", "fraction": 1.0},
    "chosen": None,
  }
  trainings = {"head": 8, "resnet": 20}
  summary = {
    "minutes": {"head": 4.0, "resnet": 30.0},
    "arms": [
      arm | {"network": network, "name": name, "recipe": recipe}
      for network in trainings
      for name, recipe in recipes.items()
    ],
  }
  headings, rows = scripts.load("collect").real_alone(summary, trainings)
  shown = ["0.500 [0.400, 0.600]"] * 3
  assert rows == [
    ["head", "real", *shown, "0.5"],
    ["resnet", "real", *shown, "1.5"],
  ]
  assert len(headings) == len(rows[0])


def test_the_answer_is_that_of_the_verdicts_network():
  worth = {"value": -0.081, "low": -0.267, "high": 0.126}
  ends = lambda value: {"value": value, "low": value - 0.01, "high": 0.25}
  between = {"low": -0.25, "high": 0.125}
  decided = {"network": "head", "more_images": worth, "between_folds": between}
  decided |= ends(0.0)
  rows = (
    ("resnet", "dose_10", 0.7),
    ("head", "dose_10", 0.2),
    ("head", "dose_5", 0.3),
    ("head", "dose_025", 0.1),
  )
  study = {
    "level": 0.975,
    "verdict": decided,
    "matched": [{"network": n, "arm": a} | ends(x) for n, a, x in rows],
  }
  control = {"level": 0.975, "verdict": ends(0.05)}
  module = scripts.load("collect")
  headings, shown = module.answer(study, control)
  assert headings[-1] == "97.5% interval"
  assert [row[1:] for row in shown] == [
    ["0.000", "\u22120.010 to +0.250"],
    ["0.000", "\u22120.250 to +0.125"],
    ["\u22128%", "\u221227% to +13%"],
    ["+0.100", "+0.090 to +0.250"],
    ["+0.200", "+0.190 to +0.250"],
    ["+0.050", "+0.040 to +0.250"],
  ]
  worth["low"] = None  # too far from what was measured
  assert module.answer(study, control)[1] == [*shown[:2], *shown[3:]]
  with pytest.raises(SystemExit, match=r"level 0\.975, and .* of 0\.95"):
    module.answer(study, control | {"level": 0.95})


def test_an_interval_that_ends_at_zero_is_shown():
  module = scripts.load("collect")
  summary = ROOT / "results" / module.STUDY / "summary.json"
  summary = json.loads(summary.read_text())
  summary["verdict"]["between_folds"] = {"low": 0.0, "high": 0.01}
  assert "is 0.000 to +0.010." in module.study_in_words(summary)


def test_the_student_projects_scores_are_shown_beside_ours():
  score = lambda value: {"value": value, "low": 0.25, "high": 0.75}
  arms = {"real": (0.5, 0.375), "real_500": (0.625, 0.125)}
  summary = {
    "original": [
      {"classes": 3, "measured": None},
      {"classes": 7, "without": 0.675, "with": 0.679, "majority": 0.6695}
      | {"measured": {"majority": 0.67125}},
    ],
    "arms": [
      {
        "name": n,
        "scores": {"accuracy": score(a), "balanced_accuracy": score(b)},
      }
      for n, (a, b) in arms.items()
    ],
  }
  headings, (reported, here) = scripts.load("collect").original([summary])
  assert reported == ["7", "reported", "0.675", "0.679", "0.6695", "", ""]
  assert here[:2] == ["7", "here"]
  assert [cell[:6] for cell in here[2:]] == [
    *("0.500 ", "0.625 ", "0.6713", "0.375 ", "0.125 "),
  ]
  assert len(headings) == len(here)


def test_a_table_without_its_place_is_an_error(collect):
  (collect.ROOT / "README.md").write_text("no marks")
  with pytest.raises(ValueError, match=r"runs: written by .* are expected"):
    collect.write_tables()
  assert (collect.ROOT / "README.md").read_text() == "no marks"


def test_commands_give_the_runs_that_are_kept():
  """A GAN's command still has the first size of the run's record."""
  for row in scripts.load("collect")._rows():
    growth = ROOT / "results" / row["name"] / "growth.csv"
    if growth.exists():
      name, text = re.search(
        r"configs/(\w+)\.py:([\w=,]+)", row["command"]
      ).groups()
      config = importlib.import_module(f"configs.{name}").get_config(text)
      first = tasks.named(config.task).phases(config)[0]
      (size, *_) = list(csv.reader(growth.open()))[1]
      assert size == f"{first.size}x{first.size}", row["name"]


def test_the_answer_in_real_images_is_that_of_the_study():
  study = ROOT / "results" / scripts.load("collect").STUDY / "summary.json"
  worth = json.loads(study.read_text())["verdict"]["more_images"]["high"]
  text = (ROOT / "README.md").read_text()
  text = text.replace("\n", " ")
  assert f"about as much as {worth:.0%} more real images" in text


@pytest.mark.parametrize("name", ["acgan", "progan", "classifier"])
def test_a_released_network_has_a_card(name, tmp_path):
  release, folder = scripts.load("release"), tmp_path / "released"
  path = shutil.copytree(runs.network(name), tmp_path / "run")
  evaluation = None
  if name == "classifier":
    _workdir(tmp_path / "scored", [60])
    shutil.copy(tmp_path / "scored" / "scores.csv", path)
  else:
    evaluation = ROOT / "results" / "ham10000_progan64_evaluation"
    evaluation = json.loads((evaluation / "evaluation.json").read_text())
    evaluation |= {"pretrained": [], "seen": []}
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    evaluation = tmp_path
  release.release("mine", path, "a chip", evaluation, folder)
  text = (folder / "mine.md").read_text()
  groups = len(trained.load(path).origin["groups"])
  for words in ("# mine", "CC BY-NC 4.0", f"{groups:,} lesions", "a chip"):
    assert words in text
  if name == "classifier":
    assert "| balanced_accuracy | 0.5012 | 0.4500 to 0.5500 |" in text
  else:
    assert "\n| df | 40.4 | -77.7 | 62.7 | 0.476 | 3 |\n" in text
  load = skinjax.load_generator if evaluation else skinjax.load_classifier
  assert load(folder / "mine").class_names == shrunk.CLASSES


def test_a_generator_without_evaluation_is_not_released(monkeypatch, tmp_path):
  release = scripts.load("release")
  monkeypatch.setattr(release.released, "SHIPPED", tmp_path / "released")
  path = runs.network("acgan")
  with pytest.raises(SystemExit, match="--evaluation"):
    release.release("mine", path, "a chip", None, tmp_path / "released")
  assert not (tmp_path / "released").exists()


def test_simulated_studies():
  simulate = scripts.load("coverage/simulate")
  size = simulate.Size(1 / 5, resamples=30, true_seeds=10, true_images=200)
  studies = [simulate.simulate(number, 0, size) for number in range(3)]
  assert studies[1] == simulate.simulate(1, 0, size)
  table = simulate.summarize([row for study in studies for row in study])
  key = ("scenario", "choice", "rule")
  rows = {tuple(row[name] for name in key): row for row in table}
  assert len(rows) == len(table) == 3 * (3 + 4)
  for (_, _, rule), row in rows.items():
    assert row["studies"] == 3
    assert 0.3 < row["balanced_accuracy"] < 0.8
    assert 0 < row["half_width"] < 0.5
    assert row["truth_error"] < 0.02
    assert np.isnan(row["coverage_of_mean_between_folds"]) == (rule == "1 fold")
  choice = simulate.CHOICES[1]
  usual, strict = (
    rows["help", choice, rule]["half_width"]
    for rule in ("3 seeds", "3 seeds, 98.75%")
  )
  assert strict > usual
  for rule, seeds in (("3 seeds", 3), ("1 fold", 3)):
    assert rows["help", choice, rule]["seeds"] == seeds
  no_change, help_, hurt = (
    rows[name, choice, "3 seeds"]["truth"] for name in simulate.SCENARIOS
  )
  assert hurt < no_change < help_


def test_simulated_arms_are_chosen_by_other_seeds(monkeypatch):
  simulate = scripts.load("coverage/simulate")
  # [arms, seeds]: arm 0 is best for the luck of seed 0, arm 1 without it.
  scores = np.array([[9, 1, 2], [3, 3, 3], [0, 0, 0]])
  monkeypatch.setattr(simulate, "correct", lambda *_: None)
  recalls = lambda *_: scores.reshape(-1, 1)
  monkeypatch.setattr(simulate, "recalls", recalls)
  fold = simulate.Fold.__new__(simulate.Fold)
  monkeypatch.setattr(fold, "seeds", lambda number: number)
  train = lambda _, arm, seeds: np.full((seeds, 7, 9), arm)
  monkeypatch.setattr(fold, "train", train)
  choices = fold.choose(None, simulate.Images(*[np.zeros(1)] * 3))
  for choice, wanted in (("by all", 0), ("by the others", 1)):
    arms, classifiers = choices[choice]
    assert arms.tolist() == [wanted] + [0] * 9
    assert classifiers.shape == (10, 7, 9)
    assert classifiers[:, 0, 0].tolist() == arms.tolist()


def test_counts_of_simulated_studies_by_hand():
  simulate = scripts.load("coverage/simulate")
  rest = dict.fromkeys(("seeds", "seed_sd", "truth_error", "score"), 0)
  rows = [
    {"low": low, "high": high, "truth": truth}
    | rest
    | {"value": (low + high) / 2, "between_low": 0, "between_high": 9}
    | {"scenario": "a", "choice": "b", "rule": "c"}
    for low, high, truth in (
      (1, 3, 2),  # covers, says helps
      (-3, -1, 2),  # says hurts, falsely
      (-1, 1, 0),
      (1, 3, 0),  # says helps, falsely
    )
  ]
  (row,) = simulate.summarize(rows)
  shares = ("coverage", "false_verdicts", "helps", "hurts")
  assert [row[name] for name in shares] == [0.5, 0.5, 0.5, 0.25]
  assert row["coverage_error"] == 0.25
  # The mean truth is 1: in [1, 3] and [-1, 1], ends included.
  assert row["coverage_of_mean"] == 0.75
  assert row["coverage_of_mean_between_folds"] == 1
  assert row["half_width"] == 1
  # 0, -4, 0 and 2 too high.
  assert row["bias"] == -0.5


def test_simulated_tallies_are_those_of_predictions():
  simulate = scripts.load("coverage/simulate")
  rng = np.random.default_rng(0)
  images, labels = simulate._lesions(1 / 20)
  drawn = simulate.Population().draw(rng, images, labels)
  classifiers = rng.normal(size=(2, 7, simulate.DIMENSIONS + 1))
  weights = statistics.bootstrap_weights(drawn.lesion, drawn.label, 20, 0)
  right = simulate.correct(classifiers, drawn)
  found = simulate.tallies(right, drawn.label, weights)
  x = np.concatenate([drawn.x, np.ones((len(drawn.x), 1))], 1)
  for tally, classifier in zip(found, classifiers, strict=True):
    probabilities = special.softmax(x @ classifier.T, axis=1)
    expected = statistics.tally(probabilities, drawn.label, weights).confusion
    scores = [
      classification.of_counts(counts)["balanced_accuracy"]
      for counts in (tally.confusion, expected)
    ]
    np.testing.assert_allclose(*scores, rtol=1e-5)


def test_table_of_simulated_studies_is_current():
  simulate = scripts.load("coverage/simulate")
  folder = ROOT / "results" / "coverage"
  rows = json.loads((folder / "coverage.json").read_text())["rows"]
  readme = (folder / "README.md").read_text()
  assert simulate.show(rows, readme) == readme


def _studies():
  return sorted(path.parent for path in (ROOT / "results").glob("*/plan.json"))


@pytest.mark.parametrize("place", _studies(), ids=lambda path: path.name)
def test_scores_of_studies_follow_from_their_predictions(place):
  """Recompute the balanced accuracy of the chosen arms from files alone."""
  summary = json.loads((place / "summary.json").read_text())
  network = summary["verdict"]["network"]
  choices = json.loads((place / "plan.json").read_text())["choices"][network]
  names = [row["name"] for row in summary["classes"]]
  hits, all_of = np.zeros((2, 2, len(names)))
  for fold in summary["folds"]:
    where = place / ("split" if fold == -1 else f"fold{fold}")
    with (where / "images.csv").open(newline="") as file:
      rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    labels = np.array([names.index(row["label"]) for row in rows])
    for kind, key in enumerate(("with", "without")):
      found = sorted(where.glob(f"units/{network}-{choices[str(fold)][key]}-*"))
      for unit in found:
        with np.load(unit / "test.npz") as kept:
          right = kept["probabilities"].astype(float).argmax(-1) == labels
        for label in range(len(names)):
          mine = labels == label
          hits[kind, label] += right[mine].sum() / len(found)
          all_of[kind, label] += mine.sum() / len(found)
  with_, without = (hits / all_of).mean(1)
  assert summary["verdict"]["value"] == pytest.approx(with_ - without, abs=1e-6)
