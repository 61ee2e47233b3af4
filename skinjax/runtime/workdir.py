"""Workdirs: each belongs to one config, and to one run at a time."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_collections

from skinjax.runtime import errors, files, processes

_SHOWN = 4  # differing keys that are listed
_LOOKS = 10  # attempts to find a shared directory, a second apart
_CONTENTS = "inputs.json"  # SHA-256 of the content of the config's paths
_claimed: set[pathlib.Path] = set()  # by this process; see was_claimed

# Takes a key's old and new value; returns why the run cannot resume with the
# new one, in words, or None if it can.
Rule = Callable[[Any, Any], str | None]
# Keys for where and how a run is done, not what it computes: they may change
# between the runs of a workdir. The data themselves are compared by their
# fingerprints; see data/provenance.py.
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
  """Claim a workdir for one config and one run, and yield it.

  The config is written to `config.json`, or compared with the existing one. A
  run that is refused before it wrote anything else leaves no config behind. The
  processes of one run claim the workdir together. If `shared`, other runs of
  the same config may use it too; they lock what they work on. Check anything
  that may be refused before claiming.

  Args:
    path: the workdir.
    config: the config to run there.
    shared: whether other runs may use it at the same time.
    rules: by key or section of the config, how it may change. Without a rule it
      may not. A changed config that is accepted replaces `config.json`.
    contents: by config key whose value is a path, the SHA-256 of its content;
      None if no path is given. The path may change, the content may not.
    made_anew: whether each run rewrites everything in the workdir, so that the
      content of a path may change.

  Raises:
    InUseError: another run uses it.
    InputError: the path is a file or cannot be written, or it holds the run of
      another config or of other contents.
  """
  contents = {key: x for key, x in (contents or {}).items() if x is not None}
  path = pathlib.Path(path)
  compared = {k: v for k, v in flat(config).items() if not k.endswith("_dir")}
  processes.require_same("The config", repr(sorted(compared.items())))
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
    _claimed.add(path)
    try:
      yield path
    except ValueError:
      names = {entry.name for entry in path.iterdir()}
      records = {"config.json", _CONTENTS}
      untouched = {n for n in names if not n.endswith(".lock")} <= records
      if begun and untouched and not shared and processes.is_first():
        for name in records:
          (path / name).unlink(missing_ok=True)
        _claimed.discard(path)  # it was refused
      raise


def _require_shared(path: pathlib.Path, text: str) -> None:
  """Refuse a directory that is not the first process's."""
  if processes.is_first():
    return
  for _ in range(_LOOKS):  # network file systems show files with a delay
    with contextlib.suppress(OSError):
      if (path / ".lock").read_text() == text:
        return
    time.sleep(1)
  raise errors.InputError(
    f"--workdir={path} is not one directory for all processes of this run: use "
    "one on a file system that they share."
  )


def _agree(path: pathlib.Path, config, rules, contents, made_anew) -> bool:
  """Write or compare the workdir's records; return whether it had none.

  The arguments are those of `claim`.
  """
  record, now = path / "config.json", config.to_dict()
  if begun := not record.exists():
    files.write_json(record, now)
  else:
    before = read_config(path).to_dict()
    _require_same(path, before, now, rules, contents, made_anew)
    if before != now:
      files.write_json(record, now)
  if contents:
    files.write_json(path / _CONTENTS, contents)
  return begun


def _require_same(path, before, now, rules, contents, made_anew) -> None:
  """Refuse a config that neither equals a workdir's nor may resume it."""
  flat_before = flat(before)
  if "data.fold" in flat_before and "data.folder" not in flat_before:
    raise errors.InputError(
      f"--workdir={path} holds a run of version 0.1: its networks can be used "
      "(config.generator, config.classifier), but its training cannot be "
      "resumed. Use another directory."
    )
  known = {}
  if contents and (path / _CONTENTS).exists():
    words = "the inputs of this run are unknown; use another directory"
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
      f"the content of config.{key}={new} has changed since this run started"
      if same_place
      else f"config.{key} was {old!r}, is {new!r}, and their contents differ"
    )
  if differ:
    more = f"; and {len(differ) - _SHOWN} more" if differ[_SHOWN:] else ""
    raise errors.InputError(
      f"--workdir={path} holds the run of another config "
      f"({'; '.join(differ[:_SHOWN])}{more}): use another directory, or the "
      "config that it was started with."
    )


def _differences(before: dict, now: dict, settled) -> list[str]:
  """List the differences of two configs, except in keys that are free.

  Keys and sections in `settled` are left out.
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
  """Return the value or section of a dotted key; None if there is none."""
  for name in key.split("."):
    config = config.get(name) if isinstance(config, dict) else None
  return config


def _place(text: Any) -> pathlib.Path | None:
  return files.user_path(text).resolve() if text else None


def composed(config, part: str) -> ml_collections.ConfigDict:
  """Make a training config from a part of another config.

  The part, such as "gan" or "network.resnet", gets the `seed`, `parallel` and
  `data` of the whole.
  """
  made = ml_collections.ConfigDict(_at(config.to_dict(), part))
  made.seed, made.parallel = config.seed, config.parallel
  made.data = ml_collections.ConfigDict(config.data.to_dict())
  return made


def was_claimed(path: str | pathlib.Path) -> bool:
  """Return whether this process has claimed a workdir since the last call."""
  path = pathlib.Path(path)
  found = path in _claimed
  _claimed.discard(path)
  return found


def is_free(key: str) -> bool:
  """Return whether a key is for where and how a run is done; see _FREE."""
  return any(key == free or key.endswith(f".{free}") for free in _FREE)


def read_config(path: str | pathlib.Path) -> ml_collections.FrozenConfigDict:
  """Read the config that a workdir was started, or last resumed, with.

  Raises:
    InputError: there is none.
  """
  words = f"{path} is not the workdir of a run"
  record = pathlib.Path(path) / "config.json"
  return ml_collections.FrozenConfigDict(files.read_json(record, words))
