"""Tests of provenance.py: recording origins, refusing leaks."""

import dataclasses
import re

import numpy as np
import pytest

from skinjax.data import datasets, provenance
from skinjax.runtime import errors
from tests import shrunk


def test_who_learns_from_generated_images_learns_from_their_origin(
  tmp_path, tiny_dataset
):
  more = shrunk.split("more", (0, 2, 4))
  whole = datasets.extended(
    tiny_dataset, datasets.Added(more), ["seen_by_the_gan"]
  )
  provenance.write_origin(tmp_path, whole)
  assert provenance.read_origin(tmp_path)["groups"] == sorted(
    {*tiny_dataset.train.groups, *more.groups, "seen_by_the_gan"}
  )


def test_origin(tmp_path, tiny_dataset):
  with pytest.raises(errors.InputError, match="training data are unknown"):
    provenance.read_origin(tmp_path)
  provenance.write_origin(tmp_path, tiny_dataset)
  provenance.write_origin(tmp_path, tiny_dataset)  # the same again is right
  origin = provenance.read_origin(tmp_path)
  assert origin["name"] == "toy_lesions"
  assert tuple(origin["class_names"]) == shrunk.CLASSES
  assert origin["groups"] == sorted(set(tiny_dataset.train.groups))
  assert provenance.info_of(origin, shrunk.SIZE) == tiny_dataset.info


def test_what_is_learnt_through_is_recorded_and_stays(tmp_path, tiny_dataset):
  weights = {"kernel": np.ones((2, 3), np.float32)}
  frozen = {"pretrained": {"A network": weights}, "projections": [np.eye(2)]}
  provenance.write_origin(tmp_path, tiny_dataset, frozen)
  provenance.write_origin(tmp_path, tiny_dataset, frozen)
  origin = provenance.read_origin(tmp_path)
  assert origin["pretrained"] == ["A network"]
  assert origin["frozen"].keys() == {"A network", "projections"}
  others = (
    ("A network", {**frozen, "pretrained": {"A network": {"kernel": 2}}}),
    ("projections", {**frozen, "projections": [2 * np.eye(2)]}),
    ("projections", {"pretrained": frozen["pretrained"]}),
    ("A network", {}),
  )
  for name, other in others:
    message = rf"other frozen weights \({name}: SHA-256"
    with pytest.raises(errors.InputError, match=message):
      provenance.write_origin(tmp_path, tiny_dataset, other)


def test_a_record_of_an_earlier_version_tells_the_network_all_the_same():
  origin = {
    "name": "mnist",
    "fingerprint": "0" * 64,
    "class_names": ["0", "1"],
    "groups": [],
  }
  info = provenance.info_of(origin, 32)
  assert (info.size, info.channels) == (32, 1)
  assert info.class_names == ("0", "1")
  assert info.collapse == 0.7
  with pytest.raises(errors.InputError, match="is damaged"):
    provenance.info_of({**origin, "name": "another"}, 32)


@pytest.mark.parametrize("split", ["test", "validation"])
def test_what_has_seen_held_out_lesions_is_refused(split, tiny_dataset):
  groups = np.unique(getattr(tiny_dataset, split).groups).tolist()
  train = np.unique(tiny_dataset.train.groups).tolist()
  origin = {"groups": [*train, groups[3], groups[1]]}
  message = (
    f"The filter in DIR was trained on 2 lesions of the {split} split here "
    f"({groups[1]}, …): use one that was trained on"
  )
  with pytest.raises(errors.InputError, match=re.escape(message)):
    provenance.refuse_seen(origin, tiny_dataset, "The filter", "DIR")
  provenance.refuse_seen({"groups": train}, tiny_dataset, "The filter", "DIR")


def test_ids_are_traced_to_their_groups(tiny_dataset):
  train, test = tiny_dataset.train, tiny_dataset.test
  learnt = lambda **origin: provenance.groups_learnt(origin, tiny_dataset)
  ids = train.image_ids[:3].tolist()
  assert learnt(image_ids=ids) == set(train.groups[:3])
  # As names of files, too.
  assert learnt(image_ids=[f"{i}.jpg" for i in ids]) == set(train.groups[:3])
  # One image of a test lesion is enough, whatever else it has learnt from.
  ids.append(test.image_ids[0])
  for origin in (
    {"image_ids": ids},
    {"image_ids": [*ids, "img_0001"]},
    {"image_ids": ids, "unknown_origin": True},
  ):
    with pytest.raises(errors.InputError, match="trained on 1 lesions"):
      provenance.refuse_seen(origin, tiny_dataset, "The generator", "DIR")
  # Groups of another data set may have the same names.
  groups = {"name": "another", "groups": ["hash_1", test.groups[0]]}
  assert not provenance.refuse_seen(groups, tiny_dataset, "The filter", "DIR")


def test_what_cannot_be_traced_is_not_cleared(tiny_dataset):
  ids = tiny_dataset.train.image_ids[:3].tolist()
  for origin in (
    None,
    {},
    {"groups": []},
    {"image_ids": "all"},
    {"image_ids": [*ids, "img_0001"]},
    {"groups": ["HAM_0000118"]},
  ):
    assert provenance.groups_learnt(origin, tiny_dataset) is None
    assert not provenance.refuse_seen(origin, tiny_dataset, "The set", "DIR")
  # What skinjax wrote of the same data set is known, whatever it has more.
  own = {
    "name": "toy_lesions",
    "groups": ["another", *tiny_dataset.train.groups],
  }
  assert provenance.refuse_seen(own, tiny_dataset, "The set", "DIR")


def test_a_name_alone_does_not_identify_a_users_folder(tiny_dataset):
  test = tiny_dataset.test.groups.tolist()
  for name, known in (
    ("images", True),
    ("folder", True),
    ("ham10000 (folder)", True),
    ("mnist", False),
  ):
    info = dataclasses.replace(tiny_dataset.info, name=name, groups_known=known)
    own = tiny_dataset._replace(info=info)
    # At another size, or of another folder: no group is known here.
    origin = {"name": name, "groups": ["hash_1", "hash_2"]}
    assert provenance.groups_learnt(origin, own) is None
    assert not provenance.refuse_seen(origin, own, "The generator", "DIR")
    origin = {"name": name, "groups": tiny_dataset.train.groups.tolist()}
    assert provenance.refuse_seen(origin, own, "The generator", "DIR")
    ids = {"name": name, "image_ids": tiny_dataset.train.image_ids.tolist()}
    assert provenance.refuse_seen(ids, own, "The generator", "DIR")
    # A leak is one, whatever else cannot be traced.
    origin = {"name": name, "groups": ["hash_1", test[0]]}
    with pytest.raises(errors.InputError, match="trained on 1 lesions"):
      provenance.refuse_seen(origin, own, "The generator", "DIR")


def test_images_of_classes_that_are_left_out_are_traced(tiny_dataset):
  less = tiny_dataset._replace(left_out={"id_1": "group_1"})
  assert provenance.groups_learnt({"image_ids": ["id_1"]}, less) == {"group_1"}
