"""Tests of study/study.py, from data to verdict."""

import contextlib
import csv
import json
import shutil
import types

import numpy as np
import pytest
from PIL import Image

from configs import study as study_config
from skinjax.data import datasets, image_folder, sources
from skinjax.metrics import classification, diversity
from skinjax.models import efficientnet
from skinjax.runtime import errors, files
from skinjax.study import folds, networks, plan, report, scoring, study
from skinjax.training import loop
from tests import scripts, shrunk
from tests.data import external_test
from tests.report import html_checker

ARMS = ("classical", "capped_25")


def _config(**changes):
  return shrunk.config("study", **changes)


def _raw(_):
  splits = {name: getattr(shrunk.dataset(), name) for name in shrunk.COUNTS}
  names, size = shrunk.CLASSES, shrunk.SIZE
  return sources.Raw("toy_lesions", names, splits, True, size, "")


@pytest.fixture(autouse=True)
def _tiny_data(monkeypatch):
  monkeypatch.setattr(sources, "read", _raw)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """Return a finished study, and the config and data of each training."""
  path, trained = tmp_path_factory.mktemp("study") / "run", {}
  train = loop.train

  def recorded(task, config, place, dataset=None):
    trained[place.name.rpartition("-")[0] or place.name] = config, dataset
    return train(task, config, place, dataset)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sources, "read", _raw)
    patch.setattr(loop, "train", recorded)
    result = study.run(_config(), path)
  return path, result, trained


def _units(path, split="test"):
  """Return the directories of units that have predicted, by name."""
  found = path.glob(f"*/units/*/{split}.npz")
  return {f.parent.name.rpartition("-")[0]: f.parent for f in found}


def _copy(finished, path, *gone):
  """Copy a study's workdir, without its report and some classifiers."""
  shutil.copytree(finished[0], path)
  shutil.rmtree(path / "report")
  for name, place in _units(path).items():
    if name in gone:
      shutil.rmtree(place)
  return path


def _take_a_minute(path):
  """Record that each classifier of a study took a minute."""
  for record in path.glob("*/units/*/unit.json"):
    unit = json.loads(record.read_text())
    files.write_json(record, unit | {"seconds": 60.0})


def test_the_report_is_written(finished):
  path, result, _ = finished
  summary = json.loads((path / "report" / "summary.json").read_text())
  names = [arm["name"] for arm in summary["arms"]]
  assert names == [*ARMS, scoring.WITHOUT, scoring.WITH]
  assert summary["folds"] == [-1]
  assert [network["name"] for network in summary["networks"]] == ["resnet"]
  assert summary["verdict"] == json.loads(json.dumps(result["verdict"]))
  page = (path / "report" / "index.html").read_text()
  html_checker.check(page)
  assert summary["verdict"]["headline"] in page.replace("&#39;", "'")
  for name in ("scores", "differences"):
    with (path / "report" / f"{name}.csv").open(newline="") as file:
      rows = list(csv.DictReader(file))
    assert {row["arm"] for row in rows} <= {*names, "majority line"}
    assert len(rows) > 6


def test_the_report_describes_the_generator(finished):
  _, result, _ = finished
  assert result["subject"] == "ACGAN images"
  assert result["verdict"]["leak_excluded"]
  assert result["original"] == []  # of HAM10000 only
  assert result["generator"] == (
    "ACGAN, 4 steps of 8 images; trained here, one for each fold"
  )
  added = [item["synthetic_images"] for item in result["classes"]]
  assert added == [0, 14, 10]
  assert set(result["diversity"]) <= set(shrunk.CLASSES)
  assert "generator of the synthetic images saw no" in result["split"]
  assert not [key for key in result["config"] if key.endswith("_dir")]


def test_the_report_has_the_config_of_what_was_trained(finished):
  kept = [key.split(".") for key in finished[1]["config"]]
  assert {names[1] for names in kept if names[0] == "arm"} == set(ARMS)
  assert {names[1] for names in kept if names[0] == "network"} == {"resnet"}
  assert ["seeds"] in kept


@pytest.mark.parametrize(
  ("provenance", "changes", "expected"),
  [
    (
      {},
      {"synthetic": "a"},
      "not recorded; given as images, one folder for all folds and seeds",
    ),
    (
      {"name": "A"},
      {"generator": "a/{fold}/{seed}"},
      "A; given, one for each fold and seed",
    ),
    (
      {"generator": {"step": 5, "config": "?"}},
      {},
      "not recorded, 5 steps; trained here, one for each fold",
    ),
    ({}, {"control": True}, ""),
  ],
)
def test_the_generator_is_described_as_far_as_it_is_recorded(
  provenance, changes, expected
):
  folder = image_folder.ImageFolder(None, None, provenance)
  assert report._generator(_config(**changes), folder) == expected


def test_a_class_is_as_diverse_as_in_its_worst_fold():
  row = lambda ratio: diversity.ClassDiversity(1.0, ratio, ratio, ratio < 0.5)
  folds_ = {"a": row(0.9), "b": row(0.7)}, {"a": row(0.2), "c": row(0.6)}
  least = report._least_diverse(folds_)
  assert {name: found.ratio for name, found in least.items()} == {
    "a": 0.2,
    "b": 0.7,
    "c": 0.6,
  }
  assert least["a"].collapsed


def _fold_read(labels=(0, 1, 2), pretrained=(), known=True, short=()):
  return report.FoldRead(
    done=types.SimpleNamespace(labels=np.array(labels)),
    origin_known=True,
    pretrained=frozenset(pretrained),
    pretrained_known=known,
    own_generators=False,
    diversity={},
    short=dict(short),
    seconds={},
  )


def test_classes_without_test_images_are_named():
  read = [_fold_read((0, 0, 2)), _fold_read((2,))]
  (note,) = report._notes(read, shrunk.dataset().info, (), ())
  assert note.startswith(f"No test image shows {shrunk.CLASSES[1]}: ")


@pytest.mark.parametrize("short", [{}, {"capped_25": {1: 3}}])
@pytest.mark.parametrize(
  ("pretrained", "known", "expected"),
  [
    ((), True, []),
    ((), False, ["It is not recorded whether the generator"]),
    (["Net"], True, ["The generator was trained through Net."]),
    (["Net"], False, ["The generator was trained through Net."]),
  ],
)
def test_notes_are_on_pretraining_and_missing_images(
  short, pretrained, known, expected
):
  read = _fold_read(pretrained=pretrained, known=known, short=short)
  notes = report._notes([read], shrunk.dataset().info, (), ())
  expected = expected + ["Arms with fewer synthetic images"] * bool(short)
  assert len(notes) == len(expected)
  assert all(
    note.startswith(x) for note, x in zip(notes, expected, strict=True)
  )


@pytest.mark.parametrize(
  ("records", "own"),
  [
    (({"state_sha256": "a"}, {"state_sha256": "b"}), True),
    (({"state_sha256": "a"}, {"state_sha256": "a"}), False),
    (({"state_sha256": "a"}, {}), False),
    (({"state_sha256": "a"}, "b"), False),
  ],
)
def test_generators_are_retrained_if_their_weights_are_known_to_differ(
  user_images, tmp_path, training_sets, records, own
):
  for seed, record in enumerate(records):
    place = tmp_path / "by_seed" / str(seed)
    shutil.copytree(user_images, place)
    files.write_json(place / "provenance.json", {"generator": record})
  folder = str(tmp_path / "by_seed" / "{seed}")
  config = _config(seeds=2, synthetic=folder, unknown_origin=True)
  result = study.run(config, tmp_path / "run")
  assert result["carried"][-1] == (
    "retrained generators" if own else "images of each seed"
  )


def test_arms_differ_in_their_settings_only(finished):
  _, _, trained = finished
  assert set(trained) == {"generator", *(f"resnet-{arm}-0" for arm in ARMS)}
  (plain, real), (more, mixed) = (trained[f"resnet-{arm}-0"] for arm in ARMS)
  assert plain.to_dict() == more.to_dict()
  assert plain.augment.orientations
  assert plain.augment.jitter == 0.1
  assert plain.train.sampler == "balanced"
  assert real.added is None
  # Two for each real image, but none of the largest class.
  assert mixed.added.share == 0.25
  assert np.bincount(mixed.added.split.labels).tolist() == [0, 14, 10]
  assert mixed.info.class_counts == (12, 9, 7)
  assert mixed.info.fingerprint == real.info.fingerprint
  assert set(mixed.inherited) == set(real.train.groups)


def test_scores_are_those_of_the_predictions(finished):
  path, result, _ = finished
  test, units = shrunk.dataset().test, _units(path)
  with (path / "split" / "images.csv").open(newline="") as file:
    rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
  assert [row["image_id"] for row in rows] == test.image_ids.tolist()
  labels = [shrunk.CLASSES.index(row["label"]) for row in rows]
  for arm in result["arms"][: len(ARMS)]:
    with np.load(units[f"resnet-{arm['name']}-0"] / "test.npz") as kept:
      predicted = kept["probabilities"].argmax(-1)
      assert kept["probabilities"].dtype == np.float16
    accuracy = np.mean(predicted == labels)
    assert arm["scores"]["accuracy"]["value"] == pytest.approx(accuracy)


def test_a_finished_study_trains_nothing(finished, monkeypatch):
  path, result, _ = finished
  monkeypatch.setattr(loop, "train", pytest.fail)
  times = lambda: [p.stat().st_mtime_ns for p in path.glob("*/units/*/*.npz")]
  before = times()
  again = study.run(_config(), path)
  assert times() == before
  assert again["arms"] == result["arms"]
  assert again["verdict"] == result["verdict"]


def test_a_study_continues_from_its_predictions(
  finished, tmp_path, training_sets
):
  path, kept = _copy(finished, tmp_path / "run"), tmp_path / "kept"
  for pattern in scripts.load("collect").PREDICTIONS:
    for file in path.glob(pattern):
      place = kept / file.relative_to(path)
      place.parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(file, place)
  result = study.run(_config(), kept)
  assert not training_sets
  assert result["arms"] == finished[1]["arms"]
  assert result["verdict"] == finished[1]["verdict"]


def test_shards_train_their_own_and_the_last_one_reports(finished, tmp_path):
  names = [f"resnet-{arm}-0" for arm in ARMS]
  path = _copy(finished, tmp_path / "run", *names)
  (path / "plan.json").unlink()
  assert study.run(_config(shard="1/2"), path) is None
  # Nothing is chosen, and no test lesion predicted, before all are there.
  assert set(_units(path, "validation")) == {"resnet-capped_25-0"}
  assert not _units(path)
  assert not plan.read(path)["choices"]
  assert not (path / "report").exists()
  result = study.run(_config(shard="0/2"), path)
  assert set(_units(path)) == set(names)
  assert result["arms"] == finished[1]["arms"]
  assert result["verdict"] == finished[1]["verdict"]
  # A shard with nothing of its own to do.
  assert study.run(_config(shard="7/9"), path)["arms"] == finished[1]["arms"]


def test_shards_that_finish_each_others_folds_report(
  user_images, tmp_path, training_sets, monkeypatch, caplog
):
  """Each shard finishes one of the two folds last."""
  caplog.set_level("INFO")
  path, learn = tmp_path / "run", networks.learn
  config = _config(
    folds=(0, 1),
    data__num_folds=3,
    synthetic=str(user_images),
    unknown_origin=True,
  )
  other = []

  def interrupted(made, dataset, place, features):
    if made.data.fold == 1 and not other:
      other.append(True)
      other[0] = study.run(_with(config, shard="0/2"), path)
    return learn(made, dataset, place, features)

  monkeypatch.setattr(networks, "learn", interrupted)
  result = study.run(_with(config, shard="1/2"), path)
  assert result["folds"] == [0, 1]
  assert other == [None]
  # The other shard counted what this one had done.
  (logged,) = (r.message for r in caplog.records if "0/2 is done" in r.message)
  row = next(line for line in logged.splitlines() if "resnet  " in line)
  assert row.split()[1:3] == ["3", "1"]


def test_seeds_and_arms_may_come_and_go(finished, tmp_path, training_sets):
  path = _copy(finished, tmp_path / "run")
  config = _config(seeds=2, arms=(*ARMS, "milder")).unlock()
  config.arm["milder"] = study_config.arm("x", augment={"jitter": 0.05})
  config.network.resnet.arms = (*ARMS, "milder")
  config.arm.real.description = "in other words"
  config.network.efficientnet.train.steps = 50  # nothing was chosen by it
  result = study.run(config, path)
  assert set(training_sets) == {
    *(f"resnet-{arm}-1" for arm in ARMS),
    *("resnet-milder-0", "resnet-milder-1"),
  }
  assert {a["name"]: a["seeds"] for a in result["arms"]} == dict.fromkeys(
    (*ARMS, "milder", scoring.WITHOUT, scoring.WITH), 2
  )
  assert json.loads((path / "config.json").read_text())["seeds"] == 2
  # With fewer seeds and arms, the report is of those only.
  training_sets.clear()
  _take_a_minute(path)
  config.seeds, config.arms = 1, ARMS
  result = study.run(config, path)
  assert not training_sets
  assert result["minutes"] == {"resnet": len(ARMS)}
  assert result["arms"] == finished[1]["arms"]
  assert result["verdict"] | finished[1]["verdict"] == result["verdict"]


def test_a_choice_is_made_once_by_validation_lesions(
  user_images, tmp_path, training_sets
):
  """Classifiers predict at random: what is best differs by split and fold."""
  path = tmp_path / "run"
  config = _config(
    folds=(0, 2),
    data__num_folds=3,
    seeds=2,
    arms=("real", "classical", "capped_25", "uncapped"),
    network__resnet__arms=(),
    synthetic=str(user_images),
    unknown_origin=True,
  )
  result = study.run(config, path)
  assert result["folds"] == [0, 2]
  pool = datasets.joined(_raw(None).splits.values())
  by_fold = {}
  for number in (0, 2):
    fold = folds.load(config, number)
    assert set(fold.test.image_ids).isdisjoint(fold.train.image_ids)
    scores, accuracies = {}, {}
    for arm in config.arms:
      found = []
      for seed in range(2):
        place = next(
          (path / f"fold{number}" / "units").glob(f"resnet-{arm}-{seed}-*")
        )
        with np.load(place / "validation.npz") as kept:
          p = kept["probabilities"].astype(float)
        p /= p.sum(1, keepdims=True)
        found.append(
          classification.scores(p, fold.validation.labels)["balanced_accuracy"]
        )
        with np.load(place / "test.npz") as kept:
          right = kept["probabilities"].argmax(-1) == fold.test.labels
        accuracies.setdefault(arm, []).append(right)
      scores[arm] = np.mean(found)
    choice = result["choices"]["resnet"][str(number)]
    assert choice["validation"] == pytest.approx(scores)
    assert choice["without"] == max(("real", "classical"), key=scores.get)
    assert choice["with"] == max(("capped_25", "uncapped"), key=scores.get)
    by_fold[number] = {
      kind: np.array(accuracies[choice[kind]]) for kind in ("with", "without")
    }
  # The procedures pool what was chosen in each fold.
  for kind, name in (("with", scoring.WITH), ("without", scoring.WITHOUT)):
    (arm,) = (a for a in result["arms"] if a["name"] == name)
    right = np.concatenate([f[kind].mean(0) for f in by_fold.values()])
    value = arm["scores"]["accuracy"]["value"]
    assert value == pytest.approx(right.mean())
  assert len(pool.labels) > len(right)
  # Choices stay, whatever validation lesions would choose later.
  decided = json.loads((path / "plan.json").read_text())
  for found in decided["choices"]["resnet"].values():
    found["with"] = "uncapped" if found["with"] == "capped_25" else "capped_25"
  files.write_json(path / "plan.json", decided)
  again = study.run(config, path)
  assert (
    again["choices"]["resnet"]["0"]["with"]
    != (result["choices"]["resnet"]["0"]["with"])
  )
  # A fold may be dropped, but not in silence.
  note = "Folds 2 were run in this workdir before, and are not part of this"
  assert note not in " ".join(again["notes"])
  config.folds = (0,)
  fewer = study.run(config, path)
  assert note in " ".join(fewer["notes"])
  message = "chose .* in fold .* config.arms must keep it"
  kept = (
    "capped_25"
    if decided["choices"]["resnet"]["0"]["with"] == "uncapped"
    else "uncapped"
  )
  with pytest.raises(errors.InputError, match=message):
    study.run(_with(config, arms=("real", "classical", kept)), path)


def _with(config, **changes):
  changed = config.copy_and_resolve_references().unlock()
  changed.update_from_flattened_dict(changes)
  return changed


def test_more_seeds_are_decided_once(
  user_images, tmp_path, training_sets, monkeypatch
):
  path = tmp_path / "run"
  config = _config(
    seeds=2,
    seeds_most=4,
    until=1e-6,
    level=0.975,
    synthetic=str(user_images),
    unknown_origin=True,
  )
  calls = []
  monkeypatch.setattr(
    scoring, "seeds_needed", lambda *_, **how: calls.append(how) or 3
  )
  result = study.run(config, path)
  assert (calls[0]["first"], calls[0]["level"]) == (2, 0.975)
  assert result["level"] == 0.975
  assert result["verdict"]["seeds"] == 3
  assert result["verdict"]["until"]["first"] == 2
  assert result["verdict"]["until"]["folds"] == [-1]
  assert "resnet-classical-2" in training_sets
  assert "resnet-classical-3" not in training_sets
  monkeypatch.setattr(scoring, "seeds_needed", lambda *_, **how: 4)
  assert study.run(config, path)["verdict"]["seeds"] == 3
  with pytest.raises(
    errors.InputError, match=r"until was 1e-06, is 0\.5, and can"
  ):
    study.run(_with(config, until=0.5), path)
  with pytest.raises(errors.InputError, match="the first 2 have decided how"):
    study.run(_with(config, seeds=3), path)
  # The level depends on how many studies use the same lesions, so it may rise.
  assert study.run(_with(config, level=0.9875), path)["level"] == 0.9875
  with pytest.raises(errors.InputError, match="and may only rise"):
    study.run(_with(config, level=0.95), path)


def test_a_dry_run_downloads_nothing(tmp_path, monkeypatch):
  monkeypatch.setattr(sources, "is_prepared", lambda config: False)
  config = _config(dry_run=True, data__name="mnist", data__size=32)
  with pytest.raises(errors.InputError, match="mnist would have to be downl"):
    study.run(config, tmp_path / "run")


@pytest.mark.parametrize("kind", ["test", "validation"])
def test_a_held_out_image_is_no_synthetic_one(
  user_images, tmp_path, training_sets, kind
):
  place = shutil.copytree(user_images, tmp_path / "given")
  split = getattr(shrunk.dataset(), kind)
  name = shrunk.CLASSES[split.labels[0]]
  (place / name).mkdir(exist_ok=True)
  Image.fromarray(split.images[0]).save(place / name / "stolen.png")
  config = _config(synthetic=str(place), unknown_origin=True)
  message = rf"{name}/stolen\.png is the {kind} image {split.image_ids[0]}"
  with pytest.raises(errors.InputError, match=message):
    study.run(config, tmp_path / "run")


def test_a_class_with_few_images_is_named_at_once(
  user_images, tmp_path, training_sets, caplog
):
  place = shutil.copytree(user_images, tmp_path / "given")
  shutil.rmtree(place / shrunk.CLASSES[1])
  config = _config(synthetic=str(place), unknown_origin=True, dry_run=True)
  study.run(config, tmp_path / "run")
  assert f"has few images: 0 of {shrunk.CLASSES[1]} (14 wanted)" in caplog.text


def test_a_dry_run_says_what_there_is_to_do(finished, tmp_path, caplog):
  caplog.set_level("INFO")
  assert study.run(_config(dry_run=True, seeds=3), tmp_path / "run") is None
  assert not (tmp_path / "run").exists()
  assert "acgan, 4 steps, about 0 s each, unless" in caplog.text
  row = lambda: next(
    line.split() for line in caplog.text.splitlines() if "resnet  " in line
  )
  assert row()[1:3] == ["0", "6"]
  assert "the fixed split; seeds: 3" in caplog.text
  assert "with the GANs: " in caplog.text
  other = "may include classifiers of other settings"
  assert other not in caplog.text
  caplog.clear()
  path = _copy(finished, tmp_path / "copy")
  (_units(path)["resnet-classical-0"] / "unit.json").unlink()
  config = _config(dry_run=True, seeds=3, folds=(-1,))
  assert study.run(config, path) is None
  assert row()[1:3] == ["2", "4"]
  assert other in caplog.text


def test_the_positive_control_adds_other_lesions(tmp_path, training_sets):
  # Its images are real, whatever the GAN would be trained through.
  config = _config(control=True, gan__model__discriminator="projected")
  result = study.run(config, tmp_path / "run")
  assert result["subject"] == "Other lesions' images"
  assert result["verdict"]["leak_excluded"]
  whole = shrunk.dataset().train
  mixed = training_sets["resnet-capped_25-0"]
  added, own = mixed.added.split, mixed.train
  assert set(added.groups).isdisjoint(own.groups)
  assert set(added.image_ids) | set(own.image_ids) <= set(whole.image_ids)
  assert "other half" in result["split"]
  (note,) = result["notes"]
  assert note.startswith(
    "Arms with fewer synthetic images than their dose: capped_25. At most"
  )
  counts = np.bincount(added.labels)
  assert f" {counts[1]} of square, {counts[2]} of stripes. " in note
  assert "generator" not in training_sets
  # Real images need no note on pretraining.
  enough = _with(config, **{"arm.capped_25.dose": 0.5})
  assert study.run(enough, tmp_path / "enough")["notes"] == []


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"gan__train__steps": 6},
      "gan.train.steps was 4, is 6, and classifiers here were trained on "
      "images",
    ),
    (
      {"network__resnet__train__steps": 6},
      "network.resnet.train.steps was 4, is 6",
    ),
    (
      {"arm__real__changes__augment__jitter": 0.1},
      "config.arm.real has changed: give a changed arm a new name",
    ),
    ({"control": True}, "control was False, is True"),
    ({"gan__train__steps": 6}, "copies of .*run/split/generator"),
    (
      {"networks": ("resnet", "head")},
      "is by resnet, not by head: its network is chosen once",
    ),
    (
      {"networks": ("head",)},
      "--config.networks=head,resnet and --config.verdict_network=resnet",
    ),
  ],
)
def test_changes_that_would_mix_results_are_refused(
  finished, monkeypatch, changes, message
):
  monkeypatch.setattr(loop, "train", pytest.fail)
  before = (finished[0] / "config.json").read_text()
  with pytest.raises(errors.InputError, match=message):
    study.run(_config(**changes), finished[0])
  assert (finished[0] / "config.json").read_text() == before


def test_networks_may_be_added_before_that_of_the_verdict(
  finished, tmp_path, training_sets
):
  path = _copy(finished, tmp_path / "run")
  added = {"networks": ("resnet", "head"), "verdict_network": "resnet"}
  config = _config(seeds=2, **added)
  assert study.run(config, path)["verdict"]["network"] == "resnet"
  _take_a_minute(path)
  # Without added images, a head's seeds share a unit.
  minutes = study.run(config, path)["minutes"]
  assert minutes == {"resnet": 4, "head": 3}


def test_arms_added_later_find_their_images(finished, tmp_path, training_sets):
  path, whole = tmp_path / "run", {"network__resnet__arms": ()}
  generator = finished[0] / "split" / "generator"
  shutil.copytree(generator, path / "split" / "generator")
  study.run(_config(**whole), path)
  config = _config(arms=(*ARMS, "dose_10"), **whole)
  study.run(config, path)
  added = training_sets["resnet-dose_10-0"].added.split
  assert np.bincount(added.labels).tolist() == [0, 70, 50]
  # A new arm may need more.
  config = config.copy_and_resolve_references().unlock()
  config.arms = (*ARMS, "mine")
  config.arm["mine"] = study_config.arm("x", added="synthetic", dose=11.0)
  message = "has 70 images of square, and arm mine needs 77: leave it out"
  with pytest.raises(errors.InputError, match=message):
    study.run(config, path)


def test_images_may_be_moved_but_not_changed(
  user_images, tmp_path, training_sets, monkeypatch
):
  path, allowed = tmp_path / "run", {"unknown_origin": True}
  study.run(_config(synthetic=str(user_images), **allowed), path)
  training_sets.clear()
  monkeypatch.chdir(tmp_path)
  (tmp_path / "link").symlink_to("images")
  shutil.copytree(user_images, tmp_path / "moved")
  for place in ("images/", "link", "moved"):
    study.run(_config(synthetic=place, **allowed), path)
  assert not training_sets
  Image.new("RGB", (30, 40)).save(user_images / "stripes" / "0.jpg")
  message = "was started with other synthetic images than now"
  with pytest.raises(errors.InputError, match=message):
    study.run(_config(synthetic="link", **allowed), path)


def test_a_generator_that_is_lost_is_trained_again_to_the_same(
  finished, tmp_path
):
  path = _copy(finished, tmp_path / "run", "resnet-classical-0")
  manifest = path / "split" / "generator" / "checkpoints" / "4"
  (manifest / "manifest.json").write_text("{")
  result = study.run(_config(), path)  # its synthetic images are still its own
  assert result["arms"] == finished[1]["arms"]


def test_a_study_that_was_begun_on_other_images_is_refused(
  finished, tmp_path, monkeypatch
):
  path = _copy(finished, tmp_path / "run")
  raw = _raw(None)
  images = raw.splits["test"].images.copy()
  images[0, 0, 0, 0] ^= 1
  raw.splits["test"] = raw.splits["test"]._replace(images=images)
  monkeypatch.setattr(sources, "read", lambda config: raw)
  with pytest.raises(errors.InputError, match="started on other images"):
    study.run(_config(), path)


def test_units_of_another_process_are_waited_for(
  finished, tmp_path, monkeypatch
):
  place = _units(finished[0])["resnet-classical-0"]
  names = [f"resnet-{arm}-0" for arm in ARMS]
  path = _copy(finished, tmp_path / "run", *names)
  monkeypatch.setattr(folds, "PAUSE", 0.02)
  order, train = [], loop.train

  def recorded(task, config, place, dataset=None):
    order.append(place.name)
    result = train(task, config, place, dataset)
    held.close()
    return result

  monkeypatch.setattr(loop, "train", recorded)
  with contextlib.ExitStack() as held:
    lock = path / "split" / "units" / f".{place.name}.lock"
    held.enter_context(files.locked(lock))
    result = study.run(_config(), path)
  # The other classifier was trained in the meantime.
  assert [name.split("-")[1] for name in order] == [*ARMS[::-1]]
  assert result["arms"] == finished[1]["arms"]


def test_a_generator_that_has_seen_test_lesions_is_refused(
  finished, tmp_path, monkeypatch
):
  path, _, _ = finished
  monkeypatch.setattr(loop, "train", pytest.fail)
  own = shrunk.dataset()
  for split in ("test", "validation"):
    groups = getattr(own, split).groups.copy()
    groups[2] = own.train.groups[4]
    other = own._replace(**{split: getattr(own, split)._replace(groups=groups)})
    monkeypatch.setattr(datasets, "load", lambda config, other=other: other)
    message = f"trained on 1 lesions of the {split} split here \\({groups[2]}"
    place = str(path / "split" / "generator")
    with pytest.raises(errors.InputError, match=message):
      study.run(_config(generator=place), tmp_path / split)
    assert not (tmp_path / split).exists()


def test_folds_whose_lesions_a_generator_has_seen_are_left_out(
  tmp_path, user_images, training_sets
):
  config = {"folds": (), "data__num_folds": 3, "synthetic": str(user_images)}
  train = folds.load(_config(**config), 1).train
  origin = {"trained_on": {"image_ids": train.image_ids.tolist()}}
  files.write_json(user_images / "provenance.json", origin)
  result = study.run(_config(**config), tmp_path / "run")
  assert result["folds"] == [1]
  assert result["split"].startswith("1 of 3 folds by lesion (seed 0), each of")
  assert "Folds 0, 2 are left out" in result["notes"][0]
  # One for each fold, and one of them of another fold.
  for number in range(3):
    shutil.copytree(user_images, tmp_path / "by_fold" / str(number))
  config["synthetic"] = str(tmp_path / "by_fold" / "{fold}")
  with pytest.raises(errors.InputError, match=r"was trained on .* split"):
    study.run(_config(**config), tmp_path / "other")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"arms": (*ARMS, "clasical")}, r"Unknown arm 'clasical'. Did you mean"),
    (
      {"arms": ("real", "classical")},
      "resnet needs an arm with synthetic images",
    ),
    ({"arms": ("capped_25",)}, "resnet needs an arm without synthetic images"),
    (
      {"arms": ("duplicates", "uncapped"), "networks": ("head",)},
      r"of head needs an arm without synthetic images. It cannot have "
      r"duplicates \(balanced batches repeat",
    ),
    ({"arm__capped_25__dose": 0.01}, "doses add no synthetic image"),
    ({"arm__capped_25__share": 1.5}, "share=1.5: a number from 0 to 1"),
    ({"arm__capped_25__added": "fake"}, "added 'fake'. There are"),
    ({"arm__classical__fraction": 0.0}, "fraction=0.0: a number above 0"),
    ({"seeds": 0}, "seeds=0: at least 1"),
    ({"seeds": 1, "until": 0.01}, "until=0.01 needs at least 2 seeds"),
    (
      {"seeds": 2, "until": 0.01, "folds": (0, 1)},
      r"until=0.01 with folds=\(0, 1\): all folds together determine how many",
    ),
    (
      {"seeds": 2, "until": 0.01, "generator": "DIR/{seed}"},
      r"with \{seed\} in the path they have no images of their own",
    ),
    ({"arm__classical__share": 0.1}, "share has no effect without added"),
    (
      {"arm__capped_25__pretraining": 0.3},
      "share=0.25 has no effect with pretraining=0.3",
    ),
    (
      {"arm__capped_25__fraction": 0.5},
      "fraction=0.5 with added='synthetic'",
    ),
    ({"folds": (0, 5)}, r"folds=\(0, 5\): expected some of \(0, 1, 2, 3, 4\)"),
    ({"folds": (1, 1)}, "each once"),
    ({"data__fold": 2}, "Set --config.folds=2,"),
    ({"networks": ("resnett",)}, "Unknown network 'resnett'. Did you mean"),
    ({"networks": ()}, "config.networks is empty"),
    ({"verdict_network": "head"}, "Unknown verdict_network 'head'"),
    *[
      ({"shard": shard}, f"shard={shard}: i/n is expected")
      for shard in ("2/2", "1", "-1/2", "0/0", "1/2/3")
    ],
    ({"arms": (*ARMS, "classical")}, "name each arm once"),
    (
      {"gan__task": "classifier"},
      "classifier trains no GAN: use acgan or progan",
    ),
    ({"network__resnet__task": "acgan"}, "task=acgan trains no classifier"),
    (
      {"arm__classical__changes__train__sampler": "even"},
      "Unknown train.sampler 'even'",
    ),
    ({"synthetic": "DIR"}, "Set at most one of config.synthetic"),
    (
      {"network__resnet__train__steps": 5},
      "train.steps=5 is not a multiple",
    ),
    (
      {"gan__loss__adversarial": "hing", "generator": ""},
      "Unknown loss.adversarial 'hing'. Did you mean 'hinge'",
    ),
    ({"generator_checkpoint": "last"}, "Unknown checkpoint 'last'. Did you"),
    (
      {"generator_checkpoint": "best", "generator": ""},
      "Use gan.best=kid, with a gan.kid_every",
    ),
    (
      {"generator_checkpoint": "best", "gan__best": "kid", "generator": ""},
      "best=kid with kid_every=0",
    ),
  ],
)
def test_impossible_studies_are_refused(
  finished, tmp_path, monkeypatch, changes, message
):
  generator = str(finished[0] / "split" / "generator")
  changes = {"generator": generator, **changes}
  monkeypatch.setattr(loop, "train", pytest.fail)
  with pytest.raises(errors.InputError, match=message):
    study.run(_config(**changes), tmp_path / "run")
  assert not (tmp_path / "run").exists()


@pytest.fixture
def user_images(tmp_path):
  """Return a folder as by a user's generator, with images of another size."""
  rng = np.random.default_rng(0)
  for name, count in (("square", 20), ("stripes", 3)):
    place = tmp_path / "images" / name
    place.mkdir(parents=True)
    for i in range(count):
      pixels = rng.integers(0, 255, (40, 30, 3), np.uint8)
      Image.fromarray(pixels).save(place / f"{i}.jpg")
  return tmp_path / "images"


@pytest.fixture
def training_sets(monkeypatch):
  """Let classifiers predict at random; return their training sets by unit."""
  training_sets = {}

  def learn(config, dataset, place, features):
    training_sets[place.name.rpartition("-")[0]] = dataset
    place.mkdir(parents=True, exist_ok=True)

    def predict(split):
      seed = np.frombuffer(f"{place.name}{len(split.labels)}".encode(), "u1")
      rng = np.random.default_rng(seed)
      return rng.dirichlet(np.ones(3), len(split.labels))

    return predict

  monkeypatch.setattr(networks, "learn", learn)
  return training_sets


def test_a_study_of_a_users_images(user_images, tmp_path, training_sets):
  train = shrunk.dataset().train
  origin = {"trained_on": {"image_ids": train.image_ids.tolist()}}
  files.write_json(user_images / "provenance.json", {"name": "DCGAN", **origin})
  result = study.run(_config(synthetic=str(user_images)), tmp_path / "run")
  assert result["verdict"]["leak_excluded"]
  assert result["verdict"]["headline"].startswith(
    ("DCGAN images", "This study")
  )
  # Classes have 12, 7 and 5; disc gets none, and stripes has only three.
  mixed = training_sets["resnet-capped_25-0"]
  assert np.bincount(mixed.added.split.labels).tolist() == [0, 14, 3]
  assert mixed.added.split.images.shape[1:] == (16, 16, 3)
  assert set(train.groups) <= set(mixed.inherited)


def test_images_made_through_a_pretrained_network_are_for_such_networks(
  user_images, tmp_path, monkeypatch
):
  monkeypatch.setattr(loop, "train", pytest.fail)
  record = {"pretrained": ["EfficientNet-Lite0"]}
  files.write_json(user_images / "provenance.json", record)
  changes = {"synthetic": str(user_images), "unknown_origin": True}
  message = "through EfficientNet-Lite0, from which resnet does not start"
  with pytest.raises(errors.InputError, match=message):
    study.run(_config(**changes), tmp_path / "run")
  config = _config(networks=("resnet", "head"), dry_run=True, **changes)
  assert study.run(config, tmp_path / "run") is None


def test_a_gain_may_come_from_other_pretraining(
  user_images, tmp_path, training_sets
):
  record = {"pretrained": ["SomeGAN", "EfficientNet-Lite0"]}
  files.write_json(user_images / "provenance.json", record)
  changes = {"synthetic": str(user_images), "unknown_origin": True}
  changes["networks"] = ("head",)
  with pytest.raises(errors.InputError, match=r"SomeGAN, .*other_pretraining"):
    study.run(_config(**changes), tmp_path / "run")
  config = _config(**changes, other_pretraining=True)
  result = study.run(config, tmp_path / "run")
  assert result["verdict"]["other_pretraining"] == ["SomeGAN"]
  words = "A gain may come from the pretraining of SomeGAN."
  assert words in result["verdict"]["headline"]
  page = (tmp_path / "run" / "report" / "index.html").read_text()
  assert page.index("through\n  SomeGAN, and") < page.index("<h1>")


def test_a_folder_of_unknown_origin_is_refused_unless_it_is_allowed(
  user_images, tmp_path, training_sets
):
  message = r"images does not record which lesions .*image_ids.*unknown_o"
  with pytest.raises(errors.InputError, match=message):
    study.run(_config(synthetic=str(user_images)), tmp_path / "run")
  assert not (tmp_path / "run").exists()
  config = _config(synthetic=str(user_images), unknown_origin=True)
  result = study.run(config, tmp_path / "run")
  headline = result["verdict"]["headline"]
  assert headline.startswith("A leak cannot be excluded. ")
  assert not result["verdict"]["leak_excluded"]
  page = (tmp_path / "run" / "report" / "index.html").read_text()
  assert page.index("A leak cannot be excluded: it is") < page.index("<h1>")
  # The origin of what learns from such images is unknown, too.
  assert training_sets["resnet-capped_25-0"].inherited is None


def test_a_record_of_images_that_are_not_there_is_named(user_images, tmp_path):
  record = {"trained_on": {"image_ids": ["deleted_0", "deleted_1"]}}
  files.write_json(user_images / "provenance.json", record)
  message = r"images records .* trained on deleted_0 \(2 such names in all\)"
  with pytest.raises(errors.InputError, match=message):
    study.run(_config(synthetic=str(user_images)), tmp_path / "run")


def test_an_unknown_origin_in_any_fold_is_reported(
  user_images, tmp_path, training_sets
):
  config = {"folds": (0, 1), "data__num_folds": 3, "unknown_origin": True}
  config["synthetic"] = str(tmp_path / "by_fold" / "{fold}")
  config["networks"] = ("head",)
  train = folds.load(_config(**config), 0).train
  known = {"trained_on": {"image_ids": train.image_ids.tolist()}}
  for number, record in enumerate((known, {"pretrained": [efficientnet.NAME]})):
    place = tmp_path / "by_fold" / str(number)
    shutil.copytree(user_images, place)
    files.write_json(place / "provenance.json", record)
  result = study.run(_config(**config), tmp_path / "run")
  assert not result["verdict"]["leak_excluded"]
  assert "generator saw is unknown" in result["split"]
  assert f"was trained through {efficientnet.NAME}." in result["notes"][0]


def test_a_folder_whose_generator_has_seen_test_lesions_is_refused(
  user_images, tmp_path, monkeypatch
):
  monkeypatch.setattr(loop, "train", pytest.fail)
  ids = shrunk.dataset().test.image_ids[:2].tolist()
  record = {"trained_on": {"image_ids": ids}}
  files.write_json(user_images / "provenance.json", record)
  message = r"was trained on .* test split"
  for allowed in (False, True):
    config = _config(synthetic=str(user_images), unknown_origin=allowed)
    with pytest.raises(errors.InputError, match=message):
      study.run(config, tmp_path / "run")


def test_an_external_test_set_is_scored_and_trains_nothing(
  finished, tmp_path, monkeypatch
):
  path = _copy(finished, tmp_path / "run")
  monkeypatch.setattr(loop, "train", pytest.fail)
  split = external_test.elsewhere()
  folder = external_test.write(tmp_path / "clinic", split)
  result = study.run(_config(external=str(folder)), path)
  # All results but the external ones are of the internal test lesions.
  same = {"command": "", "external": None, "minutes": {}}
  assert {**result, **same} == {**finished[1], **same}
  found = result["external"]
  assert (found["name"], found["images"], found["traced"]) == ("clinic", 7, 0)
  assert found["majority_line"] == {
    "class": "disc", "accuracy": 3 / 7, "balanced_accuracy": 1 / 3,
  }  # fmt: skip
  balanced = {}
  for arm in ARMS:
    place = _units(path)[f"resnet-{arm}-0"]
    (table,) = place.glob("external-*.npz")
    with np.load(table) as kept:
      right = kept["probabilities"].argmax(-1) == split.labels
    balanced[arm] = np.mean([right[split.labels == k].mean() for k in range(3)])
    (row,) = (row for row in found["arms"] if row["name"] == arm)
    value = row["scores"]["balanced_accuracy"]["value"]
    assert value == pytest.approx(balanced[arm])
  difference = found["difference"]
  assert (difference["arm"], difference["rival"]) == (
    scoring.WITH,
    scoring.WITHOUT,
  )
  assert difference["value"] == pytest.approx(
    balanced[ARMS[1]] - balanced[ARMS[0]]
  )
  page = (path / "report" / "index.html").read_text()
  html_checker.check(page)
  assert "On clinic (external)" in page

  # Predictions are not repeated, but made for another set.
  before = table.stat().st_mtime_ns
  study.run(_config(external=str(folder)), path)
  assert table.stat().st_mtime_ns == before
  other = external_test.write(
    tmp_path / "b", external_test.elsewhere((1, 1, 1))
  )
  assert (
    study.run(_config(external=str(other)), path)["external"]["images"] == 3
  )
  assert len(list(place.glob("external-*.npz"))) == 2
  assert study.run(_config(), path)["external"] is None


def test_an_external_test_set_with_a_leak_is_refused_before_all(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(loop, "train", pytest.fail)
  train = shrunk.dataset().train
  folder = external_test.write(tmp_path / "clinic", train)
  with pytest.raises(errors.InputError, match="24 of 24 images of external"):
    study.run(_config(external=str(folder)), tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_external_images_that_any_seeds_generator_has_seen_are_refused(
  user_images, tmp_path, monkeypatch
):
  monkeypatch.setattr(loop, "train", pytest.fail)
  split = external_test.elsewhere((1, 1, 1))
  names = np.array(["ISIC_0000001", "ISIC_0000002", "ISIC_0000003"])
  folder = external_test.write(
    tmp_path / "clinic", split._replace(image_ids=names)
  )
  for seed in range(2):
    place = tmp_path / "by_seed" / str(seed)
    shutil.copytree(user_images, place)
    origin = {"trained_on": {"image_ids": [f"ISIC_000000{4 - seed}"]}}
    files.write_json(place / "provenance.json", origin)
  config = _config(
    seeds=2,
    synthetic=str(tmp_path / "by_seed" / "{seed}"),
    external=str(folder),
    unknown_origin=True,
  )
  with pytest.raises(errors.InputError, match=r"1 of 3 .* same image as IS"):
    study.run(config, tmp_path / "run")


@pytest.mark.parametrize(
  ("content", "message"),
  [(b"no zip", "cannot be read as arrays"), (None, "other images")],
)
def test_damaged_predictions_are_refused(finished, tmp_path, content, message):
  path = _copy(finished, tmp_path / "run")
  place = _units(path)["resnet-classical-0"] / "test.npz"
  if content is None:
    np.savez(place, probabilities=np.ones((2, 3)) / 3, images="x")
  else:
    place.write_bytes(content)
  with pytest.raises(errors.InputError, match=message):
    study.run(_config(), path)
