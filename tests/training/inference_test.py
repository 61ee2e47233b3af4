"""Tests of networks that are loaded from workdirs."""

from skinjax.training import inference, loop, pretrained
from tests import shrunk


def _trained(path, **changes):
  config = shrunk.config("classifier", **changes)
  loop.train(inference.task_named("classifier"), config, path, shrunk.dataset())
  return pretrained.load(path, shrunk.dataset().info)


def test_the_digest_is_that_of_the_weights(tmp_path):
  one, again, other = (
    _trained(tmp_path / name, seed=seed)
    for name, seed in (("one", 0), ("again", 0), ("other", 1))
  )
  assert len(one.digest) == 64
  # When and where they were written does not matter.
  assert one.digest == again.digest
  assert one.digest != other.digest


def test_is_trained(tmp_path):
  assert not pretrained.is_trained(tmp_path / "none", 4)
  _trained(tmp_path / "run")
  assert pretrained.is_trained(tmp_path / "run", 4)
  assert not pretrained.is_trained(tmp_path / "run", 6)
  (tmp_path / "run" / "checkpoints" / "4" / "manifest.json").unlink()
  assert not pretrained.is_trained(tmp_path / "run", 4)
