"""Tests of workdirs: one config, one data set, one process."""

import subprocess
import sys

import ml_collections
import pytest

from skinjax.runtime import errors, workdir
from tests import shrunk
from tests.conftest import ROOT


def _claim(path, config):
  with workdir.claim(path, ml_collections.FrozenConfigDict(config)):
    pass


def test_the_config_is_kept_and_read_back(tmp_path):
  config = shrunk.frozen("study", data__classes=("nv", "mel"))
  _claim(tmp_path / "a" / "b", config)
  back = workdir.read_config(tmp_path / "a" / "b")
  assert back.to_dict() == config.to_dict()
  assert back.data.classes == ("nv", "mel")
  _claim(tmp_path / "a" / "b", config)


@pytest.mark.parametrize(
  ("change", "told"),
  [
    ({"seed": 1}, "seed was 0, is 1"),
    ({"data__classes": ("nv",)}, r"data.classes was \(\), is \('nv',\)"),
  ],
)
def test_another_config_is_refused_and_what_differs_is_told(
  tmp_path, change, told
):
  _claim(tmp_path, shrunk.frozen("classifier"))
  with pytest.raises(errors.InputError, match=told):
    _claim(tmp_path, shrunk.frozen("classifier", **change))


def test_keys_that_say_where_and_how_are_free(tmp_path):
  changes = dict.fromkeys(("data__manual_dir", "data__data_dir"), "/elsewhere")
  changes |= {"parallel": "pmap", "log_every": 1, "eval_every": 4}
  changes |= {"save_every": 4, "sample_every": 2}
  changes |= {"kid_every": 2, "kid_images": 4}
  _claim(tmp_path, shrunk.frozen("acgan"))
  _claim(tmp_path, shrunk.frozen("acgan", **changes))
  # What it was begun with stays on record.
  kept = workdir.read_config(tmp_path).to_dict()
  assert kept == shrunk.frozen("acgan").to_dict()


def test_a_second_process_is_kept_out(tmp_path):
  script = (
    "import sys\n"
    "from skinjax.runtime import files\n"
    "with files.locked(sys.argv[1] + '/.lock'):\n"
    "  print('held', flush=True)\n"
    "  sys.stdin.read()\n"
  )
  config = {"a": 1}
  with subprocess.Popen(
    [sys.executable, "-c", script, str(tmp_path)],
    cwd=ROOT,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
  ) as process:
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(
      errors.InputError, match=r"Another process \(\d+ on .*\) is using"
    ):
      _claim(tmp_path, config)
    process.stdin.close()
    assert process.wait() == 0
  _claim(tmp_path, config)


def test_a_slip_leaves_the_workdir_as_it_was(tmp_path):
  one, other, third = (
    ml_collections.FrozenConfigDict({"a": a}) for a in (1, 2, 3)
  )
  with pytest.raises(errors.InputError), workdir.claim(tmp_path, one):
    raise errors.InputError("a is wrong")
  with workdir.claim(tmp_path, other) as path:
    (path / "made").touch()
  # From here on something came of it.
  with pytest.raises(errors.InputError), workdir.claim(tmp_path, other):
    raise errors.InputError("later")
  with (
    pytest.raises(errors.InputError, match="a was 2, is 3"),
    workdir.claim(tmp_path, third),
  ):
    pass


@pytest.mark.parametrize(
  "kind", [dict, ml_collections.ConfigDict, ml_collections.FrozenConfigDict]
)
def test_flat(kind):
  config = kind({"a": 1, "b": {"c": 2, "d": {"e": (3,)}}})
  assert workdir.flat(config) == {"a": 1, "b.c": 2, "b.d.e": (3,)}
