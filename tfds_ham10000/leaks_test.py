"""Tests of looking for leaks, beside sets and the real table."""

import csv
import os
import pathlib
import random
import subprocess
import sys

import pytest
import tensorflow_datasets as tfds

import tfds_ham10000
from tfds_ham10000 import image_tables, leaks, tables
from tfds_ham10000.errors import DataError

_DUMMY_DATA = pathlib.Path(__file__).parent / "dummy_data"
_HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization"
_NOTHING = leaks.Known({}, {}, "")


def _arguments(tmp_path, train, test, **more):
  """Write tables from text and return the arguments that name them."""
  for key, text in (("train", train), ("test", test)):
    (tmp_path / f"{key}.csv").write_text(text)
    more[key] = tmp_path / f"{key}.csv"
  (tmp_path / "tfds").mkdir(exist_ok=True)
  more.setdefault("data_dir", tmp_path / "tfds")
  return [f"--{key}={value}" for key, value in more.items()]


def _judge(tmp_path, train, test, known=_NOTHING):
  paths = [a.partition("=")[2] for a in _arguments(tmp_path, train, test)]
  both = [
    image_tables.read(path, name)
    for path, name in zip(paths[:2], ("--train", "--test"), strict=True)
  ]
  return leaks.judge(*both, known, tables.duplicates())


def _ham10000(tmp_path, *rows):
  """Write HAM10000's table of `lesion,image,dx`; return its directory."""
  folder = tmp_path / "ham"
  folder.mkdir()
  lines = [_HEADER, *(f"{row},histo,,," for row in rows)]
  (folder / "HAM10000_metadata.csv").write_text("\n".join(lines))
  return str(folder)


def _known(*rows):
  """Return HAM10000's table of `lesion image dx`."""
  rows = [row.split() for row in rows]
  lesions = {image: lesion for lesion, image, _ in rows}
  return leaks.Known(lesions, {image: dx for _, image, dx in rows}, "table")


def _kinds(result):
  return {leak.image_id: leak.kind for leak in result.leaks}


def test_lesions_of_the_tables_themselves(tmp_path):
  result = _judge(
    tmp_path,
    "image_id,lesion_id\nI1,L1\nI2,L2\nI2,L2\n",
    "image_id,lesion_id,dx\nI2,L2,nv\nI3,L1,mel\nI4,L4,mel\nI4,L4,mel\nI5,,\n",
  )
  assert _kinds(result) == {"I2": "image", "I3": "lesion"}
  assert result.labels == {"I2": "nv", "I3": "mel", "I4": "mel", "I5": "?"}
  assert result.untraced == {"train": [], "test": ["I5"]}
  assert result.exit_code == 1


@pytest.mark.parametrize(
  ("train", "test"),
  [
    ("I1", "image_id,lesion_id\nI2,L1"),
    ("id,lesion_id\nI1,L1", "id,lesion_id\nI2,"),
    ("id,lesion_id\nI1,HAM_01", "id,lesion_id\nI2,IL_01"),
  ],
)
def test_lesions_that_cannot_be_compared_trace_nothing(tmp_path, train, test):
  result = _judge(tmp_path, train, test)
  assert not result.leaks
  assert result.untraced == {"train": ["I1"], "test": ["I2"]}
  assert result.exit_code == 3


@pytest.mark.parametrize(
  ("test", "kind"),
  [("a/ISIC_0024437.jpg", "image"), ("ISIC_0031299", "duplicate")],
)
def test_what_leaks_without_lesions_is_found_all_the_same(tmp_path, test, kind):
  result = _judge(tmp_path, "ISIC_0024437\nISIC_1", test)
  assert [leak.kind for leak in result.leaks] == [kind]
  assert result.untraced["test"] == []
  assert result.exit_code == 1


@pytest.mark.parametrize(
  ("train", "test", "leak", "untraced", "code"),
  [
    ("id,lesion_id,patient_id\nI1,L1,P1", "I2,L2,P1", "patient", [], 1),
    ("id,lesion_id,patient_id\nI1,L1,P1", "I2,L1,P1", "lesion", [], 1),
    ("id,lesion_id,patient_id\nI1,L1,P1", "I2,L2,P2", None, [], 0),
    # Other patients have other lesions, so that no lesions need be known.
    ("id,subject\nI1,P1", "I2,P1", "patient", [], 1),
    ("id,subject\nI1,P1", "I2,P2", None, [], 0),
    ("id,group,patient\nI1,1,7", "I2,2,7", "patient", [], 1),
    # A patient who is not known may be any other.
    ("id,lesion_id,patient_id\nI1,L1,n/a", "I2,L2,P2", None, ["I2"], 3),
    ("id,lesion_id,patient_id\nI1,L1,P1", "I2,L2,7", None, ["I2"], 3),
    ("id,lesion_id,patient_id\nI1,L1,P1", "I2,L2,", None, ["I2"], 3),
    ("id,lesion_id\nI1,unknown", "I2,Unknown", None, ["I2"], 3),
  ],
)
def test_patients_of_the_tables_are_compared(
  tmp_path, train, test, leak, untraced, code
):
  result = _judge(tmp_path, train, f"{train.splitlines()[0]}\n{test}")
  assert [found.kind for found in result.leaks] == ([leak] if leak else [])
  assert result.untraced["test"] == untraced
  assert result.exit_code == code


def test_patients_of_one_table_alone_are_not_passed_over(tmp_path, capsys):
  arguments = _arguments(
    tmp_path, "id,lesion_id\nI1,L1", "id,lesion_id,patient_id\nI2,L2,P2"
  )
  code, lines = _run(capsys, arguments)
  assert code == 3
  assert "--train: the patient of 1 images is unknown (such as I1)" in lines[6]
  assert "every line of both tables a patient_id" in lines[-1]


def test_an_image_of_two_lesions_is_refused(tmp_path):
  train, test = "id,lesion_id\nI0,L0\nI1,L1", "id,lesion_id\nI2,L2\nI1.jpg,L3"
  message = r"--test, line 3: image I1 has lesion L3 here and L1 before"
  with pytest.raises(DataError, match=message):
    _judge(tmp_path, train, test)
  # What cannot be compared need not agree.
  result = _judge(tmp_path, train, "id,lesion_id\nI1,5")
  assert _kinds(result) == {"I1": "image"}


def test_images_that_ham10000_does_not_have_are_not_traced(tmp_path):
  known = _known("L1 ISIC_0000001 mel", "L1 ISIC_0000002 mel", "L2 ISIC_3 nv")
  result = _judge(
    tmp_path, "ISIC_0000001\nISIC_0000009", "ISIC_3\nISIC_0000008", known
  )
  assert not result.leaks
  assert result.labels == {"ISIC_3": "nv", "ISIC_0000008": "?"}
  assert result.untraced == {
    "train": ["ISIC_0000009"],
    "test": ["ISIC_0000008"],
  }
  assert result.exit_code == 3
  result = _judge(tmp_path, "ISIC_0000001", "ISIC_0000002\nISIC_3", known)
  assert _kinds(result) == {"ISIC_0000002": "lesion"}


@pytest.mark.parametrize(
  ("train", "test", "leak", "untraced"),
  [
    # Numbered in another way, own ids say nothing: not of images that
    # HAM10000's table has, nor of others.
    ("ISIC_0000001,0", "ISIC_0000002,1\nX,0", "lesion", ["X"]),
    ("ISIC_0000001,L1", "X,L1", "lesion", []),
    ("ISIC_0000001,", "X,L1", "lesion", []),
    ("ISIC_0000001,", "X,L7", None, []),
    ("ISIC_0000001,L1", "X,IL_1", None, ["X"]),
  ],
)
def test_the_table_of_ham10000_goes_before_the_tables_own_lesions(
  tmp_path, train, test, leak, untraced
):
  known = _known("L1 ISIC_0000001 mel", "L1 ISIC_0000002 mel")
  head = "id,lesion_id\n"
  result = _judge(tmp_path, head + train, head + test, known)
  assert [found.kind for found in result.leaks] == ([leak] if leak else [])
  assert result.untraced["test"] == untraced


def test_known_duplicates_that_cannot_be_compared_are_counted(tmp_path):
  head = "id,lesion_id\n"
  images = "ISIC_0000001,L1", "ISIC_0000002,L2"
  result = _judge(tmp_path, head + images[0], head + images[1])
  assert (result.pairs_apart, result.exit_code) == (18, 3)
  # They are HAM10000's: its table has them all, and other images are none.
  known = _known("L1 ISIC_0000001 mel", "L2 ISIC_0000002 mel")
  for train, test, table in (
    (*images, known),
    ("I1,L1", "I2,L2", _NOTHING),
  ):
    result = _judge(tmp_path, head + train, head + test, table)
    assert (result.pairs_apart, result.exit_code) == (0, 0)


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_lesions_are_looked_up_in_what_is_prepared(tmp_path, file_format):
  if file_format == "tfrecord":
    pytest.importorskip("tensorflow")
  place = str(tmp_path / "tfds")
  builder = tfds.builder(
    "ham10000/64x64", data_dir=place, file_format=file_format
  )
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=str(_DUMMY_DATA))
  )
  known = leaks.look_up("", place)
  table = leaks.look_up(str(_DUMMY_DATA), "")
  assert (known.lesions, known.labels) == (table.lesions, table.labels)
  assert len(known.lesions) == 17
  (file,) = pathlib.Path(builder.data_dir).glob(f"*test.{file_format}*")
  file.write_bytes(b"damaged")
  with pytest.raises(DataError, match=r"ham10000/64x64.*can't be read"):
    leaks.look_up("", place)


@pytest.mark.parametrize(
  ("more", "message"),
  [
    (["--manual_dir=none"], "none: can't be listed"),
    (["--manual_dir=."], "no table of cases found; looked for HAM10000_met"),
    (["--csv=none/leaks.csv"], "none/leaks.csv: No such file"),
    (["--train=none.csv"], "--train=none.csv: there is no such file"),
    (["--trian=a.csv"], "unrecognized arguments: --trian=a.csv"),
  ],
)
def test_bad_input_is_told_in_one_line(
  tmp_path, monkeypatch, capsys, more, message
):
  monkeypatch.chdir(tmp_path)
  arguments = _arguments(tmp_path, "I1", "I1")
  with pytest.raises(SystemExit) as end:
    leaks.main([*arguments, *more])
  error = capsys.readouterr().err
  assert end.value.code == 2
  assert error.startswith("leaks: ")
  assert message in error
  assert error.count("\n") == 1


def test_both_tables_are_asked_for(capsys):
  with pytest.raises(SystemExit, match="2"):
    leaks.main(["--train=a.csv"])
  assert "required: --test" in capsys.readouterr().err


def _run(capsys, arguments):
  code = leaks.main(arguments)
  return code, capsys.readouterr().out.splitlines()


def test_what_is_printed_and_written(tmp_path, capsys):
  train = "id,lesion_id\n" + "".join(f"T{i},L{i}\n" for i in range(12))
  test = "id,lesion_id,y\n" + "".join(f"V{i},L{i},5\n" for i in range(15))
  test += "V15,,x\n"
  arguments = _arguments(tmp_path, train, test, csv=tmp_path / "leaks.csv")
  code, lines = _run(capsys, arguments)
  assert code == 1
  assert lines[0] == "--train: 12 images in 12 lines."
  assert lines[3:9] == [
    "class  test images  same image  same lesion  known duplicate  "
    "same patient  leaking  share  untraced",
    "5               15           0           12                0  "
    "           0       12  80.0%         0",
    "x                1           0            0                0  "
    "           0        0   0.0%         1",
    "total           16           0           12                0  "
    "           0       12  75.0%         1",
    "--test: the lesion of 1 images is unknown (such as V15); they are "
    "compared by image id only.",
    "12 of 16 test images leak, such as",
  ]
  assert lines[9:11] == [
    "test image  class  shares its  with  lesion",
    "V0          5      lesion      T0    L0",
  ]
  assert lines[-1] == "and 2 more; --csv=FILE lists all."
  with (tmp_path / "leaks.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 12
  assert rows[3] == {
    "image_id": "V3",
    "class": "5",
    "kind": "lesion",
    "train_image_id": "T3",
    "lesion_id": "L3",
  }


def test_no_leak_is_said_only_of_what_was_traced(tmp_path, capsys):
  head = "id,lesion_id\n"
  arguments = _arguments(tmp_path, head + "T0,L0", head + "V1,L1")
  code, lines = _run(capsys, arguments)
  assert code == 0
  assert lines[-1].startswith("No leak found: none of 1 test images shares")
  folder = _ham10000(tmp_path, "HAM_0,ISIC_0027419,bkl")
  for more in ({}, {"manual_dir": folder}):
    arguments = _arguments(tmp_path, "ISIC_0027419", "img_0001", **more)
    code, lines = _run(capsys, arguments)
    assert code == 3
    text = "\n".join(lines)
    assert "No leak" not in text
    assert "the lesion of 1 images is unknown (such as img_0001)" in text
    assert "0 of 1 test images could" in text
    assert ("--manual_dir=DIR" in text) == (not more)


_WITHOUT_TFDS = """
import runpy
import sys
sys.modules["tensorflow_datasets"] = None  # as if it were not installed
runpy.run_module("tfds_ham10000.leaks", run_name="__main__")
"""


@pytest.mark.parametrize(
  "start", [("-m", "tfds_ham10000.leaks"), ("-c", _WITHOUT_TFDS)]
)
def test_the_command(tmp_path, start):
  """Run in a process that knows nothing of skinjax, with TFDS and without."""
  arguments = _arguments(tmp_path, "id,lesion_id\nA,L1", "id,lesion_id\nB,L1")
  done = subprocess.run(
    [sys.executable, *start, *arguments],
    cwd=pathlib.Path(__file__).parents[1],
    env={**os.environ, "TFDS_DATA_DIR": str(tmp_path)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 1, done.stderr
  assert "1 of 1 test images leak" in done.stdout
  assert not done.stderr


@pytest.fixture(scope="module")
def cases():
  """HAM10000's table; its directory."""
  root = pathlib.Path(__file__).parents[2]
  place = os.environ.get("SKINJAX_TEST_DATA", root / "shared" / "data")
  folder = pathlib.Path(place) / "ham10000"
  if not (folder / "HAM10000_metadata.csv").exists():
    pytest.skip(f"no table of HAM10000 in {folder}")
  with (folder / "HAM10000_metadata.csv").open(newline="") as file:
    return list(csv.DictReader(file)), folder


def _table(cases, *columns):
  lines = [",".join(columns)]
  lines += [",".join(case[name] for name in columns) for case in cases]
  return "\n".join(lines)


def _joined(cases):
  """Join lesions over duplicates until nothing changes."""
  lesion = {case["image_id"]: case["lesion_id"] for case in cases}
  name = {value: value for value in lesion.values()}
  for _ in range(3):  # rounds; the longest chain is shorter
    for a, b in tables.duplicates():
      old, new = sorted((name[lesion[a]], name[lesion[b]]))
      name = {key: old if v == new else v for key, v in name.items()}
  return {image: name[value] for image, value in lesion.items()}


@pytest.mark.parametrize("own", [False, True])
def test_a_random_split_of_ham10000_leaks(tmp_path, cases, own):
  cases, folder = cases
  shuffled = random.Random(0).sample(cases, len(cases))
  cut = len(cases) * 8 // 10
  train, test = shuffled[:cut], shuffled[cut:]
  columns = ("image_id", "lesion_id") if own else ("image_id",)
  known = _NOTHING if own else leaks.look_up(str(folder), "")
  result = _judge(
    tmp_path, _table(train, *columns), _table(test, *columns), known
  )
  lesions = {case["lesion_id"] for case in train}
  by_lesion = {c["image_id"] for c in test if c["lesion_id"] in lesions}
  group = _joined(cases)
  groups = {group[case["image_id"]] for case in train}
  by_group = {c["image_id"] for c in test if group[c["image_id"]] in groups}
  assert 600 < len(by_lesion) < len(by_group)
  assert _kinds(result) == {
    image: "lesion" if image in by_lesion else "duplicate" for image in by_group
  }
  assert not any(result.untraced.values())
  assert result.pairs_apart == 0
  assert result.exit_code == 1
  dx = {case["image_id"]: "?" if own else case["dx"] for case in test}
  assert result.labels == dx


def test_a_split_by_lesion_leaks_over_duplicates_alone(tmp_path, cases):
  cases, folder = cases
  lesion = {case["image_id"]: case["lesion_id"] for case in cases}
  pairs = tables.duplicates()
  # The second of every second pair is tested on, with all of its lesion.
  tested = {lesion[b] for _, b in pairs[::2]}
  tested |= {c["lesion_id"] for c in cases if c["lesion_id"].endswith("77")}
  tested -= {lesion[a] for a, _ in pairs}
  test = [case for case in cases if case["lesion_id"] in tested]
  train = [case for case in cases if case["lesion_id"] not in tested]
  group = _joined(cases)
  crossing = {group[b] for _, b in pairs if lesion[b] in tested}
  result = _judge(
    tmp_path,
    _table(train, "image_id"),
    _table(test, "image_id"),
    leaks.look_up(str(folder), ""),
  )
  wanted = {c["image_id"] for c in test if group[c["image_id"]] in crossing}
  assert len(wanted) >= 9
  assert _kinds(result) == dict.fromkeys(wanted, "duplicate")
  for leak in result.leaks:
    assert group[leak.image_id] == group[leak.train_id]


def test_the_splits_of_the_data_set_do_not_leak(tmp_path, cases):
  cases, folder = cases
  group = _joined(cases)
  split = tfds_ham10000.assign_splits(
    [group[case["image_id"]] for case in cases], [case["dx"] for case in cases]
  )
  parts = {
    name: _table(
      [c for c, s in zip(cases, split, strict=True) if s == name],
      *("image_id", "lesion_id"),
    )
    for name in tfds_ham10000.SPLITS
  }
  known = leaks.look_up(str(folder), "")
  for other in ("test", "validation"):
    result = _judge(tmp_path, parts["train"], parts[other], known)
    assert result.exit_code == 0
    assert len(result.labels) > 900
    # Without HAM10000's table the duplicates of the third split are unknown.
    result = _judge(tmp_path, parts["train"], parts[other])
    assert not result.leaks
    assert result.exit_code == (3 if result.pairs_apart else 0)
