"""Tests of memorization.py and copies.py: finding copies of training images."""

import functools
import io

import numpy as np
import PIL.Image
import pytest

from skinjax.data import sources
from skinjax.metrics import copies, memorization, neighbours, pixels
from tests import shrunk


def _images(num, size=32, seed=0):
  """Smooth pictures of no symmetry."""
  rng = np.random.default_rng(seed)
  coarse = rng.integers(0, 256, (num, 8, 8, 3), np.uint8)
  return np.stack(
    [
      PIL.Image.fromarray(x).resize((size, size), PIL.Image.Resampling.BICUBIC)
      for x in coarse
    ]
  )


# Orientations and vectors.


def test_orientations_by_hand():
  image = np.array([[1, 2], [3, 4]], np.uint8)[None, ..., None]
  assert pixels.orientations(image)[..., 0].reshape(8, 4).tolist() == [
    [1, 2, 3, 4],
    [2, 4, 1, 3],
    [4, 3, 2, 1],
    [3, 1, 4, 2],
    [1, 3, 2, 4],
    [3, 4, 1, 2],
    [4, 2, 3, 1],
    [2, 1, 4, 3],
  ]


def test_vectors_by_hand():
  image = np.array([[[10], [10]], [[10], [50]]], np.uint8)
  # Mean 20, standard deviation sqrt(300); and d = 4.
  expected = np.array([-10, -10, -10, 30]) / np.sqrt(300) / 2
  np.testing.assert_allclose(
    pixels.vectors(image[None])[0], expected, rtol=1e-6
  )
  flat = np.full((1, 2, 2, 1), 7, np.uint8)
  assert pixels.vectors(flat).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("size", [8, 20, 64])
def test_vectors_of_turned_images_are_turned_vectors(size):
  images = _images(3, size)
  got = pixels.oriented_vectors(images)
  for turned, expected in zip(got, pixels.orientations(images), strict=True):
    np.testing.assert_allclose(turned, pixels.vectors(expected), atol=1e-5)
  np.testing.assert_allclose((got**2).sum(-1), 1, rtol=1e-3)


def test_channels_may_be_shifted_and_contrast_scaled():
  images = _images(4) // 3
  expected = pixels.vectors(images)
  for other in (images + np.array([3, 40, 90], np.uint8), 2 * images):
    np.testing.assert_allclose(pixels.vectors(other), expected, atol=1e-6)


# Nearest neighbours.


def test_nearest_is_that_of_a_loop_over_pairs():
  rng = np.random.default_rng(0)
  queries = rng.normal(5, 1, (3, 700, 4))
  references = rng.normal(5, 1, (50, 4))
  pairs = np.linalg.norm(queries[:, :, None] - references, axis=-1)
  found = neighbours.nearest(queries, references)
  np.testing.assert_allclose(found.distance, pairs.min((0, 2)), rtol=1e-5)
  flat = pairs.transpose(1, 0, 2).reshape(700, -1).argmin(1)
  np.testing.assert_array_equal(found.orientation, flat // 50)
  np.testing.assert_array_equal(found.index, flat % 50)
  groups = rng.integers(0, 20, 50)
  groups[:20] = range(20)
  by_group = neighbours.distances_by_group(queries, references, groups)
  expected = np.stack(
    [pairs[:, :, groups == g].min((0, 2)) for g in range(20)], 1
  )
  np.testing.assert_allclose(by_group, expected, rtol=1e-3, atol=1e-3)


def test_the_own_lesion_is_excluded():
  points = np.array([[0.0], [1.0], [3.0]])
  found = neighbours.nearest(
    points,
    points,
    query_groups=np.array(["a", "a", "b"]),
    reference_groups=np.array(["a", "a", "b"]),
  )
  assert found.index.tolist() == [2, 2, 1]
  assert found.distance.tolist() == [3, 2, 2]
  found = neighbours.nearest(
    points[:1],
    points[:2],
    query_groups=np.array([7]),
    reference_groups=np.array([7, 7]),
  )
  assert found.index.tolist() == [-1]
  assert found.distance.tolist() == [np.inf]


# The test at equal numbers.


def test_share_and_margin_by_hand():
  # One image, lesions in this order: train, held-out, train, train, held-out.
  near, logs = np.array([[0, 1, 2, 3, 4]]), np.array([[0.0, 1, 2, 3, 4]])
  held = np.array([False, True, False, False, True])
  sizes = np.ones(5, int)
  # Two of three training lesions are drawn. The nearest is among them in 2 of
  # 3 draws; else it is that at 2.
  share, margin = memorization.share_and_margin(near, logs, held, sizes)
  assert share == pytest.approx(2 / 3)
  assert margin == pytest.approx(1 - (2 / 3 * 0 + 1 / 3 * 2))
  # The other way round, two of three held-out lesions are drawn.
  share, margin = memorization.share_and_margin(near, logs, ~held, sizes)
  assert share == pytest.approx(1 / 3)
  assert margin == pytest.approx(-1 / 3)
  # Six training images in three lesions: one lesion has as many as held-out.
  sizes = np.array([2, 1, 2, 2, 1])
  share, margin = memorization.share_and_margin(near, logs, held, sizes)
  assert share == pytest.approx(1 / 3)
  assert margin == pytest.approx(1 - (0 + 2 + 3) / 3)
  # Without lesions 0 and 4, one of each kind is drawn.
  kept = np.array([False, True, True, False, False])
  share, margin = memorization.share_and_margin(
    near, logs, held, sizes * 0 + 1, kept
  )
  assert (share, margin) == (0, pytest.approx(1 - 2))


def _world(seed, num_train=80, num_held=40, num_fake=60, copied=0.0):
  """Points of one distribution; some lesions have two images."""
  rng = np.random.default_rng(seed)
  count = num_train + num_held
  groups = np.arange(count) - (np.arange(count) % 3 == 2)
  held = np.isin(
    groups, rng.permutation(np.unique(groups))[: num_held // 3 * 2]
  )
  points = rng.normal(size=(count, 3))
  points[1:] += (groups[1:] == groups[:-1])[:, None] * (
    points[:-1] - points[1:]
  )
  points += rng.normal(0, 0.05, points.shape)
  fake = rng.normal(size=(num_fake, 3))
  copies_of = rng.choice(np.flatnonzero(~held), round(copied * num_fake), False)
  fake[: len(copies_of)] = points[copies_of]
  return fake, points[~held], points[held], groups[~held], groups[held]


def _test(world, **options):
  fake, train, held_out, train_groups, held_out_groups = world
  return memorization.nearer_to_training(
    fake,
    train,
    held_out,
    train_groups=train_groups,
    held_out_groups=held_out_groups,
    **options,
  )


def test_p_values_are_uniform_without_memorization():
  found = [
    _test(_world(seed), permutations=39, resamples=1, seed=seed)
    for seed in range(200)
  ]
  p = np.array([result.p_value for result in found])
  # Each bound is beyond three standard deviations of 200 draws.
  for level in (0.05, 0.25, 0.5, 0.75):
    spread = np.sqrt(level * (1 - level) / 200)
    assert abs(np.mean(p <= level + 1e-9) - level) < 3.3 * spread
  shares = np.array([result.share for result in found])
  assert shares.mean() == pytest.approx(0.5, abs=0.02)


def test_the_interval_holds_the_share():
  found = [
    _test(_world(seed), permutations=1, resamples=60) for seed in range(60)
  ]
  assert all(r.low <= r.share <= r.high for r in found)
  assert np.mean([r.low < 0.5 < r.high for r in found]) > 0.85


def test_copies_are_noticed():
  world = _world(0, 200, 200, 300, copied=0.1)
  result = _test(world, permutations=999, resamples=50)
  assert result.p_value == 1 / 1000
  assert result.margin > 0.1
  result = _test(_world(0, copied=1.0), permutations=199, resamples=50)
  assert result.p_value == 1 / 200
  assert result.low > 0.5


def test_order_does_not_matter():
  fake, train, held_out, of_train, of_held_out = _world(1)
  rng = np.random.default_rng(0)
  expected = _test(_world(1), permutations=50, resamples=50)
  f, t, h = (rng.permutation(len(x)) for x in (fake, train, held_out))
  world = fake[f], train[t], held_out[h], of_train[t], of_held_out[h]
  got = _test(world, permutations=50, resamples=50)
  for name, value in vars(expected).items():
    assert getattr(got, name) == pytest.approx(value, abs=1e-5), name


def test_by_class():
  fake, *rest = _world(2)
  train, held_out, of_train, of_held_out = rest
  # Class b is of two lesions only in training; nobody drew class c.
  labels = np.zeros(len(train), int)
  labels[-1] = 1
  result = memorization.by_class(
    fake,
    np.zeros(len(fake), int),
    memorization.Reals(train, labels, of_train),
    memorization.Reals(held_out, np.zeros(len(held_out), int), of_held_out),
    ("a", "b", "c"),
    permutations=20,
    resamples=20,
  )
  assert list(result) == ["a"]
  world = fake, train[:-1], held_out, of_train[:-1], of_held_out
  assert result["a"] == _test(world, permutations=20, resamples=20)


def test_wrong_sets_are_refused():
  fake, train, held_out, of_train, of_held_out = _world(3)
  nan = np.full_like(fake, np.nan)
  for world, message in [
    ((fake[:0], train, held_out, of_train, of_held_out), "no queries"),
    ((nan, train, held_out, of_train, of_held_out), "finite"),
    ((fake, train, train, of_train, of_train), "share a lesion"),
    ((fake, train, held_out[:1], of_train, of_held_out[:1]), "two lesions"),
  ]:
    with pytest.raises(ValueError, match=message):
      _test(world)


def test_authenticity_by_hand():
  train = np.array([[0.0], [0.1], [4.0], [9.0]])
  groups = np.array(["a", "a", "b", "c"])
  # To another lesion the first has 4, the second and third 3.9, the last 5.
  fake = np.array([[0.0], [-4.1], [-3.9], [7.9], [9.0], [14.5], [2.04]])
  authentic = lambda fake, **options: memorization.authentic(
    neighbours.nearest(fake, train), train, groups, **options
  ).tolist()
  assert authentic(fake) == [False, True, False, False, False, True, False]
  # Turned, all of them are at 4, where the third one has none beside it.
  orient = lambda asked: np.stack([train[asked], train[asked] * 0 + 4.0])
  fake = np.concatenate([fake, [[4.5]]])
  assert authentic(fake, orient=orient) == [True] * 7 + [False]


# Suspected copies.


def test_thresholds_by_hand():
  thresholds = functools.partial(copies.thresholds, rate=0.01)
  # The least of 299 is the limit of 1% at 95%, and not of 298.
  distances = 1 + np.arange(299) / 299
  labels, groups = np.zeros(299, int), np.arange(299)
  assert 1 - 0.99**299 > 0.95 > 1 - 0.99**298
  got = thresholds(distances, labels, groups, 2)
  np.testing.assert_array_equal(got, [1, 1])
  # 473 lesions have two of them: P(X <= 1) = 0.0499, X ~ Binomial(473, 0.01).
  many = 1 + np.arange(473) / 473
  got = thresholds(many, np.zeros(473, int), np.arange(473), 1)
  assert got == [many[1]]
  got = thresholds(many[:-1], np.zeros(472, int), np.arange(472), 1)
  assert got == [1]
  # Each lesion counts once: two photographs of one are no two lesions.
  got = thresholds(many, np.zeros(473, int), np.arange(473) // 2, 1)
  assert got == [1]
  # A rare class has its least, or what all have.
  labels = np.zeros(473, int)
  labels[[0, 400]], labels[401] = 1, 2
  got = thresholds(many, labels, np.arange(473), 3)
  np.testing.assert_array_equal(got, [many[1], 1, many[1]])


def test_suspects_by_hand():
  found = neighbours.Nearest(
    np.array([4, 5, 6]), np.array([0, 7, 2]), np.array([0.1, 0.2, 0.3])
  )
  nothing = np.zeros(0)
  limits = np.array([0.1, 0.25])
  detector = copies.Detector("pixels", nothing, nothing, limits)
  got = detector.suspects(found, np.array([0, 1, 1]))
  assert got == [copies.Suspect(1, 5, 7, "pixels", 0.2, 0.25)]


def test_thresholds_come_from_the_real_images():
  rng = np.random.default_rng(0)
  training, real = rng.normal(size=(9, 3)), rng.normal(size=(8, 30, 3))
  labels, groups = np.arange(30) % 2, np.arange(30)
  found = copies.calibrate("features", training, real, labels, groups, 2)
  pairs = np.linalg.norm(real[:, :, None] - training, axis=-1).min((0, 2))
  np.testing.assert_allclose(found.real, pairs, rtol=1e-5)
  expected = copies.thresholds(found.real, labels, groups, 2)
  np.testing.assert_array_equal(found.limits, expected)
  # Of thirty lesions each half has its smallest distance as its threshold.
  flagged = copies.flagged(found, labels, groups)
  assert flagged.sum() <= 2
  assert flagged[found.real.argmin()]


# Real images.


@pytest.fixture(scope="module")
def real(ham10000_dir):
  config = shrunk.config("classifier", "dataset=ham10000").data
  config.size, config.data_dir = 64, ham10000_dir
  _, names, splits, *_ = sources.read(config)
  rest = [splits[key] for key in splits if key != "train"]
  held = sources.Split(*map(np.concatenate, zip(*rest, strict=True)))
  return names, splits["train"], held


def _jpeg(image):
  buffer = io.BytesIO()
  PIL.Image.fromarray(image).save(buffer, "JPEG", quality=75)
  return np.asarray(PIL.Image.open(buffer))


def _plant(kind, images, rng):
  if kind == "exact":
    return images
  if kind == "turned":
    turns = rng.integers(1, 8, len(images))
    return pixels.orientations(images)[turns, np.arange(len(images))]
  if kind == "jpeg":
    return np.stack([_jpeg(image) for image in images])
  if kind == "turned jpeg":
    return _plant("jpeg", _plant("turned", images, rng), rng)
  shape = (len(images), 1, 1, 3)
  if kind == "scaled colour":
    changed = images * rng.uniform(0.95, 1.05, shape)
  else:
    changed = images + 255 * rng.uniform(-0.05, 0.05, shape)
  return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def test_planted_copies_of_real_images(real):
  names, train, held = real
  rng = np.random.default_rng(0)
  lesions = np.unique(held.groups)
  half = np.isin(held.groups, rng.permutation(lesions)[: len(lesions) // 2])
  detector = copies.calibrate(
    "pixels",
    pixels.vectors(train.images),
    pixels.oriented_vectors(held.images[half]),
    held.labels[half],
    held.groups[half],
    len(names),
  )

  def suspects(images, labels):
    found = detector.nearest(pixels.oriented_vectors(images))
    return detector.suspects(found, labels)

  other = held.take(~half)
  flagged = suspects(other.images, other.labels)
  assert len(flagged) <= copies.RATE * len(other.labels)
  for label, name in enumerate(names):
    mine = other.labels == label
    alarms = sum(mine[suspect.synthetic] for suspect in flagged)
    assert alarms <= max(1, copies.RATE * mine.sum()), name

  for kind in (
    *("exact", "turned", "jpeg", "turned jpeg"),
    *("scaled colour", "shifted colour"),
  ):
    origin = rng.choice(len(train.labels), 200, replace=False)
    planted = _plant(kind, train.images[origin], rng)
    caught = suspects(planted, train.labels[origin])
    # Some lesions have photographs that are nearly the same.
    lesions = train.groups[origin]
    right = sum(
      train.groups[s.training] == lesions[s.synthetic] for s in caught
    )
    assert right >= (200 if kind in ("exact", "turned") else 190), kind


def test_memorization_of_real_images(real):
  names, train, held = real
  label = names.index("nv")
  rng = np.random.default_rng(0)
  lesions = np.unique(held.groups[held.labels == label])
  honest = np.isin(held.groups, rng.permutation(lesions)[: len(lesions) // 2])
  honest &= held.labels == label
  rest = (held.labels == label) & ~honest
  mine = train.labels == label
  images = held.images[honest]
  assert len(images) > 900
  origin = rng.choice(np.flatnonzero(mine), len(images) // 9, replace=False)
  reals = [
    memorization.Reals(pixels.vectors(s.images[m]), s.labels[m], s.groups[m])
    for s, m in ((train, mine), (held, rest))
  ]
  results = []
  for drawn in (images, np.concatenate([images, train.images[origin]])):
    fake = pixels.oriented_vectors(drawn)
    labels = np.full(len(drawn), label)
    found = memorization.by_class(
      fake, labels, *reals, names, permutations=199, resamples=100
    )
    results.append(found["nv"])
  assert results[0].p_value > 0.02
  assert results[0].low < 0.5 < results[0].high
  assert results[1].p_value == 1 / 200
