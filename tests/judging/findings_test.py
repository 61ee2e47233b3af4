"""Tests of judging/findings.py: conclusions from an evaluation's numbers."""

import pytest

from skinjax.judging import findings


def _kernel(value, half=0.01):
  return {"value": value, "low": value - half, "high": value + half}


def _text(evaluation):
  found = findings.describe(evaluation)
  return " ".join(found.sentences)


@pytest.mark.parametrize(
  ("value", "half", "kind"),
  [
    (0.0, 0.01, findings.NEAR),
    (0.012, 0.01, findings.NEAR),
    (0.015, 0.01, findings.UNCLEAR),
    (0.03, 0.01, findings.FAR),
    (0.3, 0.01, findings.BEYOND),
    (0.1, 0.2, findings.UNCLEAR),
    (None, 0, findings.NOT_MEASURED),
  ],
)
def test_kinds(make_evaluation, value, half, kind):
  # The floor is 0.002 ± 0.01, and the ceiling 0.25 ± 0.01.
  rows = make_evaluation({"mel": value})["distances"]
  if value is not None:
    rows[0]["kernel"] = _kernel(value, half)
  assert findings.judge(rows) == {"EffLite0@64": {"mel": kind}}


def test_without_floor_or_ceiling(make_evaluation):
  synthetic, floor, ceiling = make_evaluation({"mel": 0.03})["distances"]
  judge = lambda *rows: findings.judge(rows)["EffLite0@64"]
  assert judge(synthetic, ceiling) == {"mel": findings.UNCLEAR}
  assert judge(synthetic, floor) == {"mel": findings.FAR}
  # Another class that is as near as held-out images shows nothing.
  near = {**ceiling, "kernel": _kernel(0.01)}
  wide = {**floor, "kernel": _kernel(0.0, 0.1)}
  assert judge(synthetic, wide, near) == {"mel": findings.UNCLEAR}
  null = dict.fromkeys(("value", "low", "high"))
  assert judge({**synthetic, "kernel": null}, floor) == {
    "mel": findings.NOT_MEASURED
  }


_FAR = "farther from the training images than held-out real images"


@pytest.mark.parametrize(
  ("kids", "headline", "tone"),
  [
    (
      {"df": 0.0, "mel": 0.0},
      f"Synthetic images are {findings.NEAR} in 2 of 2 classes.",
      "helps",
    ),
    (
      {"df": 0.0, "mel": 0.1, None: 0.1},
      f"Synthetic images are {_FAR} in 1 of 2 classes; {findings.NEAR} in 1.",
      "cannot",
    ),
    (
      {"df": 0.1, "mel": 0.015, "nv": None},
      f"Synthetic images are {_FAR} in 1 of 3 classes; undecided in 2.",
      "hurts",
    ),
    (
      {"mel": 0.015, "df": None},
      "Too little data to tell how near these images are to real ones.",
      "cannot",
    ),
  ],
)
def test_headline(make_evaluation, kids, headline, tone):
  found = findings.describe(make_evaluation(kids))
  assert (found.headline, found.tone) == (headline, tone)


def test_names_the_classes_of_each_extractor(make_evaluation):
  evaluation = make_evaluation(extractors=("a", "b"))
  evaluation["distances"][-3]["kernel"] = _kernel(0.0)
  text = _text(evaluation)
  assert f"By KID in a, {findings.NEAR}: mel; farther" in text
  assert "than held-out real images: akiec, bcc, bkl, vasc;" in text
  assert "another class: nv; too few images: df." in text
  assert f"By KID in b, {findings.NEAR}: mel, vasc;" in text


def test_collapse_and_copies_change_the_tone(full_evaluation, make_evaluation):
  evaluation = make_evaluation({"df": 0.0, "mel": 0.0}, collapsed=["mel"])
  found = findings.describe(evaluation)
  assert found.tone == "hurts"
  assert found.headline.endswith("; 1 collapsed class.")
  assert "Collapsed: mel." in _text(evaluation)
  found = findings.describe(full_evaluation)
  assert found.headline.endswith(
    "; 1 collapsed class; 2 suspected copies (4 expected by chance)."
  )
  text = _text(full_evaluation)
  assert (
    "2 suspected copies of training images among 700 synthetic images; of as "
    "many held-out real images of each class, which are no copies, about 4 "
    "(2 to 8) would be suspected." in text
  )
  # 0.001 is under 0.05 / 7, and 0.008 is not.
  assert "Nearer to training images than expected: vasc. " in text


@pytest.mark.parametrize(
  ("suspects", "real", "tone"),
  # Poisson limits of 6 are 2.2 and 13.06: of 500 images; of 700, 3 and 18.
  [(18, 500, "helps"), (19, 500, "hurts"), (1, 0, "hurts")],
)
def test_more_copies_than_by_chance_change_the_tone(
  make_evaluation, full_evaluation, suspects, real, tone
):
  row = full_evaluation["copies"]["classes"]["df"]
  row = {**row, "images": 700, "suspects": suspects}
  row |= {"heldout_images": real, "heldout_suspects": 6 if real else 0}
  copies = {"classes": {"df": row}}
  kids = dict.fromkeys(full_evaluation["diversity"], 0.0)
  found = findings.describe(make_evaluation(kids, copies=copies))
  assert found.tone == tone


def test_no_copies(full_evaluation):
  row = {**full_evaluation["copies"]["classes"]["df"], "suspects": 0}
  copies = {**full_evaluation["copies"], "classes": {"df": row}}
  for p_value, drawn in ((0.04, True), (0.06, False), (None, False)):
    row["p_value"] = p_value
    text = _text({**full_evaluation, "copies": copies})
    assert "0 suspected copies of training images among 100" in text
    assert ("Nearer to training images than" in text) == drawn


def test_usefulness(full_evaluation):
  assert (
    "0.41 (0.35 to 0.47) on held-out real images; trained on the same number "
    "of real images, 0.58 (0.52 to 0.64); always predicting one class, 0.14. "
    "One training each: intervals cover test lesions only."
  ) in _text(full_evaluation)


def test_cautions(make_evaluation):
  cautions = findings.describe(make_evaluation({"mel": 0.0})).cautions
  assert len(cautions) == 3
  assert "drawn" not in " ".join(cautions)
  (caution,) = findings.describe(
    make_evaluation(drawn=True, distances=[])
  ).cautions
  assert "drawn pictures: nothing here is about skin" in caution
