"""Archives of images that are missing, damaged or malicious."""

import gzip
import os
import shutil
import zipfile

import pytest

from tests.bad_input.case import of_ham10000

_PART = "HAM10000_images_part_1"
_IMAGE = "ISIC_0000004.jpg"


def _zip(folder):
  with zipfile.ZipFile(
    folder / f"{_PART}.zip", "w", zipfile.ZIP_DEFLATED
  ) as archive:
    for path in sorted((folder / _PART).iterdir()):
      archive.write(path, path.name)
  shutil.rmtree(folder / _PART)


def _instead_of_zip(content):
  def damage(folder):
    shutil.rmtree(folder / _PART)
    (folder / f"{_PART}.zip").write_bytes(content)

  return damage


def _with_member(name):
  def damage(folder):
    _zip(folder)
    with zipfile.ZipFile(folder / f"{_PART}.zip", "a") as archive:
      archive.writestr("a", b"")
      # The list of members is written from these when the file is closed.
      archive.infolist()[-1].filename = name

  return damage


def _replace(make):
  def damage(folder):
    path = folder / _PART / _IMAGE
    path.unlink()
    make(path)

  return damage


def _grow(path):
  with path.open("wb") as file:
    file.truncate(17 * 2**20)


def _lock(path):
  if os.geteuid() == 0:
    pytest.skip("the superuser may read everything")
  path.chmod(0)


def _add_other_files(folder):
  (folder / _PART / f"._{_IMAGE}").write_bytes(b"\0\5\x16\7")
  (folder / _PART / ".DS_Store").write_bytes(b"\0")
  (folder / _PART / "licence.txt").write_text("CC BY-NC")
  _zip(folder)
  with zipfile.ZipFile(folder / f"{_PART}.zip", "a") as archive:
    archive.writestr(f"__MACOSX/._{_IMAGE}", b"\0\5\x16\7")
    archive.writestr("folder.jpg/", b"")


_OUTSIDE = r"part_1.zip, member .*: the path leads outside of the zip file"

CASES = {
  name: of_ham10000(damage, message)
  for name, (damage, message) in {
    "part_absent": (
      lambda folder: shutil.rmtree(folder / _PART),
      r"csv: line 2: ISIC_0000000.jpg is in none of .*; 9 of 17 images",
    ),
    "web_page": (
      _instead_of_zip(b"\n<!DOCTYPE html><html>Log in</html>"),
      "part_1.zip: a web page, such as .*again",
    ),
    "json": (
      _instead_of_zip(b'{"status":"ERROR","message":"Not found"}'),
      "part_1.zip: a site's answer in JSON",
    ),
    "git_lfs": (
      _instead_of_zip(b"version https://git-lfs.github.com/spec/v1\n"),
      "part_1.zip: a pointer of Git LFS",
    ),
    "empty": (_instead_of_zip(b""), "part_1.zip: an empty file"),
    "zeros": (_instead_of_zip(bytes(999)), "a file of zeros only"),
    "gzip": (_instead_of_zip(gzip.compress(b"a")), "a gzip file"),
    "not_a_zip": (
      _instead_of_zip(b"nothing"),
      "something else, where a complete zip file is expected .*again",
    ),
    "control_characters": (_with_member("../\x1b[2J\n.jpg"), r"x1b\[2J\\n"),
    "long_name": (_with_member("../" + "a" * 9999), _OUTSIDE),
    "image_is_folder": (
      _replace(lambda path: path.mkdir()),
      rf"{_IMAGE}: a folder, where a JPEG image is expected; put the file",
    ),
    "image_is_loose_link": (
      _replace(lambda path: path.symlink_to("nowhere.jpg")),
      f"{_IMAGE}: a link to nowhere, where a JPEG image is expected; put",
    ),
    "image_is_pipe": (
      _replace(os.mkfifo),
      f"{_IMAGE}: a pipe or a device, where",
    ),
    "image_is_huge": (
      _replace(_grow),
      rf"{_IMAGE}: 17,825,792 bytes, where an image of 300,000 .* is expected",
    ),
    "image_is_locked": (
      lambda folder: _lock(folder / _PART / _IMAGE),
      rf"{_IMAGE}: can't be read \(Permission denied\)",
    ),
    "folder_is_locked": (
      lambda folder: _lock(folder / _PART),
      rf"{_PART}: can't be listed \(Permission denied\); make it readable",
    ),
    "other_files": (_add_other_files, None),
    "nameless_member": (_with_member(""), None),
  }.items()
}
