"""Tests of fold_table.py: a fold's splits as a table."""

import collections
import csv
import io

import pytest

import tfds_ham10000
from tfds_ham10000 import fold_table, splits
from tfds_ham10000.tables import duplicates

_HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization"


def _run(capsys, *arguments):
  """Run the command; return its exit code, output and errors."""
  try:
    code = fold_table.main(list(map(str, arguments)))
  except SystemExit as end:
    code = end.code
  return code, *capsys.readouterr()


@pytest.fixture
def folder(tmp_path):
  """A table of 24 images of 12 lesions, two of which are duplicates."""
  a, b = duplicates()[0]
  rows = [f"L00,{a},nv", f"L01,{b},nv"]
  rows += [
    f"L{i % 12:02d},I{i:02d},{'nv' if i % 12 < 6 else 'mel'}"
    for i in range(2, 24)
  ]
  lines = [_HEADER, *(f"{row},histo,,," for row in rows)]
  (tmp_path / "HAM10000_metadata.csv").write_text("\n".join(lines))
  return tmp_path


def test_the_splits_of_a_fold(folder, capsys):
  tested = collections.Counter()
  for fold in range(3):
    code, text, _ = _run(
      *(capsys, f"--fold={fold}", "--num_folds=3", "--seed=5"),
      f"--manual_dir={folder}",
    )
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["image_id", "lesion_id", "group", "label", "split"]
    ids = [row["image_id"] for row in rows]
    assert len(ids) == 24
    assert ids == sorted(ids)
    # Duplicates are one group; a group is in one split.
    groups = {row["lesion_id"]: row["group"] for row in rows}
    assert groups["L01"] == groups["L00"] == "L00"
    assert len(set(groups.values())) == 11
    assert len({(row["group"], row["split"]) for row in rows}) == 11
    dealt = splits.folds(
      [row["group"] for row in rows], [row["label"] for row in rows], 3, 5
    )
    for row, place in zip(rows, dealt, strict=True):
      names = {fold: "test", (fold + 1) % 3: "validation"}
      assert row["split"] == names.get(place, "train")
      assert row["label"] == ("nv" if row["lesion_id"] < "L06" else "mel")
    tested.update(row["image_id"] for row in rows if row["split"] == "test")
  assert set(tested.values()) == {1}
  assert len(tested) == 24


def test_a_file_is_written(folder, capsys):
  output = folder / "folds.csv"
  done = _run(
    *(capsys, "--fold=-1", f"--manual_dir={folder}", f"--output={output}"),
  )
  assert done == (0, "", "")
  rows = list(csv.DictReader(output.open(newline="")))
  names = tfds_ham10000.assign_splits(
    [row["group"] for row in rows], [row["label"] for row in rows]
  )
  assert [row["split"] for row in rows] == names.tolist()


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (
      ["--fold=5"],
      "fold_table: fold 5 of 5; a fold must be from 0 to one less",
    ),
    (["--fold=0", "--num_folds=7"], "class 'mel' has 6 groups, too few for 7"),
    (["--fold=0", "--manual_dir=none"], "none: can't be listed"),
    (["--fold=x"], "argument --fold: invalid int value: 'x'"),
    ([], "the following arguments are required: --fold"),
  ],
)
def test_bad_input_is_told_in_one_line(folder, capsys, arguments, message):
  arguments = [f"--manual_dir={folder}", *arguments]
  code, _, error = _run(capsys, *arguments)
  assert code == 2
  assert message in error
  assert error.count("\n") == 1
