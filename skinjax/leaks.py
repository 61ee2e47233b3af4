"""The task that tells whether a train/test split of HAM10000 leaks."""

import collections
import contextlib
import pathlib
from collections.abc import Collection, Mapping
from typing import NamedTuple

import ml_collections
from absl import logging
from etils import epath

from skinjax import image_tables, lesions
from skinjax.image_tables import Row
from skinjax.lesions import Known, Leak
from skinjax.runtime import errors, files, workdir
from tfds_ham10000 import tables

_UNKNOWN = "?"
_FILE = "leaks.csv"
_SHOWN = 10  # leaking images that are told one by one


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
    train = image_tables.read(config.train, "train")
    test = image_tables.read(config.test, "test")
    known = lesions.look_up(config, train, test)
    result = _judge(train, test, known)
    # A leak is a leak, but without lesions nothing can be said to have none.
    if known.untold and not result.leaks:
      raise errors.InputError(known.untold)
    _tell(result, known)
    if directory:
      _write(directory, result, known)
      logging.info("All of it is in %s and leaks.json.", directory / _FILE)
    elif len(result.leaks) > _SHOWN:
      logging.info("With --workdir=DIR the whole list is in DIR/%s.", _FILE)
    return result


def _judge(train: list[Row], test: list[Row], known: Known) -> Result:
  """Counts the leaks by class and kind."""
  folder = epath.resource_path("tfds_ham10000")
  pairs = tables.read_pairs(folder / "DUPLICATES.csv")
  train_ids, test_ids = ([row.image_id for row in t] for t in (train, test))
  leaks = lesions.find_leaks(train_ids, test_ids, known.lesions, pairs)
  labels = {}
  for row in test:
    told = row.label or known.labels.get(row.image_id, _UNKNOWN)
    labels.setdefault(row.image_id, told)
  kinds = {leak.image_id: leak.kind for leak in leaks}
  traced = known.lesions.keys() | {*train_ids, *test_ids}
  return Result(
    leaks,
    {
      name: _count([i for i in labels if labels[i] == name], kinds)
      for name in sorted(set(labels.values()))
    },
    _count(labels, kinds),
    labels,
    {"train": _sum_up(train_ids, known), "test": _sum_up(test_ids, known)},
    sum(not traced.issuperset(pair) for pair in pairs),
  )


def _count(images: Collection[str], kinds: Mapping[str, str]) -> dict:
  found = collections.Counter(kinds[i] for i in images if i in kinds)
  counts = {
    "images": len(images),
    **{kind: found[kind] for kind in lesions.KINDS},
  }
  leaking = found.total()
  return counts | {"leaking": leaking, "share": leaking / len(images)}


def _sum_up(ids: list[str], known: Known) -> dict[str, int | str]:
  images = list(dict.fromkeys(ids))
  lone = [image for image in images if image not in known.lesions]
  counts = {"rows": len(ids), "images": len(images)}
  return counts | {"without_lesion": len(lone), "as": "".join(lone[:1])}


def _write(path: pathlib.Path, result: Result, known: Known) -> None:
  """Writes leaks.csv and leaks.json."""
  rows = [
    (i, result.labels[i], kind, met, known.lesions.get(i, ""))
    for i, kind, met in result.leaks
  ]
  columns = ("image_id", "class", "kind", "train_image_id", "lesion_id")
  files.write_text(path / _FILE, files.table([columns, *rows]))
  files.write_json(
    path / "leaks.json",
    {
      "lesions": known.where,
      "tables": result.tables,
      "duplicates_not_compared": result.pairs_apart,
      "classes": result.counts,
      "total": result.total,
    },
  )


def _tell(result: Result, known: Known) -> None:
  """Logs what was compared, the counts by class and the first leaks."""
  if known.untold:
    logging.warning("%s Until then there may be more leaks.", known.untold)
  else:
    logging.info("Lesions are looked up in %s.", known.where)
  for key, side in result.tables.items():
    more = f" in {side['rows']} lines" if side["rows"] > side["images"] else ""
    logging.info("config.%s: %d images%s.", key, side["images"], more)
    lone = side["without_lesion"]
    if lone and not known.untold:
      logging.warning(
        "config.%s: %d images (as %s) have no lesion there, and are compared "
        "by image id only.",
        key,
        lone,
        side["as"],
      )
  if result.pairs_apart and not known.untold:
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
  total, leaking = result.total["images"], result.total["leaking"]
  if not leaking:
    logging.info(
      "No leak found: none of %d test images shares an image, a lesion or a "
      "known duplicate with training.",
      total,
    )
    return
  first = " The first are:" if leaking > _SHOWN else ""
  logging.info("%d of %d test images leak.%s", leaking, total, first)
  rows = [("test image", "class", "shares its", "with", "lesion")]
  for image, kind, met in result.leaks[:_SHOWN]:
    lesion = known.lesions.get(image, "")
    rows.append((image, result.labels[image], kind, met, lesion))
  _log_aligned(rows, right=False)
  if leaking > _SHOWN:
    logging.info("… and %d more.", leaking - _SHOWN)


def _log_aligned(rows: list[tuple[str, ...]], right: bool) -> None:
  """Logs rows in columns; all but the first to the right if asked for."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  align = str.rjust if right else str.ljust
  for first, *others in rows:
    fields = [first.ljust(widths[0]), *map(align, others, widths[1:])]
    logging.info("%s", "  ".join(fields).rstrip())
