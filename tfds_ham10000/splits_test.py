import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfds_ham10000.splits import assign_splits, fold_splits, folds, join_groups
from tfds_ham10000.tables import duplicates

_LABELED = st.dictionaries(
  st.text(min_size=1, max_size=5), st.sampled_from("abc"), min_size=1
)


def _rank(seed, groups):
  digest = lambda g: hashlib.sha256(f"{seed}:{g}".encode()).hexdigest()
  return sorted(groups, key=digest)


def test_folds_by_hand():
  # printf 7:A | sha256sum, and so on, gives the order A C B D for seed 7.
  assert _rank(7, "ABCD") == ["A", "C", "B", "D"]
  labels = [0] * 5
  assert folds(list("ABCDA"), labels, 2, 7).tolist() == [0, 0, 1, 1, 0]


def test_folds_deal_every_class_by_itself():
  groups, labels = list("ABCDEFGH"), list("xxxxyyyy")
  dealt = dict(zip(groups, folds(groups, labels, 3, 7), strict=True))
  for members in ("ABCD", "EFGH"):
    assert [dealt[g] for g in _rank(7, members)] == [0, 1, 2, 0]


def test_a_group_of_several_classes_counts_for_the_rarest():
  # A is of the rarer y: x has C B D in the order of seed 7, y has E A or A E.
  groups, labels = list("ABCDAE"), list("xxxxyy")
  dealt = dict(zip(groups, folds(groups, labels, 2, 7), strict=True))
  assert [dealt[g] for g in "CBD"] == [0, 1, 0]
  assert sorted([dealt["A"], dealt["E"]]) == [0, 1]
  again = folds(groups[::-1], labels[::-1], 2, 7)[::-1]
  assert again.tolist() == [dealt[g] for g in groups]


@settings(max_examples=40, deadline=None)
@given(_LABELED, st.integers(2, 5), st.integers(0, 99), st.randoms())
def test_folds_properties(label_of, k, seed, random):
  examples = [g for g in label_of for _ in range(1 + len(g) % 3)]
  sizes = [list(label_of.values()).count(c) for c in set(label_of.values())]
  labels = [label_of[g] for g in examples]
  if min(sizes) < k:
    with pytest.raises(ValueError, match=f"groups, too few for {k} folds"):
      folds(examples, labels, k, seed)
    return
  dealt = folds(examples, labels, k, seed)
  assert dealt.dtype == np.int64
  fold_of = dict(zip(examples, dealt.tolist(), strict=True))
  assert [fold_of[g] for g in examples] == dealt.tolist()
  for c in set(labels):
    members = [fold_of[g] for g in label_of if label_of[g] == c]
    counts = np.bincount(members, minlength=k)
    assert counts.max() - counts.min() <= 1
  order = list(range(len(examples)))
  random.shuffle(order)
  permuted = folds(
    [examples[i] for i in order], [labels[i] for i in order], k, seed
  )
  assert permuted.tolist() == dealt[order].tolist()


def test_folds_change_with_the_seed_and_not_with_the_type_of_text():
  groups, labels = [f"HAM_{i}" for i in range(40)], np.zeros(40, int)
  first = folds(groups, labels, 4, 0)
  assert first.tolist() != folds(groups, labels, 4, 1).tolist()
  for same in (np.array(groups), [g.encode() for g in groups]):
    assert first.tolist() == folds(same, labels, 4, 0).tolist()


@pytest.mark.parametrize(
  ("groups", "labels", "k", "message"),
  [
    ("ABC", "xxy", 2, "'y' has 1 groups, too few for 2 folds; leave the"),
    (
      "ABC",
      np.zeros(3, int),
      4,
      "class '0' has 3 .*; ask for at most 3 ",
    ),
    ("AB", "xx", 1, "k is 1"),
    ("AB", "x", 2, "2 groups but 1 labels"),
  ],
)
def test_folds_refuse(groups, labels, k, message):
  with pytest.raises(ValueError, match=message):
    folds(list(groups), list(labels), k, 0)


@pytest.mark.parametrize(
  ("fold", "expected"),
  [
    # The order A C B D for seed 7 is dealt out to the folds 0 1 2 0.
    (0, {"A": "test", "C": "validation", "B": "train", "D": "test"}),
    (1, {"A": "train", "C": "test", "B": "validation", "D": "train"}),
    (2, {"A": "validation", "C": "train", "B": "test", "D": "validation"}),
  ],
)
def test_splits_of_a_fold_by_hand(fold, expected):
  names = fold_splits(list("ABCDA"), "x" * 5, fold, 3, 7)
  assert names.tolist() == [expected[group] for group in "ABCDA"]


def test_fold_minus_1_means_the_data_sets_own_splits():
  groups = [f"g{i}" for i in range(20)]
  names = fold_splits(groups, "x" * 20, -1, 5, 7)
  assert names.tolist() == assign_splits(groups, "x" * 20).tolist()


@pytest.mark.parametrize(("fold", "num_folds"), [(-2, 5), (5, 5), (0, 2)])
def test_folds_that_there_are_not_are_refused(fold, num_folds):
  with pytest.raises(ValueError, match=f"^fold {fold} of {num_folds}; a fold"):
    fold_splits(list("ABCDE"), "x" * 5, fold, num_folds, 0)


def test_splits_are_the_ranking_cut_at_70_and_80_percent():
  groups = [f"g{i}" for i in range(20)]
  split_of = dict(zip(groups, assign_splits(groups, "x" * 20, 7), strict=True))
  expected = ["train"] * 14 + ["validation"] * 2 + ["test"] * 4
  assert [split_of[g] for g in _rank(7, groups)] == expected


def test_join_groups_takes_the_smallest_id_of_what_hangs_together():
  lesions = {"i1": "L3", "i2": "L2", "i3": "L1", "i4": "L4", "i5": "L3"}
  pairs = [("i1", "i2"), ("i2", "i3"), ("i4", "elsewhere")]
  expected = {"i1": "L1", "i2": "L1", "i3": "L1", "i4": "L4", "i5": "L1"}
  assert join_groups(lesions, pairs) == expected


def test_shipped_pairs():
  pairs = duplicates()
  assert len(set(pairs)) == 18
  assert all(a < b for a, b in pairs)
