import matplotlib
import numpy as np
import pytest

from skinjax.report import figures
from skinjax.study import plots, scoring, verdict
from skinjax.study.arms import DEFAULTS
from tests.study import conftest

_RUNS = {
  "real": [
    [{"step": 0, "loss": 2.0}, {"step": 10, "loss": 1.0, "accuracy": 0.5}],
    [{"step": 0, "loss": 2.5}, {"step": 10, "loss": 1.5, "accuracy": 0.4}],
  ],
  "gan": [[{"step": 5, "d_loss": 0.7}]],
}


def _labels(axis):
  return [label.get_text() for label in axis.get_yticklabels()]


def _dots(axis, marker="o"):
  return [line for line in axis.lines if line.get_marker() == marker]


def test_forest_has_a_row_for_each_network_and_arm(study):
  axis = plots.forest(study).axes[0]
  labels = _labels(axis)
  # Nothing is learnt of the best arms without synthetic images, nor are parts
  # of the real images compared with all of them.
  arms = [scoring.WITH, *conftest.SKILLS]
  assert labels == 2 * ["", *arms]
  texts = {text.get_text(): text.get_position()[1] for text in axis.texts}
  # The verdict's network comes first.
  assert (texts["resnet"], texts["head"]) == (0, 1 + len(arms))


def test_an_arm_that_every_fold_chose_has_no_row_of_its_own(small):
  labels = _labels(plots.forest(small).axes[0])
  assert labels == ["", scoring.WITH, "real", "duplicates"]


def test_forest_names_the_ways_from_zero(study):
  ways = {t.get_text(): t for t in plots.forest(study).axes[0].texts}
  hurts, helps = ways["← hurts"], ways["helps →"]
  assert hurts.xy[0] == helps.xy[0] == 0
  assert (hurts.get_ha(), helps.get_ha()) == ("right", "left")


def test_forest_marks_the_verdict_and_has_adjusted_p_values(study):
  axis = plots.forest(study).axes[0]
  (dot,) = _dots(axis, "D")
  assert list(dot.get_xdata()) == [study["verdict"]["value"]]
  assert list(dot.get_ydata()) == [1]
  assert dot.get_color() == figures.COLORS[2]
  ends = [tuple(line.get_xdata()) for line in axis.lines]
  assert (study["verdict"]["low"], study["verdict"]["high"]) in ends
  row = next(d for d in study["differences"] if d["arm"] == "classical")
  assert row["network"] == "head"
  place = 1 + len(conftest.SKILLS) + 1 + 3
  shown = [t.get_text() for t in axis.texts if t.get_position()[1] == place]
  assert shown == [f"{row['p_adjusted']:.3f}"]


def test_forest_marks_undecided_differences(make_summary):
  one = make_summary(seeds=1, numbers=(0,), networks=("resnet",))
  dots = _dots(plots.forest(one).axes[0])
  assert {dot.get_markerfacecolor() for dot in dots} == {"white"}


def test_doses_are_arms_that_differ_in_nothing_else(study):
  # capped_25 has the same dose as uncapped.
  assert plots.doses_of(study, "head") == {
    "dose_025": 0.25,
    "uncapped": 1.0,
    "dose_2": 2.0,
  }
  arms = [
    arm | {"recipe": arm["recipe"] | {"changes": {"loss": {"balance": "none"}}}}
    if arm["name"] == "uncapped"
    else arm
    for arm in study["arms"]
  ]
  found = plots.doses_of(study | {"arms": arms}, "head")
  assert found == {"dose_025": 0.25, "dose_2": 2.0}


def test_arms_with_other_values_are_no_doses(study):
  def found(key):
    arms = [
      arm | {"recipe": arm["recipe"] | {key: "another"}}
      if arm["name"] == "uncapped"
      else arm
      for arm in study["arms"]
    ]
    return plots.doses_of(study | {"arms": arms}, "head")

  keys = DEFAULTS.keys() - {"dose"}
  assert all("uncapped" not in found(key) for key in keys)


def test_doses_have_a_panel_for_each_class(study):
  figure = plots.doses(study, "resnet")
  titles = [axis.get_title() for axis in figure.axes]
  assert titles == ["balanced accuracy", *conftest.CLASSES]
  values = [
    d["value"]
    for name in ("dose_025", "uncapped", "dose_2")
    for d in study["differences"]
    if (d["network"], d["arm"], d["class"]) == ("resnet", name, "mel")
  ]
  axis = figure.axes[1 + conftest.CLASSES.index("mel")]
  assert [dot.get_ydata()[0] for dot in _dots(axis)] == values
  ticks = [label.get_text() for label in axis.get_xticklabels()]
  assert ticks == [".25", "1", "2"]


def test_learning_curve_is_drawn_with_its_slope(study):
  axis = plots.learning_curve(study).axes[0]
  points = study["learning_curve"]["points"]
  shown = [(d.get_xdata()[0], d.get_ydata()[0]) for d in _dots(axis)[:5]]
  assert shown == [(p["images"], p["value"]) for p in points]
  (fit,) = (line for line in axis.lines if line.get_linestyle() == "--")
  x, y = fit.get_data()
  assert (y[-1] - y[0]) / np.log2(x[-1] / x[0]) == pytest.approx(
    study["learning_curve"]["per_doubling"]
  )


def test_missing_values_are_left_out(study):
  null = dict.fromkeys(("value", "low", "high", "seed_sd"))
  arms = [
    {**arm, "recall": {**arm["recall"], "df": null}} for arm in study["arms"]
  ]
  without = {**study, "arms": arms}
  # For each of two procedures a line and a dot each, and one for the legend.
  assert len(plots.recalls(without).axes[0].lines) == 2 * (2 * 6 + 1)
  gone = [
    {**d, **null} if d["class"] == "df" else d for d in study["differences"]
  ]
  axes = plots.doses({**study, "differences": gone}, "head").axes
  assert not _dots(axes[1 + conftest.CLASSES.index("df")])


def test_curves_have_a_panel_for_each_name():
  figure = plots.curves(_RUNS)
  shown = [axis.get_title() for axis in figure.axes]
  assert shown == ["loss", "accuracy", "d_loss"]
  line = figure.axes[0].lines[0]
  assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 10], [2, 1])


def test_confusion_is_in_percent_of_the_true_class(study):
  arm = plots.arm_of(study, "resnet", "real")
  axis = plots.confusion(study, arm).axes[0]
  numbers = [int(text.get_text()) for text in axis.texts]
  assert len(numbers) == 49
  for row in range(7):
    assert sum(numbers[7 * row : 7 * row + 7]) == pytest.approx(100, abs=4)


def test_small_bins_are_not_on_the_reliability_line(study):
  def shown(predictions):
    share = predictions / (366 * 2)  # of two seeds
    bins = {"confidence": [0.1, 0.5, 0.9], "accuracy": [0.0, 0.5, 0.9]}
    bins |= {"share": [share, 0.4, 0.6 - share]}
    arms = [arm | {"reliability": bins} for arm in study["arms"]]
    axis = plots.reliability({**study, "arms": arms}).axes[0]
    assert len(axis.collections[0].get_offsets()) == 3
    return list(axis.lines[1].get_xdata())

  assert shown(9) == [0.5, 0.9]
  assert shown(10) == [0.1, 0.5, 0.9]


def test_diversity_is_drawn_by_class_with_the_threshold():
  lines = {"df": [(5, 0.4), (9, 0.9)], "$x^{$": [(5, 1.0)]}
  figure = plots.diversity(lines, 0.7)
  threshold, df, _ = figure.axes[0].lines
  assert set(threshold.get_ydata()) == {0.7}
  assert list(zip(*df.get_data(), strict=True)) == lines["df"]
  figures.svg(figure)


def test_procedures_are_those_of_the_verdict(study):
  found = plots.procedures(study)
  assert [arm["name"] for arm in found] == [scoring.WITHOUT, scoring.WITH]
  assert {arm["network"] for arm in found} == {study["verdict"]["network"]}
  assert study["verdict"]["kind"] == verdict.HELPS


def test_nothing_global_is_changed(study):
  before = dict(matplotlib.rcParams)
  figures.svg(plots.reliability(study))
  assert dict(matplotlib.rcParams) == before
