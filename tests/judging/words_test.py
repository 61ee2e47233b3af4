import pytest

from skinjax.judging import nearness, words


def _words(evaluation):
  told = words.describe(evaluation)
  return told, " ".join(told.findings), " ".join(told.cautions)


def _kernel(value, half=0.01):
  return {"value": value, "low": value - half, "high": value + half}


@pytest.mark.parametrize(
  ("value", "half", "kind"),
  [
    (0.0, 0.01, nearness.NEAR),
    (0.012, 0.01, nearness.NEAR),
    (0.015, 0.01, nearness.UNCLEAR),
    (0.03, 0.01, nearness.FAR),
    (0.3, 0.01, nearness.BEYOND),
    (0.1, 0.2, nearness.CANNOT_TELL),
    (None, 0, nearness.NOT_MEASURED),
  ],
)
def test_kinds(make_evaluation, value, half, kind):
  # The floor is 0.002 ± 0.01, and the ceiling 0.25 ± 0.01.
  evaluation = make_evaluation({"mel": value})
  if value is not None:
    evaluation["distances"][0]["kernel"] = _kernel(value, half)
  assert nearness.judge(evaluation) == {"EffLite0@64": {"mel": kind}}


def test_without_floor_or_ceiling(make_evaluation):
  evaluation = make_evaluation({"mel": 0.03})
  synthetic, floor, ceiling = evaluation["distances"]
  judge = lambda *rows: nearness.judge({"distances": rows})["EffLite0@64"]
  assert judge(synthetic, ceiling) == {"mel": nearness.CANNOT_TELL}
  assert judge(synthetic, floor) == {"mel": nearness.FAR}
  null = dict.fromkeys(("value", "low", "high"))
  assert judge({**synthetic, "kernel": null}, floor) == {
    "mel": nearness.NOT_MEASURED
  }


@pytest.mark.parametrize(
  ("kids", "headline", "tone"),
  [
    (
      {"df": 0.0, "mel": 0.0},
      "In all 2 classes, synthetic images are as near to real ones as "
      "held-out real images are.",
      "helps",
    ),
    (
      {"df": 0.0, "mel": 0.1, None: 0.1},
      "In 1 of 2 classes, synthetic images are as near to real ones as "
      "held-out real images are.",
      "cannot",
    ),
    (
      {"df": 0.1, "mel": None},
      "In none of 2 classes are synthetic images as near to real ones as "
      "held-out real images are.",
      "hurts",
    ),
    (
      {"mel": 0.1},
      "In mel, synthetic images are not as near to real ones as held-out real "
      "images are.",
      "hurts",
    ),
    (
      {None: 0.0},
      "All classes together, synthetic images are as near to real ones as "
      "held-out real images are.",
      "helps",
    ),
    (
      {"mel": 0.015},
      "It is unclear whether the synthetic images are as near to real ones as "
      "held-out real images are.",
      "cannot",
    ),
    (
      {"mel": None},
      "Too little to tell how near to real ones these images are.",
      "cannot",
    ),
  ],
)
def test_headline(make_evaluation, kids, headline, tone):
  told = words.describe(make_evaluation(kids))
  assert (told.headline, told.tone) == (headline, tone)


def test_names_the_classes(make_evaluation):
  _, findings, _ = _words(make_evaluation())
  assert "reaches the floor): mel;" in findings
  assert "held-out real images are: akiec, bcc, bkl, vasc;" in findings
  assert "another class: nv;" in findings
  assert "too few images to measure: df." in findings


def test_collapse_and_copies_change_the_tone(full_evaluation, make_evaluation):
  words, findings, _ = _words(
    make_evaluation({"df": 0.0, "mel": 0.0}, collapsed=["mel"])
  )
  assert words.tone == "hurts"
  assert words.headline.endswith("; 1 class collapsed.")
  assert "Collapsed: mel." in findings
  words, findings, _ = _words(full_evaluation)
  assert words.headline.endswith("; 1 class collapsed; 2 suspected copies.")
  assert (
    "2 suspected copies of training images among 700 synthetic images. The "
    "same threshold flags 1.2% of held-out real images, which are no copies: "
    "by chance, about 9 of as many, which may explain these." in findings
  )
  # 0.004 is under 0.05 / 7, and 0.008 is not.
  assert "Drawn to the training images in vasc: " in findings


def test_no_copies(full_evaluation):
  copies = full_evaluation["copies"]
  row = {**copies["classes"]["df"], "suspects": 0, "p_value": 0.2}
  for p_value, told in ((0.2, True), (None, False)):
    row["p_value"] = p_value
    _, findings, _ = _words(
      {**full_evaluation, "copies": {**copies, "classes": {"df": row}}}
    )
    assert "No suspected copies of training images among 100" in findings
    assert "does not prove" in findings
    assert ("In no class do synthetic images" in findings) == told


def test_usefulness(full_evaluation):
  _, findings, _ = _words(full_evaluation)
  assert "in 30% (akiec) to 78% of the synthetic images" in findings
  assert (
    "0.41 (0.35 to 0.47) on held-out real images; trained on as many real "
    "ones, 0.58 (0.52 to 0.64); always answering one class, 0.14. The two "
    "intervals do not overlap." in findings
  )
  assert "not told apart from answering" not in findings
  cas = {**full_evaluation["usefulness"]["cas"], "majority": 0.4}
  useful = {**full_evaluation["usefulness"], "cas": cas}
  _, findings, _ = _words({**full_evaluation, "usefulness": useful})
  assert "not told apart from answering one class always" in findings


def test_extractors_that_disagree(make_evaluation):
  evaluation = make_evaluation({"mel": 0.0}, extractors=("a", "b"))
  _, findings, cautions = _words(evaluation)
  assert "By KID in a and in b, not told apart" in findings
  assert "disagree" not in findings
  assert "Numbers of different extractors cannot be compared" in cautions
  evaluation["distances"][3]["kernel"] = _kernel(0.1)
  _, findings, _ = _words(evaluation)
  assert "By KID in b, farther" in findings
  assert "The extractors disagree on mel" in findings


def test_cautions(make_evaluation):
  _, _, cautions = _words(make_evaluation({"mel": 0.0}))
  assert "few images (here 60; about 100 is far too few)" in cautions
  assert "KID has no such bias" in cautions
  assert "these are of EffLite0@64 alone" in cautions
  assert "drawn" not in cautions
  _, findings, cautions = _words(make_evaluation(drawn=True, distances=[]))
  assert "drawn pictures: nothing here is about skin" in cautions
  assert "Fréchet" not in cautions
  assert "No distances were measured." in findings
