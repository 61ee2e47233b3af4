"""The task that tells whether a train/test split of HAM10000 leaks."""

import collections
import contextlib
import csv
import io
import os
import pathlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import ml_collections
from absl import logging
from etils import epath

import tfds_ham10000
from skinjax import data, errors, files, sources, workdir
from tfds_ham10000 import sources as ham10000
from tfds_ham10000 import splits, tables

# What a test image can share with training, the plainest first.
KINDS = ("image", "lesion", "duplicate")
# Names of columns, in lower case; the first that a table has is taken.
_IDS = ("image_id", "image", "image_name", "file_name", "filename", "path")
_IDS += ("filepath", "isic_id", "id")
_CLASSES = ("dx", "label", "class", "diagnosis", "category", "target", "y")
_ONE_HOT = ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc")
_BLANK = ("", "na", "nan", "none", "null")
_UNKNOWN = "?"
_FILE = "leaks.csv"
_SHOWN = 10  # leaking images that are told one by one

_ISIC = re.compile(r"isic_\d{7}(?!\d)", re.I)
_SUFFIX = re.compile(r"\.(jpe?g|png|bmp|tiff?|gif|webp|npy)$", re.I)
# An id or a path rather than the name of a column.
_BARE = re.compile(rf"[/\\]|{_SUFFIX.pattern}|^[\w-]*\d[\w-]*$", re.I)


class Row(NamedTuple):
  """An image in somebody's table; lesion and label are empty if not given."""

  image_id: str
  lesion: str
  label: str
  line: int


class Known(NamedTuple):
  """Lesion and diagnosis by image id, and the words for where they are from."""

  lesions: dict[str, str]
  labels: dict[str, str]
  where: str


class Leak(NamedTuple):
  """A test image, and the first training image that it shares `kind` with."""

  image_id: str
  kind: str
  train_id: str


class Result(NamedTuple):
  """What was found.

  Attributes:
    leaks: the test images that leak, in the test table's order.
    counts: by class: test `images`, those with each kind of leak, all
      `leaking` ones and their `share`.
    total: the same of all classes.
    labels: the class of every test image.
    tables: by `train` and `test`: `rows`, `images`, and `without_lesion`, how
      many of them can be compared by image id only, `as` one of them.
    pairs_apart: known duplicates that can't be compared, for want of a lesion.
  """

  leaks: list[Leak]
  counts: dict[str, dict[str, float]]
  total: dict[str, float]
  labels: dict[str, str]
  tables: dict[str, dict[str, int | str]]
  pairs_apart: int

  @property
  def exit_code(self) -> int:
    """Returns 1 if any test image leaks, else 0."""
    return int(bool(self.leaks))


def run(
  config: ml_collections.ConfigDict, path: str | pathlib.Path | None = None
) -> Result:
  """Tells by class which test images share something with training.

  Args:
    config: of configs/leaks.py.
    path: the workdir, for `leaks.csv` and `leaks.json`; None writes nothing.

  Raises:
    InputError: a table is not one of images, or nothing tells their lesions.
    tfds_ham10000.DataError: the table in data.manual_dir is not HAM10000's.
  """
  config = ml_collections.FrozenConfigDict(config)
  if config.data.name != "ham10000":
    raise errors.InputError(
      f"data.name={config.data.name}: leaks are looked for in ham10000 only."
    )
  place = workdir.claim(path, config) if path else contextlib.nullcontext()
  with place as directory:
    train, test = read(config.train, "train"), read(config.test, "test")
    known = _look_up(config, train, test)
    result = _judge(train, test, known)
    _tell(result, known)
    if directory:
      _write(directory, result, known)
      logging.info("All of it is in %s and leaks.json.", directory / _FILE)
    elif len(result.leaks) > _SHOWN:
      logging.info("With --workdir=DIR the whole list is in DIR/%s.", _FILE)
    return result


def find(
  train: Iterable[str],
  test: Iterable[str],
  lesions: Mapping[str, str],
  pairs: Iterable[tuple[str, str]],
) -> list[Leak]:
  """Finds the test images that training has seen in one way or another.

  Args:
    train: image ids.
    test: image ids.
    lesions: lesion id by image id, also of images in neither; an image without
      one is taken for the only one of its lesion.
    pairs: image ids known to show one lesion; they join whole lesions.

  Returns:
    One leak for each test image that has any, of the first kind of KINDS.
  """
  train, test = list(train), list(dict.fromkeys(test))
  alone = {image: f"only {image}" for image in (*train, *test)}
  lesions = alone | dict(lesions)
  groups = splits.join_groups(lesions, pairs)
  names = ({image: image for image in lesions}, lesions, groups)
  seen = [{name[image]: image for image in train[::-1]} for name in names]
  leaks = []
  for image in test:
    for kind, name, first in zip(KINDS, names, seen, strict=True):
      if name[image] in first:
        leaks.append(Leak(image, kind, first[name[image]]))
        break
  return leaks


def refuse_seen(
  origin: Mapping[str, Any],
  dataset: data.Dataset,
  what: str,
  place: str | pathlib.Path,
) -> None:
  """Refuses what has learnt from lesions that a study tests on.

  Args:
    origin: what it learnt from; see workdir.read_origin.
    dataset: the study's.
    what: what it is, as in "The generator".
    place: its workdir.

  Raises:
    InputError: it has seen lesions of the test or the validation split.
  """
  seen = set(origin["groups"])
  for split in ("test", "validation"):
    leaked = seen.intersection(getattr(dataset, split).groups)
    if leaked:
      raise errors.InputError(
        f"{what} in {place} was trained on {len(leaked)} lesions of this "
        f"study's {split} split ({min(leaked)}, …): train one with this "
        "study's data.fold, data.num_folds and data.fold_seed."
      )


def _judge(train: list[Row], test: list[Row], known: Known) -> Result:
  """Counts the leaks by class and kind."""
  ids = [[row.image_id for row in table] for table in (train, test)]
  pairs = tables.read_pairs(
    epath.resource_path("tfds_ham10000") / "DUPLICATES.csv"
  )
  leaks = find(*ids, known.lesions, pairs)
  traced = known.lesions.keys() | set(ids[0]) | set(ids[1])
  kinds = {leak.image_id: leak.kind for leak in leaks}
  labels = {}
  for row in test:
    told = row.label or known.labels.get(row.image_id, _UNKNOWN)
    labels.setdefault(row.image_id, told)
  sides = {}
  for key, images in zip(("train", "test"), ids, strict=True):
    lone = [i for i in dict.fromkeys(images) if i not in known.lesions]
    sides[key] = {"rows": len(images), "images": len(set(images))}
    sides[key] |= {"without_lesion": len(lone), "as": "".join(lone[:1])}
  return Result(
    leaks,
    {
      name: _count([i for i in labels if labels[i] == name], kinds)
      for name in sorted(set(labels.values()))
    },
    _count(labels, kinds),
    labels,
    sides,
    sum(not set(pair) <= traced for pair in pairs),
  )


def _count(images: Collection[str], kinds: Mapping[str, str]) -> dict:
  found = collections.Counter(kinds[i] for i in images if i in kinds)
  counts = {kind: found[kind] for kind in KINDS}
  leaking = found.total()
  more = {"leaking": leaking, "share": leaking / len(images)}
  return {"images": len(images), **counts, **more}


def _write(path: pathlib.Path, result: Result, known: Known) -> None:
  """Writes leaks.csv and leaks.json."""
  rows = [
    (i, result.labels[i], kind, met, known.lesions.get(i, ""))
    for i, kind, met in result.leaks
  ]
  columns = ("image_id", "class", "kind", "train_image_id", "lesion_id")
  files.write_text(path / _FILE, files.table([columns, *rows]))
  content = {
    "lesions": known.where,
    "tables": result.tables,
    "duplicates_not_compared": result.pairs_apart,
    "classes": result.counts,
    "total": result.total,
  }
  files.write_json(path / "leaks.json", content)


def _tell(result: Result, known: Known) -> None:
  """Logs what was compared, the counts by class and the first leaks."""
  logging.info("Lesions are looked up in %s.", known.where)
  for key, side in result.tables.items():
    more = f" in {side['rows']} lines" if side["rows"] > side["images"] else ""
    logging.info("config.%s: %d images%s.", key, side["images"], more)
    if lone := side["without_lesion"]:
      logging.warning(
        "config.%s: %d images (as %s) have no lesion there, and are compared "
        "by image id only.",
        key,
        lone,
        side["as"],
      )
  if result.pairs_apart:
    logging.warning(
      "%d of the known duplicates can't be compared, as neither table has an "
      "image of theirs: --config.data.manual_dir names HAM10000's own table.",
      result.pairs_apart,
    )
  kinds = ("same image", "same lesion", "known duplicate")
  rows = [("class", "test images", *kinds, "leaking", "share")]
  for name, counts in (*result.counts.items(), ("total", result.total)):
    *numbers, share = counts.values()
    rows.append((name, *map(str, numbers), f"{share:.1%}"))
  _log_aligned(rows, right=True)
  total, found = result.total["images"], len(result.leaks)
  if not found:
    logging.info(
      "No leak found: none of %d test images shares an image, a lesion or a "
      "known duplicate with training.",
      total,
    )
    return
  first = " The first are:" if found > _SHOWN else ""
  logging.info("%d of %d test images leak.%s", found, total, first)
  rows = [("test image", "class", "shares its", "with", "lesion")]
  for image, kind, met in result.leaks[:_SHOWN]:
    lesion = known.lesions.get(image, "")
    rows.append((image, result.labels[image], kind, met, lesion))
  _log_aligned(rows, right=False)
  if found > _SHOWN:
    logging.info("… and %d more.", found - _SHOWN)


def _log_aligned(rows: list[tuple[str, ...]], right: bool) -> None:
  """Logs rows in columns; all but the first to the right if asked for."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  for row in rows:
    fields = [
      field.rjust(width) if right and place else field.ljust(width)
      for place, (field, width) in enumerate(zip(row, widths, strict=True))
    ]
    logging.info("%s", "  ".join(fields).rstrip())


def image_id(text: str) -> str:
  r"""Reduces a path, URL or file name to the id of its image.

  An ISIC id counts wherever it is, so that `C:\x\ISIC_0027419_flipped.JPG` is
  ISIC_0027419; of other names folders and suffix are dropped.
  """
  if found := _ISIC.findall(text):
    return found[-1].upper()
  if "://" in text:
    text = re.split(r"[?#]", text)[0]
  name = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
  return _SUFFIX.sub("", name) or name


def read(path: str, key: str) -> list[Row]:
  """Reads a table of images, or a plain list of their ids.

  Args:
    path: UTF-8 text, delimited by commas, semicolons or tabs.
    key: train or test, the config's key that names it.

  Raises:
    InputError: it can't be read, or is no table of images.
  """
  if not path:
    raise errors.InputError(
      f"config.{key} is empty: name a table of images, as in "
      f"--config.{key}={key}.csv."
    )
  where = f"config.{key}={path}"
  (first, header), *rows = _lines(path, key)
  names = [name.lower() for name in header]
  at = _first(_IDS, names)
  if at is None and len(header) == 1 and _BARE.search(header[0]):
    names, at, rows = ["image_id"], 0, [(first, header), *rows]
  if at is None:
    raise errors.InputError(
      f"{where} has no column of image ids: its first line names "
      f"{ham10000.show(', '.join(header))}; one of {', '.join(_IDS)} is wanted."
    )
  if not rows:
    raise errors.InputError(f"{where} has no line below its header.")
  label_at, lesion_at = _first(_CLASSES, names), _first(["lesion_id"], names)
  hot = {i: name for i, name in enumerate(names) if name in _ONE_HOT}
  table = []
  for line, row in rows:
    if len(row) != len(names):
      raise errors.InputError(
        f"{where}, line {line}: {len(row)} fields, where the first line has "
        f"{len(names)}."
      )
    if not row[at]:
      raise errors.InputError(
        f"{where}, line {line}: the column {names[at]} is empty; an image id "
        "or a path is wanted."
      )
    lesion = "" if lesion_at is None else row[lesion_at]
    label = "" if label_at is None else row[label_at]
    if label_at is None and len(hot) > 1:
      on = [hot[i] for i in hot if row[i].lower() in ("1", "1.0", "true")]
      if len(on) != 1:
        raise errors.InputError(
          f"{where}, line {line}: {len(on)} of the columns "
          f"{', '.join(hot.values())} are 1; exactly one says the class."
        )
      label = on[0]
    lesion = "" if lesion.lower() in _BLANK else lesion
    table.append(Row(image_id(row[at]), lesion, label, line))
  return table


def _lines(path: str, key: str) -> list[tuple[int, list[str]]]:
  """Splits a file into the fields of its lines that aren't blank, numbered."""
  where, place = f"config.{key}={path}", epath.Path(os.path.expanduser(path))
  if not place.exists():
    raise errors.InputError(f"{where}: there is no such file.")
  try:
    text = ham10000.read_text(place, "a table of images")
  except tfds_ham10000.DataError as error:
    raise errors.InputError(f"config.{key}: {error}.") from error
  lines = io.StringIO(text, newline=None)
  first = next(filter(str.strip, lines), "")
  lines.seek(0)
  delimiter = max(",;\t", key=first.count)
  reader = csv.reader(lines, delimiter=delimiter, strict=True)
  rows, line = [], 1
  try:
    for row in reader:
      if any(fields := [field.strip() for field in row]):
        rows.append((line, fields))
      line = reader.line_num + 1
  except csv.Error as error:
    raise errors.InputError(
      f"{where}, line {line}: {error}; is a quotation mark not closed?"
    ) from error
  if not rows:
    raise errors.InputError(f"{where} is empty: a table of images is wanted.")
  return rows


def _first(wanted: Iterable[str], names: list[str]) -> int | None:
  return next((names.index(name) for name in wanted if name in names), None)


def _look_up(config, train: list[Row], test: list[Row]) -> Known:
  """Finds out which lesion each image shows, or raises what to give."""
  if config.data.manual_dir:
    place = _table(config.data.manual_dir)
    cases = tables.read_cases(place)
    known = Known(
      {case.image_id: case.lesion_id for case in cases},
      {case.image_id: case.dx for case in cases},
      str(place),
    )
  elif why := _why_not_own(train, test):
    if not sources.is_prepared(config.data):
      raise errors.InputError(
        f"Nothing tells which lesion an image shows: {why}, and no ham10000 is "
        "prepared. Name the directory with HAM10000_metadata.csv by "
        "--config.data.manual_dir=DIR, or give both tables such a column."
      )
    names, parts = sources.read(config.data)
    known = Known(
      {}, {}, "ham10000 as prepared, where a known duplicate is the same lesion"
    )
    for part in parts.values():
      ids = part.image_ids.tolist()
      known.lesions.update(zip(ids, part.groups.tolist(), strict=True))
      known.labels.update(
        (image, names[label])
        for image, label in zip(ids, part.labels, strict=True)
      )
  else:
    return Known(_own(config, train, test), {}, "the tables' column lesion_id")
  if not any(row.image_id in known.lesions for row in (*train, *test)):
    raise errors.InputError(
      f"No image of config.train={config.train} or config.test={config.test} "
      f"is in HAM10000 (the first is {train[0].image_id}): ids like "
      f"{next(iter(known.lesions))} are wanted."
    )
  return known


def _table(folder: str) -> epath.Path:
  place = epath.Path(os.path.expanduser(folder))
  names = ham10000._TABLE_NAMES
  found = ham10000._match(place, names) if place.is_dir() else []
  if not found:
    raise errors.InputError(
      f"data.manual_dir={folder} is no directory with HAM10000's table: one of "
      f"{', '.join(names)} is wanted in it."
    )
  return found[0]


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


def _own(config, train: list[Row], test: list[Row]) -> dict[str, str]:
  lesions: dict[str, str] = {}
  for key, table in (("train", train), ("test", test)):
    for row in table:
      before = lesions.setdefault(row.image_id, row.lesion) or row.lesion
      if row.lesion and row.lesion != before:
        raise errors.InputError(
          f"config.{key}={config[key]}, line {row.line}: image {row.image_id} "
          f"has lesion_id {row.lesion} here and {before} before; an image "
          "shows one lesion."
        )
      lesions[row.image_id] = before
  return {image: lesion for image, lesion in lesions.items() if lesion}
