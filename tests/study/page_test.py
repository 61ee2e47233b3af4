import json
import re

import numpy as np
import pytest

from skinjax.report import sheets
from skinjax.study import page, verdict
from tests.report import html_checker


@pytest.fixture(scope="module")
def images():
  rows = np.zeros((7, 2, 8, 8, 3), np.uint8)
  sheet = sheets.contact_sheet(rows, list("abcdefg"))
  return {"Real": sheet, "Synthetic": b"\x89PNG"}


@pytest.fixture(scope="module")
def text(study, images):
  curves = {"real": [[{"step": 0, "loss": 2.0}, {"step": 9, "loss": 1.0}]]}
  return page.render(study, sheets=images, curves=curves)


def test_tags_nest_and_ids_are_unique(text):
  checker = html_checker.parse(text)
  assert text.lstrip().startswith("<!doctype html>")
  ids = [a["id"] for _, a in checker.tags if "id" in a]
  assert len(ids) == len(set(ids))
  labels = {a["aria-labelledby"] for _, a in checker.tags
            if "aria-labelledby" in a}  # fmt: skip
  assert labels <= set(ids)


def test_loads_nothing(text):
  assert not re.search(r"https?://", text)
  assert not re.search(r"@import|url\(", text)
  for tag, attributes in html_checker.parse(text).tags:
    assert tag not in ("script", "link", "iframe", "object")
    assert not any(name.startswith("on") for name in attributes)
    if "src" in attributes:
      assert attributes["src"].startswith("data:image/")


def test_is_accessible(text):
  tags = html_checker.parse(text).tags
  assert sum(tag == "h1" for tag, _ in tags) == 1
  for tag, attributes in tags:
    if tag == "img":
      assert len(attributes["alt"]) > 20
    if tag == "th":
      assert attributes["scope"] in ("row", "col")
    if tag == "html":
      assert attributes["lang"] == "en"
  captions = sum(tag == "caption" for tag, _ in tags)
  assert captions == sum(tag == "table" for tag, _ in tags) == 5


def test_says_what_matters(study, text):
  words = html_checker.parse(text).words
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
  curves = {"real": [[{"step": 0, "loss": 2.0}, {"step": 9, "loss": 1.0}]]}
  assert page.render(again, sheets=images, curves=curves) == text


def test_real_photographs_have_no_banner(make_summary):
  study = make_summary(about={"drawn": False}, num_seeds=1)
  words = html_checker.parse(page.render(study, sheets={})).words
  assert "Drawn pictures" not in words
  assert "cannot tell" in words
  assert "no verdict is given" in words


@pytest.mark.parametrize(
  ("skill", "kind"), [(5.0, verdict.HELPS), (0.2, verdict.HURTS)]
)
def test_tone_follows_the_verdict(make_summary, skill, kind):
  text = page.render(make_summary(synthetic=skill), sheets={})
  assert f'<header class="{kind}">' in text


def test_escapes_hostile_text(make_summary, images):
  attack = '<script>alert("1")</script>'
  names = (attack, "'\"><img src=x>", "{{ 7 * 7 }}", "df", "&amp;", "nv", "$")
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


def test_a_collapsed_class_is_told_at_the_top(make_summary, images):
  row = lambda ratio: {"diversity_ratio": ratio, "collapsed": ratio < 0.5}
  told = "The generator has collapsed in mel: its images there"
  pages = []
  for ratio in (0.2, 0.9):
    study = make_summary(
      about={"diversity": {"df": row(0.9), "mel": row(ratio)}}
    )
    pages.append(page.render(study, sheets=images))
  words = [html_checker.parse(text).words for text in pages]
  assert told in words[0]
  assert words[0].index(told) < words[0].index("What was compared")
  assert "has collapsed in" not in words[1]


def test_diversity_in_training_is_drawn(make_summary, images):
  study = make_summary(
    about={"diversity": {"df": {"diversity_ratio": 1.0, "collapsed": False}}}
  )
  records = {
    "df": [{"step": 5, "diversity/df": 0.4}, {"step": 9, "diversity/df": 0.9}],
    "mel": [{"step": 5}],
  }
  count = lambda text: len(re.findall('src="data:image/svg', text))
  without = page.render(study, sheets=images)
  text = page.render(study, sheets=images, diversity=records)
  assert count(text) == count(without) + 1
  assert (
    "in the course of the generator's training"
    in html_checker.parse(text).words
  )
  nothing = {"mel": [{"step": 5}]}
  assert page.render(study, sheets=images, diversity=nothing) == without


def test_what_limits_this_study_is_told(make_summary, images):
  about = {"leak_excluded": False, "notes": ["No groups."], "original": ()}
  words = html_checker.parse(
    page.render(make_summary(about=about), sheets=images)
  ).words
  told = "A leak cannot be excluded: nothing tells which lesions"
  assert words.index(told) < words.index("What was compared")
  assert "No groups." in words
  assert "The experiment that asked first" not in words
  plain = html_checker.parse(page.render(make_summary(), sheets=images)).words
  assert told not in plain
  assert "The experiment that asked first" in plain
