"""A workdir: whose it is, what it was made with, one run at a time."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_collections

from skinjax.runtime import errors, files, processes

_SHOWN = 4  # keys that differ are told one by one
_LOOKS = 10  # for a directory that is to be shared, a second apart
_CONTENTS = "inputs.json"  # what the paths in the config held, as SHA-256

# Of a key's value before and now: why the run cannot go on with the new one, in
# words; None if it can.
Rule = Callable[[Any, Any], str | None]
# Keys that say where and how a run is done, not what: they may change between
# the runs of a workdir. What the data are is compared by their fingerprints;
# see data/provenance.py.
_FREE = (
  "data.manual_dir",
  "data.data_dir",
  "data.folder",
  "parallel",
  "shard",
  "dry_run",
  "external",
  "log_every",
  "eval_every",
  "save_every",
  "sample_every",
  "kid_every",
  "kid_images",
)


def flat(config: ml_collections.ConfigDict | dict) -> dict[str, Any]:
  """Flatten nested keys to `data.fold` and the like."""
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
  rules: Mapping[str, Rule] | None = None,
  contents: Mapping[str, str | None] | None = None,
  made_anew: bool = False,
) -> Iterator[pathlib.Path]:
  """Take a workdir for one config and one run, and yield it.

  The config is kept in `config.json`, or compared with what is there. One that
  is refused before anything came of it leaves no trace. The processes of one
  run take the workdir together. If `shared`, other runs of the same config use
  it too; they lock what they work on. What may be refused is to be looked at
  before.

  Args:
    path: the workdir.
    config: what is to be run there.
    shared: whether other runs may use it at the same time.
    rules: by key or section of the config, what may become of it. Whatever
      has none stays. A config that goes further takes the place of the one
      in `config.json`.
    contents: by key of the config that is a path, the SHA-256 of what is there;
      None where no path is given. It stays, by whichever path.
    made_anew: whether each run makes all that is in the workdir anew, so that
      other contents in the same place do no harm.

  Raises:
    InUseError: another run uses it.
    InputError: the path is a file or cannot be written, or it holds the run of
      another config or of other contents.
  """
  contents = {key: x for key, x in (contents or {}).items() if x is not None}
  path = pathlib.Path(path)
  told = {k: v for k, v in flat(config).items() if not k.endswith("_dir")}
  processes.require_same("The config", repr(sorted(told.items())))
  with contextlib.ExitStack() as held:

    def take() -> list[Any]:
      files.make_directory(path, "--workdir")
      lock = path / ".lock"
      held.enter_context(files.locked(lock, wait=shared))
      begun = _agree(path, config, rules or {}, contents, made_anew)
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
      records = {"config.json", _CONTENTS}
      untouched = {n for n in names if not n.endswith(".lock")} <= records
      if begun and untouched and not shared and processes.is_first():
        for name in records:
          (path / name).unlink(missing_ok=True)
      raise


def _require_shared(path: pathlib.Path, text: str) -> None:
  """Refuse a directory that is not that of the first process."""
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


def _agree(path: pathlib.Path, config, rules, contents, made_anew) -> bool:
  """Compare with what is there; return whether the workdir had none before.

  The arguments are those of `claim`.
  """
  record, now = path / "config.json", config.to_dict()
  if begun := not record.exists():
    files.write_json(record, now)
  else:
    before = read_config(path).to_dict()
    _require_same(path, before, now, rules, contents, made_anew)
    if _differences(before, now):
      files.write_json(record, now)
  if contents:
    files.write_json(path / _CONTENTS, contents)
  return begun


def _require_same(path, before, now, rules, contents, made_anew) -> None:
  """Refuse a config that is not that of a workdir, nor goes on from it."""
  flat_before = flat(before)
  if "data.fold" in flat_before and "data.folder" not in flat_before:
    raise errors.InputError(
      f"--workdir={path} holds a run of version 0.1: what it trained can be "
      "used (config.generator, config.classifier), and its training can not be "
      "resumed. Use another directory."
    )
  known = {}
  if contents and (path / _CONTENTS).exists():
    words = "nothing tells what was used here, so that another directory is due"
    known = files.read_json(path / _CONTENTS, words)
  settled = {*rules, *contents}
  differ = _differences(before, now, settled)
  for key, rule in rules.items():
    old, new = _at(before, key), _at(now, key)
    if old != new and (words := rule(old, new)):
      differ.append(words)
  for key, content in contents.items():
    old, new = _at(before, key), _at(now, key)
    same_place = _place(old) == _place(new)
    same = known[key] == content if key in known else same_place
    if same or (same_place and made_anew):
      continue
    differ.append(
      f"what config.{key}={new} holds has changed since this run began"
      if same_place
      else f"config.{key} was {old!r}, is {new!r}, and holds something else"
    )
  if differ:
    more = f"; and {len(differ) - _SHOWN} more" if differ[_SHOWN:] else ""
    raise errors.InputError(
      f"--workdir={path} holds the run of another config "
      f"({'; '.join(differ[:_SHOWN])}{more}): use another directory, or the "
      "config that it was begun with."
    )


def _differences(before: dict, now: dict, settled=frozenset()) -> list[str]:
  """Say in which keys that are not free two configs differ.

  Those in `settled`, and what is in such sections, are left out.
  """
  before, now = flat(before), flat(now)
  return [
    f"{key} was {before.get(key)!r:.60}, is {now.get(key)!r:.60}"
    for key in sorted(before.keys() | now.keys())
    if not is_free(key)
    and not any(f"{key}.".startswith(f"{name}.") for name in settled)
    and before.get(key) != now.get(key)
  ]


def _at(config: dict, key: str) -> Any:
  """Return the value or section of a key with dots; None if there is none."""
  for name in key.split("."):
    config = config.get(name) if isinstance(config, dict) else None
  return config


def _place(text: Any) -> pathlib.Path | None:
  return files.user_path(text).resolve() if text else None


def composed(config, part: str) -> ml_collections.ConfigDict:
  """Make a training's config of a part of another's.

  The part, as "gan" or "network.resnet", gets the whole's `seed`, `parallel`
  and `data`.
  """
  made = ml_collections.ConfigDict(_at(config.to_dict(), part))
  made.seed, made.parallel = config.seed, config.parallel
  made.data = ml_collections.ConfigDict(config.data.to_dict())
  return made


def is_of(path: str | pathlib.Path, config) -> bool:
  """Return whether a workdir holds the run of a config."""
  try:
    frozen = ml_collections.FrozenConfigDict(config)
    return not _differences(read_config(path).to_dict(), frozen.to_dict())
  except errors.InputError:
    return False


def is_free(key: str) -> bool:
  """Return whether a key says where and how a run is done, not what."""
  return any(key == free or key.endswith(f".{free}") for free in _FREE)


def read_config(path: str | pathlib.Path) -> ml_collections.FrozenConfigDict:
  """Read the config that a workdir was begun with, or taken further with.

  Raises:
    InputError: there is none.
  """
  words = f"{path} is not the workdir of a run"
  record = pathlib.Path(path) / "config.json"
  return ml_collections.FrozenConfigDict(files.read_json(record, words))
