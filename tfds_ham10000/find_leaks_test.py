"""Tests of finding leaks, beside examples by hand and brute force."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfds_ham10000 import leaks


@pytest.mark.parametrize(
  ("train", "test", "leak"),
  [
    ("b", "a", None),
    ("a", "a", ("a", "image", "a")),
    ("cb", "a", ("a", "lesion", "c")),
    ("hc", "a", ("a", "lesion", "h")),  # the first of several is named
    ("bca", "a", ("a", "image", "a")),  # the plainest counts, and once
    ("bac", "aa", ("a", "image", "a")),
    ("d", "a", ("a", "duplicate", "d")),
    ("e", "a", ("a", "duplicate", "e")),  # by lesion 2, of which d is
    ("f", "a", ("a", "duplicate", "f")),  # over two pairs
    ("ef", "g", ("g", "lesion", "f")),
    ("xy", "z", None),  # images without a known lesion
    ("xy", "y", ("y", "image", "y")),
    ("x", "w", ("w", "duplicate", "x")),  # a pair joins these all the same
  ],
)
def test_find_by_hand(train, test, leak):
  known = dict(zip("achdefg", "1112233", strict=True))
  pairs = [("c", "d"), ("e", "g"), ("x", "w"), ("a", "nowhere")]
  found = leaks.find_leaks(train, test, known, pairs)
  assert found == ([leaks.Leak(*leak)] if leak else [])


def test_an_id_that_is_also_a_lesions_name_joins_nothing():
  assert not leaks.find_leaks(["a"], ["b"], {"a": "b"}, [])


def _brute(train, test, known, pairs, there):
  """Find leaks by walking from image to image of those that are there."""

  def same_lesion(i, j):
    return i == j or (i in known and known[i] == known.get(j))

  found = {}
  for image in test:
    reached, edge = {image}, [image]
    while edge:
      i = edge.pop()
      for j in there - reached:
        if same_lesion(i, j) or (i, j) in pairs or (j, i) in pairs:
          reached.add(j)
          edge.append(j)
    if image in train:
      found[image] = "image"
    elif any(same_lesion(image, i) for i in train):
      found[image] = "lesion"
    elif reached & set(train):
      found[image] = "duplicate"
  return found


_IDS = st.sampled_from("abcdefghijkl")


@settings(max_examples=100, deadline=None)
@given(
  st.lists(_IDS, max_size=6),
  st.lists(_IDS, max_size=6),
  st.dictionaries(_IDS, st.sampled_from("123456ab")),
  st.lists(st.tuples(_IDS, _IDS), max_size=4),
)
def test_find_is_what_brute_force_finds(train, test, known, pairs):
  found = leaks.find_leaks(train, test, known, pairs)
  assert len({leak.image_id for leak in found}) == len(found)
  kinds = {leak.image_id: leak.kind for leak in found}
  there = {*train, *test, *known}
  assert kinds == _brute(train, test, known, pairs, there)
  for image, kind, met in found:
    assert met in train
    assert _brute([met], [image], known, pairs, there) == {image: kind}
