"""Tests of files that are whole or absent."""

import errno
import json
import os
import pathlib
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinjax.runtime import errors, files


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
  path = tmp_path / "a.txt"
  files.write_text(path, "old and longer")
  files.write_text(path, "né")
  assert path.read_bytes() == "né".encode()
  assert os.listdir(tmp_path) == ["a.txt"]


def test_a_write_that_is_cut_short_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / "a.txt"
  files.write_text(path, "old")

  def killed(_):
    raise KeyboardInterrupt

  monkeypatch.setattr(os, "fsync", killed)
  with pytest.raises(KeyboardInterrupt):
    files.write_text(path, "new")
  assert path.read_text() == "old"
  assert os.listdir(tmp_path) == ["a.txt"]


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path):
  lock = tmp_path / ".lock"
  with files.locked(lock):
    message = (
      rf"Another process \({os.getpid()} on .*\) is using {tmp_path}: wait"
    )
    with pytest.raises(errors.InUseError, match=message), files.locked(lock):
      pass
  with files.locked(lock), files.locked(tmp_path / ".other"):
    pass


def test_a_lock_is_waited_for_in_words(tmp_path, absl_log):
  lock = tmp_path / ".lock"
  order = []

  def hold():
    with files.locked(lock):
      held.set()
      while not absl_log.records:  # until the other one says that it waits
        time.sleep(0.01)
      order.append("first")

  held = threading.Event()
  thread = threading.Thread(target=hold)
  thread.start()
  assert held.wait(10)
  with files.locked(lock, wait=True):
    order.append("second")
  thread.join()
  assert order == ["first", "second"]
  assert "waiting for it" in absl_log.text


def test_what_cannot_be_locked_is_told(tmp_path):
  with (
    pytest.raises(errors.InputError, match="cannot be locked"),
    files.locked(tmp_path),
  ):
    pass


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
  files.make_directory(tmp_path / "a" / "b", "--workdir")
  files.make_directory(tmp_path / "a" / "b", "--workdir")
  (tmp_path / "file").touch()
  with pytest.raises(errors.InputError, match=r"data.data_dir=.*Not a direct"):
    files.make_directory(tmp_path / "file" / "below", "data.data_dir")


def test_paths_of_users(monkeypatch):
  monkeypatch.setenv("HOME", "/home/ada")
  assert files.user_path("~/runs/a") == pathlib.Path("/home/ada/runs/a")
  for text in ("/a/b", "a/~/b", "c:/x", "."):
    assert files.user_path(text) == pathlib.Path(text)
  for text in ("gs://bucket/runs", "s3://b", "file:///a"):
    with pytest.raises(errors.InputError, match=f"{text} is a URL.*mount the"):
      files.user_path(text)
  with pytest.raises(errors.InputError, match="in no user's home"):
    files.user_path("~no-such-user/a")


def test_json_has_null_for_what_is_no_number(tmp_path):
  value = {"a": float("nan"), 1: [float("inf"), (-float("inf"), 0.5)], "b": "x"}
  files.write_json(tmp_path / "a.json", value)
  text = (tmp_path / "a.json").read_text()
  assert text.endswith("\n")
  wanted = {"a": None, "1": [None, [None, 0.5]], "b": "x"}
  assert json.loads(text, parse_constant=pytest.fail) == wanted


@pytest.mark.parametrize("content", [None, b"no zip", b"PK\5\6" + 18 * b"\xff"])
def test_arrays_that_cannot_be_read_say_what_to_do(tmp_path, content):
  path = tmp_path / "a.npz"
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(errors.InputError, match=r"a\.npz cannot .*: fetch it\.$"):
    files.read_arrays(path, "fetch it")


def test_a_failing_disk_is_no_damaged_file(tmp_path, monkeypatch):
  def fail(*_):
    raise OSError(errno.EIO, "Input/output error")

  monkeypatch.setattr(pathlib.Path, "read_bytes", fail)
  with pytest.raises(OSError, match="Input/output error"):
    files.read_arrays(tmp_path / "a.npz", "fetch it")


_values = st.recursive(
  st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
  lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
  max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(_values)
def test_plain_values_are_json_and_stay_as_they_are(value):
  once = files.plain(value)
  assert json.loads(json.dumps(once, allow_nan=False)) == once
  assert files.plain(once) == once
