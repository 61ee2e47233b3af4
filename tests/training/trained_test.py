"""Tests of networks that are loaded from workdirs."""

from skinjax.training import loop, tasks, trained
from tests import shrunk


def _network(path, **changes):
  config = shrunk.config("classifier", **changes)
  loop.train(tasks.named("classifier"), config, path, shrunk.dataset())
  return trained.load(path)


def test_the_digest_is_that_of_the_weights(tmp_path):
  one, again, other = (
    _network(tmp_path / name, seed=seed)
    for name, seed in (("one", 0), ("again", 0), ("other", 1))
  )
  assert len(one.digest) == 64
  # When and where they were written does not matter.
  assert one.digest == again.digest
  assert one.digest != other.digest


def test_is_trained(tmp_path):
  assert not trained.is_trained(tmp_path / "none", 4)
  _network(tmp_path / "run")
  assert trained.is_trained(tmp_path / "run", 4)
  assert not trained.is_trained(tmp_path / "run", 6)
  (tmp_path / "run" / "checkpoints" / "4" / "manifest.json").unlink()
  assert not trained.is_trained(tmp_path / "run", 4)
