import dataclasses
import json

import numpy as np
import pytest

from skinjax.data import sources
from skinjax.judging import page
from skinjax.report import rendering
from tests.report import html_checker

_NOTHING = page.Pictures()


@pytest.fixture(scope="module")
def text(full_evaluation, full_pictures):
  return page.render(full_evaluation, full_pictures)


@pytest.fixture(scope="module")
def fewest(make_evaluation):
  evaluation = make_evaluation({"mel": None}, diversity={})
  return page.render(evaluation, _NOTHING)


@pytest.fixture
def without_figures(monkeypatch):
  """Replace all figures by an empty one, for tests of the text."""
  monkeypatch.setattr(rendering, "svg_uri", lambda figure: "data:image/svg,")


def test_the_page_loads_nothing_and_is_accessible(text, fewest):
  html_checker.check(text)
  html_checker.check(fewest)


def test_numbers_are_there(full_evaluation, text):
  words = html_checker.words(text)
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
    "0.008",
    "≤ 0.001",
    "2 of 200",
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
  words = html_checker.words(fewest)
  assert "Too little data to tell" in words
  assert "Not searched for." in words
  assert "Not measured." in words
  for missing in ("Between two latents", "A map", "The images"):
    assert missing not in words


def test_no_distances_and_drawn_pictures(make_evaluation):
  evaluation = make_evaluation({"mel": 0.03}, distances=[], drawn=True)
  text = page.render(evaluation, _NOTHING)
  words = html_checker.words(text)
  assert "Simulated images, not photographs" in words
  assert "None were measured." in words
  assert "<img" not in text


def test_all_classes_together(make_evaluation, without_figures):
  evaluation = make_evaluation({"mel": 0.03, None: 0.005})
  words = html_checker.words(page.render(evaluation, _NOTHING))
  assert "all classes synthetic not distinguishable from held-out" in words
  assert "than held‑out real images in 1 of 1 class." in words


def test_classifier_without_training(
  make_evaluation, full_evaluation, without_figures
):
  usefulness = {**full_evaluation["usefulness"], "cas": None}
  evaluation = make_evaluation({"akiec": 0.1}, usefulness=usefulness)
  words = html_checker.words(page.render(evaluation, _NOTHING))
  assert "0.300 0.240 to 0.360 100 images n/a n/a n/a" in words


@pytest.mark.parametrize(
  ("data", "limit"), [("mnist", "0.7"), ("ham10000", "0.5"), ("folder", "0.5")]
)
def test_collapse_is_defined(make_evaluation, without_figures, data, limit):
  collapse = sources.SOURCES[data].collapse
  evaluation = make_evaluation(
    {"mel": 0.1}, collapse=collapse, collapsed=["mel"]
  )
  words = html_checker.words(page.render(evaluation, _NOTHING))
  assert f"below {limit}, a class is marked as collapsed" in words
  assert "0.238 collapsed" in words


def test_many_suspects_are_cut(
  make_evaluation, full_evaluation, without_figures
):
  copies = full_evaluation["copies"]
  copies = {**copies, "suspects": copies["suspects"] * 40}
  evaluation = make_evaluation({"akiec": 0.1}, copies=copies)
  text = page.render(evaluation, _NOTHING)
  assert text.count("ISIC_0024306") == 50
  assert "the first 50 of 80" in html_checker.words(text)


@pytest.mark.parametrize(
  ("orientations", "wanted"),
  [
    (8, "features of EffLite0@64, also mirrored and rotated. Finding none"),
    (1, "features of EffLite0@64. Finding none"),
  ],
)
def test_orientations_of_the_search_for_copies(
  make_evaluation, full_evaluation, without_figures, orientations, wanted
):
  copies = {**full_evaluation["copies"], "orientations": orientations}
  text = page.render(make_evaluation({"mel": 0.1}, copies=copies), _NOTHING)
  assert wanted in html_checker.words(text)


@pytest.mark.parametrize("suspect", [True, False])
def test_nearest_pairs_are_not_called_suspects(
  make_evaluation, full_pictures, suspect
):
  pair = dataclasses.replace(full_pictures.pairs[0], suspect=suspect)
  pictures = page.Pictures(pairs=[pair] * 2)
  text = page.render(make_evaluation({"mel": 0.1}, distances=[]), pictures)
  words = html_checker.words(text)
  assert ("The nearest pairs" in words) != suspect
  assert ("Suspected copies synthetic" in words) == suspect
  assert "nearest held-out" in words
  tags = html_checker.parse(text).tags
  alts = [a["alt"] for tag, a in tags if tag == "img"]
  numbers = [alt.partition(":")[0] for alt in alts if alt.startswith("Pair")]
  each = len(numbers) // 2
  assert numbers == ["Pair 1"] * each + ["Pair 2"] * each


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


def test_a_page_of_saved_json_is_the_same(
  tmp_path, full_evaluation, full_pictures, text
):
  path = tmp_path / "index.html"
  again = json.loads(json.dumps(full_evaluation))
  page.write(path, again, full_pictures)
  assert path.read_text() == text
