"""Divides cases into folds and splits so that no lesion is in two of them.

Groups are ranked within their class by a hash. The result therefore depends on
the seed and the groups only: not on the order of the examples, the machine, or
the version of a random number generator. A group of several classes, such as a
patient, counts for the rarest of them.
"""

import collections
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

SPLITS = ("train", "validation", "test")
# Percent of a class's groups at which train and validation end.
_CUTS = (70, 80)
_SPLIT_SEED = 0


def join_groups(
  lesions: Mapping[str, str], pairs: Iterable[tuple[str, str]]
) -> dict[str, str]:
  """Merge lesions that pairs of images show to be the same.

  Args:
    lesions: lesion id of every image id.
    pairs: image ids that show one lesion; a pair with an image that is not in
      `lesions` is ignored.

  Returns:
    The group of every image id: the smallest of the merged lesion ids.
  """
  parent = {lesion: lesion for lesion in lesions.values()}

  def find(lesion: str) -> str:
    while parent[lesion] != lesion:
      lesion = parent[lesion]
    return lesion

  for a, b in pairs:
    if a in lesions and b in lesions:
      low, high = sorted((find(lesions[a]), find(lesions[b])))
      parent[high] = low
  return {image: find(lesion) for image, lesion in lesions.items()}


def folds(
  groups: Sequence[Any], labels: Sequence[Any], k: int, seed: int
) -> np.ndarray:
  """Distribute the groups of every class over k folds.

  Within a class, groups are ranked by the SHA-256 of seed and group and dealt
  out in turn, so folds differ by at most one group in every class.

  Args:
    groups: [n] str or bytes, the group of every example.
    labels: [n] the class of every example.
    k: number of folds, at least 2.
    seed: selects the partition.

  Returns:
    [n] int64, the fold of every example, 0 to k - 1.

  Raises:
    ValueError: k is below 2, a class has fewer groups than k, or groups and
      labels differ in length.
  """
  if k < 2:
    raise ValueError(f"k is {k}; there must be at least 2 folds")
  ranked = _rank_groups(groups, labels, seed)
  for label, members in ranked.items():
    if len(members) < k:
      remedy = "leave the class out"
      if len(members) > 2:  # `fold_splits` needs three folds.
        remedy = f"ask for at most {len(members)} folds or {remedy}"
      raise ValueError(
        f"class {str(label)!r} has {len(members)} groups, too few for {k} "
        f"folds; {remedy}"
      )
  fold_of = {
    group: rank % k
    for members in ranked.values()
    for rank, group in enumerate(members)
  }
  return np.array([fold_of[_encode(group)] for group in groups], np.int64)


def assign_splits(
  groups: Sequence[Any], labels: Sequence[Any], seed: int = _SPLIT_SEED
) -> np.ndarray:
  """Assign splits: cut every class at 70 and 80 percent of its ranked groups.

  Args:
    groups: [n] str or bytes, the group of every example.
    labels: [n] the class of every example.
    seed: selects the partition; the data sets use the default.

  Returns:
    [n] str, the split of every example: train, validation or test.

  Raises:
    ValueError: groups and labels differ in length.
  """
  split_of = {}
  for members in _rank_groups(groups, labels, seed).values():
    # Integers, so that rounding is the same everywhere.
    ends = [(percent * len(members) + 50) // 100 for percent in _CUTS]
    for rank, group in enumerate(members):
      split_of[group] = SPLITS[sum(rank >= end for end in ends)]
  return np.array([split_of[_encode(group)] for group in groups], np.str_)


def fold_splits(
  groups: Sequence[Any],
  labels: Sequence[Any],
  fold: int,
  num_folds: int,
  seed: int,
) -> np.ndarray:
  """Return the split of every example, with a fold as the test split.

  Args:
    groups: [n] str or bytes, the group of every example.
    labels: [n] the class of every example.
    fold: the test split; the next fold (after the last, the first) is the
      validation split, and the rest is the training split. -1 means the data
      sets' own splits, whatever num_folds and seed.
    num_folds: at least 3.
    seed: selects the partition into folds.

  Returns:
    [n] str, the split of every example: train, validation or test.

  Raises:
    ValueError: there is no such fold; or as in `folds` and `assign_splits`.
  """
  if fold == -1:
    return assign_splits(groups, labels)
  if num_folds < 3 or not 0 <= fold < num_folds:
    raise ValueError(
      f"fold {fold} of {num_folds}; a fold must be from 0 to one less than the "
      "number of folds, which must be at least 3, or -1 for the fixed splits"
    )
  # 0: test, 1: validation.
  place = (folds(groups, labels, num_folds, seed) - fold) % num_folds
  return np.array(("test", "validation", "train"))[np.minimum(place, 2)]


def _rank_groups(
  groups: Sequence[Any], labels: Sequence[Any], seed: int
) -> dict[Any, list[bytes]]:
  """Sort the groups of every class by the SHA-256 of seed and group."""
  if len(groups) != len(labels):
    raise ValueError(f"{len(groups)} groups but {len(labels)} labels")
  counts = collections.Counter(labels)
  label_of: dict[bytes, Any] = {}
  for group, label in zip(map(_encode, groups), labels, strict=True):
    known = label_of.get(group, label)
    # Of equally rare classes, the first by name.
    label_of[group] = min(known, label, key=lambda x: (counts[x], str(x)))
  ranked: dict[Any, list[bytes]] = {}
  for group in sorted(
    label_of, key=lambda g: hashlib.sha256(b"%d:%b" % (seed, g)).digest()
  ):
    ranked.setdefault(label_of[group], []).append(group)
  return ranked


def _encode(group: Any) -> bytes:
  """Encode text, so that it equals the bytes that TFDS returns."""
  return group if isinstance(group, bytes) else str(group).encode()
