import dataclasses
import json
import re

import numpy as np
import pytest

from skinjax.judging import page
from tests.report import html_checker

_NOTHING = page.Pictures()


@pytest.fixture(scope="module")
def text(full_evaluation, full_pictures):
  return page.render(full_evaluation, full_pictures)


@pytest.fixture(scope="module")
def fewest(make_evaluation):
  evaluation = make_evaluation({"mel": None}, diversity={})
  return page.render(evaluation, _NOTHING)


@pytest.fixture(params=["text", "fewest"])
def either(request):
  return request.getfixturevalue(request.param)


def test_tags_nest_and_ids_are_unique(either):
  checker = html_checker.parse(either)
  ids = [a["id"] for _, a in checker.tags if "id" in a]
  assert len(ids) == len(set(ids))
  labels = {a["aria-labelledby"] for _, a in checker.tags
            if "aria-labelledby" in a}  # fmt: skip
  assert labels == set(ids)


def test_loads_nothing(either):
  assert not re.search(r"https?:|file:/|@import|url\(", either)
  for tag, attributes in html_checker.parse(either).tags:
    assert tag not in ("script", "link", "iframe", "object")
    assert not any(name.startswith("on") for name in attributes)
    if "src" in attributes:
      assert attributes["src"].startswith("data:image/")


def test_is_accessible(either):
  tags = html_checker.parse(either).tags
  assert sum(tag == "h1" for tag, _ in tags) == 1
  for tag, attributes in tags:
    if tag == "img":
      assert len(attributes["alt"]) > 20
    if tag == "th":
      assert attributes["scope"] in ("row", "col")
  captions = sum(tag == "caption" for tag, _ in tags)
  assert captions == sum(tag == "table" for tag, _ in tags) > 0


def test_numbers_are_there(full_evaluation, text):
  words = html_checker.parse(text).words
  for expected in (
    "0.0500",  # Kernel distance and interval of bcc.
    "0.0400 to 0.0600",
    "FD(EffLite0@64)",
    "23.3",  # Fréchet limit of bcc, its spread, and all images.
    "± 1.50",
    "29.4",
    "0.850",
    "1,115",
    "0.905",
    "0.238",
    "It has 3 images, and 10 are needed.",
    "0.413",  # Classifiers.
    "0.527",
    "0.143",
    "0.583",
    "0.780",
    "0.731",  # Copies.
    "0.500",
    "0.00391",
    "1.2%",
    "vasc/00001.png",
    "ISIC_0024306",
    "0.0173",
    "0.0345",
    "Inception-v3 has seen photographs",
    *full_evaluation["next_steps"],
    full_evaluation["command"],
    full_evaluation["subject"],
  ):
    assert expected in words, expected


def test_pictures_are_there(text):
  assert len(text) < 3e6
  sources = [
    a["src"] for tag, a in html_checker.parse(text).tags if tag == "img"
  ]
  count = lambda kind: sum(s.startswith(f"data:image/{kind}") for s in sources)
  assert count("jpeg") == 7 * 2 + 7
  assert count("png") == 4 * 3
  assert count("svg") == 2 + 2 + 1


def test_fewest_parts(fewest):
  words = html_checker.parse(fewest).words
  assert "Too little to tell" in words
  assert "Not searched for." in words
  assert "Not measured." in words
  for missing in ("Between two latents", "A map", "The images"):
    assert missing not in words


def test_no_distances_and_drawn_pictures(make_evaluation):
  evaluation = make_evaluation({"mel": 0.03}, distances=[], drawn=True)
  text = page.render(evaluation, _NOTHING)
  words = html_checker.parse(text).words
  assert "Drawn pictures, not real lesions" in words
  assert "None were measured." in words
  assert "<img" not in text


def test_all_classes_together(make_evaluation):
  evaluation = make_evaluation({"mel": 0.03, None: 0.005})
  words = html_checker.parse(page.render(evaluation, _NOTHING)).words
  assert "all classes synthetic as near as held-out real images" in words
  assert "In 0 of 1 classes" in words


def test_classifier_without_training(make_evaluation, full_evaluation):
  usefulness = {**full_evaluation["usefulness"], "cas": None}
  evaluation = make_evaluation({"akiec": 0.1}, usefulness=usefulness)
  words = html_checker.parse(page.render(evaluation, _NOTHING)).words
  assert "0.300 0.240 to 0.360 100 images n/a n/a n/a" in words


def test_many_suspects_are_cut(make_evaluation, full_evaluation):
  copies = full_evaluation["copies"]
  copies = {**copies, "suspects": copies["suspects"] * 40}
  evaluation = make_evaluation({"akiec": 0.1}, copies=copies)
  text = page.render(evaluation, _NOTHING)
  assert text.count("ISIC_0024306") == 50
  assert "the first 50 of 80" in html_checker.parse(text).words


@pytest.mark.parametrize("suspect", [True, False])
def test_nearest_pairs_are_not_called_suspects(
  make_evaluation, full_pictures, suspect
):
  pair = dataclasses.replace(full_pictures.pairs[0], suspect=suspect)
  pictures = page.Pictures(pairs=[pair])
  text = page.render(make_evaluation({"mel": 0.1}, distances=[]), pictures)
  words = html_checker.parse(text).words
  assert ("The nearest pairs" in words) != suspect
  assert ("Suspected copies synthetic" in words) == suspect
  assert "nearest held-out" in words


def test_escapes_hostile_text(make_evaluation, full_evaluation):
  attack = '<script>alert("1")</script>'
  names = (attack, "'\"><img src=x>", "{{ 7 * 7 }}", "$x^{$")
  suspects = [{**full_evaluation["copies"]["suspects"][0], "synthetic": attack}]
  evaluation = make_evaluation(
    dict.fromkeys(names, 0.1),
    extractors=(attack, "$$"),
    name=attack,
    subject=attack,
    command=attack,
    notes=[attack],
    copies={**full_evaluation["copies"], "suspects": suspects},
  )
  images = np.zeros((2, 8, 8, 1), np.uint8)
  pictures = page.Pictures(
    real={attack: images},
    interpolations={attack: images},
    pairs=[page.Pair(*images, images[0], attack, suspect=True)],
  )
  text = page.render(evaluation, pictures)
  checker = html_checker.parse(text)
  assert "script" not in {tag for tag, _ in checker.tags}
  assert attack in checker.words
  assert "{{ 7 * 7 }}" in checker.words


def test_writes_what_json_kept(tmp_path, full_evaluation, full_pictures, text):
  path = tmp_path / "index.html"
  again = json.loads(json.dumps(full_evaluation))
  page.write(path, again, full_pictures)
  assert path.read_text() == text
