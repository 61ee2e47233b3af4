"""A unit of a study: one classifier and its predictions.

The name of its directory has a SHA-256 of everything that the result depends
on, so a unit is reused only if all of that is the same. The directory holds
`validation.npz` and `test.npz` (`probabilities`, float16 [images, classes], in
the order of the fold's images.csv) and unit.json (which unit it is, and how
long it took).
"""

import hashlib
import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from skinjax.data import external
from skinjax.data.sources import Split
from skinjax.runtime import errors, files, workdir
from skinjax.study import arms, folds, networks

VALIDATION, TEST = "validation", "test"


class Unit(NamedTuple):
  """A classifier of a study."""

  network: str
  arm: str
  fold: int
  seed: int

  def __str__(self) -> str:
    """Return its name in messages."""
    fold = "" if self.fold == -1 else f", fold {self.fold}"
    return f"{self.network} {self.arm}{fold}, seed {self.seed}"


class Work(NamedTuple):
  """A unit with everything that it is trained from."""

  unit: Unit
  config: object  # of its network, a FrozenConfigDict
  fold: folds.Fold
  arm: object  # see configs/study.py
  taken: arms.Taken
  place: pathlib.Path  # its directory


def canonical(config, unit: Unit) -> Unit:
  """Return the unit with the smallest seed that has the same predictions.

  A head's fit is not random: its seeds differ only in the images it is given.
  """
  random = arms.is_random(config.arm[unit.arm])
  if config.network[unit.network].task == networks.HEAD and not random:
    return unit._replace(seed=config.seed)
  return unit


def work(config, fold: folds.Fold, unit: Unit) -> Work:
  """Collect everything that a unit is trained from."""
  unit = canonical(config, unit)
  made, arm = networks.unit_config(config, *unit), config.arm[unit.arm]
  taken = arms.taken(arm, fold, unit.seed)
  chosen = lambda split, places: (
    None if places is None else _digest(split.image_ids[places])
  )
  folder = fold.digests[fold.folder_of(unit.seed)] if fold.digests else ""
  dependencies = {
    "version": networks.version(made),
    "config": {
      key: value
      for key, value in workdir.flat(made).items()
      if not workdir.is_free(key)
    },
    "data": fold.dataset.info.fingerprint,
    "real": chosen(fold.dataset.train, taken.real),
    "added": chosen(taken.pool, taken.added),
    "folder": folder if arms.is_synthetic(arm) else "",
    "how": [arm.share, arm.weight, arm.pretraining],
  }
  name = (
    f"{unit.network}-{unit.arm}-{unit.seed}-{files.short_digest(dependencies)}"
  )
  return Work(unit, made, fold, arm, taken, fold.path / "units" / name)


def write_images(fold: folds.Fold) -> None:
  """Write images.csv: the images of a fold's held-out splits, in order."""
  rows = [("split", "image_id", "group", "label")]
  names = fold.dataset.info.class_names
  for name in (VALIDATION, TEST):
    split = getattr(fold.dataset, name)
    for image_id, group, label in zip(
      split.image_ids, split.groups, split.labels, strict=True
    ):
      rows.append((name, image_id, group, names[label]))
  files.write_text(fold.path / "images.csv", files.table(rows))


def has(made: Work, name: str) -> bool:
  """Return whether a unit has predicted a split."""
  return _file(made, name).exists()


def _file(made: Work, name: str) -> pathlib.Path:
  return made.place / f"{name}.npz"


def held_out(
  fold: folds.Fold, outside: external.External | None
) -> dict[str, Split]:
  """Return, by name, the splits to predict once the arms are chosen."""
  named = {TEST: fold.dataset.test}
  if outside:
    named[external_name(outside)] = outside.split
  return named


def external_name(outside: external.External) -> str:
  """Name the predictions of an external test set."""
  return f"external-{outside.fingerprint[:12]}"


def predict(made: Work, wanted: dict[str, Split], features: Callable) -> None:
  """Predict splits, by name; train the classifier first if needed.

  Raises:
    InUseError: another process is working on this unit.
  """
  if all(has(made, name) for name in wanted):
    return
  place = made.place
  place.parent.mkdir(exist_ok=True)
  start, record = time.monotonic(), place / "unit.json"
  with files.locked(place.with_name(f".{place.name}.lock")):
    learnt = arms.learnt(
      made.arm,
      made.fold,
      made.unit.seed,
      made.taken,
      networks.steps(made.config),
    )
    predicted = networks.learn(made.config, learnt, place, features)
    for name, split in wanted.items():
      if not has(made, name):
        files.write_arrays(
          _file(made, name),
          probabilities=predicted(split).astype(np.float16),
          images=np.array(_digest(split.image_ids)),
        )
    before = seconds(place)
    files.write_json(
      record,
      {
        **made.unit._asdict(),
        "seconds": round(before + time.monotonic() - start, 1),
        "steps": networks.steps(made.config),
      },
    )


def seconds(place: pathlib.Path) -> float:
  """Return how long the unit in a directory has taken; 0 if unknown."""
  record = place / "unit.json"
  if not record.exists():
    return 0.0
  return float(files.read_json(record, "remove it").get("seconds", 0))


def named(place: pathlib.Path, unit: Unit) -> list[pathlib.Path]:
  """Find the directories of a unit that has predicted the test split.

  `place` is the fold's directory. Only a `Work` has the whole name, so these
  may be units of other settings.
  """
  name = f"{unit.network}-{unit.arm}-{unit.seed}-*"
  found = place.glob(f"units/{name}/{TEST}.npz")
  return [predicted.parent for predicted in found]


def read(made: Work, name: str, split: Split) -> np.ndarray:
  """Read a unit's probabilities [images, classes] of a split, as float64.

  Raises:
    InputError: the file is damaged, or has predictions of other images.
  """
  path = _file(made, name)
  again = "remove it to predict again"
  kept = files.read_arrays(path, again)
  probabilities = np.float64(kept.get("probabilities", ()))
  shape = (len(split.labels), made.fold.dataset.info.num_classes)
  same = str(kept.get("images")) == _digest(split.image_ids)
  if not same or probabilities.shape != shape:
    raise errors.InputError(f"{path} predicts other images: {again}.")
  # The comparison is written so that NaN fails it.
  sums = probabilities.sum(1)
  if not (probabilities.min() >= 0 and np.abs(sums - 1).max() < 0.01):
    raise errors.InputError(
      f"{path} has rows that are not probabilities: {again}."
    )
  return probabilities / sums[:, None]


def _digest(ids: np.ndarray) -> str:
  return hashlib.sha256("\n".join(ids).encode()).hexdigest()
