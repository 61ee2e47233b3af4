import math

import pytest

from skinjax.study import verdict


@pytest.mark.parametrize(
  ("low", "high", "kind"),
  [
    (0.01, 0.05, verdict.HELPS),
    (-0.05, -0.01, verdict.HURTS),
    (-0.01, 0.05, verdict.NO_DIFFERENCE),
    (0.0, 0.05, verdict.NO_DIFFERENCE),
    (0.0, 0.0, verdict.CANNOT_TELL),
    (0.2, 0.2, verdict.CANNOT_TELL),
    (math.nan, math.nan, verdict.CANNOT_TELL),
  ],
)
def test_decide(low, high, kind):
  assert verdict.decide(low, high) == kind
  assert verdict.decide(low, high, testable=False) == verdict.CANNOT_TELL


@pytest.mark.parametrize(
  ("subject", "kind", "expected"),
  [
    ("GAN images", verdict.HELPS, "GAN images help."),
    ("ACGAN images", verdict.HURTS, "ACGAN images hurt."),
    (
      "Generated images",
      verdict.CANNOT_TELL,
      "This study cannot tell whether generated images help.",
    ),
    (
      "GAN images",
      verdict.CANNOT_TELL,
      "This study cannot tell whether GAN images help.",
    ),
  ],
)
def test_headlines(subject, kind, expected):
  ends = {"low": 0.0, "high": 0.0, "level": 0.95}
  assert verdict.headline(subject, kind, **ends) == expected


def test_headline_without_a_detected_difference():
  say = lambda **change: verdict.headline(
    "GAN images",
    verdict.NO_DIFFERENCE,
    **{"low": -0.03, "high": 0.021, "level": 0.9875, **change},
  )
  said = (
    "GAN images make no detectable difference (98.75% interval \u22120.030 to "
    "+0.021)."
  )
  assert say() == said
  assert say(leak_excluded=False) == f"A leak cannot be excluded. {said}"
  doubt = "A gain may come from the pretraining of A, B."
  assert say(other_pretraining=["A", "B"]) == f"{doubt} {said}"


def _detail(low, high, num_seeds=5, between=(math.nan, math.nan)):
  return verdict.detail(
    "Other images",
    network="resnet",
    value=(low + high) / 2,
    low=low,
    high=high,
    between=between,
    level=0.95,
    num_seeds=num_seeds,
  )


def test_detail_says_what_is_not_excluded():
  assert _detail(-0.019, 0.027) == (
    "Balanced accuracy of resnet with other images minus that without, "
    "each with the best arm on validation lesions: +0.004 (95% interval −0.019 "
    "to +0.027). Compatible with the data: a gain of up to 0.027 and a loss of "
    "up to 0.019."
  )
  assert "no loss" in _detail(0.01, 0.02)
  assert "no gain" in _detail(-0.02, -0.01)
  assert "says nothing about other lesions" in _detail(0.0, 0.0)
  assert "With one seed" in _detail(-0.1, 0.1, num_seeds=1)
  assert "With one seed" not in _detail(-0.1, 0.1)
  assert _detail(-0.1, 0.1, between=(-0.2, 0.3)).endswith(
    "between folds, which includes other training lesions, is −0.200 to +0.300."
  )


def test_next_steps():
  for kind in (
    verdict.HELPS,
    verdict.HURTS,
    verdict.NO_DIFFERENCE,
    verdict.CANNOT_TELL,
  ):
    assert verdict.next_steps(kind, drawn=False, one_fold=False)
    for one_fold in (False, True):
      first = verdict.next_steps(kind, drawn=True, one_fold=one_fold)[0]
      assert "HAM10000" in first
    own = verdict.next_steps(kind, drawn=False, one_fold=True)
    assert "--config.folds=0,1,2,3,4" in own[0]


def test_signed():
  assert verdict.signed(0.0123) == "+0.012"
  assert verdict.signed(-0.0123) == "−0.012"
  assert verdict.signed(-0.0001) == "0.000"
  assert verdict.signed(math.nan) == "n/a"
