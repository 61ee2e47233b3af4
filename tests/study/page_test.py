import json

import numpy as np
import pytest

from skinjax.report import rendering, sheets
from skinjax.study import page, verdict
from tests.report import html_checker

_CURVES = {"real": [[{"step": 0, "loss": 2.0}, {"step": 9, "loss": 1.0}]]}


@pytest.fixture(scope="module")
def images():
  rows = np.zeros((7, 2, 8, 8, 3), np.uint8)
  sheet = sheets.contact_sheet(rows, list("abcdefg"))
  return {"Real": sheet, "Synthetic": b"\x89PNG"}


@pytest.fixture(scope="module")
def text(study, images):
  return page.render(study, sheets=images, curves=_CURVES)


@pytest.fixture
def undrawn(monkeypatch):
  """Has figures be all the same, for tests of what is said beside them."""
  monkeypatch.setattr(rendering, "svg_uri", lambda figure: "data:image/svg,")


def test_is_a_page_that_loads_nothing_and_everybody_can_read(text):
  html_checker.check(text)
  assert text.count("<table") == 5


def test_says_what_matters(study, text):
  words = html_checker.words(text)
  for expected in (
    study["verdict"]["headline"],
    study["verdict"]["detail"],
    study["command"],
    "Drawn pictures, not real lesions",
    "majority line 0.405",
    "0.6695",
    "0.7519",
    "no classifier was measured",
    "1,500",
    *study["next_steps"],
  ):
    assert expected in words, expected
  # Beside the accuracy of each arm, and in the row of its own.
  assert words.count("line 0.405") == 1 + 3


def test_survives_the_way_through_json(study, images, text):
  again = json.loads(json.dumps(study))
  assert page.render(again, sheets=images, curves=_CURVES) == text


def test_real_photographs_have_no_banner(make_summary, undrawn):
  study = make_summary(about={"drawn": False}, num_seeds=1)
  words = html_checker.words(page.render(study, sheets={}))
  assert "Drawn pictures" not in words
  assert "cannot tell" in words
  assert "no verdict is given" in words


def test_tone_follows_the_verdict(make_summary, undrawn):
  for skill, kind in ((5.0, verdict.HELPS), (0.2, verdict.HURTS)):
    text = page.render(make_summary(synthetic=skill), sheets={})
    assert f'<header class="{kind}">' in text


def test_escapes_hostile_text(make_summary, images):
  attack = '<script>alert("1")</script>'
  image = "'\"><img src=x>"
  names = (attack, image, "{{ 7 * 7 }}", "$x^{$", "&amp;", "$$", r"\frac{")
  study = make_summary(
    class_names=names,
    about={"name": attack, "command": attack, "config": {attack: attack}},
  )
  text = page.render(
    study, sheets={attack: images["Real"]}, curves={attack: [[{"step": 1}]]}
  )
  checker = html_checker.parse(text)
  assert "script" not in {tag for tag, _ in checker.tags}
  assert attack in checker.words
  assert "{{ 7 * 7 }}" in checker.words


def _diverse(study, **ratios):
  rows = {
    name: {"diversity_ratio": ratio, "collapsed": ratio < 0.5}
    for name, ratio in ratios.items()
  }
  return {**study, "diversity": rows}


def test_a_collapsed_class_is_told_at_the_top(study, images, undrawn):
  told = "The generator has collapsed in mel: its images there"
  words, others = (
    html_checker.words(
      page.render(_diverse(study, df=0.9, mel=ratio), sheets=images)
    )
    for ratio in (0.2, 0.9)
  )
  assert words.index(told) < words.index("What was compared")
  assert "has collapsed in" not in others


def test_diversity_in_training_is_drawn(study, images, undrawn):
  study = _diverse(study, df=1.0)
  records = {
    "df": [{"step": 5, "diversity/df": 0.4}, {"step": 9, "diversity/df": 0.9}],
    "mel": [{"step": 5}],
  }
  count = lambda text: text.count('src="data:image/svg')
  without = page.render(study, sheets=images)
  text = page.render(study, sheets=images, diversity=records)
  assert count(text) == count(without) + 1
  told = "in the course of the generator's training"
  assert told in html_checker.words(text)
  nothing = {"mel": [{"step": 5}]}
  assert page.render(study, sheets=images, diversity=nothing) == without


def test_what_limits_this_study_is_told(study, text, undrawn):
  limits = {"leak_excluded": False, "notes": ["No groups."], "original": []}
  limits["verdict"] = study["verdict"] | {"leak_excluded": False}
  words = html_checker.words(page.render({**study, **limits}, sheets={}))
  told = "A leak cannot be excluded: nothing tells which lesions"
  assert words.index(told) < words.index("What was compared")
  assert "No groups." in words
  assert "The experiment that asked first" not in words
  plain = html_checker.words(text)
  assert told not in plain
  assert "The experiment that asked first" in plain
