"""Tests of study/head.py: logistic regression on frozen features."""

import ml_collections
import numpy as np
import pytest
from sklearn import linear_model

from skinjax.data import datasets
from skinjax.metrics import features
from skinjax.study import head
from tests import shrunk

_CONFIG = {
  "weight_decay": 0.1,
  "augment": {"orientations": True},
  "train": {"sampler": "natural"},
  "loss": {"balance": "none"},
}


@pytest.fixture(autouse=True)
def _few_features(monkeypatch):
  """Replace features by the means of 16 blocks."""
  extractor = shrunk.extractor()
  monkeypatch.setattr(features, "efficientnet", lambda size: extractor)


@pytest.fixture
def extract(tmp_path):
  return head.Features(16, tmp_path / "features")


def _config(**changes):
  config = ml_collections.ConfigDict(_CONFIG)
  config.update_from_flattened_dict(
    {key.replace("__", "."): value for key, value in changes.items()}
  )
  return config


def _fit(config, dataset, extract, tmp_path):
  """Return the logits' matrix and bias, of features as they are."""
  predict = head.learn(config, dataset, tmp_path / "unit", extract)
  with np.load(tmp_path / "unit" / "head.npz") as kept:
    fitted = dict(kept)
  weights = fitted["weights"] / fitted["scale"][:, None]
  return predict, weights, fitted["bias"] - fitted["mean"] @ weights, fitted


def test_features_are_computed_once_and_of_all_orientations(
  extract, tmp_path, monkeypatch
):
  images = shrunk.dataset().test.images
  found = extract(images, 8)
  assert found.shape == (len(images), 8, 48)
  # The second orientation is a quarter turn.
  turned = extract(np.rot90(images, 1, (1, 2)), 8)
  np.testing.assert_array_equal(found[:, 1], turned[:, 0])
  monkeypatch.setattr(features, "extract", pytest.fail)
  np.testing.assert_array_equal(found[:, :1], extract(images, 1))
  np.testing.assert_array_equal(extract(images[::-1], 8), found[::-1])
  again = head.Features(16, tmp_path / "features")
  np.testing.assert_array_equal(again(images[2:4], 8), found[2:4])


@pytest.mark.parametrize("sampler", ["natural", "balanced"])
def test_agrees_with_sklearn(extract, tmp_path, sampler):
  dataset = shrunk.dataset()
  train, counts = dataset.train, np.array(dataset.info.class_counts)
  config = _config(train__sampler=sampler)
  predict, *_, fitted = _fit(config, dataset, extract, tmp_path)
  x = (extract(train.images, 8) - fitted["mean"]) / fitted["scale"]
  each = {"natural": 1 / counts.sum(), "balanced": 1 / (3 * counts)}[sampler]
  weights = np.broadcast_to(each, 3)[train.labels]
  # sklearn's C multiplies the sum of losses; its weights add up to one here.
  model = linear_model.LogisticRegression(C=1 / 0.1, tol=1e-8, max_iter=5000)
  model.fit(
    x.reshape(-1, x.shape[-1]),
    np.repeat(train.labels, 8),
    np.repeat(weights / 8, 8),
  )
  test = dataset.test
  z = (extract(test.images, 8) - fitted["mean"]) / fitted["scale"]
  expected = model.predict_proba(z.reshape(-1, z.shape[-1]))
  expected = expected.reshape(len(test.labels), 8, 3).mean(1)
  np.testing.assert_allclose(predict(test), expected, atol=0.01)


def test_added_images_are_used_in_all_orientations(extract, tmp_path):
  dataset, more = shrunk.dataset(), shrunk.split("more", (3, 7, 15))
  turned = more._replace(images=np.rot90(more.images, 1, (1, 2)))
  fitted = [
    _fit(
      _config(),
      datasets.extended(dataset, datasets.Added(split, share=0.5), ()),
      extract,
      tmp_path / name,
    )[3]["weights"]
    for name, split in (("as they are", more), ("turned", turned))
  ]
  np.testing.assert_allclose(*fitted, atol=1e-3)


def test_duplicates_change_nothing_of_a_balanced_head(extract, tmp_path):
  dataset, config = shrunk.dataset(), _config(train__sampler="balanced")
  *_, plain = _fit(config, dataset, extract, tmp_path / "plain")
  more = datasets.Added(dataset.train)
  dataset = datasets.extended(dataset, more, ())
  *_, repeated = _fit(config, dataset, extract, tmp_path / "repeated")
  np.testing.assert_allclose(plain["weights"], repeated["weights"], atol=1e-3)


def test_added_images_weigh_as_a_sampler_would_draw_them():
  dataset = shrunk.dataset()  # 12, 7 and 5 images
  more = shrunk.split("more", (0, 7, 15))
  added = datasets.Added(more, share=0.5, weight=0.3)
  dataset = datasets.extended(dataset, added, ())
  real, made = head._weights(_config(train__sampler="balanced"), dataset)
  # Half of a third is of either kind, where there are as many or more; of 1 and
  # 0.3 the mean is 0.65.
  np.testing.assert_allclose(real, [1 / 36, 1 / 42 / 0.65, 1 / 30 / 0.65])
  np.testing.assert_allclose(made, [0, 0.3 / 42 / 0.65, 0.3 / 90 / 0.65])
  # What logit adjustment takes for the prior is what the natural sampler draws.
  even = dataset._replace(added=added._replace(weight=1.0))
  real, made = head._weights(_config(train__sampler="natural"), even)
  mass = real * [12, 7, 5] + made * [0, 7, 15]
  counts = np.array(dataset.info.class_counts)
  np.testing.assert_allclose(mass, counts / counts.sum())
  # Alone: a third by 7 and 15 images; the first class has none.
  alone = dataset._replace(added=datasets.Added(more, pretraining=1))
  real, made = head._weights(_config(train__sampler="balanced"), alone)
  np.testing.assert_allclose(real, [1 / 36, 0, 0])
  np.testing.assert_allclose(made, [0, 1 / 21, 1 / 45])


def test_logits_are_adjusted_by_the_training_prior(extract, tmp_path):
  dataset = shrunk.dataset()
  *_, plain = _fit(_config(), dataset, extract, tmp_path / "a")
  *_, adjusted = _fit(
    _config(loss__balance="logit_adjustment"), dataset, extract, tmp_path / "b"
  )
  prior = np.log(np.array([12, 7, 5]) / 24)
  np.testing.assert_allclose(plain["bias"] - adjusted["bias"], prior, rtol=1e-5)
  np.testing.assert_array_equal(plain["weights"], adjusted["weights"])


def test_a_fitted_head_is_read_and_not_fitted_again(
  extract, tmp_path, monkeypatch
):
  dataset = shrunk.dataset()
  first = head.learn(_config(), dataset, tmp_path / "unit", extract)
  monkeypatch.setattr(head.optimize, "minimize", pytest.fail)
  again = head.learn(_config(), dataset, tmp_path / "unit", extract)
  np.testing.assert_array_equal(first(dataset.test), again(dataset.test))
  np.testing.assert_allclose(first(dataset.test).sum(1), 1, rtol=1e-5)
