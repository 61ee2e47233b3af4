import json

import numpy as np
import pytest

from skinjax.report import rendering, sheets
from skinjax.study import page, plots, summary, verdict
from tests.report import html_checker
from tests.study import conftest

_NOTHING = "data:image/svg+xml;base64,PHN2Zy8+"  # an empty figure


@pytest.fixture(scope="module")
def images():
  rows = np.zeros((7, 2, 8, 8, 3), np.uint8)
  sheet = sheets.contact_sheet(rows, list("abcdefg"))
  return {"Real": sheet, "Synthetic": b"\x89PNG"}


@pytest.fixture(scope="module")
def text(study, images):
  return page.render(study, sheets=images)


@pytest.fixture
def without_figures(monkeypatch):
  """Replace all figures by an empty one, for tests of the text."""
  for name in ("forest", "recalls", "doses", "learning_curve", "confusion"):
    monkeypatch.setattr(plots, name, lambda *arguments: None)
  monkeypatch.setattr(rendering, "svg_uri", lambda figure: _NOTHING)


def test_the_page_loads_nothing_and_is_accessible(text):
  html_checker.check(text)


def test_the_main_results_are_given(study, text):
  words = html_checker.words(text)
  for expected in (
    study["verdict"]["headline"],
    study["verdict"]["detail"],
    study["command"],
    "Simulated images, not photographs",
    "majority-class baseline 0.393: always “nv”",
    "There were 3 candidate arms without and 4 with synthetic images.",
    "0.143 always “nv”",
    "183 lesions",
    "in 3 folds; 2 seeds in each",
    "head uses ImageNet weights of EfficientNet-Lite0",
    "Student's t with 3 degrees of freedom",
    "0.6695",
    "no skill beyond the majority class",
    "jax 0.4.38",
    "resnet 62",
    *(html_checker.words(rendering.with_flags(s)) for s in study["next_steps"]),
    *study["carried"],
    *study["not_carried"],
  ):
    assert expected in words, expected


def test_values_are_those_of_the_summary(study, text):
  words = html_checker.words(text)
  signed, score = rendering.signed, "{:.3f}".format
  for arm in study["arms"]:
    cells = [
      f"{score(e['value'])} {score(e['low'])} to {score(e['high'])}"
      for e in arm["scores"].values()
    ]
    assert all(cell in words for cell in cells)
  for row in study["differences"]:
    if row["metric"] != "balanced_accuracy" or row["p_adjusted"] is None:
      continue
    adjusted = rendering.p_value(row["p_adjusted"])
    ends = f"{signed(row['low'])} to {signed(row['high'])}"
    kind = row["verdict"].replace("makes ", "")
    p = rendering.p_value(row["p"])
    beginning = f"{row['arm']} {row['network']} {signed(row['value'])} {ends}"
    assert f"{beginning} {kind} {p} {adjusted}" in words


def test_choices_are_listed_by_fold(study, text):
  words = html_checker.words(text)
  by_fold = study["verdict"]["by_fold"]
  for number, arms in (
    ("0", "duplicates (0.520) capped_25 (0.530)"),
    ("1", "classical (0.510) uncapped (0.550)"),
  ):
    assert f"head fold {number} {arms} –" in words
    gap = rendering.signed(by_fold[number])
    assert f"resnet fold {number} {arms} {gap}" in words


def test_arms_that_a_network_cannot_have_are_listed(study, without_figures):
  first, second = study["networks"]
  networks = [{**first, "left_out": {"mixup": "why not"}}, second]
  words = html_checker.words(
    page.render({**study, "networks": networks}, sheets={})
  )
  assert "Left out: for head, mixup (why not)." in words


def test_a_loss_is_given_as_fewer_images(study, without_figures):
  more = {"value": -0.125, "low": -0.25, "high": None}
  decided = study["verdict"] | {"more_images": more}
  changes = {
    "verdict": decided,
    "differences": [
      row if row["more_images"] is None else row | {"more_images": more}
      for row in study["differences"]
    ],
  }
  words = html_checker.words(page.render({**study, **changes}, sheets={}))
  assert "12% fewer 25% fewer to more than the curve" in words
  assert (
    "12% fewer would have the same effect; 25% fewer to more than the curve"
  ) in words


def test_intervals_without_width_are_not_shown(small, without_figures):
  row = {"value": 0.0, "low": 0.0, "high": 0.0}
  differences = [d | row for d in small["differences"]]
  words = html_checker.words(
    page.render({**small, "differences": differences}, sheets={})
  )
  assert "0.000 –" in words
  assert "0.000 to 0.000" not in words


@pytest.mark.parametrize(
  ("seeds", "expected"),
  [([1, 1], "1 seed"), ([2], "2 seeds"), ([2, 1], "1 or 2 seeds")],
)
def test_seeds_of_the_choices_are_counted(seeds, expected):
  choices = {i: {"seeds": list(range(n))} for i, n in enumerate(seeds)}
  assert page._chosen_by(choices) == expected


def test_the_p_value_that_a_verdict_needs_is_given(small, without_figures):
  words = html_checker.words(page.render({**small, "level": 0.9875}, sheets={}))
  assert "adjusted p-value (Holm) below 0.0125." in words


def test_a_small_study(small, images):
  text = page.render(small, sheets=images)
  html_checker.check(text)
  words = html_checker.words(text)
  assert "resnet fixed split classical (0.510) capped_25 (0.530)" in words
  assert "The seeds' part is Student's t with 1 degree of freedom" in words
  assert "choose the arms: mean of 2 seeds." in words
  assert "averaged over 2 seeds." in words
  assert "One fold: its training and test lesions are one choice" in words
  for absent in (
    *("Dose and response", "What more real images would bring"),
    *("Interval between folds", "Equivalent in real images"),
    "None",
  ):
    assert absent not in words


def test_seeds_that_were_run_later_are_given(make_summary, without_figures):
  skills = {arm: conftest.SKILLS[arm] for arm in ("classical", "capped_25")}
  folds = conftest.make_folds((0, 1), 2, ("resnet",), skills, more=2)
  until = {"half_width": 0.05, "first": 2, "seeds": 4, "reason": "enough"}
  study = make_summary(folds=folds, networks=("resnet",), until=until)
  assert study["verdict"]["seeds"] == 4
  words = html_checker.words(page.render(study, sheets={}))
  assert "2 seeds of each arm, 4 for the verdict" in words
  assert "for an interval of ±0.05: 4 (enough)" in words
  # Of the first seeds, in two folds.
  assert "Student's t with 2 degrees of freedom" in words


def test_real_photographs_have_no_banner(make_summary, without_figures):
  study = make_summary(
    about={"drawn": False}, seeds=1, numbers=(0,), networks=("resnet",)
  )
  words = html_checker.words(page.render(study, sheets={}))
  assert "Simulated images" not in words
  assert "cannot tell" in words
  assert "no verdict is given" in words


def test_a_detectable_difference_is_given_if_known(small, without_figures):
  expected = "Detectable difference, 80% power"
  assert expected not in html_checker.words(page.render(small, sheets={}))
  decided = small["verdict"] | {"detectable": 0.02}
  text = page.render({**small, "verdict": decided}, sheets={})
  assert f"{expected} 0.020" in html_checker.words(text)


@pytest.mark.parametrize(
  ("skill", "kind"), [(5.0, verdict.HELPS), (0.0, verdict.HURTS)]
)
def test_tone_follows_the_verdict(make_summary, without_figures, skill, kind):
  skills = dict.fromkeys(("capped_25", "uncapped"), skill)
  arms = ("classical", "duplicates", *skills)
  study = make_summary(skills, networks=("resnet",), arms=arms)
  assert f'<header class="{kind}">' in page.render(study, sheets={})


def test_escapes_hostile_text(study, images):
  attack = '<script>alert("1")</script>'
  names = (attack, "'\"><img src=x>", "{{ 7 * 7 }}", "$x^{$", "&amp;", "$$")
  names += (r"\frac{",)
  content = json.dumps(study)
  for old, new in zip(
    (*conftest.CLASSES, "dose_2", "resnet"),
    (*names, "$a_{$<b>", "<i>$^$"),
    strict=True,
  ):
    content = content.replace(json.dumps(old), json.dumps(new))
  hostile = json.loads(content) | {"name": attack, "config": {attack: attack}}
  text = page.render(hostile, sheets={attack: images["Real"]})
  checker = html_checker.parse(text)
  assert not {"script", "b", "i"} & {tag for tag, _ in checker.tags}
  for name in (attack, "{{ 7 * 7 }}", "$a_{$<b>", "<i>$^$"):
    assert name in checker.words


def _diverse(study, **ratios):
  rows = {
    name: {"diversity_ratio": ratio, "collapsed": ratio < 0.5}
    for name, ratio in ratios.items()
  }
  return {**study, "diversity": rows}


def test_a_collapsed_class_is_named_at_the_top(small, images, without_figures):
  expected = "A generator has collapsed in mel: its images of"
  words, others = (
    html_checker.words(
      page.render(_diverse(small, df=0.9, mel=ratio), sheets=images)
    )
    for ratio in (0.2, 0.9)
  )
  assert words.index(expected) < words.index("What was compared")
  assert "has collapsed in" not in others


def test_diversity_in_training_is_drawn(small, images, without_figures):
  study = _diverse(small, df=1.0)
  records = {
    "df": [{"step": 5, "diversity/df": 0.4}, {"step": 9, "diversity/df": 0.9}],
    "mel": [{"step": 5}],
  }
  count = lambda text: text.count('src="data:image/svg')
  without = page.render(study, sheets=images)
  text = page.render(study, sheets=images, diversity=records)
  assert count(text) == count(without) + 1
  assert "Below 0.5 a class is marked as collapsed." in html_checker.words(text)
  expected = "during the generator's training"
  assert expected in html_checker.words(text)
  nothing = {"mel": [{"step": 5}]}
  assert page.render(study, sheets=images, diversity=nothing) == without


def test_limitations_of_this_study_are_given(small, text, without_figures):
  limits = {"notes": ["No groups."], "original": []}
  limits["verdict"] = small["verdict"] | {"leak_excluded": False}
  words = html_checker.words(page.render({**small, **limits}, sheets={}))
  expected = "A leak cannot be excluded: it is unknown which lesions"
  assert words.index(expected) < words.index("What was compared")
  assert "No groups." in words
  assert "The original project" not in words
  plain = html_checker.words(text)
  assert expected not in plain
  assert "The original project" in plain


def test_one_generator_is_a_limit_next_to_the_verdict(small, without_figures):
  limit = "do not cover retraining the generator"
  study = {**small, "generator": "ACGAN, 5 steps"}
  words = html_checker.words(page.render(study, sheets={}))
  assert "Generator ACGAN, 5 steps" in words
  assert words.index(limit) < words.index("What was compared")
  for change in ({"generator": ""}, {"not_carried": []}):
    text = page.render({**study, **change}, sheets={})
    assert limit not in html_checker.words(text)


def test_external_test_set(make_summary, small, without_figures):
  skills = {arm: conftest.SKILLS[arm] for arm in ("classical", "capped_25")}
  external = summary.summarize_external(
    folds=conftest.make_folds((0, 1), 2, ("resnet",), skills),
    network="resnet",
    seeds=2,
    name="PH2",
    note="None was traced.",
    traced=0,
    left_out={"others": 5},
    labels=conftest.EXTERNAL,
    groups=np.arange(len(conftest.EXTERNAL)),
    class_names=conftest.CLASSES,
    num_resamples=50,
  )
  text = page.render({**small, "external": external}, sheets={})
  html_checker.check(text)
  words = html_checker.words(text)
  assert (
    "The classifiers of resnet from every fold were tested on 36 images"
  ) in words
  assert "None was traced." in words
  assert "5 of others." in words
  gap = external["difference"]
  ends = [rendering.signed(gap[key]) for key in ("value", "low", "high")]
  assert f"difference {ends[0]} {ends[1]} to {ends[2]} –" in words
