"""Released networks: EMA weights only, in half precision.

A folder holds several networks, each under a name, such as the number of the
fold that it was trained on. `released.json` records the config, data and steps
of each, and `weights.npz` has the arrays. FOLDER/NAME names one of them
wherever the path of a workdir is expected, although there is no such directory.
For networks that come with skinjax, NAME alone is enough.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections
import numpy as np
from flax import traverse_util

from skinjax.data import provenance
from skinjax.runtime import checkpoint, errors, files

RECORD, WEIGHTS = "released.json", "weights.npz"
_AGAIN = "get both files from the release again"
# The networks that come with skinjax, each with a model card NAME.md.
SHIPPED = pathlib.Path(__file__).parents[1] / "released"


class Member(NamedTuple):
  """One network of a folder."""

  config: Mapping[str, Any]  # what it was trained with
  # What it was trained on; see provenance.read_origin.
  origin: Mapping[str, Any]
  step: int  # training steps done
  average: Any  # the EMA of its variables: float arrays by name
  made: Mapping[str, Any]  # where and how it was trained, for readers


def located(path: str | pathlib.Path) -> pathlib.Path:
  """Return the path that a user has named, or that of a shipped network.

  A workdir of that name takes precedence.

  Raises:
    InputError: see files.user_path; or a single word names neither.
  """
  place = files.user_path(path)
  if place.exists() or is_member(place) or len(place.parts) != 1:
    return place
  shipped = names(SHIPPED)
  if place.name not in shipped:
    raise errors.InputError(
      f"{place} is neither a directory here nor a network that comes with "
      f"skinjax ({', '.join(shipped)})."
    )
  return SHIPPED / place


def is_member(path: pathlib.Path) -> bool:
  """Return whether a path names a network in a released folder."""
  return not path.is_dir() and (path.parent / RECORD).is_file()


def names(folder: pathlib.Path) -> list[str]:
  """Return the names of a folder's networks; empty if it has none."""
  return list(_record(folder)) if (folder / RECORD).is_file() else []


def add(folder: pathlib.Path, name: str, member: Member) -> None:
  """Add a network to a folder, next to those that it has.

  The record is written last: a network without one does not count.
  """
  folder.mkdir(parents=True, exist_ok=True)
  record = _record(folder) if (folder / RECORD).is_file() else {}
  if record.pop(name, None):
    files.write_json(folder / RECORD, {"members": record})
  weights = {}
  if record:
    weights = files.read_arrays(folder / WEIGHTS, _AGAIN)
  weights = {k: x for k, x in weights.items() if k.split("/")[0] in record}
  halved = {k: _halved(x) for k, x in _flat(member.average).items()}
  weights |= {f"{name}/{k}": x for k, x in halved.items()}
  files.write_arrays(folder / WEIGHTS, **weights)
  record[name] = {
    "config": dict(member.config),
    "origin": dict(member.origin),
    "step": member.step,
    "sha256": checkpoint.digest(halved),
    "made": dict(member.made),
  }
  files.write_json(folder / RECORD, {"members": record})


def read(path: pathlib.Path) -> Member:
  """Read the network that FOLDER/NAME names, its weights as float32.

  Raises:
    InputError: there is no such network, or its files are damaged.
  """
  folder, name = path.parent, path.name
  record = _record(folder)
  errors.require_known(f"network of {folder}", name, record)
  found, weights = record[name], folder / WEIGHTS
  halved = {
    key.removeprefix(f"{name}/"): x
    for key, x in files.read_arrays(weights, _AGAIN).items()
    if key.startswith(f"{name}/")
  }
  try:
    config, step, made = found["config"], int(found["step"]), found["made"]
    origin = found["origin"]
    whole = found["sha256"] == checkpoint.digest(halved)
  except (KeyError, TypeError, ValueError) as error:
    lacks = isinstance(error, KeyError)
    fault = f"is without {error}" if lacks else f"cannot be read ({error})"
    raise errors.InputError(
      f"{folder / RECORD} is damaged: the entry {name} {fault}."
    ) from error
  if not whole:
    raise errors.InputError(
      f"{weights} does not hold the weights that the {RECORD} next to it "
      f"describes: {_AGAIN}."
    )
  average = traverse_util.unflatten_dict(
    {key: x.astype(np.float32) for key, x in halved.items()}, sep="/"
  )
  return Member(
    ml_collections.FrozenConfigDict(config),
    provenance.checked_origin(origin, folder / RECORD),
    step,
    average,
    made,
  )


def _record(folder: pathlib.Path) -> dict[str, Any]:
  words = f"{folder} is not a folder of released networks"
  members = files.read_json(folder / RECORD, words).get("members")
  if not isinstance(members, dict):
    raise errors.InputError(f"{folder / RECORD} is damaged: it has no members.")
  return members


def _flat(tree: Any) -> dict[str, np.ndarray]:
  flat = traverse_util.flatten_dict(tree, sep="/")
  return {key: np.asarray(x) for key, x in flat.items()}


def _halved(x: np.ndarray) -> np.ndarray:
  """Round to float16; leave an array unchanged if it would overflow."""
  with np.errstate(over="ignore"):
    half = x.astype(np.float16)
  return half if np.isfinite(half).all() else x
