import matplotlib
import pytest

from skinjax.report import figures
from skinjax.study import plots, verdict

_RUNS = {
  "real": [
    [{"step": 0, "loss": 2.0}, {"step": 10, "loss": 1.0, "accuracy": 0.5}],
    [{"step": 0, "loss": 2.5}, {"step": 10, "loss": 1.5, "accuracy": 0.4}],
  ],
  "gan": [[{"step": 5, "d_loss": 0.7}]],
}


def _labels(axis):
  return [label.get_text() for label in axis.get_yticklabels()]


def test_forest_shows_the_intervals(study):
  figure = plots.forest(study)
  titles = [axis.get_title() for axis in figure.axes]
  assert titles == ["synthetic\n− classical", "synthetic\n− real"]
  axis = figure.axes[0]
  assert _labels(axis)[:2] == ["balanced accuracy", "akiec"]
  ends = [tuple(line.get_xdata()) for line in axis.lines]
  decided = study["verdict"]
  assert (decided["low"], decided["high"]) in ends


def test_forest_marks_what_cannot_be_told(study):
  axis = plots.forest(study).axes[0]
  place = 1 + [c["name"] for c in study["classes"]].index("df")
  (dot,) = (
    line
    for line in axis.lines
    if line.get_marker() == "o" and list(line.get_ydata()) == [place]
  )
  assert dot.get_markerfacecolor() == "white"


def test_forest_colours_follow_the_verdict(make_summary):
  better = make_summary(synthetic=5.0)
  assert better["verdict"]["kind"] == verdict.HELPS
  axis = plots.forest(better).axes[0]
  dot = next(line for line in axis.lines if line.get_marker() == "o")
  assert dot.get_color() == figures.COLORS[2]


def test_missing_values_are_left_out(study):
  arm = study["arms"][0]
  null = dict.fromkeys(("value", "low", "high", "seed_sd"))
  without = {
    **study,
    "arms": [{**arm, "recall": {**arm["recall"], "df": null}}],
  }
  # A line and a dot each, and one for the legend.
  assert len(plots.recalls(without).axes[0].lines) == 2 * 6 + 1


def test_curves_have_a_panel_for_each_name():
  figure = plots.curves(_RUNS)
  shown = [axis.get_title() for axis in figure.axes]
  assert shown == ["loss", "accuracy", "d_loss"]
  line = figure.axes[0].lines[0]
  assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 10], [2, 1])


def test_confusion_is_in_percent_of_the_true_class(study):
  axis = plots.confusion(study, "real").axes[0]
  numbers = [int(text.get_text()) for text in axis.texts]
  assert len(numbers) == 49
  for row in range(7):
    assert sum(numbers[7 * row : 7 * row + 7]) == pytest.approx(100, abs=4)


def test_nothing_global_is_changed(study):
  before = dict(matplotlib.rcParams)
  figures.svg(plots.reliability(study))
  assert dict(matplotlib.rcParams) == before
