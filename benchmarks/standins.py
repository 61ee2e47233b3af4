"""Stand-ins for packages that are not installed.

A machine with an accelerator may have JAX and little else. A training step
needs no more, but its modules import other packages. So a missing package is
replaced by an empty one, which raises an error with its name when it is used.
ml_collections, which configs need, gets a small replacement.
"""

import functools
import importlib
import importlib.abc
import importlib.machinery
import os
import pathlib
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

# Packages that skinjax and tfds_ham10000 import besides jax, flax, optax, numpy
# and absl.
PACKAGES = (
  "ml_collections",
  "PIL",
  "clu",
  "etils",
  "filelock",
  "google.protobuf",
  "jinja2",
  "matplotlib",
  "orbax.checkpoint",
  "scipy",
  "tensorboardX",
  "tensorflow_datasets",
)


class _Absent(type):
  """A class of a missing package: it can be referenced, but not used."""

  def __new__(cls, name, bases, namespace, **_):
    return super().__new__(cls, name, bases, namespace)

  def __init__(cls, name, bases, namespace, **_):
    super().__init__(name, bases, namespace)

  def __getattr__(cls, name: str):
    if name.startswith("__"):
      raise AttributeError(name)
    return _Absent(name, (), {"package": cls.package})

  def __call__(cls, *_, **__):
    raise ModuleNotFoundError(
      f"{cls.package} is not installed", name=cls.package
    )


class Module(types.ModuleType):
  """A module of a missing package; every attribute is a class."""

  def __getattr__(self, name: str):
    if name.startswith("__"):
      raise AttributeError(name)
    made = _Absent(name, (), {"package": self.package})
    setattr(self, name, made)
    return made


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
  """Finds all modules of missing packages."""

  def __init__(self, absent: Mapping[str, str]):
    self._absent = absent

  def find_spec(self, fullname, path=None, target=None):
    if self._package(fullname):
      return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
    return None

  def create_module(self, spec):
    module = Module(spec.name)
    module.package = self._package(spec.name)
    return module

  def exec_module(self, module):
    pass

  def _package(self, name: str) -> str | None:
    # Also "google" of "google.protobuf", if no other package provides it.
    inside = (p for p in self._absent if f"{name}.".startswith(f"{p}."))
    above = (p for p in self._absent if p.startswith(f"{name}."))
    return next(inside, None) or next(above, None)


@functools.cache
def install(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
  """Replace each package that cannot be imported by a stand-in.

  Returns:
    The reason, by missing package.
  """
  absent = {}
  for name in packages:
    try:
      importlib.import_module(name)
    # A broken installation may raise anything.
    except Exception as error:
      absent[name] = f"{type(error).__name__}: {error}"
  for name in list(sys.modules):  # partially imported, or blocked
    if any(f"{name}.".startswith(f"{package}.") for package in absent):
      del sys.modules[name]
  if absent:
    sys.meta_path.append(_Finder(absent))
  if "ml_collections" in absent:
    module = importlib.import_module("ml_collections")
    module.ConfigDict, module.FrozenConfigDict = ConfigDict, FrozenConfigDict
  if "etils" in absent:  # tfds_ham10000 reads the user's files through it
    module = importlib.import_module("etils.epath")
    module.Path = pathlib.Path
    module.PathLike = os.PathLike | str
    module.resource_path = lambda name: pathlib.Path(
      importlib.import_module(name).__path__[0]
    )
  return absent


class ConfigDict:
  """The part of ml_collections.ConfigDict that skinjax uses."""

  def __init__(self, values: Any = None):
    values = {} if values is None else values
    for key, value in values.items():
      nested = isinstance(value, Mapping | ConfigDict)
      made = type(self)(value) if nested else self._leaf(value)
      object.__setattr__(self, key, made)

  @staticmethod
  def _leaf(value):
    return value

  def __setattr__(self, key: str, value: Any) -> None:
    if isinstance(value, Mapping) or type(value) is FrozenConfigDict:
      value = ConfigDict(value)
    object.__setattr__(self, key, value)

  def __getitem__(self, key: str) -> Any:
    return vars(self)[key]

  def __setitem__(self, key: str, value: Any) -> None:
    setattr(self, key, value)

  def __delitem__(self, key: str) -> None:
    delattr(self, key)

  def __contains__(self, key: str) -> bool:
    return key in vars(self)

  def __iter__(self) -> Iterator[str]:
    return iter(vars(self))

  def __len__(self) -> int:
    return len(vars(self))

  def __eq__(self, other: object) -> bool:
    return isinstance(other, ConfigDict) and vars(self) == vars(other)

  __hash__ = None

  def __repr__(self) -> str:
    return repr(self.to_dict())

  def items(self):
    """Return keys and values."""
    return vars(self).items()

  def keys(self):
    """Return the keys."""
    return vars(self).keys()

  def values(self):
    """Return the values."""
    return vars(self).values()

  def get(self, key: str, default: Any = None) -> Any:
    """Return the value of a key, or the default."""
    return vars(self).get(key, default)

  def to_dict(self) -> dict[str, Any]:
    """Return nested dictionaries."""
    return {
      key: value.to_dict() if isinstance(value, ConfigDict) else value
      for key, value in self.items()
    }

  def copy_and_resolve_references(self) -> "ConfigDict":
    """Return a copy."""
    return ConfigDict(self)

  def lock(self) -> "ConfigDict":
    """Return itself."""
    return self

  def update(self, *others: Any, **values: Any) -> None:
    """Set keys; sections are merged."""
    for other in (*others, values):
      for key, value in other.items():
        if isinstance(value, Mapping | ConfigDict) and key in self:
          self[key].update(value)
        else:
          self[key] = value

  def update_from_flattened_dict(self, values: Mapping[str, Any]) -> None:
    """Set keys given as paths with dots between sections."""
    for key, value in values.items():
      *sections, name = key.split(".")
      section = self
      for part in sections:
        section = section[part]
      if name not in section:
        raise KeyError(key)
      section[name] = value


class FrozenConfigDict(ConfigDict):
  """The part of FrozenConfigDict that skinjax uses; it is hashable."""

  @staticmethod
  def _leaf(value):
    return tuple(value) if isinstance(value, list) else value

  def __setattr__(self, key: str, value: Any) -> None:
    raise AttributeError(f"{key}: the config is frozen")

  def __hash__(self) -> int:
    return hash(tuple(sorted(self.items(), key=lambda item: item[0])))
