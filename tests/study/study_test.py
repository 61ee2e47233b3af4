"""Tests of the study, from data to verdict."""

import contextlib
import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from configs import study as study_config
from skinjax.data import datasets
from skinjax.runtime import errors, files
from skinjax.study import study
from skinjax.training import loop
from tests import shrunk
from tests.data import external_test
from tests.report import html_checker

ARMS = ("classical", "classical+synthetic")


def _config(**changes):
  return shrunk.config("study", **{"arms": ARMS, **changes})


@pytest.fixture(autouse=True)
def _tiny_data(monkeypatch):
  monkeypatch.setattr(datasets, "load", lambda config: shrunk.dataset())


@pytest.fixture(scope="module")
def done(tmp_path_factory):
  """A study from begin to end, and what its runs of training were given."""
  path, trained = tmp_path_factory.mktemp("study") / "run", {}
  train = loop.train

  def recorded(task, config, place, dataset=None):
    trained[place.name] = config, dataset
    return train(task, config, place, dataset)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(datasets, "load", lambda config: shrunk.dataset())
    patch.setattr(loop, "train", recorded)
    result = study.run(_config(), path)
  return path, result, trained


def test_the_report_is_written(done):
  path, result, _ = done
  summary = json.loads((path / "report" / "summary.json").read_text())
  assert [arm["name"] for arm in summary["arms"]] == list(ARMS)
  assert summary["verdict"]["headline"]
  assert summary["verdict"] == json.loads(json.dumps(result["verdict"]))
  page = (path / "report" / "index.html").read_text()
  assert summary["verdict"]["headline"] in page.replace("&#39;", "'")
  for name in ("scores", "differences"):
    with (path / "report" / f"{name}.csv").open(newline="") as file:
      rows = list(csv.DictReader(file))
    assert rows
    assert {row["arm"] for row in rows} <= {*ARMS, "majority line"}


def test_the_report_tells_of_the_generator(done):
  _, result, _ = done
  assert result["subject"] == "ACGAN images"
  assert result["verdict"]["leak_excluded"]
  assert result["original"] == []  # of HAM10000 only
  assert set(result["diversity"]) <= set(shrunk.CLASSES)
  for row in result["diversity"].values():
    assert row["diversity_ratio"] >= 0
  assert "nor did the maker of the synthetic images" in result["split"]
  assert not [key for key in result["config"] if key.endswith("_dir")]


def test_arms_differ_in_what_they_say_and_nothing_else(done):
  _, _, trained = done
  assert set(trained) == {"generator", *(f"{arm}-0" for arm in ARMS)}
  (plain, real), (more, mixed) = (trained[f"{arm}-0"] for arm in ARMS)
  assert plain.to_dict() == more.to_dict()
  assert plain.augment.orientations
  assert plain.augment.jitter == 0.1
  assert plain.train.sampler == "balanced"
  assert real.info.class_counts == (12, 7, 5)
  # fill_to is 15.
  assert mixed.info.class_counts == (15, 15, 15)
  assert mixed.test is real.test
  assert trained["generator"][1].info.class_counts == (12, 7, 5)


def test_scores_are_those_of_the_predictions(done):
  path, result, _ = done
  test = shrunk.dataset().test
  for arm in result["arms"]:
    place = path / "units" / f"{arm['name']}-0"
    with (place / "predictions.csv").open(newline="") as file:
      rows = list(csv.DictReader(file))
    assert [row["image_id"] for row in rows] == test.image_ids.tolist()
    predicted = [
      int(np.argmax([float(row[name]) for name in shrunk.CLASSES]))
      for row in rows
    ]
    accuracy = np.mean(np.array(predicted) == test.labels)
    assert arm["scores"]["accuracy"]["value"] == pytest.approx(accuracy)


def test_a_study_that_is_done_trains_nothing(done, monkeypatch):
  path, result, _ = done
  monkeypatch.setattr(loop, "train", pytest.fail)
  place = path / "units" / "classical-0" / "predictions.csv"
  before = place.stat().st_mtime_ns
  again = study.run(_config(), path)
  assert place.stat().st_mtime_ns == before
  assert again["arms"] == result["arms"]
  assert again["verdict"] == result["verdict"]


def _copy(done, path, *units):
  """Copies a study's workdir, without its report and some classifiers."""
  shutil.copytree(done[0], path)
  shutil.rmtree(path / "report")
  for unit in units:
    shutil.rmtree(path / "units" / unit)
  return path


def test_shards_train_their_own_and_the_last_one_reports(done, tmp_path):
  path = _copy(done, tmp_path / "run", "classical-0", "classical+synthetic-0")
  units = lambda: {
    p.parent.name for p in (path / "units").glob("*/predictions.csv")
  }
  assert study.run(_config(shard="1/2"), path) is None
  assert units() == {"classical+synthetic-0"}
  assert not (path / "report").exists()
  result = study.run(_config(shard="0/2"), path)
  assert units() == {"classical-0", "classical+synthetic-0"}
  assert result["arms"] == done[1]["arms"]
  assert result["verdict"] == done[1]["verdict"]
  assert (path / "report" / "index.html").exists()
  # A shard with nothing of its own to do.
  assert study.run(_config(shard="7/9"), path)["arms"] == done[1]["arms"]


def test_seeds_and_arms_may_come_and_go(done, tmp_path, taught):
  path = _copy(done, tmp_path / "run")
  config = _config(seeds=2, arms=(*ARMS, "milder")).unlock()
  config.arm["milder"] = study_config.arm("x", augment={"jitter": 0.05})
  result = study.run(config, path)
  new = {*(f"{arm}-1" for arm in ARMS), "milder-0", "milder-1"}
  assert set(taught) == new
  assert {a["name"]: a["seeds"] for a in result["arms"]} == dict.fromkeys(
    (*ARMS, "milder"), 2
  )
  assert json.loads((path / "config.json").read_text())["seeds"] == 2
  # Of fewer than there are, the report is of those that are asked for.
  taught.clear()
  config.seeds, config.arms = 1, ARMS
  result = study.run(config, path)
  assert not taught
  assert result["arms"] == done[1]["arms"]
  assert result["verdict"] == done[1]["verdict"]


@pytest.mark.parametrize(
  ("changes", "told"),
  [
    ({"pairs": (ARMS,)}, r"pairs was \(.*: use another directory"),
    (
      {"gan__train__steps": 6},
      "gan.train.steps was 4, is 6, and classifiers here have learnt from the "
      "images .* with a copy of .*run/generator in it",
    ),
    ({"classifier__train__steps": 6}, "classifiers of a study are trained al"),
    (
      {"arm__real__changes__augment": {"jitter": 0.1}},
      "config.arm.real is not what it was: give a changed arm a name",
    ),
    (
      {"arm__classical__changes__augment__jitter": 0.2},
      "config.arm.classical is not what it was",
    ),
  ],
)
def test_what_would_mix_is_refused(done, monkeypatch, changes, told):
  monkeypatch.setattr(loop, "train", pytest.fail)
  with pytest.raises(errors.InputError, match=told):
    study.run(_config(**changes), done[0])


@pytest.mark.slow
def test_a_copy_of_a_study_s_gan_is_trained_further(done, tmp_path):
  shutil.copytree(done[0] / "generator", tmp_path / "generator")
  config = _config(gan__train__steps=6)
  place = study._train_generator(config, tmp_path, shrunk.dataset())
  assert study.generators.load(place).step == 6


def test_images_are_the_same_wherever_they_are_and_not_once_they_change(
  strangers, tmp_path, taught, monkeypatch
):
  path, allowed = tmp_path / "run", {"unknown_origin": True}
  study.run(_config(synthetic=str(strangers), **allowed), path)
  taught.clear()
  monkeypatch.chdir(tmp_path)
  (tmp_path / "link").symlink_to("images")
  shutil.copytree(strangers, tmp_path / "moved")
  for place in ("images/", "link", "moved"):
    study.run(_config(synthetic=place, **allowed), path)
  assert not taught
  Image.new("RGB", (30, 40)).save(strangers / "stripes" / "0.jpg")
  told = "config.synthetic was 'moved', is 'link', and holds something else"
  with pytest.raises(errors.InputError, match=told):
    study.run(_config(synthetic="link", **allowed), path)


def test_a_generator_that_is_lost_is_trained_again_to_the_same(done, tmp_path):
  path = _copy(done, tmp_path / "run", "classical-0")
  (path / "generator" / "checkpoints" / "4" / "manifest.json").write_text("{")
  result = study.run(_config(), path)  # its synthetic images are still its own
  assert result["arms"] == done[1]["arms"]


def test_a_study_that_was_begun_on_other_images_is_refused(
  done, tmp_path, monkeypatch
):
  path = _copy(done, tmp_path / "run")
  own = shrunk.dataset()
  images = own.test.images.copy()
  images[0, 0, 0, 0] ^= 1
  other = own._replace(test=own.test._replace(images=images))
  monkeypatch.setattr(datasets, "load", lambda config: other)
  with pytest.raises(errors.InputError, match="begun on other images"):
    study.run(_config(), path)


def test_what_another_process_works_on_is_waited_for(
  done, tmp_path, monkeypatch
):
  path = _copy(done, tmp_path / "run", "classical-0", "classical+synthetic-0")
  monkeypatch.setattr(study, "_PAUSE", 0.02)
  order, train = [], loop.train

  def recorded(task, config, place, dataset=None):
    order.append(place.name)
    result = train(task, config, place, dataset)
    if place.name == "classical+synthetic-0":
      held.close()
    return result

  monkeypatch.setattr(loop, "train", recorded)
  with contextlib.ExitStack() as held:
    held.enter_context(files.locked(path / "units" / ".classical-0.lock"))
    result = study.run(_config(), path)
  # The other classifier was trained in the meantime.
  trained = [name for name in order if name.startswith("classical")]
  assert trained[-1] == "classical-0"
  assert trained.index("classical+synthetic-0") < len(trained) - 1
  assert result["arms"] == done[1]["arms"]


def test_a_generator_that_has_seen_test_lesions_is_refused(
  done, tmp_path, monkeypatch
):
  path, _, _ = done
  monkeypatch.setattr(loop, "train", pytest.fail)
  own = shrunk.dataset()
  for split in ("test", "validation"):
    groups = getattr(own, split).groups.copy()
    groups[2] = own.train.groups[4]
    other = own._replace(**{split: getattr(own, split)._replace(groups=groups)})
    monkeypatch.setattr(datasets, "load", lambda config, other=other: other)
    told = f"trained on 1 lesions of this study's {split} split \\({groups[2]}"
    with pytest.raises(errors.InputError, match=told):
      study.run(_config(generator=str(path / "generator")), tmp_path / split)
    assert not (tmp_path / split / "units").exists()


@pytest.mark.parametrize(
  ("changes", "told"),
  [
    ({"arms": (*ARMS, "clasical")}, r"Unknown arm 'clasical'. Did you mean"),
    (
      {"arms": ("real", "classical")},
      "needs classical.synthetic and classical",
    ),
    ({"fill_to": 5}, "fill_to=5 adds no image: .* smallest has 5"),
    ({"seeds": 0}, "seeds=0: at least 1"),
    *[
      ({"shard": shard}, f"shard={shard}: i/n is wanted")
      for shard in ("2/2", "1", "-1/2", "0/0", "1/2/3")
    ],
    ({"arms": (*ARMS, "classical")}, "each of them once"),
    ({"gan__task": "classifier"}, "gan.task=classifier trains no gan"),
    ({"classifier__task": "acgan"}, "classifier.task=acgan trains no classif"),
    (
      {"arm__classical__changes__train__sampler": "even"},
      "Unknown train.sampler 'even'",
    ),
    ({"synthetic": "DIR"}, "config.synthetic and config.generator are both"),
    ({"classifier__train__steps": 5}, "train.steps=5 is not a multiple"),
    (
      {"gan__loss__adversarial": "hing", "generator": ""},
      "Unknown loss.adversarial 'hing'. Did you mean 'hinge'",
    ),
    ({"generator_checkpoint": "last"}, "Unknown checkpoint 'last'. Did you"),
    (
      {"generator_checkpoint": "best", "generator": ""},
      "best needs gan.best=kid",
    ),
    (
      {"generator_checkpoint": "best", "gan__best": "kid", "generator": ""},
      "best=kid with kid_every=0",
    ),
  ],
)
def test_a_study_that_cannot_be_is_refused(
  done, tmp_path, monkeypatch, changes, told
):
  changes = {"generator": str(done[0] / "generator"), **changes}
  monkeypatch.setattr(loop, "train", pytest.fail)
  with pytest.raises(errors.InputError, match=told):
    study.run(_config(**changes), tmp_path / "run")
  assert not (tmp_path / "run").exists()


@pytest.fixture
def strangers(tmp_path):
  """A folder that somebody else's GAN might have made: of another size."""
  rng = np.random.default_rng(0)
  for name, count in (("square", 20), ("stripes", 3)):
    place = tmp_path / "images" / name
    place.mkdir(parents=True)
    for i in range(count):
      pixels = rng.integers(0, 255, (40, 30, 3), np.uint8)
      Image.fromarray(pixels).save(place / f"{i}.jpg")
  return tmp_path / "images"


@pytest.fixture
def taught(monkeypatch):
  """Has classifiers predict at random; returns what they would be taught."""
  taught = {}

  def train(task, config, path, dataset=None):
    taught[path.name] = dataset
    path.mkdir(parents=True)
    (path / "metrics.jsonl").write_text("")

  def predict(config, path, result, outside=None):
    rng = np.random.default_rng(len(path.name))
    test = shrunk.dataset().test
    rows = rng.dirichlet(np.ones(3), len(test.labels))
    lines = [("image_id", *shrunk.CLASSES)]
    lines += [(i, *row) for i, row in zip(test.image_ids, rows, strict=True)]
    files.write_text(path / "predictions.csv", files.table(lines))

  monkeypatch.setattr(loop, "train", train)
  monkeypatch.setattr(study.predictions, "predict", predict)
  return taught


def test_a_strangers_folder_is_judged(strangers, tmp_path, taught):
  train = shrunk.dataset().train
  origin = {"trained_on": {"image_ids": train.image_ids.tolist()}}
  files.write_json(strangers / "provenance.json", {"name": "DCGAN", **origin})
  config = _config(synthetic=str(strangers))
  result = study.run(config, tmp_path / "run")
  assert result["verdict"]["leak_excluded"]
  assert result["verdict"]["headline"].startswith(
    ("DCGAN images", "This study")
  )
  # Classes have 12, 7 and 5; of disc there are none, of stripes but three.
  mixed = taught["classical+synthetic-0"]
  assert mixed.info.class_counts == (12, 15, 8)
  assert mixed.train.images.shape[1:] == (16, 16, 3)
  assert set(train.groups) <= set(mixed.inherited)
  (arm,) = (a for a in result["arms"] if a["name"] == "classical+synthetic")
  assert arm["synthetic"] == {"disc": 0, "square": 8, "stripes": 3}


def test_a_folder_of_unknown_origin_is_refused_unless_it_is_allowed(
  strangers, tmp_path, taught
):
  told = r"images does not tell which lesions the maker .*image_ids.*unknown_o"
  with pytest.raises(errors.InputError, match=told):
    study.run(_config(synthetic=str(strangers)), tmp_path / "run")
  assert not (tmp_path / "run").exists()
  config = _config(synthetic=str(strangers), unknown_origin=True)
  result = study.run(config, tmp_path / "run")
  headline = result["verdict"]["headline"]
  assert headline.startswith("A leak cannot be excluded. ")
  assert not result["verdict"]["leak_excluded"]
  page = (tmp_path / "run" / "report" / "index.html").read_text()
  assert page.index("A leak cannot be excluded: nothing") < page.index("<h1>")
  # Whoever learnt from such images is of unknown origin, too.
  assert taught["classical+synthetic-0"].inherited is None


def test_a_folder_whose_maker_has_seen_test_lesions_is_refused(
  strangers, tmp_path, monkeypatch
):
  monkeypatch.setattr(loop, "train", pytest.fail)
  ids = shrunk.dataset().test.image_ids[:2].tolist()
  record = {"trained_on": {"image_ids": ids}}
  files.write_json(strangers / "provenance.json", record)
  told = r"was trained on .* test split"
  for allowed in (False, True):
    config = _config(synthetic=str(strangers), unknown_origin=allowed)
    with pytest.raises(errors.InputError, match=told):
      study.run(config, tmp_path / "run")


def test_how_much_is_added_unless_that_is_said():
  info = shrunk.dataset().info
  wanted = lambda counts: study._wanted(
    _config(fill_to=0), dataclasses.replace(info, class_counts=counts)
  ).tolist()
  assert wanted((100, 40, 10)) == [0, 0, 30]  # the median class
  assert wanted((100, 15, 10)) == [0, 5, 10]  # twice the smallest
  assert wanted((10, 10, 10)) == [10, 10, 10]


def test_an_arm_is_what_the_config_says():
  config = _config(arm__classical__changes__augment__jitter=0.3)
  made = study._unit_config(config, study.Unit("classical", 5))
  assert made.augment.jitter == 0.3
  assert made.seed == 5
  config = _config().unlock()
  config.arm["weighted"] = study_config.arm("x", loss={"balance": "weights"})
  config.arm["wrong"] = study_config.arm("x", loss={"balanced": "weights"})
  made = study._unit_config(config, study.Unit("weighted", 0))
  assert made.loss.balance == "weights"
  with pytest.raises(errors.InputError, match="Unknown key of arm wrong, 'bal"):
    study._unit_config(config, study.Unit("wrong", 0))


def test_an_external_test_set_is_scored_and_trains_nothing(
  done, tmp_path, monkeypatch
):
  path = _copy(done, tmp_path / "run")
  monkeypatch.setattr(loop, "train", pytest.fail)
  split = external_test.elsewhere()
  folder = external_test.write(tmp_path / "clinic", split)
  result = study.run(_config(external=str(folder)), path)
  # The verdict, and all else, is that of the own test lesions.
  assert {**result, "command": "", "external": None} == {
    **done[1], "command": "",
  }  # fmt: skip
  found = result["external"]
  assert (found["name"], found["images"], found["traced"]) == ("clinic", 7, 0)
  assert found["majority_line"] == {
    "class": "disc", "accuracy": 3 / 7, "balanced_accuracy": 1 / 3,
  }  # fmt: skip
  assert [arm["name"] for arm in found["arms"]] == list(ARMS)
  balanced = {}
  for arm in found["arms"]:
    table = path / "units" / f"{arm['name']}-0" / "external_predictions.csv"
    with table.open(newline="") as file:
      rows = list(csv.DictReader(file))
    right = {name: [] for name in shrunk.CLASSES}
    for row in rows:
      said = max(shrunk.CLASSES, key=lambda name, row=row: float(row[name]))
      right[row["label"]].append(said == row["label"])
    assert [len(values) for values in right.values()] == [3, 2, 2]
    balanced[arm["name"]] = np.mean([np.mean(v) for v in right.values()])
    value = arm["scores"]["balanced_accuracy"]["value"]
    assert value == pytest.approx(balanced[arm["name"]])
  difference = found["difference"]
  assert (difference["arm"], difference["rival"]) == ARMS[::-1]
  assert difference["value"] == pytest.approx(
    balanced[ARMS[1]] - balanced[ARMS[0]]
  )
  page = (path / "report" / "index.html").read_text()
  html_checker.check(page)
  assert "On clinic (external)" in page
  assert "Nothing was chosen on" in page

  # What is done is not done again; of another set it is.
  before = table.stat().st_mtime_ns
  study.run(_config(external=str(folder)), path)
  assert table.stat().st_mtime_ns == before
  other = external_test.write(
    tmp_path / "b", external_test.elsewhere((1, 1, 1))
  )
  assert (
    study.run(_config(external=str(other)), path)["external"]["images"] == 3
  )
  assert table.stat().st_mtime_ns != before
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
