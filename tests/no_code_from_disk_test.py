"""Tests that no file that is read can run code."""

import ast
import contextlib
import hashlib
import importlib
import json
import pathlib
import pickle
import shutil

import pytest

import tfds_ham10000
from skinjax import run
from skinjax.data import image_folder, sources
from skinjax.runtime import errors
from skinjax.training import tasks, testing, trained
from tests import shrunk
from tests.bad_input import trained as runs
from tests.bad_input.planted import planted
from tests.conftest import ROOT
from tfds_ham10000 import image_tables

# Orbax leaves coroutines behind when it fails, and Python warns about them.
pytestmark = [
  pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
  pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_MODULES = sorted(
  path
  for place in ("skinjax", "tfds_ham10000", "configs", "results", "main.py")
  for path in (
    [ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py")
  )
  if not path.name.endswith("_test.py")
)
# Modules and functions that turn data into code, or run other programs.
_IMPORTS = {
  *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve"),
  *("joblib", "yaml", "torch", "code", "codeop", "runpy", "subprocess", "pty"),
}
_BUILTINS = {"eval", "exec", "compile", "__import__", "breakpoint"}
_CALLS = {
  *("importlib.import_module", "importlib.reload", "os.system", "os.popen"),
  *("os.execv", "os.execve", "os.execvp", "os.spawnv", "os.posix_spawn"),
  *("numpy.load", "np.load", "jnp.load", "pandas.read_pickle"),
}
# Modules of one folder, or of a table, that a config names; see below.
# Pickles of a known digest are tested in models/*_test.py.
_ALLOWED = {
  (place, "importlib.import_module")
  for place in (
    "configs/common.py",
    "skinjax/run.py",
    "skinjax/training/tasks/__init__.py",
  )
} | {
  (f"skinjax/models/{name}_weights.py", "pickle") for name in ("torch", "numpy")
}


def _uses(source):
  """Yield the full names of the above that a module uses."""
  names = {}
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      for alias in node.names:
        names[alias.asname or alias.name] = alias.name
        if alias.name.split(".")[0] in _IMPORTS:
          yield alias.name
    elif isinstance(node, ast.ImportFrom):
      for alias in node.names:
        whole = f"{node.module}.{alias.name}"
        names[alias.asname or alias.name] = whole
        if whole.split(".")[0] in _IMPORTS or whole in _CALLS:
          yield whole
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Name) and node.id in _BUILTINS:
      yield node.id
    elif isinstance(node, ast.Attribute):
      root, _, rest = ast.unparse(node).partition(".")
      whole = f"{names.get(root, root)}.{rest}"
      if whole in _CALLS or whole == "builtins.eval":
        yield whole


@pytest.mark.parametrize("path", _MODULES, ids=lambda p: str(p)[-40:])
def test_no_module_turns_data_into_code(path):
  name = str(path.relative_to(ROOT))
  used = {(name, what) for what in _uses(path.read_text())}
  assert not used - _ALLOWED


def test_every_exception_is_used():
  for name, what in _ALLOWED:
    assert what in _uses((ROOT / name).read_text())


@pytest.mark.parametrize(
  "source",
  [
    "import pickle",
    "import dill as safe",
    "from pickle import loads",
    "def f():\n  import subprocess",
    "import os\nos.system('ls')",
    "import os as o\no.system('ls')",
    "from os import system",
    "import numpy as n\nn.load('a', allow_pickle=True)",
    "eval('1')",
    "e = exec",
    "from importlib import import_module",
  ],
)
def test_code_made_of_data_is_found(source):
  assert list(_uses(source))


def test_tasks_are_those_that_configs_name():
  named = set()
  for path in (ROOT / "configs").glob("*.py"):
    module = importlib.import_module(f"configs.{path.stem}")
    if hasattr(module, "get_config"):
      named.add(module.get_config().task)
  assert named == {*tasks.known(), *run._OTHERS}
  for place in run._OTHERS.values():
    assert callable(importlib.import_module(place).run)


@pytest.mark.parametrize(
  "name", ["os.path", ".os", "report.page", "acgan.jax", 3, []]
)
def test_no_other_module_is_a_task(name):
  with pytest.raises(errors.InputError, match="Unknown task"):
    tasks.named(name)


@pytest.fixture
def marker(tmp_path):
  return tmp_path / "ran"


@contextlib.contextmanager
def _refused(marker, *others):
  """Expect that nothing runs; errors of bad input are allowed."""
  with contextlib.suppress(errors.InputError, tfds_ham10000.DataError, *others):
    yield
  assert not marker.exists()


def test_the_planted_pickle_runs_if_it_is_unpickled(marker):
  pickle.loads(planted(marker))
  assert marker.exists()


def _resumed(path):
  shutil.rmtree(path / "checkpoints" / "4")  # as if it had been interrupted
  return runs.train("classifier", path)


def _loaded(path):
  return trained.load(path)


@pytest.mark.parametrize(
  ("name", "use"),
  [
    ("config.json", _loaded),
    ("data.json", _resumed),
    ("metrics.jsonl", _resumed),
    ("timing.jsonl", _resumed),
  ],
)
def test_a_workdir(tmp_path, marker, name, use):
  path = runs.copy(runs.network("classifier"), tmp_path / "run")
  assert (path / name).exists()
  (path / name).write_bytes(planted(marker))
  with _refused(marker):
    use(path)


def test_predictions(tmp_path, marker):
  (tmp_path / testing.FILE).write_bytes(planted(marker))
  with _refused(marker):
    testing.read(tmp_path, shrunk.dataset())


def _files(folder):
  return sorted(path for path in folder.rglob("*") if path.is_file())


def test_every_file_of_a_checkpoint(tmp_path, marker):
  original = runs.network("classifier")
  names = [p.relative_to(original) for p in _files(original / "checkpoints")]
  latest = [name for name in names if name.parts[1] == "4"]
  assert len(latest) > 3
  for number, name in enumerate(latest):
    path = runs.copy(original, tmp_path / str(number))
    (path / name).write_bytes(planted(marker))
    # A forged manifest may have any effect but to run code.
    if name.name != "manifest.json":
      _forge(path / "checkpoints" / "4")
    with _refused(marker, Exception):
      _loaded(path)


def _forge(folder):
  """Write the manifest that fits a checkpoint's files."""
  digests = {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in _files(folder)
    if path.name != "manifest.json"
  }
  (folder / "manifest.json").write_text(json.dumps(digests))


@pytest.mark.parametrize(
  "name", ["provenance.json", "metadata.csv", "disc/disc_000000.png"]
)
def test_an_image_folder(tmp_path, marker, name):
  place, content = tmp_path / "folder", planted(marker)
  info, split = shrunk.dataset().info, shrunk.dataset().train
  image_folder.write(
    place,
    split.images[:1],
    split.labels[:1],
    class_names=info.class_names,
    seed=0,
    provenance={},
  )
  was = hashlib.sha256((place / name).read_bytes()).hexdigest()
  now = hashlib.sha256(content).hexdigest()
  (place / name).write_bytes(content)
  # With the right digests: without them the image would not be read.
  table = place / "metadata.csv"
  table.write_bytes(table.read_bytes().replace(was.encode(), now.encode()))
  with contextlib.suppress(ValueError):
    record = json.loads((place / "provenance.json").read_text())
    record["metadata_sha256"] = hashlib.sha256(table.read_bytes()).hexdigest()
    (place / "provenance.json").write_text(json.dumps(record))
  with pytest.raises(errors.InputError):
    image_folder.read(place, info)
  assert not marker.exists()


@pytest.mark.slow
def test_every_file_of_a_prepared_data_set(tmp_path, marker, toy_dir):
  names = [path.relative_to(toy_dir) for path in _files(pathlib.Path(toy_dir))]
  assert {"dataset_info.json", "features.json"} <= {n.name for n in names}
  assert any("array_record" in name.name for name in names)
  for number, name in enumerate(names):
    place = shutil.copytree(toy_dir, tmp_path / str(number))
    (place / name).write_bytes(planted(marker))
    changes = {"data__data_dir": str(place), "data__size": 64}
    with _refused(marker):
      sources.read(shrunk.config("classifier", **changes).data)
    shutil.rmtree(place)


@pytest.mark.parametrize(
  "name",
  [
    "HAM10000_metadata.csv",
    "HAM10000_images_part_1/ISIC_0000004.jpg",
    "HAM10000_images_part_1.zip",
  ],
)
def test_an_archive(tmp_path, marker, name):
  place = shutil.copytree(
    ROOT / "tfds_ham10000" / "dummy_data", tmp_path / "manual"
  )
  if name.endswith(".zip"):
    shutil.rmtree(place / name.removesuffix(".zip"))
  (place / name).write_bytes(planted(marker))
  changes = {
    "data__manual_dir": str(place),
    "data__data_dir": str(tmp_path / "data"),
    "data__size": 64,
  }
  config = shrunk.config("classifier", "dataset=ham10000", **changes)
  with pytest.raises(tfds_ham10000.DataError):
    sources.read(config.data)
  assert not marker.exists()


def test_a_table_of_images(tmp_path, marker):
  (tmp_path / "table.csv").write_bytes(planted(marker))
  with pytest.raises(tfds_ham10000.DataError):
    image_tables.read(str(tmp_path / "table.csv"), "--train")
  assert not marker.exists()
