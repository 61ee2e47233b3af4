import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from skinjax.metrics import classification, statistics

_UNBOUNDED = (-np.inf, np.inf)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31))
def test_weights_are_shared_by_a_group_and_no_class_vanishes(seed):
  rng = np.random.default_rng(seed)
  labels = np.concatenate([[0, 1, 2], rng.integers(0, 3, 30)])
  groups = np.array([f"{y}-{rng.integers(4)}" for y in labels])
  weights = statistics.bootstrap_weights(groups, labels, 40, seed)
  assert weights.shape == (40, 33)
  for group in np.unique(groups):
    same = weights[:, groups == group]
    np.testing.assert_array_equal(same, same[:, :1].repeat(same.shape[1], 1))
  _, first = np.unique(groups, return_index=True)
  for label in range(3):
    of_class = first[labels[first] == label]
    # The weights of a class's groups always sum to their number.
    np.testing.assert_allclose(
      weights[:, of_class].sum(1), len(of_class), rtol=1e-5
    )


def test_the_only_group_of_a_class_keeps_weight_one():
  weights = statistics.bootstrap_weights(
    np.array([1, 2, 3, 3]), np.array([0, 0, 1, 1]), 50, 0
  )
  np.testing.assert_array_equal(weights[:, 2:], 1)
  # Of two groups one is drawn, and stands for both.
  assert set(np.unique(weights[:, :2])) == {0, 2}


def test_a_group_of_two_labels_stands_with_the_rarer():
  labels = np.array([0] * 8 + [1, 0])
  groups = np.array([*range(8), 8, 8])
  weights = statistics.bootstrap_weights(groups, labels, 50, 0)
  np.testing.assert_array_equal(weights[:, 8:], 1)


def test_variance_of_a_mean_is_unbiased():
  values = np.random.default_rng(0).normal(size=8)
  weights = statistics.bootstrap_weights(
    np.arange(8), np.zeros(8, int), 200_000, 0
  )
  variance = (weights @ values / 8).var()
  np.testing.assert_allclose(variance, values.var(ddof=1) / 8, rtol=0.02)


def _draws(points, resampled):
  """Draws of one fold, of values [S] and resampled values [S, R]."""
  by_seed = np.concatenate([points[:, None], resampled], axis=1)
  return statistics.Draws(by_seed.mean(0), by_seed[None], _UNBOUNDED)


def _draw(arm, labels, weights):
  """Draws of one fold's predictions [S, N, K]."""
  return statistics.draw([[statistics.tally(p, labels, weights) for p in arm]])


def test_interval_without_lesion_luck_is_students():
  points = np.array([0.1, 0.4, 0.3, 0.6])
  found = statistics.interval(
    _draws(points, np.repeat(points[:, None], 4000, 1))
  )
  low, high = stats.t.interval(0.95, 3, points.mean(), stats.sem(points))
  np.testing.assert_allclose([found.low, found.high], [low, high], atol=2e-3)
  np.testing.assert_allclose(found.seed_sd, points.std(ddof=1))


def test_luck_that_seeds_do_not_share_is_counted_once():
  rng = np.random.default_rng(0)
  points = np.array([0.1, 0.4, 0.3, 0.6])
  low, high = stats.t.interval(0.95, 3, points.mean(), stats.sem(points))
  # Each seed has lesions of its own that it gets wrong: in seed_sd already.
  found = statistics.interval(_draws(points, rng.normal(0, 0.2, (4, 4000))))
  np.testing.assert_allclose([found.low, found.high], [low, high], atol=0.01)
  # All seeds get the same lesions wrong: nothing of it is in seed_sd.
  common = np.repeat(rng.normal(0, 0.2, (1, 4000)), 4, axis=0)
  wider = statistics.interval(_draws(points, common))
  assert wider.high - wider.low > 1.1 * (high - low)
  same = statistics.interval(_draws(points * 0 + 0.5, common))
  np.testing.assert_allclose(
    [same.low, same.high], [0.5 - 0.392, 0.5 + 0.392], atol=0.02
  )


def test_seeds_that_score_alike_by_chance_leave_the_lesions_their_part():
  resampled = np.random.default_rng(0).normal(0.5, 0.1, (4, 4000))
  found = statistics.interval(_draws(np.full(4, 0.5), resampled))
  # In the mean of four: 0.1 / 2.
  np.testing.assert_allclose(found.high - 0.5, 1.96 * 0.05, rtol=0.05)


def test_an_interval_has_at_least_the_width_of_its_resamples():
  """Seeds that err on different lesions score nearly alike by chance."""
  resampled = np.random.default_rng(0).normal(0.5, 0.1, (3, 4000))
  found = statistics.interval(_draws(np.array([0.5, 0.501, 0.499]), resampled))
  # Student's t with two degrees of freedom has a finite part of its own.
  sd = 0.1 / np.sqrt(3)
  assert 1.9 * sd < found.high - 0.5 < 2.1 * sd


def test_interval_of_one_seed_is_the_percentile_interval():
  resampled = np.random.default_rng(0).normal(0.5, 0.1, (1, 1000))
  found = statistics.interval(_draws(np.array([0.5]), resampled))
  expected = np.quantile(resampled - resampled.mean(), [0.025, 0.975]) + 0.5
  np.testing.assert_allclose([found.low, found.high], expected)
  assert np.isnan(found.seed_sd)


def test_seeds_of_several_folds_share_their_degrees_of_freedom():
  """Two folds of one class, of 4 and 6 images, right 0 or 1 by seed."""
  tallies = [
    [_told(2, 4), _told(4, 4)],
    [_told(3, 6), _told(3, 6)],
  ]
  draws = statistics.draw(tallies)["accuracy"]
  # (3 + 3) of 10 in the mean; fold 0 has 2 or 4 right, fold 1 always 3.
  np.testing.assert_allclose(draws.value, 0.6)
  np.testing.assert_allclose(draws.by_seed[:, :, 0], [[0.5, 0.7], [0.6, 0.6]])
  found = statistics.interval(draws)
  np.testing.assert_allclose(found.seed_sd, np.sqrt(0.02))
  reach = stats.t.ppf(0.975, 2) * np.sqrt(0.02 / 2)
  np.testing.assert_allclose(found.high, min(0.6 + reach, 1), atol=2e-3)


def _told(right, images, resamples=4000):
  counts = np.array([[right, images - right], [0, 0]], float)
  nothing = np.full((1 + resamples, 2), np.nan)
  return statistics.Tally(
    np.repeat(counts[None], 1 + resamples, axis=0),
    np.zeros(1 + resamples),
    {"auc": nothing, "mean_auc": nothing[:, 0], "ece": nothing[:, 0] * 0},
  )


def test_folds_are_pooled_or_averaged():
  """As one split that has all images, but for scores within folds."""
  rng = np.random.default_rng(0)
  labels = np.repeat(np.arange(3), 10)
  arm = rng.dirichlet(np.ones(3), (2, 30))
  fold = np.arange(30) % 2
  none = np.ones((0, 30))
  halves = [
    [
      statistics.tally(p[fold == f], labels[fold == f], none[:, fold == f])
      for p in arm
    ]
    for f in range(2)
  ]
  draws = statistics.draw(halves)
  pooled = [classification.scores(p, labels) for p in arm]
  for name in ("balanced_accuracy", "accuracy", "recall", "brier"):
    expected = np.mean([scores[name] for scores in pooled], axis=0)
    np.testing.assert_allclose(draws[name].value[0], expected, err_msg=name)
  for name in classification.WITHIN:
    within = [
      classification.scores(p[fold == f], labels[fold == f])[name]
      for p in arm
      for f in range(2)
    ]
    np.testing.assert_allclose(draws[name].value[0], np.mean(within, axis=0))
  # Seed 1 of fold 0 beside the mean of fold 1's.
  hits = lambda p: (p.argmax(-1) == labels) * 1.0
  expected = np.where(
    fold == 0, hits(arm[1]), (hits(arm[0]) + hits(arm[1])) / 2
  )
  np.testing.assert_allclose(
    draws["accuracy"].by_seed[0, 1, 0], expected.mean()
  )


def test_a_class_that_one_fold_lacks_is_averaged_over_the_others():
  labels = np.array([0, 0, 1, 1, 0, 0])
  p = np.array([0.1, 0.6, 0.3, 0.9, 0.2, 0.4])
  p = np.stack([1 - p, p], axis=-1)
  none = np.ones((0, 6))
  folds = [slice(0, 4), slice(4, 6)]
  draws = statistics.draw(
    [[statistics.tally(p[f], labels[f], none[:, f])] for f in folds]
  )
  # Class 1 at 0.3 and 0.9 against 0.1 and 0.6: right in 3 of 4 pairs.
  np.testing.assert_allclose(draws["auc"].value[0], [0.75, 0.75])
  np.testing.assert_allclose(draws["recall"].value[0], [0.75, 0.5])


def test_p_value_without_lesion_luck_is_that_of_the_t_test():
  points = np.array([0.1, 0.4, 0.3, 0.6])
  draws = _draws(points, np.repeat(points[:, None], 50, 1))
  np.testing.assert_allclose(
    statistics.p_value(draws), stats.ttest_1samp(points, 0).pvalue
  )


def test_seeds_that_are_needed():
  points = np.array([0.1, 0.4, 0.3, 0.6])
  exact = _draws(points, np.repeat(points[:, None], 4000, 1))
  sd, t = points.std(ddof=1), stats.t.ppf(0.975, 3)
  # t * sd / sqrt(n) is 0.1 at n = 43.9.
  needed = int(np.ceil((t * sd / 0.1) ** 2))
  assert abs(statistics.seeds_needed(exact, 0.1, most=100) - needed) <= 1
  assert statistics.seeds_needed(exact, 0.1, most=20) == 20
  assert statistics.seeds_needed(exact, 1.0, most=20) == 4
  common = np.random.default_rng(0).normal(0, 0.2, (1, 4000)).repeat(4, axis=0)
  assert statistics.seeds_needed(_draws(points, common), 0.3, most=99) is None


def test_what_decided_the_number_of_seeds_estimates_their_variance():
  points = np.array([0.1, 0.4, 0.3, 0.6])
  draws = _draws(points, np.repeat(points[:, None], 4000, 1))
  found = statistics.interval(draws, first=2)
  reach = stats.t.ppf(0.975, 1) * points[:2].std(ddof=1) / np.sqrt(4)
  np.testing.assert_allclose(found.high - points.mean(), reach, rtol=0.01)


def test_interval_between_folds():
  # Of 1, 2, 3: mean 2, variance 1; t with 2 degrees of freedom is 4.3027.
  low, high = statistics.between_folds([1, 2, 3], 0.5)
  reach = 4.302653 * np.sqrt(1 / 3 + 0.5)
  np.testing.assert_allclose([low, high], [2 - reach, 2 + reach], rtol=1e-6)
  assert np.isnan(statistics.between_folds([1], 0.5)).all()


def test_holm():
  # 0.01 * 4, 0.02 * 3, 0.03 * 2, and never less than the one before.
  adjusted = statistics.holm([0.03, 0.01, 0.9, 0.02])
  np.testing.assert_allclose(adjusted, [0.06, 0.04, 0.9, 0.06])


def test_intervals_end_where_the_score_does():
  """Few lesions, nearly all of them right: 0.96 give or take 0.08."""
  labels = np.repeat(np.arange(3), 8)
  right = np.eye(3)[labels] * 0.9 + 0.1 / 3
  arms = np.stack([right] * 3)
  arms[0, 0] = arms[1, 9] = (0.2, 0.3, 0.5)
  wrong = np.roll(arms, 1, axis=-1)
  weights = statistics.bootstrap_weights(np.arange(24), labels, 200, 0)
  draws, rivals = (_draw(arm, labels, weights) for arm in (arms, wrong))
  for name, most in classification.LARGEST.items():
    for found, low in (
      (statistics.interval(draws[name]), 0),
      (statistics.interval(rivals[name]), 0),
      (statistics.interval(draws[name] - rivals[name]), -most),
      (statistics.interval(rivals[name] - draws[name]), -most),
    ):
      assert (found.low >= low).all(), name
      assert (found.high <= most).all(), name
  assert statistics.interval(draws["accuracy"]).high == 1
  assert statistics.interval(rivals["accuracy"]).low == 0


def _predictions(rng, num_seeds, lesions, skill, seed_luck, shared):
  """Two seeds of one model share a lesion's difficulty, not their luck."""
  labels = np.repeat(np.arange(3), lesions)
  luck = rng.normal(0, seed_luck, (num_seeds, 1, 1))
  noise = rng.normal(size=(num_seeds, len(labels), 3))
  logits = shared + noise + (skill + luck) * np.eye(3)[labels]
  exponentials = np.exp(logits)
  return exponentials / exponentials.sum(-1, keepdims=True)


def test_nominal_95_percent_intervals_cover():
  """Paired differences of balanced accuracy, with luck of both kinds."""
  lesions = np.array([60, 25, 12])
  labels = np.repeat(np.arange(3), lesions)
  rng = np.random.default_rng(3)

  def study(sizes):
    shared = rng.normal(size=(np.sum(sizes), 3))
    arm = lambda skill: _predictions(
      rng, 3, sizes, skill, seed_luck=0.15, shared=shared
    )
    return arm(1.6), arm(1.2)

  balanced = lambda p, y: np.mean(
    [(p.argmax(-1) == y)[:, y == k].mean() for k in range(3)]
  )
  large = np.array([3000, 3000, 3000])
  many = np.repeat(np.arange(3), large)
  truth = np.mean(
    [
      balanced(a, many) - balanced(b, many)
      for a, b in (study(large) for _ in range(12))
    ]
  )
  covered = []
  for trial in range(80):
    first, second = study(lesions)
    weights = statistics.bootstrap_weights(
      np.arange(len(labels)), labels, 120, trial
    )
    one, two = (
      _draw(arm, labels, weights)["balanced_accuracy"]
      for arm in (first, second)
    )
    found = statistics.interval(one - two, seed=trial)
    covered.append(found.low <= truth <= found.high)
  assert np.mean(covered) >= 0.9, np.mean(covered)
