"""Shared fixtures: eight fake devices, a tiny data set, real data."""

import contextlib
import fcntl
import gc
import getpass
import logging
import os
import pathlib
import sys
import tempfile

# Read when jax is imported, hence before anything else here.
os.environ["XLA_FLAGS"] = " ".join(
  [os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8"]
).strip()
os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import psutil
import pytest
from absl import flags

from skinjax.models import convolution, efficientnet
from tests import shrunk

_BY_PLATFORM = convolution._by_platform
_LARGE = 7 * 2**28  # bytes
ROOT = pathlib.Path(__file__).resolve().parents[1]

jax.config.update("jax_disable_most_optimizations", True)
# Compiled programs are kept from one run of the tests to the next.
jax.config.update(
  "jax_compilation_cache_dir",
  os.path.join(
    tempfile.gettempdir(), f"skinjax-tests-{getpass.getuser()}", "compiled"
  ),
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
flags.FLAGS.mark_as_parsed()


@pytest.fixture(scope="session", autouse=True)
def _native_convolutions():
  """Use convolutions that compile faster and have the same results.

  Those of CPUs are tested in models/convolution_test.py, in tests that start
  other processes, and in tests with the fixture `products`.
  """
  shrunk.convolve_natively()


@pytest.fixture
def products(monkeypatch):
  """Compute convolutions as on CPUs outside of tests: by matrix products."""
  monkeypatch.setattr(convolution, "_by_platform", _BY_PLATFORM)


def _shorten(monkeypatch, *stages):
  """Replace EfficientNet-Lite0 by a short one with random weights."""
  monkeypatch.setattr(efficientnet, "_STAGES", stages)

  def load():
    init = jax.jit(efficientnet.EfficientNet().init)
    return jax.device_get(init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))

  monkeypatch.setattr(efficientnet, "load", load)


@pytest.fixture
def two_stages(monkeypatch, products):
  """Shorten EfficientNet-Lite0, and use convolutions that are fast in loops."""
  _shorten(monkeypatch, (1, 3, 1, 1, 16), (1, 5, 2, 6, 24))


@pytest.fixture
def four_scales(monkeypatch):
  """Shorten EfficientNet-Lite0 to one block for each scale."""
  _shorten(monkeypatch, (1, 3, 1, 1, 8), *((1, 3, 2, 2, 8),) * 4)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """Mark tests that prepare all of HAM10000 as slow."""
  for item in items:
    if "ham10000_dir" in item.fixturenames:
      item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def _memory():
  """Drop compiled programs after a module if the process has grown large."""
  yield
  if psutil.Process().memory_info().rss > _LARGE:
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def absl_log(caplog, monkeypatch):
  """Records of absl's logger, which may or may not propagate to pytest's."""
  logger = logging.getLogger("absl")
  monkeypatch.setattr(logger, "propagate", False)
  logger.addHandler(caplog.handler)
  with caplog.at_level(logging.INFO, logger="absl"):
    yield caplog
  logger.removeHandler(caplog.handler)


@pytest.fixture(scope="session")
def tiny_dataset():
  """49 drawn images of 3 classes; some lesions have two."""
  return shrunk.dataset()


@pytest.fixture(scope="session")
def test_data():
  """The folder of real data; without it the tests that need it are skipped."""
  path = pathlib.Path(
    os.environ.get("SKINJAX_TEST_DATA", ROOT.parent / "shared" / "data")
  )
  if not path.is_dir():
    pytest.skip(f"no real data in {path}: SKINJAX_TEST_DATA names their place")
  return path


@pytest.fixture(scope="session")
def shared_dir(tmp_path_factory, worker_id):
  """A directory for this run, which all of its worker processes share."""
  base = tmp_path_factory.getbasetemp()
  path = (base if worker_id == "master" else base.parent) / "shared"
  path.mkdir(exist_ok=True)
  return path


@contextlib.contextmanager
def _locked(path):
  with path.open("w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


@pytest.fixture(scope="session")
def toy_dir(shared_dir):
  """A data directory with a quarter of toy_lesions prepared."""
  config = shrunk.config("classifier", "dataset=toy,size=16").data
  with shrunk.few_toys():
    return _prepared(shared_dir, "toy", config)


@pytest.fixture(scope="session")
def ham10000_dir(shared_dir, test_data):
  """A data directory with HAM10000 prepared from the user's files."""
  if not (test_data / "ham10000").is_dir():
    pytest.skip(f"no ham10000 in {test_data}")
  config = shrunk.config("classifier", "dataset=ham10000").data
  config.size = 64
  config.manual_dir = str(test_data / "ham10000")
  return _prepared(shared_dir, "ham10000", config)


def _prepared(shared_dir, name, config):
  from skinjax.data import sources

  config.data_dir = str(shared_dir / name)
  with _locked(shared_dir / f"{name}.lock"):
    if not (shared_dir / f"{name}.done").exists():
      sources.read(config)
      (shared_dir / f"{name}.done").touch()
  return config.data_dir
