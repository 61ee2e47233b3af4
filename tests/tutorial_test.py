"""Test of docs/tutorial.py, with shrunk trainings."""

import json
import runpy

import pytest
from scipy import stats

from configs import study, synthesize
from skinjax.runtime import command_line
from skinjax.study import verdict
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
  assert "(3, 16, 16, 3) uint8 ('bkl', 'mel', 'nv')" in shown
  assert "asked for bkl: " in shown
  for name in ("study", "study_of_a_folder"):
    report = tmp_path / "runs/tutorial" / name / "report"
    assert (report / "index.html").exists()
    # Enough for a verdict, which takes more seeds than in this test.
    classes = json.loads((report / "summary.json").read_text())["classes"]
    counts = [row["test_lesions"] for row in classes]
    assert stats.hmean(counts) >= verdict.MIN_LESIONS
  assert texts == [quick, "dataset=folder", quick]
