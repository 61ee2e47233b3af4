"""Tests of workdirs: one config, one data set, one process."""

import subprocess
import sys

import ml_collections
import pytest

from skinjax.runtime import errors, workdir
from tests import shrunk
from tests.conftest import ROOT


def _claim(path, config, **options):
  frozen = ml_collections.FrozenConfigDict(config)
  with workdir.claim(path, frozen, **options):
    pass


def test_the_config_is_kept_and_read_back(tmp_path):
  config = shrunk.frozen("study", data__classes=("nv", "mel"))
  _claim(tmp_path / "a" / "b", config)
  back = workdir.read_config(tmp_path / "a" / "b")
  assert back.to_dict() == config.to_dict()
  assert back.data.classes == ("nv", "mel")
  _claim(tmp_path / "a" / "b", config)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"seed": 1}, "seed was 0, is 1"),
    ({"data__classes": ("nv",)}, r"data.classes was \(\), is \('nv',\)"),
  ],
)
def test_another_config_is_refused_and_what_differs_is_told(
  tmp_path, change, message
):
  _claim(tmp_path, shrunk.frozen("classifier"))
  with pytest.raises(errors.InputError, match=message):
    _claim(tmp_path, shrunk.frozen("classifier", **change))


def test_keys_that_say_where_and_how_are_free(tmp_path):
  paths = "data__manual_dir", "data__data_dir", "data__folder"
  changes = dict.fromkeys(paths, "/elsewhere")
  changes |= {"parallel": "pmap", "log_every": 1, "eval_every": 4}
  changes |= {"save_every": 4, "sample_every": 2}
  changes |= {"kid_every": 2, "kid_images": 4}
  _claim(tmp_path, shrunk.frozen("acgan"))
  _claim(tmp_path, shrunk.frozen("acgan", **changes))
  # The config of the last run is on record.
  kept = workdir.read_config(tmp_path).to_dict()
  assert kept == shrunk.frozen("acgan", **changes).to_dict()


def test_a_rule_says_what_may_become_of_a_key_or_section(tmp_path):
  asked = []

  def rule(before, now):
    asked.append((before, now))
    return "not backwards" if before and now and now < before else None

  begin = {"a": {"b": 2, "c": 1}, "arm": {"x": {"d": 1}}, "armed": 1}
  grown = {"a": {"b": 3, "c": 1}, "arm": {"y": {"d": 1}}, "armed": 1}
  rules = {"a.b": rule, "arm": lambda before, now: None}
  _claim(tmp_path, begin, rules=rules)
  _claim(tmp_path, begin, rules=rules)
  assert not asked
  _claim(tmp_path, grown, rules=rules)
  assert asked == [(2, 3)]
  assert workdir.read_config(tmp_path).to_dict() == grown
  message = (
    r"another config \(armed was 1, is 2; not backwards\): use another dir"
  )
  with pytest.raises(errors.InputError, match=message):
    _claim(tmp_path, begin | {"armed": 2}, rules=rules)
  assert workdir.read_config(tmp_path).to_dict() == grown
  with pytest.raises(errors.InputError, match=r"a\.b was 3, is 4"):
    _claim(tmp_path, grown | {"a": {"b": 4, "c": 1}})


def test_the_same_content_by_another_path_is_the_same(tmp_path, monkeypatch):
  path = tmp_path / "run"

  def claim(place, content="1", **options):
    contents = {"gan": content, "classifier": None}
    config = {"gan": str(place), "classifier": ""}
    _claim(path, config, contents=contents, **options)
    assert workdir.read_config(path).gan == str(place)

  (tmp_path / "gan").mkdir()
  (tmp_path / "link").symlink_to(tmp_path / "gan")
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("HOME", str(tmp_path))
  claim("gan")
  for place in ("elsewhere", "link", "~/gan", "gan/", tmp_path / "gan"):
    claim(place)
    message = f"the content of config.gan={place} has changed since this run "
    with pytest.raises(errors.InputError, match=message):
      claim(place, "2")
  message = ".*/gan', is 'other', and their contents differ"
  for options in ({}, {"made_anew": True}):
    with pytest.raises(errors.InputError, match=message):
      claim("other", "2", **options)
  claim("~/gan", "2", made_anew=True)
  # Of an earlier version, which kept no contents: the path decides.
  (path / "inputs.json").unlink()
  claim("link", "3")
  with pytest.raises(errors.InputError, match="has changed since"):
    claim("gan", "4")


def test_a_path_that_was_given_or_not_is_another_config(tmp_path):
  for first, second in (("", "x"), ("x", "")):
    place = tmp_path / f"from_{first}"
    _claim(place, {"gan": first}, contents={"gan": first or None})
    message = f"gan was '{first}', is '{second}'"
    with pytest.raises(errors.InputError, match=message):
      _claim(place, {"gan": second}, contents={"gan": second or None})


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
  with (
    pytest.raises(errors.InputError),
    workdir.claim(tmp_path, one, contents={"a": "1"}),
  ):
    raise errors.InputError("a is wrong")
  assert {entry.name for entry in tmp_path.iterdir()} <= {".lock"}
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
