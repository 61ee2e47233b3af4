r"""Checks whether a train/test split of HAM10000 leaks.

  python -m tfds_ham10000.leaks --train=a.csv --test=b.csv \
    --manual_dir=~/Downloads/ham10000 --csv=leaks.csv

Reports by class which test images share an image, a lesion, a known duplicate
or a patient with training. A table of images is CSV with a column image_id (or
image, path etc.), or plain text with one id or path per line. Lesions are
looked up in HAM10000's table of cases in the manual directory (without one, in
ham10000 as prepared by TFDS) and in the tables' own column lesion_id; patients,
whom HAM10000's table does not name, in their column patient_id.

Exit codes: 0 no leak, and all images could be traced; 1 some test images leak;
2 bad input; 3 no leak was found, but not all images could be traced.
"""

import argparse
import collections
import csv
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from etils import epath

from tfds_ham10000 import command_line, image_tables, sources, splits, tables
from tfds_ham10000.errors import DataError
from tfds_ham10000.image_tables import Row

# What a test image can share with training, the most direct first.
KINDS = ("image", "lesion", "duplicate", "patient")
_SHOWN = 10  # leaking images that are printed


class Known(NamedTuple):
  """HAM10000's own table; empty if there is none.

  Attributes:
    lesions: lesion id by image id.
    labels: diagnosis by image id.
    where: its location.
  """

  lesions: dict[str, str]
  labels: dict[str, str]
  where: str


class Leak(NamedTuple):
  """A test image, and the first training image that it shares `kind` with."""

  image_id: str
  kind: str
  train_id: str


class Result(NamedTuple):
  """The result of a check.

  Attributes:
    leaks: the test images that leak, in the test table's order.
    lesions: lesion id by image id, for all images that have one.
    labels: the class of every test image, "?" if unknown.
    traced_by: "patient" if the tables name any, else "lesion".
    untraced: for `train` and `test`, the images whose patient or lesion is
      unknown, without those that leak anyway.
    pairs_apart: the number of known duplicates that could not be compared.
  """

  leaks: list[Leak]
  lesions: dict[str, str]
  labels: dict[str, str]
  traced_by: str
  untraced: dict[str, list[str]]
  pairs_apart: int

  @property
  def exit_code(self) -> int:
    """Return 1 if any test image leaks, 3 if one may, else 0."""
    if self.leaks:
      return 1
    return 3 if any(self.untraced.values()) or self.pairs_apart else 0


def look_up(manual_dir: str, data_dir: str) -> Known:
  """Read HAM10000's table, or the same data as prepared by TFDS.

  Args:
    manual_dir: the directory with the table; empty to use `data_dir`.
    data_dir: TFDS's data directory; empty for its default.

  Raises:
    DataError: there is no such table, or the prepared data can't be read.
  """
  if not manual_dir:
    return _prepared(data_dir)
  table = sources.find_table(epath.Path(manual_dir))
  cases = table.cases
  lesions = {case.image_id: case.lesion_id for case in cases}
  return Known(lesions, {case.image_id: case.dx for case in cases}, table.where)


def judge(
  train: Sequence[Row],
  test: Sequence[Row],
  known: Known,
  pairs: Sequence[tuple[str, str]],
) -> Result:
  """Find the images that leak, and those that can't be traced.

  Args:
    train: the table of training images.
    test: the table of test images.
    known: HAM10000's table.
    pairs: image ids known to show one lesion.

  Raises:
    DataError: an image has two lesions, or two patients.
  """
  lesions = _ids(train, test, "lesion", known.lesions)
  patients = _ids(train, test, "patient", {})
  train_ids, test_ids = (
    list(dict.fromkeys(row.image_id for row in table))
    for table in (train, test)
  )
  leaks = find_leaks(train_ids, test_ids, lesions, pairs, patients)
  labels: dict[str, str] = {}
  for row in test:
    label = row.label or known.labels.get(row.image_id, "?")
    labels.setdefault(row.image_id, label)
  # Other patients have other lesions, but not the reverse.
  traced_by, ids = "lesion", lesions
  if any(row.patient for row in (*train, *test)):
    traced_by, ids = "patient", patients
  certain = ids.keys() | {leak.image_id for leak in leaks}
  untraced = {
    "train": [image for image in train_ids if image not in ids],
    "test": [image for image in test_ids if image not in certain],
  }
  # HAM10000's table has the lesions of all known duplicates.
  there, apart = lesions.keys() | {*train_ids, *test_ids}, 0
  if not known.lesions and any(i.startswith("ISIC_") for i in there):
    apart = sum(not there.issuperset(pair) for pair in pairs)
  return Result(leaks, lesions, labels, traced_by, untraced, apart)


def find_leaks(
  train: Sequence[str],
  test: Sequence[str],
  known: dict[str, str],
  pairs: Iterable[tuple[str, str]],
  patients: dict[str, str] | None = None,
) -> list[Leak]:
  """Find the test images that share something with training images.

  Args:
    train: image ids.
    test: image ids.
    known: lesion id by image id; it may have further images. An image without a
      lesion id counts as the only one of its lesion.
    pairs: image ids known to show one lesion; they merge whole lesions.
    patients: patient id by image id, of those that are known; pairs merge
      patients, too.

  Returns:
    One leak for each test image that leaks, of the first kind in KINDS.
  """
  only = {image: f"only {image}" for image in (*train, *test)}
  lesion, patient = only | known, only | (patients or {})
  joined = (splits.join_groups(ids, pairs) for ids in (lesion, patient))
  names = ({image: image for image in lesion}, lesion, *joined)
  seen = [{name[image]: image for image in train[::-1]} for name in names]
  leaks = []
  for image in dict.fromkeys(test):
    for kind, name, first in zip(KINDS, names, seen, strict=True):
      if name[image] in first:
        leaks.append(Leak(image, kind, first[name[image]]))
        break
  return leaks


def _prepared(data_dir: str) -> Known:
  if data_dir and not epath.Path(data_dir).is_dir():
    raise DataError(f"--data_dir={data_dir} is not a directory")
  # As TFDS has it.
  default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
  root = epath.Path(data_dir or default).expanduser()
  lesions, labels = {}, {}
  for size in ("64x64", "128x128", "256x256", "original"):
    name = f"ham10000/{size}"
    if not (root / name).is_dir():
      continue
    try:
      import tensorflow_datasets as tfds  # All else works without it.

      builder = tfds.builder(name, data_dir=root)
      if not builder.is_prepared():
        continue
      classes = builder.info.features["label"].names
      for split in builder.info.splits:
        for example in _examples(builder, split):
          image = example["image_id"].decode()
          lesions[image] = example["lesion_id"].decode()
          labels[image] = classes[example["label"]]
    except Exception as error:  # from TFDS, array_record, protobuf and others
      raise DataError(
        f"{root / name}, prepared by TFDS, can't be read ({error}); remove it, "
        "or give --manual_dir"
      ) from error
    return Known(lesions, labels, builder.data_dir)
  return Known({}, {}, "")


def _examples(builder, split: str) -> Iterable[dict]:
  """Read examples of either file format without decoding their images."""
  import tensorflow_datasets as tfds

  decoders = {"image": tfds.decode.SkipDecoding()}
  if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
    return builder.as_data_source(split, decoders=decoders)
  return tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders))


def _ids(
  train: Iterable[Row], test: Iterable[Row], what: str, known: dict[str, str]
) -> dict[str, str]:
  """Return the lesion or patient of each image; `known` overrides own ids.

  Own ids are used only if they can be compared: not if any differs from a known
  one, nor if the two tables share no kind of id.
  """
  own: dict[str, str] = {}
  kinds, clash = [], ""
  for name, table in (("--train", train), ("--test", test)):
    ids = set()
    for row in table:
      image, one = row.image_id, getattr(row, what)
      before = own.setdefault(image, one) if one else ""
      if one != before:
        clash = clash or (
          f"{name}, line {row.line}: image {image} has {what} {one} here and "
          f"{before} before; an image shows one {what}"
        )
      ids.add(known.get(image, one))
    kinds.append({re.sub(r"\d+", "0", one) for one in ids - {""}})
  if not kinds[0] & kinds[1]:  # HAM_0000118 never equals IL_0000118
    return known
  if any(known.get(image, one) != one for image, one in own.items()):
    return known
  if clash:
    raise DataError(clash)
  return own | known


def _counts(result: Result) -> list[tuple[str, ...]]:
  """List the counts by class and in total, below the columns' names."""
  found = {leak.image_id: leak.kind for leak in result.leaks}
  found |= dict.fromkeys(result.untraced["test"], "untraced")
  kinds = ("same image", "same lesion", "known duplicate", "same patient")
  rows = [("class", "test images", *kinds, "leaking", "share", "untraced")]
  for name in (*sorted(set(result.labels.values())), "total"):
    images = [
      i for i, label in result.labels.items() if name in (label, "total")
    ]
    count = collections.Counter(map(found.get, images))
    leaking = sum(count[kind] for kind in KINDS)
    numbers = (len(images), *(count[kind] for kind in KINDS), leaking)
    share = f"{leaking / len(images):.1%}"
    rows.append((name, *map(str, numbers), share, str(count["untraced"])))
  return rows


def _leaks(result: Result) -> list[tuple[str, ...]]:
  """List the leaks, below the columns' names."""
  rows = [("image_id", "class", "kind", "train_image_id", "lesion_id")]
  for image, kind, met in result.leaks:
    lesion = result.lesions.get(image, "")
    rows.append((image, result.labels[image], kind, met, lesion))
  return rows


def _print_aligned(rows: list[tuple[str, ...]], align) -> None:
  """Print rows in columns; `align` pads all columns but the first."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  for first, *others in rows:
    fields = [first.ljust(widths[0]), *map(align, others, widths[1:])]
    print("  ".join(fields).rstrip())


def _print(result: Result, known: Known) -> None:
  """Print the counts by class, the first leaks and the untraced images."""
  where = (
    known.where or "the tables' own lesion ids; HAM10000's table is missing"
  )
  print(f"Lesions are looked up in {where}.")
  _print_aligned(_counts(result), str.rjust)
  others = "image id"
  if result.traced_by == "patient":
    others = "lesion and image id"
  for name, images in result.untraced.items():
    if images:
      print(
        f"--{name}: the {result.traced_by} of {len(images)} images is unknown "
        f"(such as {images[0]}); they are compared by {others} only."
      )
  if result.pairs_apart:
    print(
      f"{result.pairs_apart} known duplicates can't be compared: neither table "
      "has both images."
    )
  total, leaking = len(result.labels), len(result.leaks)
  if result.exit_code == 0:
    shared = "an image, a lesion or a known duplicate"
    if result.traced_by == "patient":
      shared = "an image, a lesion, a known duplicate or a patient"
    print(
      f"No leak found: none of {total} test images shares {shared} with "
      "training."
    )
  elif result.exit_code == 3:
    print(
      "A leak can't be excluded, as not all images could be traced: "
      f"{total - len(result.untraced['test'])} of {total} test images could, "
      "and none of them is known to leak."
    )
    if result.traced_by == "patient":
      print("Give every line of both tables a patient_id, of one kind.")
    elif not known.where:
      print(
        "Name the directory with HAM10000_metadata.csv by --manual_dir=DIR, or "
        "give both tables a column lesion_id with ids of one kind."
      )
  else:
    print(f"{leaking} of {total} test images leak, such as")
    columns = ("test image", "class", "shares its", "with", "lesion")
    _print_aligned([columns, *_leaks(result)[1 : 1 + _SHOWN]], str.ljust)
    if leaking > _SHOWN:
      print(f"and {leaking - _SHOWN} more; --csv=FILE lists all.")


def _work(args: argparse.Namespace) -> int:
  train = image_tables.read(args.train, "--train")
  test = image_tables.read(args.test, "--test")
  known = look_up(args.manual_dir, args.data_dir)
  for name, table in (("train", train), ("test", test)):
    images = len({row.image_id for row in table})
    print(f"--{name}: {images} images in {len(table)} lines.")
  result = judge(train, test, known, tables.duplicates())
  _print(result, known)
  if args.csv:
    with open(args.csv, "w", newline="", encoding="utf-8") as file:
      csv.writer(file, lineterminator="\n").writerows(_leaks(result))
  return result.exit_code


def main(argv: list[str] | None = None) -> int:
  """Run the command and return its exit code; see this module's docstring."""
  parser = command_line.Parser("leaks", __doc__)
  add = parser.add_argument
  path = os.path.expanduser
  add("--train", required=True, type=path, help="table of the training images")
  add("--test", required=True, type=path, help="table of the test images")
  add(
    "--manual_dir", default="", type=path, help="directory of HAM10000's table"
  )
  add("--data_dir", default="", type=path, help="TFDS's, if not the default")
  add("--csv", type=path, help="file to write all leaks to")
  return parser.run(_work, argv)


if __name__ == "__main__":
  sys.exit(main())
