"""Tests of external test sets: what is read, left out and refused."""

import csv

import numpy as np
import pytest
from PIL import Image

from skinjax.data import external, provenance
from skinjax.runtime import errors
from tests import shrunk


def write(folder, split, columns=("image", "label"), rows=None, place="images"):
  """Write images as PNG files in a folder, and a table of them."""
  (folder / place).mkdir(parents=True, exist_ok=True)
  for name, image in zip(split.image_ids, split.images, strict=True):
    Image.fromarray(image).save(folder / place / f"{name}.png")
  if rows is None:
    rows = [
      (name, shrunk.CLASSES[label])
      for name, label in zip(split.image_ids, split.labels, strict=True)
    ]
  with (folder / "truth.csv").open("w", newline="") as file:
    csv.writer(file).writerows([columns, *rows])
  return folder


def elsewhere(counts=(3, 2, 2)):
  """Draw images that the tiny data set does not have."""
  return shrunk.split("elsewhere", counts)


def _load(folder, *origins, **changes):
  return external.load(folder, shrunk.dataset()._replace(**changes), origins)


def _renamed(split, *names):
  ids = split.image_ids.astype(object)
  ids[: len(names)] = names
  return split._replace(image_ids=ids.astype(str))


def test_a_table_of_labels(tmp_path, absl_log):
  split = elsewhere()
  rows = [
    (f"{name}.png", shrunk.CLASSES[label].upper(), group)
    for name, label, group in zip(*split[2:0:-1], split.groups, strict=True)
  ][::-1]
  rows[0] = (*rows[0][:2], "")
  write(tmp_path / "clinic", split, ("image", "label", "lesion_id"), rows)
  (tmp_path / "clinic" / "LICENSE.txt").write_text("")
  found = _load(tmp_path / "clinic")
  assert found.name == "clinic"
  np.testing.assert_array_equal(np.bincount(found.split.labels), (3, 2, 2))
  assert sorted(found.split.image_ids) == sorted(
    f"images/{name}.png" for name in split.image_ids
  )
  by_name = dict(zip(found.split.image_ids, found.split.images, strict=True))
  for name, image in zip(split.image_ids, split.images, strict=True):
    np.testing.assert_array_equal(by_name[f"images/{name}.png"], image)
  assert set(split.groups[:-1]) <= set(found.split.groups)
  assert not found.groups_known  # that of one is blank
  assert (found.traced, found.own_test, found.left_out) == (0, 0, {})
  assert "0 of 7 images could be traced" in found.note
  assert "cannot be excluded" in found.note


def test_a_truth_of_the_isic_challenges(tmp_path, absl_log):
  split = elsewhere()
  rows = [
    (name, *np.eye(5)[label].tolist(), 0.25)
    for name, label in zip(split.image_ids, (0, 1, 1, 2, 2, 3, 4), strict=True)
  ]
  columns = ("image", "DISC", "SQUARE", "STRIPES", "SCC", "UNK", "score_weight")
  write(tmp_path, split, columns, rows, place=".")
  Image.fromarray(split.images[0]).save(tmp_path / "more.jpg")
  found = _load(tmp_path)
  np.testing.assert_array_equal(np.bincount(found.split.labels), (1, 2, 2))
  assert found.left_out == {"SCC": 1, "UNK": 1}
  assert "2 of 7 images" in absl_log.text
  assert "(SCC 1, UNK 1): they are left out" in absl_log.text
  assert "1 images of external" in absl_log.text
  assert "have no row in truth.csv (more.jpg)" in absl_log.text


def test_a_folder_for_each_class(tmp_path):
  split = elsewhere((2, 0, 0))
  image = Image.fromarray(split.images[0]).resize((40, 30))
  for name, folder in (("1.png", "Disc"), ("1.jpg", "stripes")):
    (tmp_path / folder).mkdir()
    image.save(tmp_path / folder / name)
  found = _load(tmp_path)
  assert found.split.labels.tolist() == [0, 2]
  assert found.split.images.shape == (2, 16, 16, 3)


def test_images_of_the_own_test_split_are_traced(tmp_path):
  own = shrunk.dataset().test
  rows = [(n, shrunk.CLASSES[k]) for n, k in zip(*own[2:0:-1], strict=True)]
  found = _load(write(tmp_path, own, rows=rows))
  assert found.traced == found.own_test == len(own.labels)
  assert found.split.groups.tolist() == own.groups.tolist()
  np.testing.assert_array_equal(found.split.images, own.images)
  assert found.groups_known
  assert "cannot be excluded" not in found.note


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("kind", ["image", "lesion", "pixels"])
def test_a_leak_is_refused(tmp_path, split, kind):
  learnt, images = getattr(shrunk.dataset(), split), elsewhere()
  columns, rows = ("image", "label"), None
  if kind == "image":
    images = _renamed(images, f"{learnt.image_ids[3]}")
  if kind == "lesion":
    columns = ("image", "label", "group")
    rows = [(name, "disc", "") for name in images.image_ids]
    rows[0] = (rows[0][0], "disc", learnt.groups[3])
  if kind == "pixels":
    images.images[0] = learnt.images[3]
  write(tmp_path, images, columns, rows)
  message = (
    rf"1 of 7 images of external=.*{images.image_ids[0]}\.png: the same {kind} "
    f"as {learnt.image_ids[3]}"
  )
  with pytest.raises(errors.InputError, match=message) as refusal:
    _load(tmp_path)
  assert ("rename the groups" in str(refusal.value)) == (kind == "lesion")


def test_known_duplicates_of_what_was_learnt_from_are_refused(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(
    external.tables,
    "duplicates",
    lambda: [("ISIC_0000001", "ISIC_0000002")],
  )
  images = _renamed(elsewhere(), "ISIC_0000002_cropped")
  train = _renamed(shrunk.dataset().train, "nv/ISIC_0000001.jpg")
  write(tmp_path, images)
  with pytest.raises(errors.InputError, match="same duplicate as ISIC_0000001"):
    _load(tmp_path, train=train)


@pytest.mark.parametrize(
  ("origin", "inherited"),
  [
    ({"image_ids": ["ISIC_0000002"]}, ()),
    ({"groups": ["far_0"]}, ()),
    (None, ("far_0",)),
  ],
)
def test_what_made_the_synthetic_images_has_not_seen_it(
  tmp_path, origin, inherited
):
  images = _renamed(elsewhere(), "ISIC_0000002")
  rows = [(name, "disc", f"far_{i}") for i, name in enumerate(images.image_ids)]
  write(tmp_path, images, ("image", "label", "group"), rows)
  assert _load(tmp_path).groups_known
  with pytest.raises(errors.InputError, match=r"ISIC_0000002\.png: the sa"):
    _load(tmp_path, origin, inherited=inherited)


def test_names_of_files_are_no_ids_where_they_mean_nothing(tmp_path):
  """`disc/1.png` of two hospitals are two images."""
  train = _renamed(shrunk.dataset().train, "disc/1.png", "2.png")
  for name, image in zip("12", elsewhere().images, strict=False):
    (tmp_path / "disc").mkdir(exist_ok=True)
    Image.fromarray(image).save(tmp_path / "disc" / f"{name}.png")
  found = _load(tmp_path, train=train)
  assert found.traced == 0


def test_an_origin_that_names_nothing():
  assert provenance.named(None) == (set(), set())
  assert provenance.named({"groups": "no list"}) == (set(), set())


def _one_hot(*values):
  return ("image", "disc", "square"), [("elsewhere_000", *values)]


@pytest.mark.parametrize(
  ("columns", "rows", "message"),
  [
    (("image", "label"), [("gone", "disc"), ("lost", "disc")],
     r"2 of 2 images of .* are not in .* \(gone, line 2, …\)"),
    (("name", "label"), [("elsewhere_000", "disc")], "first line names name"),
    (("image", "label", "label"), [("elsewhere_000", "disc", "square")],
     "first line names 2 columns 'label'"),
    (("image",), [("elsewhere_000",)], "first line names image;"),
    (("image", "label"), [], "has no row below"),
    (("image", "label"), [("elsewhere_000",)], "line 2: 1 fields where"),
    (("image", "label"), [("elsewhere_000", "")], "line 2: an image and a cl"),
    (("image", "label"), [("elsewhere_000", "disc")] * 2,
     "line 3: elsewhere_000 is already in line 2"),
    (("image", "label"), [("elsewhere_000", "SCC")],
     r"1 of 1 .* lacks \(SCC 1\): its classes are disc, square, stripes"),
    (*_one_hot("1.0", "1.0"), "line 2: 2 are 1; without a label column"),
    (*_one_hot("0.0", "0"), "line 2: 0 are 1; without"),
    (*_one_hot("1.0", "often"), "line 2: square is 'often'"),
    (*_one_hot("0.6", "0.4"), "line 2: disc is '0.6'"),
  ],
)  # fmt: skip
def test_a_table_that_is_none_is_refused(tmp_path, columns, rows, message):
  write(tmp_path, elsewhere(), columns, rows)
  with pytest.raises(errors.InputError, match=message):
    _load(tmp_path)


def test_folders_that_are_none_are_refused(tmp_path):
  with pytest.raises(errors.InputError, match=r"external=.*absent is no f"):
    _load(tmp_path / "absent")
  split = elsewhere()
  write(tmp_path, split)
  Image.fromarray(split.images[0]).save(tmp_path / f"{split.image_ids[0]}.png")
  with pytest.raises(errors.InputError, match="elsewhere_000 could be els"):
    _load(tmp_path)
  (tmp_path / "more.csv").write_text("")
  with pytest.raises(errors.InputError, match=r"has 2 tables \(more.csv, tru"):
    _load(tmp_path)
  (tmp_path / "truth.csv").unlink()
  (tmp_path / "more.csv").write_bytes(b"image,label\n\xff,a\n")
  with pytest.raises(errors.InputError, match="line 2: not UTF-8"):
    _load(tmp_path)
