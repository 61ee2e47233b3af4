"""Tests of looking for leaks, beside sets and the real table."""

import csv
import json
import random
import re

import numpy as np
import pytest
from absl import logging

import tfds_ham10000
from configs import leaks as leaks_config
from skinjax import leaks
from skinjax.data import sources
from skinjax.runtime import errors
from tests import shrunk
from tests.conftest import ROOT

_HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization"


def _config(tmp_path, train, test, **data):
  """Writes tables from text and returns the config that names them."""
  config = leaks_config.get_config()
  for key, text in (("train", train), ("test", test)):
    config[key] = str(tmp_path / f"{key}.csv")
    content = text if isinstance(text, bytes) else text.encode()
    (tmp_path / f"{key}.csv").write_bytes(content)
  # Nothing is prepared in an empty directory.
  config.data.data_dir = str(tmp_path / "tfds")
  config.data.update(data)
  return config


def _ham10000(tmp_path, *rows):
  """Writes HAM10000's table of `lesion,image,dx`; returns its directory."""
  folder = tmp_path / "ham"
  folder.mkdir()
  lines = [_HEADER, *(f"{row},histo,,," for row in rows)]
  (folder / "HAM10000_metadata.csv").write_text("\n".join(lines))
  return str(folder)


def test_both_tables_are_asked_for(tmp_path):
  config = leaks_config.get_config()
  with pytest.raises(errors.InputError, match=r"config\.train is empty"):
    leaks.run(config)
  config.train = str(tmp_path / "t.csv")
  (tmp_path / "t.csv").write_text("I1")
  with pytest.raises(errors.InputError, match=r"config\.test is empty"):
    leaks.run(config)


@pytest.mark.parametrize("dataset", ["toy", "mnist"])
def test_other_data_sets_are_refused(dataset):
  config = leaks_config.get_config(f"dataset={dataset}")
  with pytest.raises(errors.InputError, match="ham10000 only"):
    leaks.run(config)


def _counts(*values):
  names = ("images", "image", "lesion", "duplicate", "leaking", "share")
  return dict(zip(names, values, strict=True))


def _kinds(result):
  return {leak.image_id: leak.kind for leak in result.leaks}


def test_lesions_of_the_tables_themselves(tmp_path):
  config = _config(
    tmp_path,
    "image_id,lesion_id\nI1,L1\nI2,L2\nI2,L2\n",
    "image_id,lesion_id,dx\nI2,L2,nv\nI3,L1,mel\nI4,L4,mel\nI4,L4,mel\nI5,,\n",
  )
  result = leaks.run(config)
  assert _kinds(result) == {"I2": "image", "I3": "lesion"}
  assert result.exit_code == 1
  assert result.counts == {
    "?": _counts(1, 0, 0, 0, 0, 0.0),
    "mel": _counts(2, 0, 1, 0, 1, 0.5),
    "nv": _counts(1, 1, 0, 0, 1, 1.0),
  }
  assert result.total == _counts(4, 1, 1, 0, 2, 0.5)
  sides = result.tables
  assert (sides["train"]["rows"], sides["train"]["images"]) == (3, 2)
  assert (sides["test"]["rows"], sides["test"]["images"]) == (5, 4)
  assert (sides["test"]["without_lesion"], sides["test"]["as"]) == (1, "I5")
  assert result.pairs_apart == 18


@pytest.mark.parametrize(
  ("train", "test", "told"),
  [
    ("I1", "image_id,lesion_id\nI2,L1", "config.train has no lesion ids"),
    ("id,lesion_id\nI1,L1", "id,lesion_id\nI2,", "config.test has no lesion"),
    (
      "id,lesion_id\nI1,HAM_01",
      "id,lesion_id\nI2,IL_01",
      r"different kinds \(HAM_01, IL_01\)",
    ),
  ],
)
def test_lesions_that_nothing_tells_are_asked_for(tmp_path, train, test, told):
  with pytest.raises(errors.InputError, match=told) as raised:
    leaks.run(_config(tmp_path, train, test), tmp_path / "run")
  assert "--config.data.manual_dir=DIR" in str(raised.value)
  assert {p.name for p in (tmp_path / "run").iterdir()} == {".lock"}


@pytest.mark.parametrize(
  ("test", "kind"),
  [("a/ISIC_0024437.jpg", "image"), ("ISIC_0031299", "duplicate")],
)
def test_what_leaks_without_lesions_is_told_all_the_same(
  tmp_path, absl_log, test, kind
):
  result = leaks.run(_config(tmp_path, "ISIC_0024437\nISIC_1", test))
  assert [leak.kind for leak in result.leaks] == [kind]
  assert result.exit_code == 1
  assert "Nothing tells which lesion an image shows" in absl_log.text
  assert "there may be more leaks" in absl_log.text


def test_an_image_of_two_lesions_is_refused(tmp_path):
  config = _config(
    tmp_path, "id,lesion_id\nI0,L0\nI1,L1", "id,lesion_id\nI2,L2\nI1.jpg,L3"
  )
  told = r"config\.test=.*line 3: image I1 has lesion_id L3 here and L1 before"
  with pytest.raises(errors.InputError, match=told):
    leaks.run(config)


def test_lesions_are_looked_up_in_the_table_of_ham10000(tmp_path, caplog):
  folder = _ham10000(
    tmp_path, "L1,ISIC_0000001,mel", "L1,ISIC_0000002,mel", "L2,ISIC_0000003,nv"
  )
  config = _config(
    tmp_path,
    "ISIC_0000001\nISIC_0000009\n",
    "a/ISIC_0000002.jpg\na/ISIC_0000003.jpg\na/ISIC_0000008.jpg\n",
    manual_dir=folder,
  )
  with caplog.at_level("INFO"):
    result = leaks.run(config)
  assert _kinds(result) == {"ISIC_0000002": "lesion"}
  assert {n: c["images"] for n, c in result.counts.items()} == {
    "mel": 1,
    "nv": 1,
    "?": 1,
  }
  assert "test: 1 images (as ISIC_0000008) have no lesion there" in caplog.text
  assert "train: 1 images (as ISIC_0000009)" in caplog.text


def test_the_table_of_ham10000_goes_before_the_tables_own_lesions(tmp_path):
  # Own names may be anything, and say nothing of images in neither table.
  folder = _ham10000(tmp_path, "L1,ISIC_0000001,mel", "L1,ISIC_0000002,mel")
  config = _config(
    tmp_path,
    "id,lesion_id\nISIC_0000001,0",
    "id,lesion_id\nISIC_0000002,1",
    manual_dir=folder,
  )
  assert _kinds(leaks.run(config)) == {"ISIC_0000002": "lesion"}


def test_manual_dirs_that_do_not_help_are_told(tmp_path):
  config = _config(tmp_path, "img1", "img2", manual_dir=str(tmp_path / "none"))
  with pytest.raises(errors.InputError, match=r"metadata\.csv, .* is wanted"):
    leaks.run(config)
  config.data.manual_dir = str(tmp_path)
  with pytest.raises(errors.InputError, match=re.escape(str(tmp_path))):
    leaks.run(config)
  config.data.manual_dir = _ham10000(tmp_path, "L1,ISIC_0000001,mel")
  with pytest.raises(errors.InputError, match=r"img1.*like ISIC_0000001 are"):
    leaks.run(config)
  (tmp_path / "ham" / "HAM10000_metadata.csv").write_text("a,b\n1,2\n")
  with pytest.raises(tfds_ham10000.DataError, match="no column lesion_id"):
    leaks.run(config)


def test_lesions_are_looked_up_in_what_is_prepared(tmp_path, monkeypatch):
  images = shrunk.dataset().train.images[:2]
  part = sources.Split(
    images,
    np.array([0, 1], np.int32),
    np.array(["I1", "I2"]),
    np.array(["L1", "L1"]),
  )
  monkeypatch.setattr(sources, "is_prepared", lambda config: True)
  monkeypatch.setattr(
    sources, "read", lambda config: (("mel", "nv"), {"train": part})
  )
  result = leaks.run(_config(tmp_path, "I1", "I2"))
  assert _kinds(result) == {"I2": "lesion"}
  assert list(result.counts) == ["nv"]


def test_a_workdir_gets_the_list_and_the_counts(tmp_path):
  train = "id,lesion_id\n" + "".join(f"T{i},L{i}\n" for i in range(12))
  test = "id,lesion_id,y\n" + "".join(f"V{i},L{i},5\n" for i in range(15))
  config = _config(tmp_path, train, test)
  result = leaks.run(config, tmp_path / "run")
  with (tmp_path / "run" / "leaks.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 12
  assert rows[3] == {
    "image_id": "V3",
    "class": "5",
    "kind": "lesion",
    "train_image_id": "T3",
    "lesion_id": "L3",
  }
  content = json.loads((tmp_path / "run" / "leaks.json").read_text())
  assert content["total"] == result.total
  assert content["classes"] == result.counts
  # Looking again is no other run.
  assert leaks.run(config, tmp_path / "run") == result


def test_what_is_printed(tmp_path, monkeypatch):
  told = []
  monkeypatch.setattr(
    logging, "info", lambda text, *values: told.append(text % values)
  )
  train = "id,lesion_id\n" + "".join(f"T{i},L{i}\n" for i in range(12))
  test = "id,lesion_id,y\n" + "".join(f"V{i},L{i},5\n" for i in range(15))
  leaks.run(_config(tmp_path, train, test), tmp_path / "run")
  assert told[3:9] == [
    "class  test images  same image  same lesion  known duplicate  leaking  "
    "share",
    "5               15           0           12                0       12  "
    "80.0%",
    "total           15           0           12                0       12  "
    "80.0%",
    "12 of 15 test images leak. The first are:",
    "test image  class  shares its  with  lesion",
    "V0          5      lesion      T0    L0",
  ]
  assert told[-2:] == [
    "… and 2 more.",
    f"All of it is in {tmp_path / 'run' / 'leaks.csv'} and leaks.json.",
  ]
  del told[:]
  leaks.run(_config(tmp_path, "id,lesion_id\nT0,L0", "id,lesion_id\nV1,L1"))
  assert told[-1].startswith("No leak found: none of 1 test images shares")


def test_the_configs_own_keys():
  config = leaks_config.get_config("quick")
  assert config.task == "leaks"
  assert config.to_dict() == leaks_config.get_config().to_dict()


@pytest.fixture(scope="module")
def cases(test_data):
  """HAM10000's table; its directory."""
  folder = test_data / "ham10000"
  if not (folder / "HAM10000_metadata.csv").exists():
    pytest.skip(f"no table of HAM10000 in {folder}")
  with (folder / "HAM10000_metadata.csv").open(newline="") as file:
    return list(csv.DictReader(file)), folder


def _pairs():
  with (ROOT / "tfds_ham10000" / "DUPLICATES.csv").open(newline="") as file:
    return [tuple(row) for row in csv.reader(file)][1:]


def _table(cases, *columns):
  lines = [",".join(columns)]
  lines += [",".join(case[name] for name in columns) for case in cases]
  return "\n".join(lines)


def _joined(cases):
  """Joins lesions over duplicates until nothing changes."""
  lesion = {case["image_id"]: case["lesion_id"] for case in cases}
  name = {value: value for value in lesion.values()}
  for _ in range(3):  # rounds; the longest chain is shorter
    for a, b in _pairs():
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
  config = _config(tmp_path, _table(train, *columns), _table(test, *columns))
  if not own:
    config.data.manual_dir = str(folder)
  result = leaks.run(config)
  lesions = {case["lesion_id"] for case in train}
  by_lesion = {c["image_id"] for c in test if c["lesion_id"] in lesions}
  group = _joined(cases)
  groups = {group[case["image_id"]] for case in train}
  by_group = {c["image_id"] for c in test if group[c["image_id"]] in groups}
  assert 600 < len(by_lesion) < len(by_group)
  assert _kinds(result) == {
    image: "lesion" if image in by_lesion else "duplicate" for image in by_group
  }
  assert result.total["share"] == pytest.approx(len(by_group) / len(test))
  assert result.pairs_apart == 0
  assert result.exit_code == 1
  if not own:
    assert list(result.counts) == list(tfds_ham10000.CLASSES)
    for name, counts in result.counts.items():
      leaking = [
        c for c in test if c["dx"] == name and c["image_id"] in by_group
      ]
      assert counts["leaking"] == len(leaking)


def test_a_split_by_lesion_leaks_over_duplicates_alone(tmp_path, cases):
  cases, folder = cases
  lesion = {case["image_id"]: case["lesion_id"] for case in cases}
  # The second of every second pair is tested on, with all of its lesion.
  tested = {lesion[b] for _, b in _pairs()[::2]}
  tested |= {c["lesion_id"] for c in cases if c["lesion_id"].endswith("77")}
  tested -= {lesion[a] for a, _ in _pairs()}
  test = [case for case in cases if case["lesion_id"] in tested]
  train = [case for case in cases if case["lesion_id"] not in tested]
  group = _joined(cases)
  crossing = {group[b] for _, b in _pairs() if lesion[b] in tested}
  config = _config(
    tmp_path, _table(train, "image_id"), _table(test, "image_id")
  )
  config.data.manual_dir = str(folder)
  result = leaks.run(config)
  wanted = {c["image_id"] for c in test if group[c["image_id"]] in crossing}
  assert len(wanted) >= 9
  assert _kinds(result) == dict.fromkeys(wanted, "duplicate")
  for leak in result.leaks:
    assert group[leak.image_id] == group[leak.train_id]
  assert result.exit_code == 1


def test_the_splits_of_the_data_set_do_not_leak(tmp_path, cases):
  cases, folder = cases
  group = _joined(cases)
  split = tfds_ham10000.assign_splits(
    [group[case["image_id"]] for case in cases], [case["dx"] for case in cases]
  )
  parts = {
    name: [c for c, s in zip(cases, split, strict=True) if s == name]
    for name in tfds_ham10000.SPLITS
  }
  for other in ("test", "validation"):
    config = _config(
      tmp_path,
      _table(parts["train"], "image_id", "lesion_id"),
      _table(parts[other], "image_id", "lesion_id"),
    )
    for config.data.manual_dir in ("", str(folder)):
      result = leaks.run(config)
      assert not result.leaks
      assert result.exit_code == 0
      assert result.total["images"] == len(parts[other]) > 900
