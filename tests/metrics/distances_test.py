"""Tests of Fréchet and kernel distances, and of precision and recall."""

import dataclasses

import numpy as np
import prdc as prdc_package
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats

from skinjax.metrics import frechet, kernel, prdc
from tests.golden import distances as golden


def _normal(seed, num, dim, shift=0.0, scale=1.0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(num, dim)) * scale + shift


def _column(*values):
  return np.array(values, float)[:, None]


# Fréchet distance.


def test_hand_worked_frechet():
  # Means 1 and 4, variances 2 and 16.
  value = frechet.frechet(_column(0, 2), _column(0, 4, 8))
  np.testing.assert_allclose(value, 9 + 2 + 16 - 2 * np.sqrt(2 * 16))


@pytest.mark.parametrize(
  "sizes", [(200, 150, 20), (60, 200, 20), (30, 25, 40), (30, 200, 40)]
)
def test_frechet_by_a_matrix_root(sizes):
  n, m, d = sizes
  real = _normal(0, n, d)
  fake = _normal(1, m, d, 0.3, np.linspace(0.5, 2, d))
  a, b = np.cov(real.T), np.cov(fake.T)
  # Roots of the singular covariances of n < d are those of their limit.
  shifted = lambda s: s + 1e-13 * np.eye(d)
  root = linalg.sqrtm(shifted(a) @ shifted(b)).real
  shift = ((real.mean(0) - fake.mean(0)) ** 2).sum()
  expected = shift + np.trace(a + b - 2 * root)
  np.testing.assert_allclose(frechet.frechet(real, fake), expected, rtol=1e-4)


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 12))
def test_frechet_of_a_set_and_its_copies(seed, num, dim):
  x = _normal(seed, num, dim)
  value = frechet.frechet(x, x)
  assert 0 <= value < 1e-10
  # A shift of all images is the only difference.
  np.testing.assert_allclose(frechet.frechet(x, x + 2), 4 * dim)


def test_frechet_of_features_without_variance():
  x = np.zeros((50, 3))
  assert frechet.frechet(x, x[:2]) == 0
  np.testing.assert_allclose(frechet.frechet(x, x[:2] + 1), 3)


def test_the_limit_is_near_the_truth_and_spread_tells_how_near():
  scale = np.linspace(0.5, 1.5, 8)
  # Of diagonal Gaussians: differences of means and of deviations, squared.
  truth = ((scale - 1) ** 2).sum() + 8 * 0.2**2
  curves = [
    frechet.frechet_curve(
      _normal([0, s], 115, 8, 0.2), _normal([1, s], 115, 8, 0, scale), seed=s
    )
    for s in range(40)
  ]
  limits = np.array([curve.limit for curve in curves])
  bias = np.mean([curve.values[-1] for curve in curves]) - truth
  assert bias > 0.25
  assert abs(limits.mean() - truth) < 0.4 * bias
  spread = np.sqrt(np.mean([curve.spread**2 for curve in curves]))
  assert 0.8 < spread / limits.std(ddof=1) < 1.8


def test_a_curve_falls_from_half_of_the_smaller_set_to_all_of_it():
  real, fake = _normal(0, 115, 8), _normal(1, 300, 8)
  curve = frechet.frechet_curve(real, fake)
  assert curve.counts == (58, 66, 77, 92, 115)
  assert list(curve.values) == sorted(curve.values, reverse=True)
  assert curve.limit < curve.values[-1]
  # All of both sets: nothing to draw.
  whole = frechet.frechet_curve(real, fake[:115])
  np.testing.assert_allclose(
    whole.values[-1], frechet.frechet(real, fake[:115])
  )


def test_limit_is_the_intercept_of_a_line():
  curve = frechet.frechet_curve(_normal(0, 40, 3), _normal(1, 40, 3))
  line = stats.linregress(1 / np.array(curve.counts), curve.values)
  np.testing.assert_allclose(curve.limit, line.intercept)


def test_largest_count_is_capped(monkeypatch):
  monkeypatch.setattr(frechet, "MOST_IMAGES", 20)
  curve = frechet.frechet_curve(_normal(0, 50, 2), _normal(1, 50, 2))
  assert curve.counts == (10, 11, 13, 16, 20)


# Kernel distance.


def test_hand_worked_kernel_distance():
  # (1 * 0 + 1)^3 = 1; (1 * 2 + 1)^3 = 27; across: 1, 8, 1, 27 + ... by hand.
  real, fake = _column(0, 1), _column(1, 2)
  across = (1 + 1 + 8 + 27) / 4
  np.testing.assert_allclose(
    kernel.kernel_distance(real, fake), 1 + 27 - 2 * across
  )


def _by_a_double_loop(real, fake, groups):
  k = lambda x, y: (x @ y / len(x) + 1) ** 3
  mean = lambda x, y, counts: np.mean(
    [k(a, b) for i, a in enumerate(x) for j, b in enumerate(y) if counts(i, j)]
  )
  return (
    mean(real, real, lambda i, j: groups[i] != groups[j])
    + mean(fake, fake, lambda i, j: i != j)
    - 2 * mean(real, fake, lambda i, j: True)
  )


@given(st.integers(0, 1000), st.integers(4, 8), st.integers(2, 8))
@settings(max_examples=30)
def test_kernel_distance_is_that_of_a_double_loop(seed, n, m):
  real, fake = _normal([0, seed], n, 3), _normal([1, seed], m, 3, 0.5)
  np.testing.assert_allclose(
    kernel.kernel_distance(real, fake),
    _by_a_double_loop(real, fake, np.arange(n)),
    atol=1e-12,
  )
  groups = np.arange(n) // 2
  expected = _by_a_double_loop(real, fake, groups)
  by_lesion = kernel.kernel_distance(real, fake, groups=groups)
  np.testing.assert_allclose(by_lesion, expected, atol=1e-12)
  # The distance has no direction.
  swapped = kernel.kernel_distance(fake, real, fake_groups=groups)
  np.testing.assert_allclose(swapped, expected, atol=1e-12)


def _lesions(seed, num, per_lesion, dim):
  """Photographs, of which those of one lesion have a correlation of 0.8."""
  lesion = np.repeat(_normal([2, seed], num, dim), per_lesion, axis=0)
  noise = _normal([3, seed], num * per_lesion, dim)
  groups = np.repeat(np.arange(num), per_lesion)
  return np.sqrt(0.8) * lesion + np.sqrt(0.2) * noise, groups


def test_equal_distributions_are_at_zero_and_within_intervals():
  values, covered, widths = [], [], []
  for seed in range(120):
    real, groups = _lesions(seed, 40, 3, 20)
    fake = _normal([1, seed], 60, 20)
    result = kernel.kernel_distance_interval(
      real, fake, groups=groups, resamples=200, seed=seed
    )
    values.append(result.value)
    covered.append(result.low <= 0 <= result.high)
    widths.append(result.high - result.low)
  assert abs(stats.ttest_1samp(values, 0).statistic) < 3.5
  assert np.mean(covered) >= 0.92
  # Without shrinking they are 1.7 times as wide as 95% takes.
  assert 0.85 < np.mean(widths) / (3.92 * np.std(values, ddof=1)) < 1.25
  assert np.mean(np.array(values) < 0) > 0.3


# Of 60 images too few intervals hold it: see `kernel_distance_interval`.
# Also of 120 it is 0.87 of 600 seeds: the first 200 are just enough.
@pytest.mark.parametrize("num", [30, 120])
def test_a_known_distance_is_within_intervals(num):
  # Moments of uniform variables on [0, 1] and [0.1, 1.1]; the kernel weights
  # the squared differences of the first three with 3, 3 and 1.
  truth = 3 * 0.1**2 + 3 * 0.11**2 + 0.116**2
  values, covered, widths = [], [], []
  for seed in range(200):
    rng = np.random.default_rng(seed)
    result = kernel.kernel_distance_interval(
      rng.uniform(size=(num, 1)),
      rng.uniform(size=(num, 1)) + 0.1,
      resamples=200,
      seed=seed,
    )
    values.append(result.value)
    covered.append(result.low <= truth <= result.high)
    widths.append(result.high - result.low)
  assert abs(stats.ttest_1samp(values, truth).statistic) < 3.5
  assert 0.88 <= np.mean(covered) <= 0.99
  # A width of 95% is 3.92 standard deviations.
  np.testing.assert_allclose(
    np.mean(widths), 3.92 * np.std(values, ddof=1), rtol=0.2
  )


def _width(*args, **kwargs):
  found = kernel.kernel_distance_interval(*args, **kwargs)
  return found.high - found.low


def test_copies_of_a_lesion_tell_nothing_new():
  real, fake = _normal(0, 40, 10), _normal(1, 200, 10, 0.5)
  copies, groups = np.repeat(real, 5, axis=0), np.repeat(np.arange(40), 5)
  np.testing.assert_allclose(
    kernel.kernel_distance(copies, fake, groups=groups),
    kernel.kernel_distance(real, fake),
  )
  once, by_lesion = _width(real, fake), _width(copies, fake, groups=groups)
  np.testing.assert_allclose(by_lesion, once, rtol=0.2)
  assert _width(copies, fake) < 0.75 * by_lesion
  swapped = _width(fake, copies, fake_groups=groups)
  np.testing.assert_allclose(swapped, once, rtol=0.2)


def test_intervals_narrow_with_the_level_and_the_images_used():
  real, fake = _normal(0, 300, 5), _normal(1, 300, 5, 0.3)
  whole = _width(real, fake)
  assert _width(real, fake, level=0.5) < 0.5 * whole
  assert _width(real, fake, most_images=75) > 1.5 * whole
  assert kernel.kernel_distance_interval(real, fake).value == pytest.approx(
    kernel.kernel_distance(real, fake), rel=1e-9
  )
  # A cap that no set reaches changes nothing.
  assert _width(real, fake, most_images=300) == whole


def test_an_interval_of_images_all_the_same_has_no_width():
  x = np.ones((10, 2))
  assert kernel.kernel_distance(x, x) == 0
  assert kernel.kernel_distance_interval(x, x) == kernel.KernelInterval(0, 0, 0)


# Precision, recall, density and coverage.


def test_hand_worked_prdc():
  real, fake = _column(0, 1, 3), _column(0.5, 10, 11.5)
  # Radii 1, 1, 2 and 9.5, 1.5, 1.5: 0.5 is near 0 and 1; all are near 0.5.
  result = prdc.precision_recall_density_coverage(real, fake, neighbours=1)
  expected = (1 / 3, 1, 2 / 3, 2 / 3)
  np.testing.assert_allclose(dataclasses.astuple(result), expected)


def _assert_as_package(real, fake, neighbours):
  expected = prdc_package.compute_prdc(real, fake, neighbours)
  result = prdc.precision_recall_density_coverage(
    real, fake, neighbours=neighbours
  )
  for name, value in expected.items():
    np.testing.assert_allclose(getattr(result, name), value, err_msg=name)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_prdc_is_that_of_its_authors(data):
  draw = lambda low, high: data.draw(st.integers(low, high))
  neighbours, dim, seed = draw(1, 6), draw(1, 6), draw(0, 1000)
  real = _normal([0, seed], draw(neighbours + 2, 40), dim)
  fake = _normal([1, seed], draw(neighbours + 2, 40), dim, 0.5, 0.8)
  _assert_as_package(real, fake, neighbours)


def test_prdc_of_more_images_than_a_block():
  _assert_as_package(_normal(0, 1100, 6), _normal(1, 50, 6, 1), 5)


def test_prdc_far_from_the_origin():
  real, fake = _normal(0, 60, 6), _normal(1, 50, 6, 1)
  expected = prdc.precision_recall_density_coverage(real, fake)
  far = prdc.precision_recall_density_coverage(real + 1e7, fake + 1e7)
  assert far == expected


@given(st.integers(0, 1000), st.integers(6, 30))
def test_copies_of_the_real_images_are_perfect(seed, num):
  real = _normal(seed, num, 4)
  result = prdc.precision_recall_density_coverage(real, real[::-1])
  assert dataclasses.astuple(result) == (1, 1, 1, 1)


# All of them.

# From tests/golden/distances.py, which names the versions.
GOLDEN = {
  "more_than_d": {
    "frechet": 1.516352701935638,
    "kernel": 0.37936082328445053,
    "precision": 0.7149999737739563,
    "recall": 0.9866666793823242,
  },
  "fewer_than_d": {
    "frechet": 20.81674305340504,
    "kernel": 0.16636565682394977,
    "precision": 0.2666666805744171,
    "recall": 0.9750000238418579,
  },
}


def _numbers(real, fake):
  near = prdc.precision_recall_density_coverage(real, fake)
  return {
    "frechet": frechet.frechet(real, fake),
    "kernel": kernel.kernel_distance(real, fake),
    **dataclasses.asdict(near),
  }


@pytest.mark.parametrize("name", GOLDEN)
def test_as_torch_fidelity_and_torchmetrics(name):
  real, fake = golden.pair(name)
  result = _numbers(real, fake)
  num = min(len(real), len(fake))
  result["kernel"] = kernel.kernel_distance(real[:num], fake[:num])
  for key, value in GOLDEN[name].items():
    np.testing.assert_allclose(result[key], value, rtol=1e-5, err_msg=key)


@given(st.integers(0, 1000), st.sampled_from([3, 30]))
@settings(max_examples=20, deadline=None)
def test_order_and_axes_do_not_matter(seed, dim):
  rng = np.random.default_rng(seed)
  real, fake = rng.normal(size=(20, dim)), rng.normal(0.3, 1, (15, dim))
  numbers = lambda *sets: np.array([*_numbers(*sets).values()])
  rotation = stats.ortho_group.rvs(dim, random_state=seed)
  expected = numbers(real, fake)
  turned = numbers(real @ rotation, fake @ rotation)
  np.testing.assert_allclose(turned, expected, rtol=1e-6, atol=1e-9)
  mixed = numbers(rng.permutation(real), rng.permutation(fake))
  np.testing.assert_allclose(mixed, expected, rtol=1e-6, atol=1e-9)
  # Float32 is what networks give.
  single = numbers(real.astype(np.float32), fake.astype(np.float32))
  np.testing.assert_allclose(single[:2], expected[:2], rtol=1e-4, atol=1e-5)


def test_refuses():
  good = _normal(0, 20, 3)
  bad = good.copy()
  bad[3, 1] = np.nan
  for wrong, match in (
    (good[:, :2], "same d"),
    (bad, "finite"),
    (good[0], r"\[n, d\]"),
  ):
    with pytest.raises(ValueError, match=match):
      frechet.frechet(good, wrong)
    with pytest.raises(ValueError, match=match):
      frechet.frechet(wrong, good)
  for function, least in (
    (frechet.frechet, 2),
    (frechet.frechet_curve, 10),
    (kernel.kernel_distance, 2),
    (kernel.kernel_distance_interval, 10),
    (prdc.precision_recall_density_coverage, 6),
  ):
    with pytest.raises(ValueError, match=f"at least {least} rows, got 1"):
      function(good, good[:1])


def test_groups_that_do_not_fit_are_refused():
  x = _normal(0, 20, 3)
  with pytest.raises(ValueError, match="at least 10, got 9"):
    kernel.kernel_distance_interval(x, x, groups=np.arange(20) % 9)
  for groups in (np.zeros(20, int), np.arange(19)):
    with pytest.raises(ValueError, match="groups"):
      kernel.kernel_distance(x, x, groups=groups)
