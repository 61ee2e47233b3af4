"""A workdir: whose it is, what it was made with, one run at a time."""

import contextlib
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import ml_collections

from skinjax.runtime import errors, files, processes

_SHOWN = 4  # keys that differ are told one by one
_LOOKS = 10  # for a directory that is to be shared, a second apart
# Keys that say where and how a run is done, not what: they may change between
# the runs of a workdir.
_FREE = (
  "data.manual_dir",
  "data.data_dir",
  "parallel",
  "shard",
  "external",
  "log_every",
  "eval_every",
  "save_every",
  "sample_every",
  "kid_every",
  "kid_images",
)


def flat(config: ml_collections.ConfigDict | dict) -> dict[str, Any]:
  """Flattens nested keys to `data.fold` and the like."""
  values = {}
  for key, value in config.items():
    if isinstance(value, ml_collections.ConfigDict | dict):
      values |= {f"{key}.{name}": leaf for name, leaf in flat(value).items()}
    else:
      values[key] = value
  return values


@contextlib.contextmanager
def claim(
  path: str | pathlib.Path,
  config: ml_collections.FrozenConfigDict,
  *,
  shared: bool = False,
) -> Iterator[pathlib.Path]:
  """Takes a workdir for one config and one run, and yields it.

  The config is kept in `config.json`, or compared with what is there. One that
  is refused before anything came of it leaves no trace. The processes of one
  run take the workdir together. If `shared`, other runs of the same config use
  it too; they lock what they work on. What may be refused is to be looked at
  before.

  Raises:
    InUseError: another run uses it.
    InputError: the path is a file or cannot be written, or it holds the run of
      another config.
  """
  path = pathlib.Path(path)
  told = {k: v for k, v in flat(config).items() if not k.endswith("_dir")}
  processes.require_same("The config", repr(sorted(told.items())))
  with contextlib.ExitStack() as held:

    def take() -> list[Any]:
      files.make_directory(path, "--workdir")
      lock = path / ".lock"
      held.enter_context(files.locked(lock, wait=shared))
      begun = _agree(path, config)
      text = lock.read_text()
      if shared:
        held.close()
      return [begun, text]

    begun, text = processes.on_first(take)
    processes.together(lambda: _require_shared(path, text))
    try:
      yield path
    except ValueError:
      names = {entry.name for entry in path.iterdir()}
      untouched = {n for n in names if not n.endswith(".lock")} == {
        "config.json"
      }
      if begun and untouched and not shared and processes.is_first():
        (path / "config.json").unlink(missing_ok=True)
      raise


def _require_shared(path: pathlib.Path, text: str) -> None:
  """Refuses a directory that is not that of the first process."""
  if processes.is_first():
    return
  for _ in range(_LOOKS):  # network file systems show files a little later
    with contextlib.suppress(OSError):
      if (path / ".lock").read_text() == text:
        return
    time.sleep(1)
  raise errors.InputError(
    f"--workdir={path} is not one directory for all processes of this run: use "
    "one on a file system that they share."
  )


def _agree(path: pathlib.Path, config: ml_collections.FrozenConfigDict) -> bool:
  """Compares configs; returns whether the workdir had none before."""
  if not (path / "config.json").exists():
    files.write_json(path / "config.json", config.to_dict())
    return True
  before = flat(read_config(path))
  if "data.fold" in before and "data.folder" not in before:
    raise errors.InputError(
      f"--workdir={path} holds a run of version 0.1: what it trained can be "
      "used (config.generator, config.classifier), and its training can not be "
      "resumed. Use another directory."
    )
  if differ := _differences(path, config):
    more = f"; and {len(differ) - _SHOWN} more" if differ[_SHOWN:] else ""
    raise errors.InputError(
      f"--workdir={path} holds the run of another config "
      f"({'; '.join(differ[:_SHOWN])}{more}): use another directory, or the "
      "config that it was begun with."
    )
  return False


def _differences(path: pathlib.Path, config) -> list[str]:
  """Says in which keys that are not free a config is not a workdir's."""
  before, now = flat(read_config(path)), flat(config)
  return [
    f"{key} was {before.get(key)!r:.60}, is {now.get(key)!r:.60}"
    for key in sorted(before.keys() | now.keys())
    if not is_free(key) and before.get(key) != now.get(key)
  ]


def composed(config, part: str) -> ml_collections.ConfigDict:
  """Makes a training's config of a part of another's.

  The part gets the whole's `seed`, `parallel` and `data`.
  """
  made = ml_collections.ConfigDict(config[part].to_dict())
  made.seed, made.parallel = config.seed, config.parallel
  made.data = ml_collections.ConfigDict(config.data.to_dict())
  return made


def is_of(path: str | pathlib.Path, config) -> bool:
  """Returns whether a workdir holds the run of a config."""
  try:
    frozen = ml_collections.FrozenConfigDict(config)
    return not _differences(pathlib.Path(path), frozen)
  except errors.InputError:
    return False


def is_free(key: str) -> bool:
  """Returns whether a key says where and how a run is done, not what."""
  return any(key == free or key.endswith(f".{free}") for free in _FREE)


def read_config(path: str | pathlib.Path) -> ml_collections.FrozenConfigDict:
  """Reads the config that a workdir was begun with.

  Raises:
    InputError: there is none.
  """
  words = f"{path} is not the workdir of a run"
  record = pathlib.Path(path) / "config.json"
  return ml_collections.FrozenConfigDict(files.read_json(record, words))
