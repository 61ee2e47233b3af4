"""Tests of data sets: real ones, whole, and split by lesion."""

import numpy as np
import pytest

import tfds_ham10000
from skinjax.data import datasets, sources
from skinjax.runtime import errors
from tests import shrunk
from tests.bad_input.prepared import DUMMY_DATA


def _config(dataset, data_dir, **changes):
  changes = {f"data__{key}": value for key, value in changes.items()}
  changes["data__data_dir"] = str(data_dir)
  return shrunk.frozen("classifier", f"dataset={dataset}", **changes).data


def _splits(dataset):
  return {
    "train": dataset.train,
    "validation": dataset.validation,
    "test": dataset.test,
  }


def _check_splits(dataset, names=None):
  """Assert what holds of every data set."""
  groups, ids = {}, []
  for name, split in _splits(dataset).items():
    assert split.images.dtype == np.uint8
    assert split.labels.dtype == np.int32
    assert {len(column) for column in split} == {len(split.labels)}
    assert (np.diff(split.labels) >= 0).all()
    groups[name] = set(split.groups)
    ids += split.image_ids.tolist()
  assert len(set(ids)) == len(ids)
  assert not groups["train"] & groups["validation"]
  assert not groups["train"] & groups["test"]
  assert not groups["validation"] & groups["test"]
  counts = np.bincount(dataset.train.labels).tolist()
  assert dataset.info.class_counts == tuple(counts)
  assert dataset.info.fingerprint == datasets.fingerprint(dataset.train)
  return ids


@pytest.fixture(scope="module")
def mnist(test_data):
  return datasets.load(_config("mnist", test_data / "tfds", size=32))


@pytest.mark.slow
def test_mnist(mnist):
  ids = _check_splits(mnist)
  assert len(ids) == 70_000
  assert len(mnist.test.labels) == 10_000
  # A tenth of the training digits; each class rounds up by less than one.
  assert 6_000 <= len(mnist.validation.labels) <= 6_010
  assert mnist.info.class_names == tuple("0123456789")
  assert (mnist.info.size, mnist.info.channels) == (32, 1)
  assert not mnist.info.drawn
  # Digits of the test set, as its authors count them.
  assert np.bincount(mnist.test.labels).tolist() == [
    *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
  ]
  for split in _splits(mnist).values():
    assert split.images.shape[1:] == (32, 32, 1)
    inside = np.zeros((32, 32), bool)
    inside[2:-2, 2:-2] = True
    assert not split.images[:, ~inside].any()
    assert split.images[:, inside].max() == 255


def test_ham10000(ham10000_dir):
  dataset = datasets.load(_config("ham10000", ham10000_dir, size=32))
  ids = _check_splits(dataset)
  assert len(ids) == 10_015
  assert dataset.info.class_names == tfds_ham10000.CLASSES
  labels = np.concatenate([s.labels for s in _splits(dataset).values()])
  wanted = {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115}
  wanted |= {"mel": 1113, "nv": 6705, "vasc": 142}
  names = np.array(dataset.info.class_names)[labels]
  assert {name: (names == name).sum() for name in wanted} == wanted
  pixels = np.concatenate([s.images for s in _splits(dataset).values()])
  assert pixels.shape == (10_015, 32, 32, 3)
  # Of the whole frames; the centre squares show more lesion, less skin.
  means = pixels.mean((0, 1, 2))
  np.testing.assert_allclose(means, [194.7, 139.3, 145.5], atol=8)
  for part, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
    count = len(_splits(dataset)[part].labels)
    assert count / 10_015 == pytest.approx(share, abs=0.01)
  lesions = {str(g) for s in _splits(dataset).values() for g in s.groups}
  assert 7_470 - 18 <= len(lesions) < 7_470


def test_a_fold_of_ham10000_shares_no_lesion(ham10000_dir):
  dataset = datasets.load(_config("ham10000", ham10000_dir, size=16, fold=4))
  assert len(_check_splits(dataset)) == 10_015
  assert len(dataset.test.labels) == pytest.approx(2003, abs=60)


@pytest.fixture(scope="module")
def toy_folds(toy_dir):
  return [
    datasets.load(_config("toy", toy_dir, fold=fold)) for fold in range(5)
  ]


def test_every_fold_keeps_lesions_apart_and_images_together(toy_folds):
  pools = [frozenset(_check_splits(fold)) for fold in toy_folds]
  assert len(set(pools)) == 1
  assert len(pools[0]) == 648  # of a quarter; see conftest.toy_dir
  tests = [set(fold.test.image_ids) for fold in toy_folds]
  assert sum(map(len, tests)) == len(set().union(*tests)) == 648
  for number, fold in enumerate(toy_folds):
    assert set(fold.validation.image_ids) == tests[(number + 1) % 5]
    for split in _splits(fold).values():
      assert len(np.unique(split.labels)) == 7
  assert len({fold.info.fingerprint for fold in toy_folds}) == 5


def test_a_class_without_training_images(tmp_path):
  changes = {"manual_dir": str(DUMMY_DATA), "size": 64}
  message = r"ham10000 \(.*from .*dummy_data\) has no image of class 'akiec'"
  with pytest.raises(errors.InputError, match=message) as refusal:
    datasets.load(_config("ham10000", tmp_path, **changes))
  assert "folds" not in str(refusal.value)


def test_toy_lesions_are_said_to_be_drawn(toy_folds):
  info = toy_folds[0].info
  assert info.drawn
  assert info.name == "toy_lesions"
  assert info.class_names == tfds_ham10000.CLASSES
  assert info.size == 16


def test_classes_are_numbered_in_the_configs_order(toy_folds, toy_dir):
  few = datasets.load(_config("toy", toy_dir, fold=1, classes=("vasc", "bcc")))
  _check_splits(few)
  assert few.info.class_names == ("vasc", "bcc")
  whole = toy_folds[1]
  counts = dict(
    zip(whole.info.class_names, whole.info.class_counts, strict=True)
  )
  assert few.info.class_counts == (counts["vasc"], counts["bcc"])
  for label, name in enumerate(few.info.class_names):
    wanted = whole.test.labels == whole.info.class_names.index(name)
    np.testing.assert_array_equal(
      few.test.images[few.test.labels == label], whole.test.images[wanted]
    )


def test_the_fold_seed_deals_lesions_out_anew(toy_folds, toy_dir):
  other = datasets.load(_config("toy", toy_dir, fold=0, fold_seed=1))
  _check_splits(other)
  assert set(other.test.groups) != set(toy_folds[0].test.groups)


def test_the_same_config_reads_the_same_data(toy_folds, toy_dir):
  again = datasets.load(_config("toy", toy_dir, fold=0))
  for a, b in zip(again[1:4], toy_folds[0][1:4], strict=True):
    for x, y in zip(a, b, strict=True):
      np.testing.assert_array_equal(x, y)
  assert again.info == toy_folds[0].info
  assert hash(again.info) == hash(toy_folds[0].info)


def test_fingerprint_tells_any_change(tiny_dataset):
  train = tiny_dataset.train
  seen = {datasets.fingerprint(train)}
  for column in range(3):
    copy = [c.copy() for c in train]
    if column == 0:
      copy[0][3, 5, 7, 1] ^= 1
    elif column == 1:
      copy[1][0] = 1
    else:
      copy[2][0] = "other"
    seen.add(datasets.fingerprint(sources.Split(*copy)))
  assert len(seen) == 4
  assert datasets.fingerprint(train) in seen
  # Labels' byte order and width are no part of the data.
  wide = train._replace(labels=train.labels.astype(np.int64))
  assert datasets.fingerprint(wide) in seen


def test_extended(tiny_dataset):
  more = datasets.Added(shrunk.split("more", (0, 2, 4)))
  whole = datasets.extended(tiny_dataset, more, ["a", "b"])
  assert whole.inherited == ("a", "b")
  assert datasets.extended(whole, more, ["c"]).inherited == ("a", "b", "c")
  assert datasets.extended(whole, more, None).inherited is None
  assert whole.added is more
  assert whole.train is tiny_dataset.train
  # 12, 7 and 5 real images.
  assert whole.info.class_counts == (12, 9, 9)
  half = datasets.extended(whole, more._replace(share=0.25), ())
  assert half.info.class_counts == (12, 9, 7)  # 7 / (1 - 2/9), 5 / (1 - 1/4)
  staged = datasets.extended(whole, more._replace(pretraining=1), ())
  assert staged.info.class_counts == (12, 7, 5)
