"""Tests of sources.py: reading as TFDS reads the same files."""

import errno

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds

import tfds_ham10000
from skinjax.data import sources
from skinjax.runtime import errors
from tests import shrunk


def _read(dataset, data_dir):
  config = shrunk.config("classifier", f"dataset={dataset}").data
  config.update(data_dir=str(data_dir), size={"toy": 64, "mnist": 32}[dataset])
  return sources.read(config)


def _examples(name, data_dir, split):
  """Return what TFDS reads, decoded by TFDS, as lists by feature."""
  builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
  examples = list(builder.as_data_source(split))
  return {key: [e[key] for e in examples] for key in examples[0]}


def test_reads_what_tfds_reads(toy_dir):
  _, names, splits, *_ = _read("toy", toy_dir)
  assert list(splits) == ["train", "validation", "test"]
  assert names == tfds_ham10000.CLASSES
  for key, split in splits.items():
    wanted = _examples("toy_lesions/64x64", toy_dir, key)
    order = np.argsort(wanted["label"], kind="stable")
    assert split.images.dtype == np.uint8
    np.testing.assert_array_equal(
      split.images, np.stack(wanted["image"])[order]
    )
    assert split.labels.dtype == np.int32
    np.testing.assert_array_equal(
      split.labels, np.array(wanted["label"])[order]
    )
    ids = [wanted["image_id"][i].decode() for i in order]
    assert split.image_ids.tolist() == ids
    groups = [wanted["group"][i].decode() for i in order]
    assert split.groups.tolist() == groups


@pytest.mark.parametrize(
  ("error", "expected"),
  [
    (requests.ConnectionError("no route"), errors.InputError),
    (tfds.download.DownloadError("no route"), errors.InputError),
    (OSError(errno.ENOSPC, "no space"), OSError),
  ],
)
def test_a_failed_download(tmp_path, monkeypatch, error, expected):
  def fail(*_):
    raise error

  manager = tfds.download.DownloadManager
  monkeypatch.setattr(manager, "download_and_extract", fail)
  message = {
    OSError: "no space",
    errors.InputError: r"^mnist could not be downloaded: no route; connect, or "
    r"set data\.data_dir",
  }
  with pytest.raises(expected, match=message[expected]):
    _read("mnist", tmp_path)


def test_take_sorts_by_label_and_keeps_the_order_within():
  labels = np.array([2, 0, 1, 0, 2], np.int32)
  images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
  ids = np.array(list("abcde"))
  taken = sources.Split(images, labels, ids, ids).take(labels != 1)
  assert "".join(taken.image_ids) == "bdae"
  assert taken.labels.tolist() == [0, 0, 2, 2]
  assert taken.images.ravel().tolist() == [1, 3, 0, 4]


def test_default_directories(monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
  monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
  assert sources.default_dir() == "/cache/skinjax/tfds"
  monkeypatch.setenv("TFDS_DATA_DIR", "/data")
  assert sources.default_dir() == "/data"


@pytest.mark.slow
def test_reads_the_digits_that_tfds_reads(test_data):
  data_dir = test_data / "tfds"
  _, names, splits, *_ = _read("mnist", data_dir)
  assert names == tuple("0123456789")
  wanted = _examples("mnist", data_dir, "test[:500]")
  test = splits["test"]
  place = {image_id: i for i, image_id in enumerate(test.image_ids)}
  index = [place[f"mnist_test_{i:05d}"] for i in range(500)]
  np.testing.assert_array_equal(
    test.images[index, 2:-2, 2:-2], np.stack(wanted["image"])
  )
  np.testing.assert_array_equal(test.labels[index], wanted["label"])
