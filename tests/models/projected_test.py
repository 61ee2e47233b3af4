"""Tests of models/projected.py: features, heads, frozen weights."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skinjax.metrics import features as metrics
from skinjax.models import efficientnet, projected

KEY = jax.random.key(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_features_equal_those_of_the_extractor(products, channels):
  # That one convolves natively; see metrics/features.py.
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (2, 32, 32, channels)).astype(np.float64)
  variables = efficientnet.load()
  with jax.enable_x64(True):
    whole = efficientnet.EfficientNet()
    of_extractor = jax.jit(metrics._efficientnet)(
      variables, np.repeat(images, 3 // channels, 3)
    )
    _, inner = jax.jit(
      functools.partial(whole.apply, capture_intermediates=True)
    )(variables, (np.repeat(images, 3 // channels, 3) - 127) / 128)
    taps = jax.jit(
      lambda images: efficientnet.Taps().apply(
        variables, efficientnet.normalized(images)
      )
    )(images / 127.5 - 1)
    head = variables["params"]["_conv_head"]
    last = nn.relu6(taps[-1] @ head["kernel"][0, 0] + head["bias"])
    np.testing.assert_allclose(last.mean((1, 2)), of_extractor, rtol=1e-9)
  for tap, block, side, width in zip(
    taps, (2, 4, 10, 15), (8, 4, 2, 1), (24, 40, 112, 320), strict=True
  ):
    assert tap.dtype == np.float64
    assert tap.shape == (2, side, side, width)
    wanted = inner["intermediates"][f"_blocks.{block}"]["__call__"][0]
    np.testing.assert_allclose(tap, wanted, rtol=1e-9, atol=1e-12)


def test_coarse_features_are_mixed_into_fine_ones():
  taps = [
    jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1),
    jnp.array([5.0, -1.0]).reshape(1, 1, 1, 2),
  ]
  projections = {
    "channels": [jnp.array([[2.0]]), jnp.array([[3.0], [1.0]])],
    "scales": [jnp.array([[10.0]])],
  }
  fine, coarse = projected.mixed(taps, projections)
  np.testing.assert_array_equal(coarse.ravel(), [14])  # 3 * 5 - 1
  np.testing.assert_array_equal(fine.ravel(), [142, 144, 146, 148])


def test_coarse_features_are_enlarged_bilinearly():
  taps = [jnp.zeros((1, 4, 4, 1)), jnp.arange(4.0).reshape(1, 2, 2, 1)]
  one = jnp.ones((1, 1))
  projections = {"channels": [one, one], "scales": [one]}
  fine, _ = projected.mixed(taps, projections)
  # A new pixel's centre is a quarter of an old one off its centre.
  np.testing.assert_allclose(fine[0, 0, :, 0], [0, 0.25, 0.75, 1])
  np.testing.assert_allclose(fine[0, :, 0, 0], [0, 0.5, 1.5, 2])


def test_frozen_weights_follow_from_the_key(four_scales):
  same, again, other = (
    projected.load(64, jax.random.key(seed)) for seed in (0, 0, 1)
  )
  assert list(same["pretrained"]) == ["EfficientNet-Lite0"]
  assert "_fc" not in same["pretrained"]["EfficientNet-Lite0"]
  channels, scales = (same["projections"][n] for n in ("channels", "scales"))
  assert [x.shape for x in channels] == [(8, 64 << n) for n in range(4)]
  assert [x.shape for x in scales] == [(128, 64), (256, 128), (512, 256)]
  for x in (*channels, *scales):
    assert isinstance(x, np.ndarray)
    assert x.std() == pytest.approx(np.sqrt(2 / len(x)), rel=0.15)
  leaves = [jax.tree.leaves(x["projections"]) for x in (same, again, other)]
  for a, b, c in zip(*leaves, strict=True):
    np.testing.assert_array_equal(a, b)
    assert (a != c).all()


def test_images_of_any_size_and_either_number_of_channels(four_scales):
  frozen = projected.load(4, KEY)
  see = functools.partial(projected.features, frozen, size=64, dtype="float32")
  grey = jax.random.uniform(KEY, (2, 32, 32, 1), minval=-1)
  found = see(grey)
  assert [x.shape[1:] for x in found] == projected.shapes(4, 64)
  large = jax.image.resize(grey, (2, 64, 64, 1), "bilinear")
  for x, wanted in zip(found, see(jnp.repeat(large, 3, 3)), strict=True):
    np.testing.assert_allclose(x, wanted, rtol=1e-5, atol=1e-5)
  for size, wanted in ((32, grey), (64, large)):
    first, *rest = see(grey, pixels=size)
    np.testing.assert_array_equal(first, wanted)
    assert len(rest) == len(found)


def test_features_may_be_computed_in_bfloat16(four_scales):
  frozen = projected.load(4, KEY)
  images = jnp.zeros((2, 32, 32, 3))
  see = functools.partial(projected.features, size=32, dtype="bfloat16")
  found = jax.eval_shape(see, frozen, images)
  assert {x.dtype.name for x in found} == {"bfloat16"}


def _heads(features, conditioning, classes=2, **options):
  heads = projected.Heads(
    classes, least=6, most=8, conditioning=conditioning, **options
  )
  labels = jnp.zeros(len(features[0]), jnp.int32)
  init = jax.jit(functools.partial(heads.init, train=False))
  apply = jax.jit(functools.partial(heads.apply, train=False))
  return init(KEY, features, labels), apply


def test_logits_by_hand():
  # Heads of 1x1 have no convolution. Kernels of one entry are divided by it.
  x = jnp.array([[3.0, 1.0], [-2.0, 1.0]]).reshape(2, 1, 1, 2)
  variables, apply = _heads([x], "both")
  params = jax.tree.map(jnp.zeros_like, variables["params"])
  kernel = lambda name: params[name]["kernel"]
  params["Dense_0"]["kernel"] = kernel("Dense_0").at[0, 5].set(4)
  params["Dense_1"]["kernel"] = kernel("Dense_1").at[5, 0].set(7)
  params["Dense_1"]["bias"] += 0.5
  params["Dense_2"]["kernel"] = kernel("Dense_2").at[5, 1].set(9)
  embedding = params["embedding_0"].at[:, 5].set(jnp.array([16.0, -8.0]))
  params["embedding_0"] = embedding
  variables = {**variables, "params": params}
  source, classes = apply(variables, [x], jnp.array([0, 1]))
  # phi is x's first number; psi adds 1/2; e . phi / 8 are 2 phi and -phi.
  np.testing.assert_allclose(source, [[3.5 + 6], [-1.5 + 2]], rtol=1e-5)
  np.testing.assert_allclose(classes, [[0, 3], [0, -2]], rtol=1e-5)


def _random_features(sides=(8, 4, 2)):
  return [
    jax.random.normal(jax.random.key(side), (6, side, side, 3))
    for side in sides
  ]


@pytest.mark.parametrize(
  ("conditioning", "classes", "labels_matter", "columns"),
  [
    ("projection", 2, True, 0),
    ("class_head", 2, False, 2),
    ("both", 2, True, 2),
    ("both", 1, False, 0),
  ],
)
def test_heads_depend_on_the_class_as_configured(
  conditioning, classes, labels_matter, columns
):
  features = _random_features()
  variables, apply = _heads(features, conditioning, classes)
  labels = jnp.array([0, 0, 0, 1, 1, 1]) % classes
  source, by_class = apply(variables, features, labels)
  assert source.shape == (6, 3)
  assert by_class.shape == (6, columns)
  other, same = apply(variables, features, labels[::-1])
  assert (other != source).any() == labels_matter
  np.testing.assert_array_equal(same, by_class)


def test_class_features_of_unit_norm():
  features = _random_features()
  variables, apply = _heads(features, "class_head", embedding=5)
  _, cosines, unit = apply(variables, features, jnp.zeros(6, jnp.int32))
  assert cosines.shape == (6, 2)
  np.testing.assert_allclose(jnp.sum(unit**2, 1), 1, rtol=1e-5)
  assert abs(cosines).max() <= 1 + 1e-5


@pytest.mark.parametrize(
  ("side", "convolutions"), [(1, 0), (4, 0), (8, 1), (12, 2), (28, 2)]
)
def test_heads_halve_down_to_4x4_or_an_odd_size(side, convolutions):
  features = [jnp.zeros((2, side, side, 2))]
  variables = jax.eval_shape(lambda: _heads(features, "both")[0])
  kernels = [
    layer["kernel"].shape
    for name, layer in variables["params"].items()
    if name.startswith("Conv")
  ]
  widths = [2, 6, 8]  # doubled, to 6 to 8
  assert kernels == [(4, 4, *widths[n : n + 2]) for n in range(convolutions)]
