import json

import numpy as np
import pytest
from sklearn import metrics

from skinjax.runtime import files
from skinjax.study import verdict


def _rows(study, **wanted):
  return [
    row
    for row in study["differences"]
    if all(row[key] == value for key, value in wanted.items())
  ]


def test_is_plain_json_without_nan(make_summary):
  study = make_summary(synthetic=4.0, num_seeds=1)
  # One seed decides nothing.
  assert study["verdict"]["kind"] == verdict.CANNOT_TELL
  assert "cannot tell" in study["verdict"]["headline"]
  text = json.dumps(study, allow_nan=False)
  assert json.loads(text) == study
  assert study["config"]["rates"] == [0.1, None]
  assert study["arms"][0]["scores"]["accuracy"]["seed_sd"] is None


def test_counts(study):
  assert [c["test_lesions"] for c in study["classes"]] == [
    14, 16, 20, 6, 20, 60, 12,
  ]  # fmt: skip
  assert study["classes"][5]["test_images"] == 120
  assert study["classes"][5]["train_images"] == 600
  assert study["classes"][5]["train_lesions"] is None
  assert study["majority_line"] == {"class": "nv", "accuracy": 120 / 296}
  assert np.sum(study["arms"][0]["confusion"]) == pytest.approx(296)
  assert study["arms"][2]["synthetic"] == {"df": 1500}


def test_values_are_means_over_seeds(make_summary):
  labels = np.repeat(np.arange(7), 4)
  rng = np.random.default_rng(0)
  arms = {
    name: rng.dirichlet(np.ones(7), (3, 28))
    for name in ("real", "classical", "synthetic")
  }
  study = make_summary(arms=arms, labels=labels, groups=np.arange(28) // 2)
  balanced = {
    name: np.mean(
      [metrics.balanced_accuracy_score(labels, p.argmax(-1)) for p in arm]
    )
    for name, arm in arms.items()
  }
  for arm in study["arms"]:
    score = arm["scores"]["balanced_accuracy"]
    assert score["value"] == pytest.approx(balanced[arm["name"]])
    assert score["low"] <= score["value"] <= score["high"]
  assert study["verdict"]["value"] == pytest.approx(
    balanced["synthetic"] - balanced["classical"]
  )


def test_every_difference_is_there_once(study):
  for rival in ("real", "classical"):
    assert len(_rows(study, rival=rival)) == 6 + 7
    assert len(_rows(study, rival=rival, metric="recall")) == 7
  assert not _rows(study, rival="synthetic")


def test_only_declared_verdicts_are_given(study):
  (row,) = _rows(study, rival="real", **{"class": "nv"})
  assert row["level"] == pytest.approx(1 - 0.05 / 7)  # of seven classes
  for row in study["differences"]:
    declared = row["metric"] in ("balanced_accuracy", "recall")
    assert (row["verdict"] is not None) == declared
  # Six lesions of df are too few.
  for row in _rows(study, **{"class": "df"}):
    assert row["verdict"] == verdict.CANNOT_TELL


@pytest.mark.parametrize(
  ("skill", "kind"),
  [
    (4.0, verdict.HELPS),
    (2.0, verdict.NO_DIFFERENCE),
    (0.5, verdict.HURTS),
  ],
)
def test_verdict_follows_the_truth(make_summary, skill, kind):
  study = make_summary(synthetic=skill)
  decided = study["verdict"]
  assert decided["kind"] == kind
  assert decided["rival"] == "classical"
  (row,) = _rows(study, rival="classical", metric="balanced_accuracy")
  assert (decided["low"], decided["high"]) == (row["low"], row["high"])
  assert decided["largest_gain"] == max(row["high"], 0)
  assert decided["largest_loss"] == max(-row["low"], 0)


def test_the_first_pair_decides(make_summary):
  pairs = [("classical", "real"), ("synthetic", "real")]
  study = make_summary(synthetic=1.0, pairs=pairs)
  assert study["verdict"]["arm"] == "classical"
  assert study["verdict"]["kind"] == verdict.HELPS


def test_arms_that_agree_everywhere_decide_nothing(make_summary):
  arm = np.tile(np.eye(7)[np.repeat(np.arange(7), 4)], (2, 1, 1))
  study = make_summary(
    arms={"classical": arm, "synthetic": arm},
    pairs=[("synthetic", "classical")],
    labels=np.repeat(np.arange(7), 4),
    groups=np.arange(28),
  )
  assert study["verdict"]["kind"] == verdict.CANNOT_TELL
  assert study["verdict"]["largest_gain"] is None


def test_class_without_test_images_is_null(make_summary):
  rng = np.random.default_rng(0)
  labels = np.repeat([0, 1, 2, 4, 5, 6], 4)
  arms = {
    name: rng.dirichlet(np.ones(7), (2, 24))
    for name in ("classical", "synthetic")
  }
  study = make_summary(
    arms=arms,
    labels=labels,
    groups=np.arange(24),
    pairs=[("synthetic", "classical")],
  )
  assert study["arms"][0]["recall"]["df"]["value"] is None
  (row,) = _rows(study, **{"class": "df"})
  assert row["low"] is None
  assert row["verdict"] == verdict.CANNOT_TELL
  assert study["verdict"]["low"] is not None


def test_next_steps_can_be_given(make_summary, study):
  assert "HAM10000" in study["next_steps"][0]
  given = make_summary(about={"next_steps": ("rest",)})
  assert given["next_steps"] == ["rest"]


def test_refuses(make_summary):
  with pytest.raises(ValueError, match="A pair is two of the arms"):
    make_summary(pairs=[("synthetic", "mixup")])
  with pytest.raises(ValueError, match="has shape"):
    make_summary(labels=np.zeros(3, int))


def test_plain():
  assert files.plain(
    {1: (np.float32(0.5), np.inf, True), "a": np.array([[np.nan, 2.0]])}
  ) == {"1": [0.5, None, True], "a": [[None, 2.0]]}
