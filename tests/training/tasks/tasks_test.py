"""Tests of training/tasks/__init__.py: what tasks declare, finding them."""

import pathlib
import subprocess
import sys

import pytest

from skinjax.runtime import errors
from skinjax.training import tasks
from tests.conftest import ROOT


def test_each_task_declares_what_it_can_do():
  found = {name: tasks.named(name) for name in tasks.known()}
  assert found.keys() == {"acgan", "classifier", "progan"}
  for name, task in found.items():
    assert task.name == name
    hash(task)
    # A task either generates images or has features of them.
    assert task.generates == (name != "classifier")
    assert bool(task.features) != task.generates


def test_an_unknown_task_is_refused_with_those_that_exist():
  with pytest.raises(errors.InputError, match="Did you mean 'acgan'") as error:
    tasks.named("acgann")
  assert "acgan, classifier, progan" in str(error.value)


_CONFIG = '''
from configs import common

@common.arguments(dataset="ham10000", size=0, quick=False)
def get_config(dataset, size, quick):
  """A GAN that is another's, so far."""
  config = common.generating("stub", dataset, size, quick)
  config.model.latents = 3
  return config
'''
_TASK = """
import dataclasses
from skinjax.models import stub
from skinjax.training import tasks
from skinjax.training.tasks import acgan

TASK = dataclasses.replace(acgan.TASK, name="stub", title=stub.TITLE)
"""
_USE = """
from configs import common
from skinjax.training import tasks
assert tasks.named("stub").title == "A stub"
assert common.gan_part("stub", "size=16").model.latents == 3
"""


def test_a_new_gan_is_three_files(tmp_path):
  # In a copy of the packages, made of links.
  for path in (ROOT / "skinjax", ROOT / "configs"):
    for file in path.rglob("*.py"):
      link = tmp_path / file.relative_to(ROOT)
      link.parent.mkdir(parents=True, exist_ok=True)
      link.symlink_to(file)
  (tmp_path / "tfds_ham10000").symlink_to(ROOT / "tfds_ham10000")
  for place, text in {
    "configs/stub.py": _CONFIG,
    "skinjax/models/stub.py": 'TITLE = "A stub"\n',
    "skinjax/training/tasks/stub.py": _TASK,
  }.items():
    pathlib.Path(tmp_path, place).write_text(text)
  process = subprocess.run(
    [sys.executable, "-c", _USE],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    timeout=100,
  )
  assert process.returncode == 0, process.stderr
