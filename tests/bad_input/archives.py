"""Archives of images that are none, are damaged, or were made to do harm."""

import gzip
import os
import shutil
import zipfile

import pytest

from tests.bad_input.case import of_ham10000

_PART = "HAM10000_images_part_1"
_OTHER = "HAM10000_images_part_2"
_IMAGE = "ISIC_0000004.jpg"


def _zip(folder, inside="", rename=str, change=None):
  """Packs part 1 into a zip file; `change` gets the one image's ZipInfo."""
  with zipfile.ZipFile(
    folder / f"{_PART}.zip", "w", zipfile.ZIP_DEFLATED
  ) as archive:
    for path in sorted((folder / _PART).iterdir()):
      archive.write(path, inside + rename(path.name))
    if change:
      change(archive.getinfo(inside + rename(_IMAGE)))
  shutil.rmtree(folder / _PART)


def _instead_of_zip(content):
  def mess(folder):
    shutil.rmtree(folder / _PART)
    (folder / f"{_PART}.zip").write_bytes(content)

  return mess


def _with_member(name):
  def mess(folder):
    _zip(folder)
    with zipfile.ZipFile(folder / f"{_PART}.zip", "a") as archive:
      archive.writestr("a", b"")
      # The list of members is written from these when the file is closed.
      archive.infolist()[-1].filename = name

  return mess


def _declare(**changes):
  def change(member):
    for name, value in changes.items():
      setattr(member, name, value)

  return lambda folder: _zip(folder, change=change)


def _cut(folder):
  _zip(folder)
  path = folder / f"{_PART}.zip"
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _damage(folder):
  _zip(folder)
  path = folder / f"{_PART}.zip"
  with zipfile.ZipFile(path) as archive:
    start = archive.getinfo(_IMAGE).header_offset
  data = bytearray(path.read_bytes())
  data[start + 200] ^= 0xFF
  path.write_bytes(data)


def _bomb(folder):
  """Declares a hundred bytes and unpacks to far more than any image has."""
  (folder / _PART / _IMAGE).write_bytes(bytes(2**25))
  _declare(file_size=100)(folder)


def _replace(make):
  def mess(folder):
    path = folder / _PART / _IMAGE
    path.unlink()
    make(path)

  return mess


def _grow(path):
  with path.open("wb") as file:
    file.truncate(17 * 2**20)


def _lock(path):
  if os.geteuid() == 0:
    pytest.skip("the superuser may read everything")
  path.chmod(0)


def _nest(folder):
  (folder / _PART).rename(folder / "tmp")
  (folder / _PART / "a" / "b").mkdir(parents=True)
  (folder / "tmp").rename(folder / _PART / "a" / "b" / _PART)


def _leave_scraps(folder):
  (folder / _PART / f"._{_IMAGE}").write_bytes(b"\0\5\x16\7")
  (folder / _PART / ".DS_Store").write_bytes(b"\0")
  (folder / _PART / "licence.txt").write_text("CC BY-NC")
  _zip(folder)
  with zipfile.ZipFile(folder / f"{_PART}.zip", "a") as archive:
    archive.writestr(f"__MACOSX/._{_IMAGE}", b"\0\5\x16\7")
    archive.writestr("folder.jpg/", b"")


def _differ(folder):
  shutil.copy(folder / _PART / _IMAGE, folder / _OTHER / "ISIC_0000002.JPG")


def _remove_places(folder):
  shutil.rmtree(folder / _PART)
  shutil.rmtree(folder / _OTHER)


_OUTSIDE = r"part_1.zip, member .*: the path leads outside of the zip file"

CASES = {
  name: of_ham10000(mess, told)
  for name, (mess, told) in {
    "no_images": (_remove_places, "manual: no images found; looked for HAM"),
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
      "something else, where a whole zip file is expected .*again",
    ),
    "cut": (
      _cut,
      "part_1.zip: a zip file that is damaged or cut off, where a whole",
    ),
    "damaged": (_damage, rf"part_1.zip, member {_IMAGE}: can't be read \("),
    "parent": (_with_member("a/../../b.jpg"), _OUTSIDE),
    "absolute": (_with_member("/etc/b.jpg"), _OUTSIDE),
    "drive": (_with_member("C:\\b.jpg"), _OUTSIDE),
    "control_characters": (_with_member("../\x1b[2J\n.jpg"), r"x1b\[2J\\n"),
    "long_name": (_with_member("../" + "a" * 9999), _OUTSIDE),
    "declared_bomb": (
      _declare(file_size=2**32 - 2),
      rf"{_IMAGE}: 4,294,967,294 bytes, where .* at most 16,777,216 are read",
    ),
    "lying_bomb": (_bomb, rf"{_IMAGE}: can't be read \(Bad CRC-32"),
    "encrypted": (
      _declare(flag_bits=1),
      rf"{_IMAGE}: encrypted; unpack the zip file with its password",
    ),
    "deflate64": (
      _declare(compress_type=9),
      rf"{_IMAGE}: compressed by method 9, .*; unpack the zip file and put",
    ),
    "image_absent": (
      lambda folder: (folder / _PART / _IMAGE).unlink(),
      rf"csv: line 6: {_IMAGE} is in none of .*; 1 of 17 images are missing",
    ),
    "copies_differ": (_differ, "image ISIC_0000002 differs between .*remove"),
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
    "folders_and_upper_case": (
      lambda folder: _zip(folder, "a/b/", lambda jpg: jpg[:-3] + "JPEG"),
      None,
    ),
    "folders_in_folder": (_nest, None),
    "links_in_a_circle": (
      lambda folder: (folder / _PART / "circle").symlink_to(folder),
      None,
    ),
    "twice": (
      lambda folder: shutil.copytree(folder / _PART, folder / _OTHER / "a"),
      None,
    ),
    "scraps": (_leave_scraps, None),
    "nameless_member": (_with_member(""), None),
  }.items()
}
