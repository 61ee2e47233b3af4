"""Finds and reads images that lie in zip files and folders, side by side.

Zip files are read member by member: nothing is unpacked to the disk. Nor is
anything believed that could do harm: a member's path must stay inside, and no
image is read, wherever it lies, beyond `LARGEST` bytes.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator

from etils import epath

from tfds_ham10000.errors import DataError
from tfds_ham10000.sources import check_is_file, describe, show

# The published images have 300 kB; with this, a file that claims to have (or
# unpacks to) gigabytes is refused before it fills the memory.
LARGEST = 16 * 2**20

_SUFFIXES = (".jpg", ".jpeg")
# Every zip program writes these; the others can unpack to any number of bytes
# in one go.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1  # a bit of ZipInfo.flag_bits
# What zipfile raises for bytes that are no zip file and for damaged ones, in
# which any number and any name may be wrong.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError)
_UNREADABLE += (OSError, OverflowError, RuntimeError, ValueError)


@dataclasses.dataclass(frozen=True)
class _Image:
  """One image in one place."""

  where: str
  read: Callable[[], bytes]


class ImageArchive(contextlib.AbstractContextManager):
  """The JPEG images of several zip files and folders, by image id.

  The image id is the file's name without `.jpg` or `.jpeg`, in upper or lower
  case, in whatever folder of a zip file or of a folder (folders that are links
  are not followed: they could lead in a circle). What has another name is left
  alone. One image may lie in several places if its bytes are the same there
  (one public copy of HAM10000 has every folder twice). Reading is safe from
  several threads.
  """

  def __init__(self, places: Iterable[epath.PathLike]):
    """Open the places and list their images.

    Args:
      places: zip files and folders.

    Raises:
      DataError: a zip file or a folder can't be read, a member's path leads
        outside, or a member with an image's name is encrypted, compressed by
        an unusual method or declared to be larger than `LARGEST`. Nothing of
        the members has been read then.
    """
    self.places = [epath.Path(place) for place in places]
    self._images: dict[str, list[_Image]] = {}
    with contextlib.ExitStack() as stack:
      for place in self.places:
        if place.is_dir():
          images = _list_folder(place)
        else:
          images = _list_zip(place, stack.enter_context(_open_zip(place)))
        for image_id, image in images:
          self._images.setdefault(image_id, []).append(image)
      self._open_files = stack.pop_all()

  def __exit__(self, *unused_exception):
    self._open_files.close()

  def __contains__(self, image_id: str) -> bool:
    return image_id in self._images

  def __len__(self) -> int:
    return len(self._images)

  def read(self, image_id: str) -> bytes:
    """Return the bytes of an image's file.

    Args:
      image_id: an image of the archive; KeyError for any other.

    Returns:
      The file's own bytes, unchecked.

    Raises:
      DataError: the image can't be read, is larger than `LARGEST`, or lies in
        two places with different bytes.
    """
    first, *others = self._images[image_id]
    data = _read(first)
    for other in others:
      if _read(other) != data:
        raise DataError(
          f"image {image_id} differs between {first.where} and {other.where}; "
          "remove the one that is not the original"
        )
    return data

  def where(self, image_id: str) -> str:
    """Return where an image lies, for messages."""
    return self._images[image_id][0].where


def _list_folder(folder: epath.Path) -> Iterator[tuple[str, _Image]]:
  """List the images of a folder, wherever in it they lie."""
  folders = [folder]
  while folders:
    try:
      entries = sorted(folders.pop().iterdir())
    except OSError as error:
      raise DataError(
        f"{folder}: can't be listed ({_cause(error)}); make it readable"
      ) from error
    for path in entries:
      if image_id := _parse_image_id(path.name):
        read = functools.partial(_read_file, path)
        yield image_id, _Image(str(path), read)
      elif path.is_dir() and not os.path.islink(path):
        folders.append(path)


@contextlib.contextmanager
def _open_zip(path: epath.Path) -> Iterator[zipfile.ZipFile]:
  """Open a zip file through epath, so that it may lie anywhere epath reads."""
  check_is_file(path, "a zip file")
  start = b""
  with contextlib.ExitStack() as stack:
    try:
      file = stack.enter_context(path.open("rb"))
      start = file.read(512)
      archive = stack.enter_context(zipfile.ZipFile(file))
    except _UNREADABLE as error:
      what = describe(start) or "something else"
      if isinstance(error, OSError):
        what = "a file that can't be read"
      elif start.startswith(b"PK"):
        what = "a zip file that is damaged or cut off"
      raise DataError(
        f"{path}: {what}, where a whole zip file is expected "
        f"({_cause(error)}); fetch it again"
      ) from error
    yield archive


def _list_zip(
  path: epath.Path, archive: zipfile.ZipFile
) -> Iterator[tuple[str, _Image]]:
  """List the images of a zip file, wherever in it they lie."""
  for member in archive.infolist():
    where = f"{path}, member {show(member.filename)}"
    # Nothing is unpacked, so such a path does no harm here; but a zip file
    # that has one was made to do harm, and its images are not to be trusted.
    name = member.filename.replace("\\", "/")
    parts = name.split("/")
    if ".." in parts or name.startswith("/") or ":" in parts[0]:
      raise DataError(
        f"{where}: the path leads outside of the zip file; refused: fetch the "
        "file again, from its publisher"
      )
    if image_id := _parse_image_id(parts[-1]):
      _check_member(member, where)
      read = functools.partial(_read_member, archive, member)
      yield image_id, _Image(where, read)


def _check_member(member: zipfile.ZipInfo, where: str) -> None:
  """Refuse an image by what the zip file declares of it."""
  if member.file_size > LARGEST:
    raise DataError(f"{where}: {_too_large(member.file_size)}")
  if member.flag_bits & _ENCRYPTED:
    raise DataError(
      f"{where}: encrypted; unpack the zip file with its password and put the "
      "folder in its place"
    )
  if member.compress_type not in _METHODS:
    raise DataError(
      f"{where}: compressed by method {member.compress_type}, which is not "
      "read here; unpack the zip file and put the folder in its place"
    )


def _too_large(size: int) -> str:
  return (
    f"{size:,} bytes, where an image of 300,000 or so is expected and at most "
    f"{LARGEST:,} are read; fetch it again, from its publisher"
  )


def _parse_image_id(name: str) -> str | None:
  """Return the image id in a file's name, None if it is no image's."""
  path = pathlib.PurePosixPath(name)
  # macOS leaves a "._NAME.jpg" beside files, which is no image.
  if path.suffix.lower() not in _SUFFIXES or name.startswith("._"):
    return None
  return path.stem


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
  """Read no more of a member than it declares to have."""
  # One byte more is asked for, and never given, lest a member that declares to
  # have none be taken for empty before its checksum is looked at.
  with archive.open(member) as file:
    return file.read(member.file_size + 1)


def _read_file(path: epath.Path) -> bytes:
  """Read a file of no more than `LARGEST` bytes."""
  check_is_file(path, "a JPEG image")
  with path.open("rb") as file:
    data = file.read(LARGEST + 1)
  if len(data) > LARGEST:
    raise DataError(f"{path}: {_too_large(path.stat().length)}")
  return data


def _read(image: _Image) -> bytes:
  """Read an image's bytes, or say which file can't be read."""
  try:
    return image.read()
  except DataError:
    raise
  except _UNREADABLE as error:
    raise DataError(
      f"{image.where}: can't be read ({_cause(error)}); fetch it again"
    ) from error


def _cause(error: Exception) -> str:
  """Return an error's own words, without the path that the message has."""
  words = getattr(error, "strerror", None) or str(error)
  return show(words or type(error).__name__)
