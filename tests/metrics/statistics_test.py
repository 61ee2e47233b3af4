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


def test_interval_without_lesion_luck_is_students():
  points = np.array([0.1, 0.4, 0.3, 0.6])
  draws = statistics.Draws(
    points, np.repeat(points[:, None], 4000, 1), _UNBOUNDED
  )
  found = statistics.interval(draws)
  low, high = stats.t.interval(0.95, 3, points.mean(), stats.sem(points))
  np.testing.assert_allclose([found.low, found.high], [low, high], atol=2e-3)
  np.testing.assert_allclose(found.seed_sd, points.std(ddof=1))


def test_luck_that_seeds_do_not_share_is_counted_once():
  rng = np.random.default_rng(0)
  points = np.array([0.1, 0.4, 0.3, 0.6])
  low, high = stats.t.interval(0.95, 3, points.mean(), stats.sem(points))
  # Each seed has lesions of its own that it gets wrong: in seed_sd already.
  alone = statistics.Draws(points, rng.normal(0, 0.2, (4, 4000)), _UNBOUNDED)
  found = statistics.interval(alone)
  np.testing.assert_allclose([found.low, found.high], [low, high], atol=0.01)
  # All seeds get the same lesions wrong: nothing of it is in seed_sd.
  common = np.repeat(rng.normal(0, 0.2, (1, 4000)), 4, axis=0)
  wider = statistics.interval(statistics.Draws(points, common, _UNBOUNDED))
  assert wider.high - wider.low > 1.1 * (high - low)
  same = statistics.interval(
    statistics.Draws(points * 0 + 0.5, common, _UNBOUNDED)
  )
  np.testing.assert_allclose(
    [same.low, same.high], [0.5 - 0.392, 0.5 + 0.392], atol=0.02
  )


def test_interval_of_one_seed_is_the_percentile_interval():
  resampled = np.random.default_rng(0).normal(0.5, 0.1, (1, 1000))
  found = statistics.interval(
    statistics.Draws(np.array([0.5]), resampled, _UNBOUNDED)
  )
  expected = np.quantile(resampled - resampled.mean(), [0.025, 0.975]) + 0.5
  np.testing.assert_allclose([found.low, found.high], expected)
  assert np.isnan(found.seed_sd)


def test_intervals_end_where_the_score_does():
  """Few lesions, nearly all of them right: 0.96 give or take 0.08."""
  labels = np.repeat(np.arange(3), 8)
  right = np.eye(3)[labels] * 0.9 + 0.1 / 3
  arms = np.stack([right] * 3)
  arms[0, 0] = arms[1, 9] = (0.2, 0.3, 0.5)
  wrong = np.roll(arms, 1, axis=-1)
  weights = statistics.bootstrap_weights(np.arange(24), labels, 200, 0)
  draws, rivals = (
    statistics.draw(arm, labels, weights) for arm in (arms, wrong)
  )
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


def test_draw_joins_its_blocks(monkeypatch):
  labels = np.arange(12) % 3
  arm = np.random.default_rng(0).dirichlet(np.ones(3), (2, 12))
  weights = statistics.bootstrap_weights(np.arange(12) // 2, labels, 7, 0)
  whole = statistics.draw(arm, labels, weights)
  monkeypatch.setattr(statistics, "_BLOCK", 3)
  for name, draws in statistics.draw(arm, labels, weights).items():
    assert draws.points.shape[0] == 2
    assert draws.resampled.shape[:2] == (2, 7)
    np.testing.assert_allclose(draws.resampled, whole[name].resampled)


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
      statistics.draw(arm, labels, weights)["balanced_accuracy"]
      for arm in (first, second)
    )
    found = statistics.interval(one - two, seed=trial)
    covered.append(found.low <= truth <= found.high)
  assert np.mean(covered) >= 0.9, np.mean(covered)
