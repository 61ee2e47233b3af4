"""Scripts of results/, which are in no package."""

import importlib.util
import sys
import types

from tests.conftest import ROOT


def load(name: str) -> types.ModuleType:
  """Import results/NAME.py, such as `collect` or `coverage/simulate`, anew."""
  path = ROOT / "results" / f"{name}.py"
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  # dataclasses look their module up here.
  sys.modules[spec.name] = module
  spec.loader.exec_module(module)
  return module
