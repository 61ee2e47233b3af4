import json
import math
import re

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from skinjax.runtime import files
from skinjax.study import page, scoring, summary, verdict
from tests.study import conftest

_PROCEDURES = scoring.WITHOUT, scoring.WITH


def _rows(study, **wanted):
  return [
    row
    for row in study["differences"]
    if all(row[key] == value for key, value in wanted.items())
  ]


def _headline(study, network, arm):
  (row,) = _rows(study, network=network, arm=arm, metric="balanced_accuracy")
  return row


def _arm(study, network, name):
  (arm,) = (
    a for a in study["arms"] if (a["network"], a["name"]) == (network, name)
  )
  return arm


def _balanced(study, network, name):
  return _arm(study, network, name)["scores"]["balanced_accuracy"]


def test_is_plain_json_without_nan(make_summary):
  study = make_summary(seeds=1, networks=("resnet",))
  # One seed decides nothing.
  assert study["verdict"]["kind"] == verdict.CANNOT_TELL
  assert "cannot tell" in study["verdict"]["headline"]
  assert study["verdict"]["detectable"] is None
  text = json.dumps(study, allow_nan=False)
  assert json.loads(text) == study
  assert study["config"]["rates"] == [0.1, None]
  assert study["arms"][0]["scores"]["accuracy"]["seed_sd"] is None
  assert {row["p_adjusted"] for row in study["differences"]} == {None}


def test_the_schema_names_every_key(study):
  named = set(re.findall(r"\w+", summary.__doc__.split("```")[1]))
  for row in (
    *(study, study["verdict"], study["majority_line"]),
    *(study["learning_curve"], study["learning_curve"]["points"][0]),
    *(study[key][0] for key in ("arms", "differences", "networks", "classes")),
  ):
    assert row.keys() <= named | {"value", "low", "high", "seed_sd"}


def test_counts(study):
  # Of three folds; training is of one.
  assert [c["test_lesions"] for c in study["classes"]] == [
    18, 21, 24, 9, 24, 72, 15,
  ]  # fmt: skip
  assert study["classes"][5]["test_images"] == 144
  assert study["classes"][5]["train_images"] == 600
  assert study["classes"][5]["train_lesions"] == 500
  assert study["classes"][6]["synthetic_images"] == 7
  assert study["majority_line"] == {
    "class": "nv",
    "accuracy": pytest.approx(144 / 366),
    "balanced_accuracy": pytest.approx(1 / 7),
  }
  assert np.sum(study["arms"][0]["confusion"]) == pytest.approx(366)


def test_a_procedure_pools_what_each_fold_chose(make_summary):
  skills = {name: conftest.SKILLS[name] for name in ("classical", "duplicates")}
  skills |= {"capped_25": 2.6, "uncapped": 0.5}
  folds = conftest.make_folds((0, 1, 2), 2, ("resnet",), skills)
  study = make_summary(folds=folds, networks=("resnet",))
  right, there = np.zeros(7), np.zeros(7)
  for fold, chosen in zip(
    folds, ("capped_25", "uncapped", "capped_25"), strict=True
  ):
    for p in fold.predictions["resnet", chosen]:
      hit = p.argmax(-1) == fold.labels
      right += np.bincount(fold.labels, hit, 7)
      there += np.bincount(fold.labels, minlength=7)
  arm = _arm(study, "resnet", scoring.WITH)
  assert arm["scores"]["balanced_accuracy"]["value"] == pytest.approx(
    np.mean(right / there)
  )
  assert [e["value"] for e in arm["recall"].values()] == pytest.approx(
    right / there
  )
  assert arm["recipe"] is None
  assert arm["description"] == "chosen by fold: capped_25 in 2, uncapped in 1"
  # What it scores in each fold, and between them.
  gaps = []
  for fold in folds:
    choice = fold.choices["resnet"]
    means = [
      np.mean(
        [
          metrics.balanced_accuracy_score(fold.labels, p.argmax(-1))
          for p in fold.predictions["resnet", choice[kind]]
        ]
      )
      for kind in ("with", "without")
    ]
    gaps.append(means[0] - means[1])
  decided = study["verdict"]
  assert list(decided["by_fold"]) == ["0", "1", "2"]
  assert list(decided["by_fold"].values()) == pytest.approx(gaps)
  error = math.sqrt((1 / 3 + 122 / 886) * np.var(gaps, ddof=1))
  assert decided["between_folds"] == {
    "low": pytest.approx(np.mean(gaps) + stats.t.ppf(0.025, 2) * error),
    "high": pytest.approx(np.mean(gaps) + stats.t.ppf(0.975, 2) * error),
  }


def test_differences_are_those_of_the_arms_scores(study):
  for row in study["differences"]:
    if row["metric"] == "balanced_accuracy":
      values = [
        _balanced(study, row["network"], row[key])["value"]
        for key in ("arm", "rival")
      ]
      assert row["value"] == pytest.approx(values[0] - values[1])
      assert row["rival"] == scoring.WITHOUT
  for network in conftest.NETWORKS:
    compared = {row["arm"] for row in _rows(study, network=network)}
    # Not those that learn from a part of the real images.
    assert compared == {scoring.WITH, *conftest.SKILLS}
    assert len(_rows(study, network=network, arm="real")) == 6 + 7


def test_other_differences_are_one_family(study):
  family = [
    row
    for row in _rows(study, metric="balanced_accuracy")
    if (row["network"], row["arm"]) != ("resnet", scoring.WITH)
  ]
  assert len(family) == 15
  family.sort(key=lambda row: row["p"])
  largest = 0.0
  for place, row in enumerate(family):
    largest = max(largest, min(1.0, row["p"] * (15 - place)))
    assert row["p_adjusted"] == pytest.approx(largest)
    kind = verdict.NO_DIFFERENCE
    if largest < 0.05:
      kind = verdict.HELPS if row["value"] > 0 else verdict.HURTS
    assert row["verdict"] == kind
  assert {row["verdict"] for row in family} == {
    verdict.HELPS,
    verdict.HURTS,
    verdict.NO_DIFFERENCE,
  }
  primary = _headline(study, "resnet", scoring.WITH)
  assert primary["p_adjusted"] is None
  assert primary["verdict"] == study["verdict"]["kind"]


def test_an_arm_that_is_always_chosen_is_compared_once(small):
  # Its comparison is the verdict's; two others remain.
  chosen = _headline(small, "resnet", "capped_25")
  primary = _headline(small, "resnet", scoring.WITH)
  assert chosen == primary | {"arm": "capped_25"}
  real, same = (_headline(small, "resnet", n) for n in ("real", "duplicates"))
  assert real["p"] < same["p"]
  assert real["p_adjusted"] == pytest.approx(min(1, 2 * real["p"]))
  # The arm that is the rival has no difference from itself.
  assert not _rows(small, arm="classical")


def test_only_declared_verdicts_are_given(study):
  (row,) = _rows(study, network="resnet", arm=scoring.WITH, **{"class": "nv"})
  assert row["level"] == pytest.approx(1 - 0.05 / 7)  # of seven classes
  for row in study["differences"]:
    primary = (row["network"], row["arm"]) == ("resnet", scoring.WITH)
    declared = row["metric"] == "balanced_accuracy" or (
      primary and row["metric"] == "recall"
    )
    assert (row["verdict"] is not None) == declared
  # Nine lesions of df are too few.
  (row,) = _rows(study, network="resnet", arm=scoring.WITH, **{"class": "df"})
  assert row["verdict"] == verdict.CANNOT_TELL


@pytest.mark.parametrize(
  ("skill", "kind"),
  [
    (5.0, verdict.HELPS),
    (2.0, verdict.NO_DIFFERENCE),
    (0.0, verdict.HURTS),
  ],
)
def test_verdict_follows_the_truth(make_summary, skill, kind):
  skills = dict.fromkeys(("capped_25", "uncapped"), skill)
  arms = ("classical", "duplicates", *skills)
  study = make_summary(skills, networks=("resnet",), arms=arms)
  decided = study["verdict"]
  assert decided["kind"] == kind
  row = _headline(study, "resnet", scoring.WITH)
  assert (decided["low"], decided["high"]) == (row["low"], row["high"])


def test_a_detectable_difference_needs_a_variance_of_many_seeds(make_summary):
  arms = {"networks": ("resnet",), "arms": ("classical", "capped_25")}
  # Of 7 and of 8 degrees of freedom.
  few, enough = (
    make_summary(**arms, numbers=(0,), seeds=seeds)["verdict"]
    for seeds in (8, 9)
  )
  assert few["detectable"] is None
  # Half a 95% interval is 1.959964 standard errors; seen are 0.842 more.
  half = (enough["high"] - enough["low"]) / 2
  assert enough["detectable"] == pytest.approx(half / 1.959964 * 2.801964)


def test_few_lesions_give_no_verdict(make_summary):
  # The harmonic mean of (6, 7, 8, 3, 8, 24, 5) lesions is 6.2: twice that is
  # enough for a verdict, though not for every class.
  for numbers, kind in (
    ((-1,), verdict.CANNOT_TELL),
    ((0, 1), verdict.HELPS),
  ):
    skills = {"classical": 1.0, "capped_25": 9.0}
    study = make_summary(
      skills, numbers=numbers, networks=("resnet",), arms=tuple(skills)
    )
    assert study["verdict"]["kind"] == kind


def test_a_class_without_test_lesions_gives_no_verdict(make_summary):
  skills = {"classical": 1.0, "capped_25": 9.0}
  made = conftest.make_folds((0, 1), 2, ("resnet",), skills)
  kept = made[0].labels != conftest.CLASSES.index("df")
  without = [
    fold._replace(
      labels=fold.labels[kept],
      groups=fold.groups[kept],
      predictions={k: p[:, kept] for k, p in fold.predictions.items()},
    )
    for fold in made
  ]
  for folds, kind in ((made, verdict.HELPS), (without, verdict.CANNOT_TELL)):
    study = make_summary(networks=("resnet",), folds=folds)
    assert study["verdict"]["kind"] == kind


def test_intervals_have_the_level_of_the_study(make_summary):
  arms = {
    "networks": ("resnet",),
    "arms": ("classical", "capped_25", "uncapped"),
  }
  usual, strict = make_summary(**arms), make_summary(**arms, level=0.9875)
  width = lambda study: study["verdict"]["high"] - study["verdict"]["low"]
  # Of normal errors 2.497 standard errors instead of 1.960; of few seeds more.
  assert 2.497 / 1.960 - 0.1 < width(strict) / width(usual) < 2
  assert "(98.75% interval" in strict["verdict"]["detail"]
  assert strict["level"] == 0.9875
  (row,) = _rows(strict, arm="uncapped", **{"class": "mel"})
  assert row["level"] == pytest.approx(1 - 0.0125 / 7)


def test_arms_are_compared_with_the_same_training(make_summary):
  arms = ("real", "classical", "duplicates", "capped_25", "dose_025")
  study = make_summary(networks=("resnet",), arms=arms)
  found = {(row["arm"], row["rival"]): row for row in study["matched"]}
  # `real` is trained in another way; `duplicates` has no synthetic images.
  assert found.keys() == {("capped_25", "classical"), ("dose_025", "classical")}
  value = lambda name: next(
    row["scores"]["balanced_accuracy"]["value"]
    for row in study["arms"]
    if row["name"] == name
  )
  for (arm, rival), row in found.items():
    assert row["value"] == pytest.approx(value(arm) - value(rival))
    assert row["low"] < row["value"] < row["high"]
    assert 0 <= row["p"] <= 1


def _of_right(right, labels):
  """Predictions [2 seeds, N, 2] that are right for so many 40ths of a class."""
  wrong = np.concatenate([np.repeat(np.arange(40), 50) >= right] * 2)
  return np.tile(np.eye(2)[np.where(wrong, 1 - labels, labels)], (2, 1, 1))


@pytest.mark.parametrize(
  ("quarter", "half", "slope", "gain", "loss"),
  [
    # 0.5, 0.6 and 0.7 of 40: a gain of 0.1 is a doubling, a loss half of all.
    (20, 24, 0.1, 1.0, -0.5),
    # It would take 16 times as many images, or a 16th.
    (26, 27, 0.025, None, None),
    # More images do not help.
    (28, 28, 0.0, None, None),
    (32, 30, -0.05, None, None),
  ],
)
def test_learning_curve(make_summary, quarter, half, slope, gain, loss):
  labels = np.repeat([0, 1], 2000)  # so many that it is certain which rise
  right = {"classical": 28, "duplicates": 24, "capped_25": 32}
  # The first two are too few to be on the line.
  right |= {"real_10": 1, "real_25": quarter, "real_50": half}
  fold = conftest.fold_done(
    0,
    {("head", name): _of_right(count, labels) for name, count in right.items()},
    {
      "head": {
        "without": "classical",
        "with": "capped_25",
        "validation": dict.fromkeys(right, 0.5),
      }
    },
    labels=labels,
    groups=np.arange(4000),
    train_counts=np.array([300, 100]),
    train_groups=np.array([30, 10]),
  )
  study = make_summary(folds=[fold], networks=("head",), class_names=("a", "b"))
  # No arm with a part of the images is a candidate.
  assert study["verdict"]["candidates"] == {"without": 2, "with": 1}
  curve = study["learning_curve"]
  assert curve["network"] == "head"
  assert curve["per_doubling"] == pytest.approx(slope, abs=1e-12)
  assert [
    (p["fraction"], p["images"], p["value"]) for p in curve["points"]
  ] == [
    (0.1, 40, pytest.approx(1 / 40)),
    (0.25, 100, pytest.approx(quarter / 40)),
    (0.5, 200, pytest.approx(half / 40)),
    (1.0, 400, pytest.approx(28 / 40)),
  ]
  near = lambda x: x if x is None else pytest.approx(x)
  assert study["verdict"]["more_images"]["value"] == near(gain)
  of_arm = lambda name: _headline(study, "head", name)["more_images"]
  assert of_arm(scoring.WITH) == study["verdict"]["more_images"]
  assert of_arm("duplicates")["value"] == near(loss)


def test_the_learning_curve_is_of_the_verdicts_network(
  make_summary,
):
  skills = {"classical": 2.0, "capped_25": 2.0, "real_50": 1.0}
  folds = conftest.make_folds((0,), 2, ("resnet", "head"), skills)
  found = make_summary(folds=folds, networks=("resnet", "head"))
  assert found["learning_curve"]["network"] == "head"


def test_more_seeds_are_for_the_verdict_alone(make_summary):
  skills = {name: conftest.SKILLS[name] for name in ("classical", "capped_25")}
  folds = conftest.make_folds((0, 1), 2, ("resnet",), skills, more=3)
  make = lambda **change: make_summary(
    folds=folds, networks=("resnet",), **change
  )
  few, more, all_seeds = make(), make(until={"seeds": 5}), make(seeds=5)
  # The verdict's arms are scored by as many seeds, to agree with it.
  assert [arm["seeds"] for arm in more["arms"]] == [2, 2, 5, 5]
  assert more["arms"][:2] == few["arms"][:2]
  assert more["verdict"]["seeds"] == 5
  values = [_balanced(more, "resnet", name)["value"] for name in _PROCEDURES]
  assert more["verdict"]["value"] == pytest.approx(values[1] - values[0])
  confusion = _arm(more, "resnet", scoring.WITH)["confusion"]
  assert np.sum(confusion) == pytest.approx(2 * 122)
  assert more["verdict"]["value"] == all_seeds["verdict"]["value"]
  assert more["verdict"]["by_fold"] == all_seeds["verdict"]["by_fold"]
  # The arm that every fold chose gives the verdict, not another comparison.
  primary = _headline(more, "resnet", scoring.WITH)
  assert _headline(more, "resnet", "capped_25") == primary | {
    "arm": "capped_25"
  }
  # Their variance stays that of the first.
  assert more["verdict"]["seed_sd"] != all_seeds["verdict"]["seed_sd"]


def test_a_network_may_have_no_synthetic_arm(make_summary):
  skills = {name: conftest.SKILLS[name] for name in ("classical", "capped_25")}
  folds = conftest.make_folds((0, 1), 2, ("head", "resnet"), skills)
  for fold in folds:
    del fold.predictions["head", "capped_25"]
    fold.choices["head"]["with"] = None
    del fold.choices["head"]["validation"]["capped_25"]
  study = make_summary(folds=folds)
  names = [a["name"] for a in study["arms"] if a["network"] == "head"]
  assert names[0] == "classical"
  assert names[-1] == scoring.WITHOUT
  assert not _rows(study, network="head")
  assert "GAN images" in page.render(study, sheets={})


def test_what_is_carried(study, small, make_summary):
  generators = "retrained generators"
  assert study["carried"] == ["test lesions", "seeds of the classifiers"]
  assert generators in study["not_carried"]
  assert "interval between folds" in study["not_carried"][0]
  assert "interval between folds" not in small["not_carried"][0]
  of_own = lambda **own: make_summary(
    about=own,
    networks=("resnet",),
    numbers=(0,),
    arms=("classical", "capped_25"),
  )
  own = of_own(own_images=True, own_generators=True)
  assert own["carried"][2:] == [generators]
  assert generators not in own["not_carried"]
  images = of_own(own_images=True)
  assert images["carried"][2:] == ["images of each seed"]
  assert generators in images["not_carried"]
  assert own["verdict"]["between_folds"] == {"low": None, "high": None}


def test_arms_that_agree_everywhere_decide_nothing(make_summary):
  labels = np.repeat(np.arange(7), 2 * conftest.LESIONS)
  same = np.tile(np.eye(7)[labels], (2, 1, 1))
  fold = conftest.fold_done(
    0,
    {("resnet", name): same for name in ("classical", "capped_25")},
    {
      "resnet": {
        "without": "classical",
        "with": "capped_25",
        "validation": {},
      }
    },
  )
  study = make_summary(folds=[fold], networks=("resnet",))
  assert study["verdict"]["kind"] == verdict.CANNOT_TELL
  assert study["verdict"]["detectable"] is None


def test_class_without_test_images_is_null(make_summary):
  folds = conftest.make_folds((0,), 2, ("resnet",), conftest.SKILLS)
  kept = folds[0].labels != 3
  fold = folds[0]._replace(
    labels=folds[0].labels[kept],
    groups=folds[0].groups[kept],
    predictions={k: p[:, kept] for k, p in folds[0].predictions.items()},
  )
  study = make_summary(folds=[fold], networks=("resnet",))
  assert study["arms"][0]["recall"]["df"]["value"] is None
  (row,) = _rows(study, arm=scoring.WITH, **{"class": "df"})
  assert row["low"] is None
  assert row["verdict"] == verdict.CANNOT_TELL
  assert study["verdict"]["low"] is not None
  line = study["majority_line"]["balanced_accuracy"]
  assert line == pytest.approx(1 / 6)


def test_external_images_are_predicted_by_every_fold():
  skills = {name: conftest.SKILLS[name] for name in ("classical", "capped_25")}
  folds = conftest.make_folds((0, 2), 2, ("resnet",), skills)
  found = summary.summarize_external(
    folds=folds,
    network="resnet",
    seeds=2,
    name="PH2",
    note="",
    traced=3,
    left_out={},
    labels=conftest.EXTERNAL,
    groups=np.arange(36) // 2,
    class_names=conftest.CLASSES,
    num_resamples=50,
  )
  assert (found["images"], found["lesions"]) == (36, 18)
  assert found["majority_line"] == {
    "class": "nv",
    "accuracy": pytest.approx(1 / 6),
    "balanced_accuracy": pytest.approx(1 / 6),
  }
  # Six images of each of six classes: balanced accuracy is accuracy.
  right = {
    arm: np.mean(
      [
        p.argmax(-1) == conftest.EXTERNAL
        for fold in folds
        for p in fold.external["resnet", arm]
      ]
    )
    for arm in skills
  }
  values = {
    arm["name"]: arm["scores"]["balanced_accuracy"]["value"]
    for arm in found["arms"]
  }
  assert values == pytest.approx(
    {
      **right,
      scoring.WITHOUT: right["classical"],
      scoring.WITH: right["capped_25"],
    }
  )
  assert found["difference"]["value"] == pytest.approx(
    right["capped_25"] - right["classical"]
  )


def test_next_steps_can_be_given(make_summary, small):
  assert "HAM10000" in small["next_steps"][0]
  given = make_summary(
    about={"next_steps": ("rest",)},
    networks=("resnet",),
    numbers=(0,),
    arms=("classical", "capped_25"),
  )
  assert given["next_steps"] == ["rest"]


def test_plain():
  assert files.plain(
    {1: (np.float32(0.5), np.inf, True), "a": np.array([[np.nan, 2.0]])}
  ) == {"1": [0.5, None, True], "a": [[None, 2.0]]}
