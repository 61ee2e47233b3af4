import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from sklearn import decomposition

from skinjax.judging import plots
from skinjax.report import figures

_LONG = "a class whose name would not have its place above a panel of its own"


def _overlap(figure):
  """Return the pairs of titles, labels and legends that overlap."""
  renderer = FigureCanvasAgg(figure).get_renderer()
  figure.draw(renderer)
  texts = [axis.title for axis in figure.axes]
  texts += [axis.yaxis.label for axis in figure.axes]
  for axis in figure.axes:
    low, high = axis.get_xlim()
    texts += [
      t for t in axis.get_xticklabels() if low <= t.get_position()[0] <= high
    ]
  texts += [t for t in (figure._supxlabel, figure._supylabel) if t]
  texts += figure.legends
  boxes = [
    (text, text.get_window_extent(renderer).padded(-1))
    for text in texts
    if text in figure.legends or text.get_text()
  ]
  return [
    (a, b)
    for i, (a, first) in enumerate(boxes)
    for b, second in boxes[:i]
    if first.overlaps(second)
  ]


@pytest.mark.parametrize(
  "draw", [plots.kernels, plots.shares, plots.frechet_curves]
)
@pytest.mark.parametrize(
  ("num_extractors", "names"),
  [(1, ("mel",)), (3, (*"abcdefg", None)), (3, (_LONG,))],
)
def test_nothing_overlaps(make_evaluation, draw, num_extractors, names):
  extractors = ("EffLite0@64", "Inception-v3@299", _LONG)[:num_extractors]
  rows = make_evaluation(dict.fromkeys(names, 0.1), extractors)["distances"]
  if draw is plots.frechet_curves:
    rows = rows[: 3 * len(names)]
  figure = draw(rows)
  assert not _overlap(figure)
  assert figure.get_size_inches()[0] == figures.WIDTH


def test_kernels_show_the_intervals(make_evaluation):
  figure = plots.kernels(
    make_evaluation({"mel": 0.03, "df": None}, ("a", "b"))["distances"]
  )
  assert [axis.get_title() for axis in figure.axes] == ["a", "b"]
  ends = [tuple(line.get_xdata()) for line in figure.axes[1].lines]
  for value in (0.03, 0.002, 0.25):
    assert (value - 0.01, value + 0.01) in ends
  (text,) = figure.axes[0].texts
  assert text.get_text() == "too few images"


def test_curves_meet_their_limit(make_evaluation):
  rows = make_evaluation({"mel": 0.03, None: None})["distances"][:4]
  figure = plots.frechet_curves(rows)
  titles = [axis.get_title() for axis in figure.axes]
  assert titles == ["mel", "all classes"]
  lines = [line.get_ydata() for line in figure.axes[0].lines if
           list(line.get_xdata())[:1] == [0]]  # fmt: skip
  assert any(y[0] == rows[0]["curve"]["limit"] for y in lines)
  assert [t.get_text() for t in figure.axes[1].texts] == ["too few images"]


def test_shares_are_within_their_panels(make_evaluation):
  rows = make_evaluation({"mel": 0.03})["distances"]
  rows[0]["prdc"]["density"] = 1.9
  rows[0]["prdc"]["recall"] = None
  figure = plots.shares(rows)
  by_title = {axis.get_title(): axis for axis in figure.axes}
  assert by_title["density"].get_xlim()[1] > 1.9
  assert by_title["precision"].get_xlim()[1] >= 1.05
  assert len(by_title["recall"].lines) == 2


def test_map_draws_every_class(full_embedding):
  assert not _overlap(full_embedding)
  assert len(full_embedding.axes) == 8
  assert len(full_embedding.axes[1].lines[1].get_xdata()) == 60


def test_map_of_many_images_draws_some_of_them():
  points = plots.Projection(np.zeros((9000, 2)), np.zeros((4, 2)), (0.5, 0.5))
  figure = plots.embedding(points, np.zeros(9000, int), np.ones(4, int), "ab")
  assert len(figure.axes[0].lines[0].get_xdata()) == 1500


@pytest.mark.parametrize("num", [6, 50])
def test_agrees_with_scikit_learn(num):
  rng = np.random.default_rng(0)
  real = rng.normal(size=(num, 12)) * np.arange(1, 13)
  synthetic = rng.normal(size=(9, 12)) + 5
  found = plots.project(real, synthetic)
  expected = decomposition.PCA(2, svd_solver="full").fit(real)
  np.testing.assert_allclose(
    found.explained, expected.explained_variance_ratio_[:2]
  )
  for points, features in ((found.real, real), (found.synthetic, synthetic)):
    np.testing.assert_allclose(
      np.abs(points), np.abs(expected.transform(features)), atol=1e-9
    )


def test_the_sign_is_fixed():
  rng = np.random.default_rng(0)
  real = rng.normal(size=(20, 5))
  shuffled = plots.project(real[::-1], real)
  np.testing.assert_allclose(
    plots.project(real, real).real, shuffled.real[::-1], atol=1e-9
  )


def test_degenerate_features():
  alike = plots.project(np.ones((3, 4)), np.zeros((2, 4)))
  assert alike.explained == (0, 0)
