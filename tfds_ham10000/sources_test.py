"""Tests of finding HAM10000's files in a folder."""

import pytest

from tfds_ham10000 import sources
from tfds_ham10000.errors import DataError


def _fill(folder, *names):
  for name in names:
    (folder / name).touch()


def test_the_first_table_of_the_instructions_is_taken(tmp_path):
  _fill(tmp_path, "HAM10000_metadata.tab", "ham10000_METADATA", "other.csv")
  assert sources.find_table(tmp_path).name == "ham10000_METADATA"
  _fill(tmp_path, "HAM10000_metadata.csv")
  assert sources.find_table(str(tmp_path)).name == "HAM10000_metadata.csv"


def test_what_is_absent_is_told(tmp_path):
  told = r"no table of cases found; looked for HAM10000_metadata\.csv, (.|\n)*"
  told += "doi.org/10.7910/DVN/DBW86T"
  for find in (sources.find_table, sources.find_source):
    with pytest.raises(DataError, match=told):
      find(tmp_path)
    with pytest.raises(DataError, match="none: can't be listed"):
      find(tmp_path / "none")
  _fill(tmp_path, "HAM10000_metadata.csv")
  with pytest.raises(DataError, match=r"no images found; .*images_part_1\.zip"):
    sources.find_source(tmp_path)


def test_all_places_of_images_are_found(tmp_path):
  _fill(tmp_path, "HAM10000_metadata.csv", "HAM10000_images_part_2.zip")
  (tmp_path / "ham10000_images_part_1").mkdir()
  source = sources.find_source(tmp_path)
  assert [place.name for place in source.places] == [
    "HAM10000_images_part_2.zip",
    "ham10000_images_part_1",
  ]
  assert source.table == sources.find_table(tmp_path)
