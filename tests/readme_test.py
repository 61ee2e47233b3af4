"""Tests of README.md: its commands, links and snippets work."""

import importlib
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import skinjax
from skinjax import run
from skinjax.runtime import workdir
from tests.bad_input import trained as runs
from tests.conftest import ROOT

PAGES = tuple(
  str(page.relative_to(ROOT))
  for folder in ("", "skinjax/*", "tfds_ham10000", "benchmarks", "results/**")
  for page in sorted(ROOT.glob(f"{folder}/README.md".strip("/")))
)
_COMMAND = re.compile(r"--config=configs/(\w+)\.py(?::([\w=,]+))?(.*)")
_KEY = re.compile(r"--config\.([\w.]+)=")
_MODULE = re.compile(
  r"^\S*python -m ((?:tfds_ham10000|benchmarks)\.\w+)(.*)", re.M
)


def _read(page):
  """Read a page with each command on one line."""
  return re.sub(r"\\\n\s*", "", (ROOT / page).read_text())


def _commands():
  for page in PAGES:
    for name, arguments, rest in _COMMAND.findall(_read(page)):
      yield pytest.param(name, arguments, rest, id=f"{page}-{name}-{arguments}")


@pytest.mark.parametrize(("name", "arguments", "rest"), list(_commands()))
def test_commands_name_existing_configs_and_keys(name, arguments, rest):
  config = importlib.import_module(f"configs.{name}").get_config(arguments)
  assert set(_KEY.findall(rest)) <= workdir.flat(config).keys()


def test_commands_name_existing_modules_and_their_flags():
  text = "\n".join(map(_read, PAGES))
  for module, rest in _MODULE.findall(text):
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
    options = dict(re.findall(r'\badd\(\s*"(--\w+)"([^)]*)', source))
    given = set(re.findall(r"--\w+", rest))
    assert given <= options.keys(), module
    needed = {flag for flag in options if "required=True" in options[flag]}
    assert needed <= given, module


def _anchors(page):
  """List the anchors of a page's headings."""
  headings = re.findall(r"^#+ (.*)", page.read_text(), re.M)
  return {re.sub(r"[^\w -]", "", x).lower().replace(" ", "-") for x in headings}


def test_links_lead_to_files_and_headings():
  for name in PAGES:
    page = ROOT / name
    links = re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text())
    for link, anchor in links:
      target = page.parent / link if link else page
      assert target.exists(), (name, link)
      if anchor:
        assert anchor in _anchors(target), (name, anchor)


def _snippets():
  text = (ROOT / "README.md").read_text()
  return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_python_snippet_runs(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  snippet, _ = _snippets()
  names = {}
  exec(snippet, names)
  assert names["images"].dtype == np.uint8
  assert names["images"].shape == (2, 64, 64, 3)
  assert names["probabilities"].shape == (2, 7)
  assert capsys.readouterr().out.strip() in names["classifier"].class_names
  Image.fromarray(names["images"][0]).save("a.png")  # paths work, too
  again = names["classifier"].predict(["a.png"])
  np.testing.assert_allclose(again[0], names["probabilities"][0], atol=1e-6)


def test_the_exported_generator_is_called_without_skinjax(tmp_path):
  gan, place = runs.network("acgan"), tmp_path / "runs" / "export"
  config = importlib.import_module("configs.export").get_config()
  config.generator = str(gan)
  run.run(config, place)
  _, snippet = _snippets()
  alone = """
import importlib.util
assert importlib.util.find_spec("skinjax") is None
"""
  kept = '\nnp.save("images.npy", images)\nnp.save("latents.npy", latents)'
  command = [sys.executable, "-I", "-c", alone + snippet + kept]
  subprocess.run(command, check=True, timeout=120, cwd=tmp_path)
  images, latents = (
    np.load(tmp_path / f"{name}.npy") for name in ("images", "latents")
  )
  generator = skinjax.load_generator(gan)
  for label, image in enumerate(images):
    wanted = generator.draw(latents, label)[label]
    assert np.abs(image.astype(int) - wanted).max() <= 1  # rounded
