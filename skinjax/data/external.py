"""External test sets, scored in addition to the internal test split.

```
FOLDER/TABLE.csv, FOLDER/NAME.jpg or FOLDER/ANY/NAME.jpg
FOLDER/CLASS/NAME.jpg
```

The table is the only .csv file in the folder. It has the columns `image` (an id
or a file name), `label` and, if known, `group`, or others of their usual names,
such as `image_id`, `dx` and `lesion_id`; see image_tables.py. Without a label
column every other column is a class, and a row has 1.0 in one of them and 0.0
elsewhere, as in the ISIC challenges' ground truth. Columns of weights
(`score_weight`) are ignored.

These images may not be used for model selection, and none of them may have been
used for training or model selection.
"""

import collections
import hashlib
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from skinjax.data import datasets, images, own_images, provenance
from skinjax.data.sources import Split
from skinjax.runtime import errors, files
from tfds_ham10000 import image_tables, leaks, tables
from tfds_ham10000.files import one_hot


class External(NamedTuple):
  """An external test set in which no leak was found."""

  name: str  # of its folder
  split: Split  # with the classes of the data set
  traced: int  # images whose id or group is in the data set
  own_test: int  # traced images of lesions in the internal test split
  left_out: Mapping[str, int]  # images of each class that the data set lacks
  groups_known: bool  # as in datasets.DataInfo
  fingerprint: str  # as from datasets.fingerprint

  @property
  def note(self) -> str:
    """Summarize in one line what is known about leaks."""
    total = len(self.split.labels)
    own = ""
    if self.own_test:
      own = f", {self.own_test} of them to lesions of the internal test split"
    rest = ""
    if self.traced < total:
      rest = (
        " A leak of the others, such as other photographs of training lesions, "
        "cannot be excluded."
      )
    return (
      f"{self.traced} of {total} images could be traced{own}; none is known to "
      "show a lesion used in training, and none has the pixels of an image "
      f"used in training.{rest}"
    )


class _Found(NamedTuple):
  path: pathlib.Path
  name: str  # path within the folder
  label: str
  group: str  # empty if unknown


def load(
  folder: str | pathlib.Path,
  dataset: datasets.Dataset,
  origins: Iterable[Mapping[str, Any] | None] = (),
) -> External:
  """Read an external test set, its images resized as the training images were.

  Classes are those of the data set, in upper or lower case; images of other
  classes are counted and left out. `origins` describe what each generator of
  synthetic images was trained on; see provenance.py.

  Raises:
    InputError: there is no such folder, it has no readable table or class, a
      row has no image, no image is of a known class, or an image leaks: its id,
      group, pixels or known duplicate is in the training or validation split or
      in one of `origins`.
  """
  folder = files.user_path(folder)
  found = _find(folder)
  number = _numbers(dataset.info.class_names)
  left_out = collections.Counter(
    one.label for one in found if number(one.label) is None
  )
  found = [one for one in found if number(one.label) is not None]
  if left_out:
    by_class = ", ".join(f"{name} {count}" for name, count in left_out.items())
    lacking = (
      f"{left_out.total()} of {left_out.total() + len(found)} images of "
      f"external={folder} are of classes that {dataset.info.name}, as used "
      f"here, lacks ({by_class})"
    )
    if not found:
      known = ", ".join(dataset.info.class_names)
      raise errors.InputError(f"{lacking}: its classes are {known}.")
    logging.info("%s: they are left out.", lacking)
  pixels = images.in_threads(
    lambda one: images.in_channels(
      images.read(one.path, dataset.info.size, dataset.info.stored),
      dataset.info.channels,
    ),
    found,
  )
  known = _known(dataset)
  ids = [_id(one.name, known) or f"external {one.name}" for one in found]
  digests = [hashlib.sha256(image).hexdigest() for image in pixels]
  _refuse_leaks(folder, dataset, known, origins, found, ids, digests)
  own_groups, test = set(known.values()), set(dataset.test.groups.tolist())
  groups, traced, own_test, all_known = [], 0, 0, True
  for one, key, digest in zip(found, ids, digests, strict=True):
    known_group = known.get(key)
    traced += known_group is not None or one.group in own_groups
    own_test += known_group in test or one.group in test
    all_known &= bool(one.group or (known_group and dataset.info.groups_known))
    groups.append(one.group or known_group or digest[:16])
  split = Split(
    np.stack(pixels),
    np.array([number(one.label) for one in found], np.int32),
    np.array([one.name for one in found]),
    np.array(groups),
  ).take(slice(None))
  return External(
    name=folder.resolve().name,
    split=split,
    traced=traced,
    own_test=own_test,
    left_out=dict(left_out),
    groups_known=all_known,
    fingerprint=datasets.fingerprint(split),
  )


def _numbers(names: Iterable[str]):
  """Return a function from a class's name, in any case, to its label."""
  exact = {name: label for label, name in enumerate(names)}
  folded = {name.casefold(): label for name, label in exact.items()}
  return lambda name: exact.get(name, folded.get(name.casefold()))


def _id(name: str, known: Iterable[str]) -> str:
  """Return the id that identifies an image across data sets, else "".

  File names in users' folders are not such ids: `nv/1.jpg` is a different image
  in every folder.
  """
  reduced = image_tables.image_id(name)
  return reduced if reduced in known or "ISIC_" in reduced else ""


def _known(dataset: datasets.Dataset) -> dict[str, str]:
  """Return the group of each image, by its id across data sets if any."""
  groups = dataset.group_of()
  return {_id(name, groups) or name: group for name, group in groups.items()}


def _refuse_leaks(folder, dataset, known, origins, found, ids, digests) -> None:
  """Refuse images that were used for training or model selection."""
  named = [provenance.named(origin) for origin in origins]
  made_of_ids = set().union(*(of_images for of_images, _ in named))
  made_of_groups = set().union(*(groups for _, groups in named))
  seen = datasets.joined([dataset.train, dataset.validation])
  seen_ids = [*seen.image_ids.tolist(), *sorted(made_of_ids)]
  lesions = {_id(name, known) or name: f"only {name}" for name in seen_ids}
  train = list(lesions)
  # For groups known without images, a placeholder stands for their images.
  for group in sorted(made_of_groups.union(dataset.inherited or ())):
    train.append(f"an image of {group}")
    lesions[train[-1]] = group
  lesions |= {
    key: one.group for key, one in zip(ids, found, strict=True) if one.group
  }
  leaking = leaks.find_leaks(train, ids, lesions | known, tables.duplicates())
  same_id = {leak.image_id: leak for leak in leaking}
  same_pixels = {
    hashlib.sha256(np.ascontiguousarray(image)).hexdigest(): name
    for image, name in zip(seen.images, seen.image_ids.tolist(), strict=True)
  }
  leaked = []
  for one, key, digest in zip(found, ids, digests, strict=True):
    if leak := same_id.get(key):
      leaked.append(f"{one.name}: the same {leak.kind} as {leak.train_id}")
    elif digest in same_pixels:
      leaked.append(f"{one.name}: the same pixels as {same_pixels[digest]}")
  if leaked:
    more = ", …" if leaked[1:] else ""
    chance = ""
    if any(leak.kind == "lesion" for leak in leaking):
      chance = (
        " If these are other lesions, whose groups have the same names by "
        "chance, rename the groups in the table."
      )
    raise errors.InputError(
      f"{len(leaked)} of {len(found)} images of external={folder} are in the "
      "training or validation split, or were used to train the synthetic "
      f"images' generator ({leaked[0]}{more}): leave them out, or use a fold "
      f"that tests on them.{chance}"
    )


def _find(folder: pathlib.Path) -> list[_Found]:
  """Find the images of a folder, their classes and groups."""
  found = sorted(folder.glob("*.csv")) if folder.is_dir() else []
  if len(found) > 1:
    raise errors.InputError(
      f"external={folder} has {len(found)} tables "
      f"({', '.join(path.name for path in found)}): keep only the one with the "
      "classes of its images."
    )
  if found:
    return _in_table(folder, found[0])
  by_class = own_images.find(folder, "external")
  columns = zip(by_class.paths, by_class.names, by_class.labels, strict=True)
  return [_Found(*row, "") for row in columns]


def _in_table(folder: pathlib.Path, table: pathlib.Path) -> list[_Found]:
  columns, rows = own_images.read_table(table)
  image, label, group = image_tables.columns(columns)
  classes = [
    name
    for name in columns
    if name not in (image, group) and not name.lower().endswith("_weight")
  ]
  if not image or not (label or classes):
    raise errors.InputError(
      f"{table} is not a table of images and classes: its first line names "
      f"{', '.join(columns)}; image and label are expected, or image and one "
      "column per class, with 1.0 in one of them."
    )
  places, unused = _places(folder)
  found, absent, first = [], [], {}
  for line, row in rows:
    where, name = f"{table}, line {line}", row[image]
    class_name = row[label] if label else _one_hot(row, classes, where)
    if not name or not class_name:
      raise errors.InputError(f"{where}: an image and a class are expected.")
    paths = places.get(name, ())
    if not paths:
      absent.append(f"{name}, line {line}")
      continue
    if len(paths) > 1:
      both = " and ".join(sorted(_within(path, folder) for path in paths)[:2])
      raise errors.InputError(
        f"{where}: {name} could be {both}: give its path within {folder}."
      )
    (path,) = paths
    if path in first:
      raise errors.InputError(
        f"{where}: {name} is already in line {first[path]}: list each image "
        "once."
      )
    first[path] = line
    own_group = row[group] if group else ""
    found.append(_Found(path, _within(path, folder), class_name, own_group))
  if absent:
    raise errors.InputError(
      f"{len(absent)} of {len(rows)} images of {table} are not in {folder} or "
      f"its subfolders ({absent[0]}{', …' if absent[1:] else ''}): files with "
      f"these names and {', '.join(images.SUFFIXES)} are expected there."
    )
  if unused := sorted(unused - first.keys()):
    logging.info(
      "%d images of external=%s have no row in %s (%s%s): they are left out.",
      len(unused),
      folder,
      table.name,
      _within(unused[0], folder),
      ", …" if unused[1:] else "",
    )
  return found


def _one_hot(row: Mapping[str, str], classes: list[str], where: str) -> str:
  """Return the class whose column has a row's only 1."""
  on, odd = one_hot(row, classes)
  if odd or len(on) != 1:
    has = f"{odd[0]} is {row[odd[0]]!r:.40}" if odd else f"{len(on)} are 1"
    raise errors.InputError(
      f"{where}: {has}; without a label column, each column except image and "
      "group is a class: 1.0 for the image's class, 0.0 for all others."
    )
  return on[0]


def _places(
  folder: pathlib.Path,
) -> tuple[dict[str, set[pathlib.Path]], set[pathlib.Path]]:
  """List the images in a folder and its subfolders, by each possible name."""
  places = collections.defaultdict(set)
  paths = {
    path
    for path in (*folder.glob("*"), *folder.glob("*/*"))
    if path.suffix.lower() in images.SUFFIXES
    and path.is_file()
    and not _within(path, folder).startswith(".")
    and path.name[0] != "."
  }
  for path in paths:
    for name in (_within(path, folder), path.name):
      places[name].add(path)
      places[name[: -len(path.suffix)]].add(path)
  return places, paths


def _within(path: pathlib.Path, folder: pathlib.Path) -> str:
  return path.relative_to(folder).as_posix()
