import zipfile

import pytest

from tfds_ham10000.archives import ImageArchive
from tfds_ham10000.errors import DataError


def _write_zip(path, members):
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, data in members.items():
      archive.writestr(name, data)
  return path


def test_zip_and_folder_side_by_side(tmp_path):
  (tmp_path / "part").mkdir()
  (tmp_path / "part" / "c.JPG").write_bytes(b"c")
  members = {"a.jpg": b"a", "x/y/b.jpeg": b"b", "x/._b.jpg": b"", "n.txt": b""}
  path = _write_zip(tmp_path / "p.zip", members)
  with ImageArchive([path, tmp_path / "part"]) as archive:
    assert len(archive) == 3
    assert [archive.read(i) for i in "abc"] == [b"a", b"b", b"c"]
    assert "n" not in archive
    assert "x/y/b.jpeg" in archive.where("b")


@pytest.mark.parametrize(
  "name", ["../a.jpg", "/a.jpg", "x/../../a.jpg", "C:/a"]
)
def test_member_that_leads_outside(tmp_path, name):
  path = _write_zip(tmp_path / "p.zip", {name: b"a"})
  with pytest.raises(DataError, match=r"p.zip, member .* leads outside"):
    ImageArchive([path])
  assert list(tmp_path.iterdir()) == [path]


def test_backslash_member_that_leads_outside(tmp_path):
  path = _write_zip(tmp_path / "p.zip", {"..\\a.jpg": b"a"})
  with pytest.raises(DataError, match="leads outside"):
    ImageArchive([path])


def test_two_places(tmp_path):
  paths = [
    _write_zip(tmp_path / f"{i}.zip", {"a.jpg": b"a", "b.jpg": b"%d" % i})
    for i in (1, 2)
  ]
  with ImageArchive(paths) as archive:
    assert archive.read("a") == b"a"
    with pytest.raises(DataError, match=r"b differs between .*1.zip.*2.zip"):
      archive.read("b")


def test_damaged_zip(tmp_path):
  (tmp_path / "p.zip").write_bytes(b"PK\x03\x04 cut off")
  with pytest.raises(DataError, match=r"p.zip: not a readable zip file"):
    ImageArchive([tmp_path / "p.zip"])


def test_damaged_member(tmp_path):
  path = _write_zip(tmp_path / "p.zip", {"a.jpg": bytes(range(200))})
  data = bytearray(path.read_bytes())
  data[60] ^= 0xFF
  path.write_bytes(data)
  with (
    ImageArchive([path]) as archive,
    pytest.raises(DataError, match=r"p.zip, member a.jpg: can't be read"),
  ):
    archive.read("a")
