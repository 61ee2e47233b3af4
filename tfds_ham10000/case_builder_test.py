import os
import pathlib
import subprocess
import sys

import pytest
import tensorflow_datasets as tfds

from tfds_ham10000.case_builder import choose_file_format, has_tensorflow
from tfds_ham10000.errors import DataError

_ROOT = pathlib.Path(__file__).parent.parent
_DUMMY_DATA = _ROOT / "tfds_ham10000" / "dummy_data"


@pytest.mark.parametrize(
  ("asked", "prepared", "tensorflow", "chosen"),
  [
    (None, None, True, "tfrecord"),
    (None, None, False, "array_record"),
    (None, "array_record", True, "array_record"),
    (None, "tfrecord", True, "tfrecord"),
    ("array_record", None, True, "array_record"),
    ("array_record", "array_record", False, "array_record"),
  ],
)
def test_chosen(asked, prepared, tensorflow, chosen):
  assert choose_file_format(asked, prepared, "DIR", tensorflow) == chosen


@pytest.mark.parametrize(
  ("asked", "prepared", "tensorflow"),
  [
    ("array_record", "tfrecord", True),
    ("tfrecord", "array_record", True),
    (None, "tfrecord", False),
    ("tfrecord", None, False),
  ],
)
def test_refused(asked, prepared, tensorflow):
  with pytest.raises(DataError) as info:
    choose_file_format(asked, prepared, "DIR", tensorflow)
  for word in ("tfrecord", "array_record", "file_format"):
    assert word in str(info.value)
  if prepared:
    assert "DIR" in str(info.value)
    assert "data_dir" in str(info.value)


def test_other_format_is_refused(tmp_path):
  builder = tfds.builder(
    "ham10000/64x64", data_dir=tmp_path, file_format="array_record"
  )
  config = tfds.download.DownloadConfig(manual_dir=_DUMMY_DATA)
  builder.download_and_prepare(download_config=config)
  with pytest.raises(DataError, match="asked for"):
    tfds.builder("ham10000/64x64", data_dir=tmp_path, file_format="tfrecord")
  with pytest.raises(DataError, match="asked for"):
    builder.download_and_prepare(file_format="tfrecord")
  with pytest.raises(DataError, match=r"tfds\.data_source"):
    builder.as_dataset("train")


_WITHOUT_TENSORFLOW = """
import os
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, path=None, target=None: (
  None if name == "tensorflow" else find(name, path, target)
)
import tensorflow_datasets as tfds
import tfds_ham10000
data_dir, manual_dir = sys.argv[1:]
config = tfds.download.DownloadConfig(manual_dir=manual_dir)
options = dict(
  data_dir=data_dir,
  split="train",
  download_and_prepare_kwargs={"download_config": config},
)
for name in ("toy_lesions/64x64", "ham10000/64x64"):
  try:
    tfds.load(name, **options)
  except tfds_ham10000.DataError as error:
    text = str(error)
  assert "would be prepared" in text and "tfds.data_source" in text, text
assert not os.listdir(data_dir)
try:
  tfds.builder("ham10000/64x64", data_dir=data_dir).download_and_prepare(
    file_format="tfrecord", download_config=config
  )
except tfds_ham10000.DataError as error:
  assert "needs TensorFlow" in str(error)
assert not os.listdir(data_dir)
train = tfds.data_source("ham10000/64x64", **options)
assert len(train) == 12
assert train[0]["image"].shape == (64, 64, 3)
builder = tfds.builder("ham10000/64x64", data_dir=data_dir)
print(builder.info.file_format.value)
assert not {"jax", "skinjax", "tensorflow"} & set(sys.modules)
"""


def _run_without_tensorflow(data_dir):
  return subprocess.run(
    [sys.executable, "-c", _WITHOUT_TENSORFLOW, data_dir, _DUMMY_DATA],
    env={**os.environ, "PYTHONPATH": str(_ROOT)},
    capture_output=True,
    text=True,
    check=False,
  )


def test_without_tensorflow(tmp_path):
  result = _run_without_tensorflow(tmp_path)
  assert result.returncode == 0, result.stderr
  assert result.stdout.endswith("array_record\n")
  assert "Generating train examples" in result.stderr


@pytest.mark.skipif(not has_tensorflow(), reason="TensorFlow is not installed")
def test_with_tensorflow(tmp_path):
  config = tfds.download.DownloadConfig(manual_dir=_DUMMY_DATA)
  train = tfds.load(
    "ham10000/64x64",
    split="train",
    data_dir=tmp_path,
    download_and_prepare_kwargs={"download_config": config},
  )
  assert len(list(train)) == 12
  result = _run_without_tensorflow(tmp_path)
  assert "prepared as tfrecord" in result.stderr
  assert "array_record" in result.stderr
