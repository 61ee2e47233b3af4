"""Records what a network or image folder was trained on, and refuses leaks.

A workdir's `data.json` and the `trained_on` of an image folder's
`provenance.json` are such records, with these keys:

```
{
  groups: [str], the lesions that it was trained on,
  name: of the data set, class_names: [str],
  fingerprint: of the training split, held_out: of validation and test split,
  unknown_origin: whether some training images may show any lesion,
  info: the fields of datasets.DataInfo,
  diversity: of the training images by class; see metrics/diversity.py
  # Only if it was trained through frozen weights:
  pretrained: [pretrained networks], frozen: {part: SHA-256},
}
```

Earlier versions wrote only `groups`, `name`, `class_names` and `fingerprint`.
In a folder that skinjax did not write, `groups` are enough, or `image_ids`
instead.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from skinjax.data import datasets, sources
from skinjax.metrics import diversity
from skinjax.runtime import checkpoint, errors, files, processes
from tfds_ham10000 import image_tables


def write_origin(
  path: pathlib.Path,
  dataset: datasets.Dataset,
  frozen: Mapping[str, Any] | None = None,
) -> None:
  """Record a run's training data in its workdir's `data.json`, or compare them.

  `frozen` are the frozen weights that the run is trained through, as returned
  by the task's `frozen`; the SHA-256 of each part is recorded.

  Raises:
    InputError: the workdir's run was started on other images, or with other
      frozen weights.
  """
  processes.require_same("The training set", dataset.info.fingerprint)
  through = frozen_record(frozen)
  processes.require_same("The frozen part", repr(sorted(through.items())))
  processes.on_first(lambda: _agree(path, dataset, through))


def _agree(path: pathlib.Path, dataset: datasets.Dataset, through) -> None:
  record, info = path / "data.json", dataset.info
  if record.exists():
    before, now = read_origin(path), _fingerprints(dataset)
    if any(before.get(key) != value for key, value in now.items()):
      raise errors.InputError(
        f"{path} was started on other images than {info.name} has now: use "
        "another directory, or the data that it was started with."
      )
    _require_same_weights(path, before, through)
    return
  files.write_json(record, origin_of(dataset, through))


def origin_of(
  dataset: datasets.Dataset, through: Mapping[str, Any] | None = None
) -> dict[str, Any]:
  """Return the content of `data.json`: the record of a run's training data.

  `through` is what `frozen_record` returns, if anything is frozen.
  """
  info = dataset.info
  learnt = {*dataset.train.groups.tolist(), *(dataset.inherited or ())}
  if dataset.added:
    learnt.update(dataset.added.split.groups.tolist())
  return {
    "name": info.name,
    **_fingerprints(dataset),
    "class_names": info.class_names,
    "groups": sorted(learnt),
    "unknown_origin": dataset.inherited is None,
    **(through or {}),
    "info": dataclasses.asdict(info),
    "diversity": diversity.distances(
      dataset.train.images, dataset.train.labels, info.class_names
    ),
  }


def frozen_record(frozen: Mapping[str, Any] | None) -> dict[str, Any]:
  """Return the keys of `data.json` that describe frozen weights, if any.

  `frozen` is what the task's `frozen` returns.
  """
  parts = dict(frozen or {})
  parts |= parts.pop("pretrained", {})
  digests = {name: checkpoint.digest(part) for name, part in parts.items()}
  pretrained = sorted((frozen or {}).get("pretrained", {}))
  return {"pretrained": pretrained, "frozen": digests} if digests else {}


def _fingerprints(dataset: datasets.Dataset) -> dict[str, Any]:
  held_out = [
    datasets.fingerprint(split) for split in (dataset.validation, dataset.test)
  ]
  return {"fingerprint": dataset.info.fingerprint, "held_out": held_out}


def _require_same_weights(path, before, through) -> None:
  """Refuse other frozen weights than those that a workdir was started with."""
  old, new = before.get("frozen", {}), through.get("frozen", {})
  for name in sorted(old.keys() | new.keys()):
    if old.get(name) != new.get(name):
      raise errors.InputError(
        f"{path} was started with other frozen weights ({name}: SHA-256 "
        f"{old.get(name)}, now {new.get(name)}): use another directory, or the "
        "package versions that it was started with."
      )


def read_origin(path: str | pathlib.Path) -> dict[str, Any]:
  """Read what a workdir's network was trained on.

  Returns:
    The record; see the top of this module.

  Raises:
    InputError: there is no such record, or it is damaged.
  """
  record = pathlib.Path(path) / "data.json"
  origin = files.read_json(record, "the run's training data are unknown")
  return checked_origin(origin, record)


def checked_origin(origin: Any, record: pathlib.Path) -> dict[str, Any]:
  """Check an origin that was read from a file; see `read_origin`.

  Raises:
    InputError: it is damaged.
  """
  origin = origin if isinstance(origin, dict) else {}
  texts = [origin.get("name"), origin.get("fingerprint")]
  for key in ("class_names", "groups"):
    names = origin.get(key)
    texts += names if isinstance(names, list) else [None]
  if not all(isinstance(text, str) for text in texts):
    raise errors.InputError(
      f"{record} is damaged: it must have a name, a fingerprint, class_names "
      "and groups, all of them text."
    )
  return origin


def info_of(origin: Mapping[str, Any], size: int) -> datasets.DataInfo:
  """Return the DataInfo of the data that a network was trained on.

  Earlier versions wrote no `info` to `origin`; it is then derived from the data
  set's name and from `size`, that of the network's config.

  Raises:
    InputError: the record is damaged.
  """
  try:
    if "info" in origin:
      kept = dict(origin["info"])
      for key in ("class_names", "class_counts"):
        kept[key] = tuple(kept[key])
      return datasets.DataInfo(**kept)
    source = sources.SOURCES[origin["name"]]
    names = tuple(origin["class_names"])
    return datasets.DataInfo(
      name=origin["name"],
      size=size,
      channels=1 if origin["name"] == "mnist" else 3,
      class_names=names,
      class_counts=(1,) * len(names),  # unknown, and used in training only
      drawn=source.drawn,
      collapse=source.collapse,
      groups_known=True,
      stored=next(s for s in source.stored if s >= min(size, 28)),
      fingerprint=origin["fingerprint"],
    )
  except (KeyError, TypeError, ValueError) as error:
    raise errors.InputError(
      f"The record of a network's training data is damaged ({error}): its "
      "data.json is not as the run wrote it."
    ) from error


def groups_learnt(
  origin: Mapping[str, Any] | None, dataset: datasets.Dataset
) -> frozenset[str] | None:
  """Find which groups of a data set are in the training data of `origin`.

  Returns:
    The groups; None if they cannot be traced, because `origin` lists none, or
    ids that this data set does not have.
  """
  learnt, known = _traced(origin, dataset)
  return learnt if known else None


def _traced(
  origin: Mapping[str, Any] | None, dataset: datasets.Dataset
) -> tuple[frozenset[str], bool]:
  """Return the groups that `origin` names, and whether they can be traced."""
  origin, info, group_of = origin or {}, dataset.info, dataset.group_of()
  ids, groups = _resolved(origin, group_of)
  whole = not _absent(ids, groups, group_of)
  same = origin.get("name") == info.name
  # Another data set's groups may have the same names by chance.
  other = bool(origin.get("name")) and not same
  if not (ids or groups) or (other and not whole):
    return frozenset(), False
  # A name alone does not identify a user's folder, nor the same groups in it:
  # without a table they are hashes of images, which differ between sizes.
  source = sources.SOURCES.get(info.name, sources.SOURCES["folder"])
  own = same and bool(source.stored) and info.groups_known
  learnt = groups | {group_of[i] for i in ids if i in group_of}
  # Images of unknown origin among the training images may show any lesion.
  known = (whole or own) and not origin.get("unknown_origin")
  return frozenset(learnt), known


def absent(
  origin: Mapping[str, Any] | None, dataset: datasets.Dataset
) -> set[str]:
  """Return the image ids and groups of `origin` that a data set lacks."""
  group_of = dataset.group_of()
  return _absent(*_resolved(origin, group_of), group_of)


def _absent(ids, groups, group_of) -> set[str]:
  return (ids - group_of.keys()) | (groups - set(group_of.values()))


def _resolved(origin, group_of) -> tuple[set[str], set[str]]:
  """Return what an origin names; ids that a data set lacks without suffix."""
  ids, groups = named(origin)
  return {i if i in group_of else image_tables.image_id(i) for i in ids}, groups


def named(origin: Mapping[str, Any] | None) -> tuple[set[str], set[str]]:
  """Return the image ids and the groups that an origin names."""
  ids, groups = (
    set(files.texts((origin or {}).get(key))) for key in ("image_ids", "groups")
  )
  return ids, groups


def refuse_seen(
  origin: Mapping[str, Any] | None,
  dataset: datasets.Dataset,
  what: str,
  place: str | pathlib.Path,
) -> bool:
  """Refuse what was trained on groups of the test or validation split.

  `what` names it, such as "The generator"; `place` is its workdir or folder.

  Returns:
    Whether a leak is excluded; False if its origin cannot be traced.

  Raises:
    InputError: it was trained on lesions of the test or validation split.
  """
  learnt, known = _traced(origin, dataset)
  for split in ("test", "validation"):
    leaked = learnt.intersection(getattr(dataset, split).groups)
    if leaked:
      raise errors.InputError(
        f"{what} in {place} was trained on {len(leaked)} lesions of the "
        f"{split} split here ({min(leaked)}, …): use one that was trained on "
        "the training split of the same data.fold, data.num_folds and "
        "data.fold_seed."
      )
  return known
