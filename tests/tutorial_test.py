"""Test of docs/tutorial.py, with shrunk trainings."""

import runpy

import pytest

from configs import study, synthesize
from skinjax.runtime import command_line
from tests import shrunk
from tests.conftest import ROOT


@pytest.mark.slow
def test_it_leads_from_images_to_a_verdict(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  # Logging stays as pytest has set it up.
  monkeypatch.setattr(command_line, "show_progress", lambda: None)
  texts, quick = [], "dataset=folder,size=32,quick"
  for module, name, text in (
    (study, "study", quick),
    (synthesize, "synthesize", "dataset=folder"),
  ):
    shipped = shrunk.config(name, text)

    def get_config(text, shipped=shipped):
      texts.append(text)
      return shipped.copy_and_resolve_references()

    monkeypatch.setattr(module, "get_config", get_config)
  runpy.run_path(str(ROOT / "docs" / "tutorial.py"))
  shown = capsys.readouterr().out
  assert "95% interval" in shown
  assert "cannot tell" not in shown
  assert "(3, 16, 16, 3) uint8 ('bkl', 'mel', 'nv')" in shown
  assert "asked for bkl: " in shown
  for name in ("study", "study_of_a_folder"):
    assert (tmp_path / "runs/tutorial" / name / "report/index.html").exists()
  assert texts == [quick, "dataset=folder", quick]
