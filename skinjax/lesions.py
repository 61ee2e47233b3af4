"""Which lesion each image shows, and which test images share one."""

import os
import re
from typing import NamedTuple

import ml_collections

import tfds_ham10000
from skinjax.data import sources
from skinjax.image_tables import Row
from skinjax.runtime import errors
from tfds_ham10000 import sources as ham10000
from tfds_ham10000 import splits, tables

# What a test image can share with training, the plainest first.
KINDS = ("image", "lesion", "duplicate")


class Known(NamedTuple):
  """What is known of images.

  Attributes:
    lesions: lesion id by image id.
    labels: diagnosis by image id.
    where: they are from, in words.
    untold: why no lesion is known, and what to give; empty if some are.
  """

  lesions: dict[str, str]
  labels: dict[str, str]
  where: str
  untold: str = ""


class Leak(NamedTuple):
  """A test image, and the first training image that it shares `kind` with."""

  image_id: str
  kind: str
  train_id: str


def look_up(
  config: ml_collections.ConfigDict, train: list[Row], test: list[Row]
) -> Known:
  """Finds out which lesion each image shows.

  Args:
    config: of configs/leaks.py.
    train: the table that config.train names.
    test: the table that config.test names.

  Returns:
    What HAM10000's own table says if there is one; else what the two tables
    do, or HAM10000 as prepared if they can't; if nothing tells, why.

  Raises:
    InputError: none of the images is of HAM10000, or the tables contradict
      themselves.
    tfds_ham10000.DataError: the table in data.manual_dir is not HAM10000's.
  """
  if config.data.manual_dir:
    known = _in_table(config.data.manual_dir)
  elif why := _why_not_own(train, test):
    if not sources.is_prepared(config.data):
      untold = (
        f"Nothing tells which lesion an image shows: {why}, and no ham10000 is "
        "prepared. Name the directory with HAM10000_metadata.csv by "
        "--config.data.manual_dir=DIR, or give both tables such a column."
      )
      return Known({}, {}, "nothing", untold)
    known = _in_prepared(config.data)
  else:
    return Known(_own(config, train, test), {}, "the tables' column lesion_id")
  if not any(row.image_id in known.lesions for row in (*train, *test)):
    raise errors.InputError(
      f"No image of config.train={config.train} or config.test={config.test} "
      f"is in HAM10000 (the first is {train[0].image_id}): ids like "
      f"{next(iter(known.lesions))} are wanted."
    )
  return known


def find_leaks(
  train: list[str],
  test: list[str],
  known: dict[str, str],
  pairs: list[tuple[str, str]],
) -> list[Leak]:
  """Finds the test images that training has seen in one way or another.

  Args:
    train: image ids.
    test: image ids.
    known: lesion id by image id, also of images in neither; an image without
      one is taken for the only one of its lesion.
    pairs: image ids known to show one lesion; they join whole lesions.

  Returns:
    One leak for each test image that has any, of the first kind of KINDS.
  """
  lesion = {image: f"only {image}" for image in (*train, *test)} | known
  groups = splits.join_groups(lesion, pairs)
  names = ({image: image for image in lesion}, lesion, groups)
  seen = [{name[image]: image for image in train[::-1]} for name in names]
  leaks = []
  for image in dict.fromkeys(test):
    for kind, name, first in zip(KINDS, names, seen, strict=True):
      if name[image] in first:
        leaks.append(Leak(image, kind, first[name[image]]))
        break
  return leaks


def _in_table(folder: str) -> Known:
  try:
    place = ham10000.find_table(os.path.expanduser(folder))
  except tfds_ham10000.DataError as error:
    raise errors.InputError(
      f"data.manual_dir={folder} is no directory with HAM10000's table: one of "
      f"{', '.join(ham10000.TABLE_NAMES)} is wanted in it."
    ) from error
  cases = tables.read_cases(place)
  lesions = {case.image_id: case.lesion_id for case in cases}
  return Known(lesions, {case.image_id: case.dx for case in cases}, str(place))


def _in_prepared(config: ml_collections.ConfigDict) -> Known:
  names, parts = sources.read(config)
  lesions, labels = {}, {}
  for part in parts.values():
    ids = part.image_ids.tolist()
    lesions |= zip(ids, part.groups.tolist(), strict=True)
    labels |= zip(ids, [names[label] for label in part.labels], strict=True)
  where = "ham10000 as prepared, where a known duplicate is the same lesion"
  return Known(lesions, labels, where)


def _why_not_own(train: list[Row], test: list[Row]) -> str:
  """Says why the tables' own lesion ids can't be compared, if they can't."""
  ids = [[row.lesion for row in table if row.lesion] for table in (train, test)]
  for key, own in zip(("train", "test"), ids, strict=True):
    if not own:
      return f"config.{key} has no lesion ids in a column lesion_id"
  # HAM_0000118 in one table and IL_0000118 in the other never meet.
  styles = [{re.sub(r"\d+", "0", lesion) for lesion in own} for own in ids]
  if not styles[0] & styles[1]:
    return (
      "the columns lesion_id of config.train and config.test have ids of "
      f"different kinds ({ids[0][0]}, {ids[1][0]})"
    )
  return ""


def _own(
  config: ml_collections.ConfigDict, train: list[Row], test: list[Row]
) -> dict[str, str]:
  lesions: dict[str, str] = {}
  for key, table in (("train", train), ("test", test)):
    for image, lesion, _, line in table:
      before = lesions.setdefault(image, lesion) if lesion else ""
      if lesion != before:
        raise errors.InputError(
          f"config.{key}={config[key]}, line {line}: image {image} has "
          f"lesion_id {lesion} here and {before} before; an image shows one "
          "lesion."
        )
  return lesions
