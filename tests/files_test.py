"""Tests of files that are whole or absent."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinjax import files


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


def test_json_has_null_for_what_is_no_number(tmp_path):
  value = {"a": float("nan"), 1: [float("inf"), (-float("inf"), 0.5)], "b": "x"}
  files.write_json(tmp_path / "a.json", value)
  text = (tmp_path / "a.json").read_text()
  assert text.endswith("\n")
  wanted = {"a": None, "1": [None, [None, 0.5]], "b": "x"}
  assert json.loads(text, parse_constant=pytest.fail) == wanted


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
