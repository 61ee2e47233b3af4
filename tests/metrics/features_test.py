import hashlib
import io
import pickle

import numpy as np
import PIL.Image
import pytest

from skinjax.metrics import features
from skinjax.models import efficientnet
from skinjax.runtime import errors
from tests.bad_input.planted import planted
from tests.golden import efficientnet as golden


def _images(num, size=8, channels=3, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (num, size, size, channels), np.uint8)


class _Pixels:
  """An extractor's function: the pixels times a weight; counts programs."""

  def __init__(self):
    self.programs = 0

  def __call__(self, variables, images):
    self.programs += 1
    return images.reshape(len(images), -1) * variables["scale"]


def _pixels(size=8, channels=3, scale=1.0, name="Pixels"):
  return features.Extractor(
    name=f"{name}@{size}",
    size=size,
    channels=channels,
    dims=size * size * channels,
    apply=_Pixels(),
    variables={"scale": np.float32(scale)},
    digest=str(scale),
  )


@pytest.mark.parametrize("num", [0, 3, 4, 5])
def test_each_image_is_there_once_and_in_order(num):
  extractor, images = _pixels(), _images(num)
  got = features.extract(extractor, images, batch_size=4)
  assert got.dtype == np.float32
  np.testing.assert_array_equal(got, images.reshape(num, 192))
  assert extractor.apply.programs == bool(num)


def test_one_program_for_each_shape():
  extractor = _pixels()
  for size in (8, 16, 8, 16):
    features.extract(extractor, _images(5, size), batch_size=2)
  assert extractor.apply.programs == 2


def test_progress_is_told():
  calls = []
  features.extract(
    _pixels(), _images(5), batch_size=2, progress=lambda *x: calls.append(x)
  )
  assert calls == [(2, 5), (4, 5), (5, 5)]


def test_grey_images_are_repeated():
  grey = _images(3, channels=1)
  extractor = _pixels()
  np.testing.assert_array_equal(
    features.extract(extractor, grey),
    features.extract(extractor, np.repeat(grey, 3, axis=3)),
  )
  got = features.extract(_pixels(channels=1), grey)
  np.testing.assert_array_equal(got, grey.reshape(3, 64))


@pytest.mark.parametrize("size", [5, 21, 32])
def test_resized_as_pillow_does(size):
  images = _images(2, size, channels=1)
  got = features.extract(_pixels(channels=1), images).reshape(2, 8, 8)
  for image, mine in zip(images, got, strict=True):
    wanted = PIL.Image.fromarray(image[..., 0].astype(np.float32))
    wanted = wanted.resize((8, 8), PIL.Image.Resampling.BICUBIC)
    np.testing.assert_allclose(mine, np.clip(wanted, 0, 255), atol=1e-3)


def test_an_image_that_is_not_square_is_stretched():
  images = np.full((1, 4, 12, 3), 7, np.uint8)
  got = features.extract(_pixels(), images)
  np.testing.assert_allclose(got, 7, rtol=1e-6)


def test_efficientnet_s_images_are_normalized():
  extractor = features.efficientnet()
  assert extractor.name == "EffLite0@64"
  got = features.extract(extractor, golden.images(64), batch_size=4)
  with np.load(golden.PATH) as arrays:
    wanted = arrays["features64"]
  assert abs(got[:, :: golden.EVERY] - wanted).max() < 1e-4 * wanted.max()


@pytest.fixture(scope="module")
def small():
  return features.efficientnet(32)


def test_the_batch_size_changes_nothing(small):
  assert (small.size, small.channels, small.dims) == (32, 3, 1280)
  assert small.frechet_name == "FD(EffLite0@32)"
  images = _images(5, 32)
  got = [features.extract(small, images, batch_size=size) for size in (2, 5)]
  assert abs(got[0] - got[1]).max() < 1e-5 * got[0].max()
  # Nor do the others of a batch.
  alone = features.extract(small, images[:1], batch_size=2)
  np.testing.assert_array_equal(alone, got[0][:1])


def test_weights_are_no_part_of_the_program(small):
  program = features._batch.lower(
    small.variables,
    _images(1, 32),
    apply=small.apply,
    size=small.size,
    channels=3,
  ).as_text()
  assert len(program) < 10**6  # they are 4.6 million numbers


def test_inception(monkeypatch, tmp_path):
  weights = {"w": np.ones(3, np.float32)}
  seen = []
  load = lambda path: seen.append(path) or weights
  monkeypatch.setattr(features.inceptions, "load", load)
  extractor = features.inception(tmp_path)
  assert seen == [tmp_path]
  assert extractor.name == "Inception@299"
  assert extractor.frechet_name == "FID"
  assert extractor.dims == 2048
  other = features.inception(tmp_path, size=128)
  assert other.frechet_name == "FD(Inception@128)"


@pytest.mark.parametrize(
  ("make", "size"),
  [
    (features.efficientnet, 31),
    (lambda size: features.inception("a.pth", size), 74),
  ],
)
def test_a_size_that_is_too_small(make, size):
  with pytest.raises(errors.InputError, match=f"{size}: use {size + 1} or"):
    make(size)


def test_a_file_of_another_network():
  path = efficientnet.weights_path()
  with pytest.raises(errors.InputError, match="is not the published file"):
    features.inception(path)


@pytest.mark.parametrize(("takes", "has"), [(3, 2), (3, 4), (1, 3)])
def test_images_of_other_channels(takes, has):
  with pytest.raises(errors.InputError, match=f"takes images of {takes}"):
    features.extract(_pixels(channels=takes), _images(1, channels=has))


@pytest.fixture
def cached(tmp_path):
  """Return features, and whether they were computed or read."""

  def run(extractor, images, **options):
    calls = []
    got = features.extract(
      extractor,
      images,
      cache_dir=tmp_path / "cache",
      progress=lambda *x: calls.append(x),
      **options,
    )
    return got, bool(calls)

  return run


def _file(tmp_path):
  (path,) = (tmp_path / "cache").glob("*.npy")
  return path


def test_the_same_images_are_read(cached, tmp_path):
  extractor, images = _pixels(), _images(3)
  first, computed = cached(extractor, images)
  assert computed
  again, computed = cached(_pixels(), images.copy(), batch_size=2)
  assert not computed
  np.testing.assert_array_equal(first, again)
  np.testing.assert_array_equal(np.load(_file(tmp_path)), first)
  again[:] = 0  # it may be written to, and is not the file


def test_other_contents_are_computed(cached):
  images = _images(4)
  cached(_pixels(), images)
  changed = images.copy()
  changed[3, 7, 7, 2] ^= 1
  for extractor, those in (
    (_pixels(), changed),
    (_pixels(), images[:3]),
    (_pixels(), images[::-1]),
    (_pixels(), images.reshape(4, 4, 16, 3)),
    (_pixels(scale=2.0), images),
    (_pixels(name="Other"), images),
  ):
    got, computed = cached(extractor, those)
    assert computed
    np.testing.assert_array_equal(got, features.extract(extractor, those))


def _signed(content):
  return content + hashlib.sha256(content).digest()


def _npy(array):
  buffer = io.BytesIO()
  np.save(buffer, array)
  return buffer.getvalue()


@pytest.mark.parametrize(
  "damage",
  [
    lambda content: b"",
    lambda content: content[:-1],
    lambda content: content[:300] + b"\1" + content[301:],
    lambda content: _signed(b"\x93NUMPY\1\0\xff\xff{"),
    lambda content: _signed(_npy(np.zeros((2, 192), np.float32))),
    lambda content: _signed(_npy(np.array([{}]))),
  ],
)
def test_a_damaged_file_is_computed_anew(cached, tmp_path, absl_log, damage):
  extractor, images = _pixels(), _images(3)
  first, _ = cached(extractor, images)
  path = _file(tmp_path)
  whole = path.read_bytes()
  path.write_bytes(damage(whole))
  again, computed = cached(extractor, images)
  assert computed
  np.testing.assert_array_equal(first, again)
  assert "is damaged" in absl_log.text
  assert path.read_bytes() == whole


def test_nothing_of_a_cached_file_runs(cached, tmp_path):
  images, marker = _images(3), tmp_path / "ran"
  cached(_pixels(), images)
  header = _npy(np.array([{}]))[:128]
  content = header + planted(marker, pickle.HIGHEST_PROTOCOL)
  _file(tmp_path).write_bytes(_signed(content))
  cached(_pixels(), images)
  assert not marker.exists()


def test_a_cache_that_cannot_be_does_not_stop_a_run(tmp_path, absl_log):
  (tmp_path / "file").write_text("")
  images = _images(3)
  for _ in range(2):
    got = features.extract(_pixels(), images, cache_dir=tmp_path / "file")
    np.testing.assert_array_equal(got, images.reshape(3, 192))
  assert absl_log.text.count("set XDG_CACHE_HOME to a directory") == 1
