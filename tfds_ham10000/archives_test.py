import gzip
import os
import pathlib
import tracemalloc
import zipfile

import pytest

from tfds_ham10000.archives import LARGEST, ImageArchive
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
  path = _write_zip(tmp_path / "p.zip", members | {"folder.jpg/": b""})
  with zipfile.ZipFile(path, "a") as archive:
    archive.writestr("a", b"")
    archive.infolist()[-1].filename = ""  # Python can't write that.
  with ImageArchive([path, tmp_path / "part"]) as archive:
    assert len(archive) == 3
    assert [archive.read(i) for i in "abc"] == [b"a", b"b", b"c"]
    assert "n" not in archive
    assert "x/y/b.jpeg" in archive.where("b")


@pytest.mark.parametrize(
  "name",
  ["../a.jpg", "/a.jpg", "x/../../a.jpg", "C:/a", "../" + "a" * 9999],
)
def test_member_that_leads_outside(tmp_path, name):
  path = _write_zip(tmp_path / "p.zip", {name: b"a"})
  with pytest.raises(DataError, match=r"p.zip, member .* leads outside") as no:
    ImageArchive([path])
  assert len(str(no.value)) - len(str(path)) < 400
  assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
  ("name", "shown"), [("..\\a.jpg", ""), ("../\x1b[2J\n.jpg", r"x1b\[2J\\n")]
)
def test_odd_member_that_leads_outside(tmp_path, name, shown):
  path = _write_zip(tmp_path / "p.zip", {name: b"a"})
  with pytest.raises(DataError, match=f"{shown}.* leads outside"):
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


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"PK\x03\x04 cut off", "a zip file that is damaged or cut off, where"),
    (b"\n<!DOCTYPE html><html>Log in</html>", "a web page, such as"),
    (b'{"status":"ERROR"}', "a site's answer in JSON"),
    (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    (b"", "an empty file"),
    (bytes(999), "a file of zeros only"),
    (gzip.compress(b"a", mtime=0), "a gzip file"),
    (b"nothing", "something else, where a complete zip file is expected"),
  ],
)
def test_what_is_no_zip_file(tmp_path, content, message):
  (tmp_path / "p.zip").write_bytes(content)
  with pytest.raises(DataError, match=rf"p.zip: {message}.*again"):
    ImageArchive([tmp_path / "p.zip"])


_not_root = pytest.mark.skipif(
  os.geteuid() == 0, reason="the superuser may read everything"
)


def _grow(path):
  with path.open("wb") as file:
    file.truncate(LARGEST + 1)


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (pathlib.Path.mkdir, "a folder, where a JPEG image is expected; put"),
    (lambda path: path.symlink_to("none"), "a link to nowhere, where a JPEG"),
    (os.mkfifo, "a pipe or a device, where"),
    (_grow, "16,777,217 bytes, where an image of 300,000"),
    pytest.param(
      lambda path: path.touch(0),
      r"can't be read \(Permission denied\)",
      marks=_not_root,
    ),
  ],
)
def test_what_is_no_image_file(tmp_path, make, message):
  make(tmp_path / "a.jpg")
  with (
    ImageArchive([tmp_path]) as archive,
    pytest.raises(DataError, match=f"a.jpg: {message}"),
  ):
    archive.read("a")


@_not_root
def test_folder_that_is_locked(tmp_path):
  (tmp_path / "part").mkdir(mode=0)
  with pytest.raises(DataError, match=r"part: can't be listed .*; make it"):
    ImageArchive([tmp_path])


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"file_size": LARGEST + 1}, "16,777,217 bytes, where an image"),
    ({"flag_bits": 1}, "encrypted; unpack"),
    ({"compress_type": 12}, "compressed by method 12"),
  ],
)
def test_member_that_is_refused_unread(tmp_path, change, message):
  with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
    archive.writestr("a.jpg", b"a")
    archive.writestr("b.txt", b"b")
    for member in archive.infolist():
      for name, value in change.items():
        setattr(member, name, value)
  with pytest.raises(DataError, match=f"p.zip, member a.jpg: {message}"):
    ImageArchive([tmp_path / "p.zip"])


def test_member_that_unpacks_to_more_than_it_declares(tmp_path):
  with zipfile.ZipFile(
    tmp_path / "p.zip", "w", zipfile.ZIP_DEFLATED
  ) as archive:
    archive.writestr("a.jpg", bytes(2**26))
    archive.infolist()[0].file_size = 100
  with ImageArchive([tmp_path / "p.zip"]) as archive:
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a.jpg: can't be read"):
      archive.read("a")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
  assert most < 2**20


def test_member_that_declares_to_have_nothing(tmp_path):
  path = _write_zip(tmp_path / "p.zip", {"b.jpg": b"b"})
  with zipfile.ZipFile(path, "a") as archive:
    archive.writestr("a.jpg", b"a")
    archive.infolist()[-1].file_size = 0
  with (
    ImageArchive([path]) as archive,
    pytest.raises(DataError, match=r"a.jpg: can't be read .Bad CRC"),
  ):
    archive.read("a")


@pytest.mark.parametrize(
  ("old", "new"),
  [
    ("é".encode(), b"\xff\xff"),  # no UTF-8, where that is declared
    (b"PK\1\2\x14\3\x14", b"PK\1\2\x14\3\xff"),  # an unknown version
  ],
)
def test_damaged_list_of_members(tmp_path, old, new):
  path = _write_zip(tmp_path / "p.zip", {"é.jpg": b"a"})
  data = path.read_bytes()
  assert old in data
  path.write_bytes(data.replace(old, new))
  with pytest.raises(DataError, match=r"p.zip: a zip file that is damaged"):
    ImageArchive([path])


def test_what_is_not_wanted_is_left_alone(tmp_path):
  first = _write_zip(tmp_path / "1.zip", {"a.jpg": b"a", "IMG_1.jpg": b""})
  with zipfile.ZipFile(first, "a") as archive:
    archive.infolist()[1].flag_bits = 1  # encrypted
    archive.writestr("b.txt", b"")
  evil = _write_zip(tmp_path / "2.zip", {"../b.jpg": b"b", "c.jpg": b"c"})
  (tmp_path / "3.zip").write_bytes(b"PK\3\4")
  with ImageArchive([first], [tmp_path], {"a"}) as archive:
    assert len(archive) == 1
    assert not archive.faults  # Nothing else was opened: `a` is found.
  with ImageArchive([first], [tmp_path], {"a", "d"}) as archive:
    assert "d" not in archive
    assert len(archive.faults) == 2
  with pytest.raises(DataError, match=r"2.zip, member \.\./b.jpg: .*outside"):
    ImageArchive([first], [evil], {"a", "c"})


def test_copies_elsewhere_do_not_count(tmp_path):
  part = _write_zip(tmp_path / "1.zip", {"a.jpg": b"a"})
  other = _write_zip(tmp_path / "2.zip", {"a.jpg": b"smaller", "b.jpg": b"b"})
  with ImageArchive([part], [other], {"a", "b"}) as archive:
    assert [archive.read(i) for i in "ab"] == [b"a", b"b"]


def test_folders_in_a_folder(tmp_path):
  (tmp_path / "x" / "y").mkdir(parents=True)
  (tmp_path / "x" / "y" / "a.jpg").write_bytes(b"a")
  (tmp_path / "x" / "circle").symlink_to(tmp_path)
  with ImageArchive([tmp_path]) as archive:
    assert len(archive) == 1
    assert archive.read("a") == b"a"


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
