"""Tests of a user's own images as a data set."""

import csv

import numpy as np
import pytest
from PIL import Image

from skinjax.data import datasets, own_images
from skinjax.runtime import errors
from tests import shrunk


def _config(folder, **changes):
  changes = {f"data__{key}": value for key, value in changes.items()}
  changes["data__folder"] = str(folder)
  return shrunk.frozen("classifier", "dataset=folder", **changes).data


def _draw(path, number, mode="RGB", side=20):
  rng = np.random.default_rng(number)
  shape = (side, side + 4) + ((3,) if mode == "RGB" else ())
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(rng.integers(0, 255, shape, np.uint8)).save(path)


def _write(folder, names=("b", "a", "10", "9"), count=20, **options):
  for place, name in enumerate(names):
    for i in range(count):
      suffix = ("png", "jpg", "JPEG")[i % 3]
      number = 1000 * place + i
      _draw(folder / name / f"x{i}.{suffix}", number, **options)
  return folder


def _table(folder, rows, columns=("image", "label", "group")):
  with (folder / "images.csv").open("w", newline="") as file:
    csv.writer(file).writerows([columns, *rows])
  return folder


def _splits(dataset):
  return dataset.train, dataset.validation, dataset.test


def test_a_folder_a_class(tmp_path):
  (tmp_path / ".hidden").mkdir()
  (tmp_path / "notes.txt").write_text("beside the classes")
  dataset = datasets.load(_config(_write(tmp_path)))
  info = dataset.info
  assert info.class_names == ("9", "10", "a", "b")  # digits as numbers
  assert (info.name, info.channels) == (tmp_path.name, 3)
  assert info.size == info.stored == shrunk.SIZE
  assert not info.groups_known
  # The same ranking as HAM10000's, cut at 70, 80 and 100 percent.
  assert [np.bincount(s.labels).tolist() for s in _splits(dataset)] == [
    [14] * 4,
    [2] * 4,
    [4] * 4,
  ]
  ids = {i for split in _splits(dataset) for i in split.image_ids}
  assert {"a/x0.png", "9/x2.JPEG"} < ids
  again = datasets.load(_config(tmp_path))
  assert again.info == info


def test_images_are_cut_and_resized_as_all_are(tmp_path):
  _write(tmp_path, ("a", "b"))
  train = datasets.load(_config(tmp_path)).train
  place = np.flatnonzero([i.endswith("png") for i in train.image_ids])[0]
  with Image.open(tmp_path / train.image_ids[place]) as image:
    wanted = image.resize(
      (16, 16), Image.Resampling.LANCZOS, box=(2, 0, 22, 20)
    )
  np.testing.assert_array_equal(train.images[place], np.asarray(wanted))


def test_grey_images_have_one_channel_unless_one_has_three(tmp_path):
  _write(tmp_path, ("a", "b"), mode="L")
  grey = datasets.load(_config(tmp_path))
  assert grey.info.channels == 1
  _draw(tmp_path / "a" / "coloured.png", 77)
  mixed = datasets.load(_config(tmp_path))
  assert mixed.info.channels == 3
  assert mixed.train.images.shape[1:] == (16, 16, 3)


def test_folds_hold_every_image_once(tmp_path):
  _write(tmp_path, ("a", "b"))
  tested = []
  for fold in range(4):
    dataset = datasets.load(_config(tmp_path, fold=fold, num_folds=4))
    tested += dataset.test.image_ids.tolist()
    assert dataset.info.class_counts == (10, 10)
  assert len(tested) == len(set(tested)) == 40


def test_a_class_too_small_for_folds_may_be_left_out(tmp_path):
  _write(tmp_path, ("a", "b"))
  whole = datasets.load(_config(tmp_path, fold=1, num_folds=4))
  for i in range(3):
    _draw(tmp_path / "few" / f"{i}.png", 5000 + i)
  with pytest.raises(errors.InputError, match=r"'few' has 3 groups.*leave the"):
    datasets.load(_config(tmp_path, fold=1, num_folds=4))
  few = datasets.load(
    _config(tmp_path, fold=1, num_folds=4, classes=("a", "b"))
  )
  assert few.test.image_ids.tolist() == whole.test.image_ids.tolist()
  assert {"few/0.png", "few/1.png", "few/2.png"} == few.left_out.keys()


def test_identical_images_are_one_group(tmp_path):
  _write(tmp_path, ("a", "b"))
  for i in range(6):  # the same pixels by other names
    _draw(tmp_path / "a" / f"again{i}.png", 0)
  dataset = datasets.load(_config(tmp_path))
  same = [f"a/again{i}.png" for i in range(6)] + ["a/x0.png"]
  homes = [
    place
    for place, split in enumerate(_splits(dataset))
    if set(same) & set(split.image_ids)
  ]
  assert len(homes) == 1
  _draw(tmp_path / "b" / "again.png", 0)
  with pytest.raises(errors.InputError, match=r"b/again.png is of class b and"):
    datasets.load(_config(tmp_path))


@pytest.mark.parametrize(
  "columns",
  [
    ("image", "label", "group"),
    ("Image", "Label", "Group"),
    ("image_id", "dx", "lesion_id"),
  ],
)
def test_a_table_tells_labels_and_groups(tmp_path, columns):
  rows = []
  for i in range(60):
    _draw(tmp_path / "pictures" / f"{i}.png", i)
    label = "wart" if i % 3 else "mole"
    # With and without the file's suffix; two images a group, of one class or
    # of both.
    name = f"pictures/{i}" + ".png" * (i % 2)
    rows.append((name, label, f"patient {i // 2}"))
  dataset = datasets.load(_config(_table(tmp_path, rows, columns)))
  assert dataset.info.class_names == ("mole", "wart")
  assert dataset.info.groups_known
  groups = [set(split.groups) for split in _splits(dataset)]
  assert sum(map(len, groups)) == len(set().union(*groups)) == 30
  images_of = [len(split.labels) for split in _splits(dataset)]
  assert images_of == [2 * len(g) for g in groups]


def test_groups_with_identical_images_are_merged(tmp_path):
  rows = [(f"{i}.png", "mole", f"{i // 2}") for i in range(6)]
  for i in range(6):
    _draw(tmp_path / f"{i}.png", 1 if i in (1, 3) else i + 10)
  _, _, groups, _ = own_images.read(_table(tmp_path, rows), 16)
  assert groups == ["0", "0", "0", "0", "2", "2"]


def test_a_column_of_patients_is_one_of_groups_and_others_are_named(tmp_path):
  _draw(tmp_path / "1.png", 1)
  columns = ("image", "label", "lesion_id", "Patient_ID", "age")
  _table(tmp_path, [("1", "mole", "a", "b", "60")], columns)
  found = own_images.find(tmp_path)
  assert found.groups == ["b"]
  assert found.unused == ("lesion_id", "age")


def test_an_image_in_its_class_folder_is_found_for_a_hint(tmp_path):
  _draw(tmp_path / "mole" / "1.png", 1)
  _table(tmp_path, [("1", "mole", "a")])
  with pytest.raises(
    errors.InputError, match=r"It is in mole/: write its path"
  ):
    own_images.find(tmp_path)


def test_a_folder_needs_its_data_set(tmp_path):
  config = shrunk.frozen("classifier", data__folder=str(tmp_path)).data
  with pytest.raises(
    errors.InputError, match="add :dataset=folder to its name"
  ):
    datasets.load(config)


def test_columns_of_the_documented_names_take_precedence(tmp_path):
  _draw(tmp_path / "1.png", 1)
  columns = ("lesion_id", "dx", "image_id", "group", "label", "image")
  _table(
    tmp_path, [("lesion", "nv", "id", "patient", "mole", "1.png")], columns
  )
  found = own_images.find(tmp_path)
  assert (found.names, found.labels, found.groups) == (
    ["1.png"],
    ["mole"],
    ["patient"],
  )


def test_a_table_may_have_absolute_paths(tmp_path, monkeypatch):
  home = tmp_path / "home"
  _draw(home / "1.png", 1)
  _draw(tmp_path / "2.png", 2)
  (home / "2.png").symlink_to(tmp_path / "2.png")
  (tmp_path / "link").symlink_to(home)
  _table(home, [(home / f"{i}.png", "mole", "a") for i in (1, 2)])
  monkeypatch.chdir(tmp_path)
  for folder in (home, "home"):
    assert own_images.find(folder).names == ["1.png", "2.png"]
  (home / "2.png").unlink()
  _draw(home / "2.png", 2)
  assert own_images.find("link").names == ["1.png", "2.png"]
  _table(home, [("1.png", "mole", "a"), (tmp_path / "2.png", "mole", "b")])
  message = r"line 3: .*2\.png is not in the folder of the table"
  with pytest.raises(errors.InputError, match=message):
    own_images.find("home")


def test_a_spreadsheets_table_is_read(tmp_path):
  for i in range(30):
    _draw(tmp_path / f"{i}.png", i)
  rows = [f"{i}.png; {'mole' if i < 15 else 'wart'}" for i in range(30)]
  text = "\r\n".join(["\ufeffimage;label", "", *rows, ";", ""])
  (tmp_path / "images.csv").write_text(text, newline="")
  dataset = datasets.load(_config(tmp_path))
  assert dataset.info.class_names == ("mole", "wart")
  assert sum(len(split.labels) for split in _splits(dataset)) == 30
  (tmp_path / "images.csv").write_text("image;label\n\n\n0.png;\n")
  with pytest.raises(errors.InputError, match="line 4: label is empty"):
    datasets.load(_config(tmp_path))


@pytest.mark.parametrize(
  ("rows", "message"),
  [
    ([("1.png", "mole", "a"), ("2.png", "", "b")], "line 3: label is empty"),
    ([("3.png", "mole", "a")], "line 2: there is no image .*3.png"),
    ([("1.png", "mole", "a")] * 2, "has 1.png twice"),
    (
      [("2.png", "mole", "a"), ("x/../2.png", "mole", "a")],
      "has 2.png twice",
    ),
    ([("../1.png", "mole", "a")], r"1\.png is not in the folder of the table"),
    (
      [("1.png", "mole/wart", "a")],
      r"line 2: 'mole/wart' can't be the name of a folder",
    ),
    ([("1.png", ".mole", "a")], r"line 2: '.mole' can't be the name of"),
    ([("1.png", "mole", "")], "line 2: group is empty"),
  ],
)
def test_a_bad_row_is_named(tmp_path, rows, message):
  folder = tmp_path / "f"
  _draw(tmp_path / "1.png", 1)
  for i in (1, 2):
    _draw(folder / f"{i}.png", i)
  with pytest.raises(errors.InputError, match=message):
    datasets.load(_config(_table(folder, rows)))


def test_what_is_no_folder_of_images_is_told_what_is_there(tmp_path):
  with pytest.raises(errors.InputError, match=r"data.folder is empty: name"):
    datasets.load(_config(""))
  with pytest.raises(errors.InputError, match="no folder: name one with"):
    datasets.load(_config(tmp_path / "absent"))
  _draw(tmp_path / "1.png", 1)
  with pytest.raises(errors.InputError, match="holds 1 images and no folder"):
    datasets.load(_config(tmp_path))
  (tmp_path / "a").mkdir()
  with pytest.raises(errors.InputError, match="a/ has no images"):
    datasets.load(_config(tmp_path))
  _table(tmp_path, [("1.png", "a")], ("file", "label"))
  with pytest.raises(errors.InputError, match="no column 'image': its first"):
    datasets.load(_config(tmp_path))


def test_a_folder_named_like_a_data_set_is_not_that_data_set(tmp_path):
  dataset = datasets.load(_config(_write(tmp_path / "ham10000", ("a", "b"))))
  assert dataset.info.name == "ham10000 (folder)"


def test_a_split_without_images_is_refused(tmp_path):
  _write(tmp_path, ("a", "b"), count=3)
  with pytest.raises(errors.InputError, match="validation split has no image"):
    datasets.load(_config(tmp_path))
