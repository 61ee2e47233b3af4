r"""Writes each image's split for a fold, for training outside of skinjax.

  python -m tfds_ham10000.fold_table --fold=0 \
    --manual_dir=~/Downloads/ham10000 --output=fold_0.csv

The output is CSV with the columns image_id, lesion_id, group, label and split
(train, validation or test). Only HAM10000's table of cases is needed. Splits
are by group, that is, by lesion merged over known duplicates: fold i is the
test split and fold i+1 the validation split. Fold -1 means the data set's own
splits.

Exit codes: 0 success; 2 bad input.
"""

import argparse
import contextlib
import csv
import os
import sys

from etils import epath

from tfds_ham10000 import command_line, sources, splits, tables
from tfds_ham10000.errors import DataError


def _work(args: argparse.Namespace) -> int:
  cases = sources.find_table(epath.Path(args.manual_dir)).cases
  lesions = {case.image_id: case.lesion_id for case in cases}
  group_of = splits.join_groups(lesions, tables.duplicates())
  groups = [group_of[case.image_id] for case in cases]
  try:
    names = splits.fold_splits(
      groups, [case.dx for case in cases], args.fold, args.num_folds, args.seed
    )
  except ValueError as error:
    raise DataError(str(error)) from error
  rows = [("image_id", "lesion_id", "group", "label", "split")]
  for case, group, name in zip(cases, groups, names, strict=True):
    rows.append((case.image_id, case.lesion_id, group, case.dx, name))
  with (
    open(args.output, "w", newline="", encoding="utf-8")
    if args.output
    else contextlib.nullcontext(sys.stdout)
  ) as file:
    csv.writer(file, lineterminator="\n").writerows(rows)
  return 0


def main(argv: list[str] | None = None) -> int:
  """Run the command and return its exit code; see this module's docstring."""
  parser = command_line.Parser("fold_table", __doc__)
  add = parser.add_argument
  add("--fold", type=int, required=True, help="from 0; -1: fixed splits")
  add("--num_folds", type=int, default=5, help="default: %(default)s")
  add("--seed", type=int, default=0, help="default: %(default)s")
  path = os.path.expanduser
  add("--manual_dir", required=True, type=path, help="that of HAM10000's table")
  add("--output", type=path, help="CSV file to write; default: standard output")
  return parser.run(_work, argv)


if __name__ == "__main__":
  sys.exit(main())
