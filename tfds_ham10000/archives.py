"""Finds and reads files in zip files and folders.

Zip files are read member by member; nothing is unpacked to disk. Files are not
trusted: a member's path must stay inside the zip file, and no more than
`LARGEST` bytes of an image are read, zipped or not.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator

from etils import epath

from tfds_ham10000.errors import DataError
from tfds_ham10000.files import check_is_file, describe, list_folder, show

# Published images have 300 kB. The limit refuses files that declare, or unpack
# to, gigabytes before they fill the memory.
LARGEST = 16 * 2**20

_SUFFIXES = (".jpg", ".jpeg")
# All zip programs write these methods. Others can unpack to any number of bytes
# in a single call.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1  # a bit of ZipInfo.flag_bits
# Raised by zipfile for bytes that are not a zip file and for damaged zip files,
# in which any number or name may be wrong.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError)
_UNREADABLE += (OSError, OverflowError, RuntimeError, ValueError)


@dataclasses.dataclass(frozen=True)
class File:
  """One file in a folder or a zip file.

  Attributes:
    name: the file name, without folders.
    where: the location, for messages.
    read: returns the bytes; call it through `read_bytes`.
    size: returns the number of bytes.
    check: raises DataError if the file must not be read.
    path: None for a member of a zip file.
  """

  name: str
  where: str
  read: Callable[[], bytes]
  size: Callable[[], int]
  check: Callable[[], None] = lambda: None
  path: epath.Path | None = None


class Walk(contextlib.AbstractContextManager):
  """Lists files in folders and zip files, each folder and zip file once.

  Links are followed. Zip files in folders are opened; zip files inside zip
  files are not. Whatever can't be read is skipped and recorded in `faults`: it
  matters only if a file turns out to be missing.
  """

  def __init__(self):
    self.faults: list[DataError] = []
    self._seen: set[str] = set()
    self._open_files = contextlib.ExitStack()

  def __exit__(self, *unused_exception):
    self._open_files.close()

  def files(self, place: epath.PathLike) -> Iterator[File]:
    """Yield all files of a folder or a zip file, at any depth.

    Args:
      place: a folder; anything else is treated as a zip file.
    """
    places = [epath.Path(place)]
    while places:
      place = places.pop()
      # A link may point to a folder that contains it.
      if (real := os.path.realpath(place)) in self._seen:
        continue
      self._seen.add(real)
      try:
        if not place.is_dir():
          archive = self._open_files.enter_context(_open_zip(place))
          yield from self._members(place, archive)
          continue
        entries = list_folder(place, "make it readable")
      except DataError as error:
        self.faults.append(error)
        continue
      for path in entries:
        # A folder with an image's name is refused when it is read.
        if not _parse_image_id(path.name) and (is_zip(path) or path.is_dir()):
          places.append(path)
        else:
          yield file_at(path)

  def _members(
    self, path: epath.Path, archive: zipfile.ZipFile
  ) -> Iterator[File]:
    members = archive.infolist()
    if outside := _find_outside(path, members):
      self.faults.append(outside)

    def refuse():
      raise outside

    for member in members:
      name = member.filename.replace("\\", "/").rpartition("/")[2]
      if not name:  # a folder
        continue
      where = f"{path}, member {show(member.filename)}"
      yield File(
        name,
        where,
        functools.partial(_read_member, archive, member),
        functools.partial(getattr, member, "file_size"),
        refuse if outside else functools.partial(_check_member, member, where),
      )


class ImageArchive(contextlib.AbstractContextManager):
  """The JPEG images of several zip files and folders, by image id.

  The image id is the file's name without `.jpg` or `.jpeg` (in upper or lower
  case), at any depth of a folder or a zip file. Files with other names are
  ignored. An image may occur several times if all copies have the same bytes
  (one public copy of HAM10000 has every folder twice). Reading is thread-safe.

  Attributes:
    faults: errors of files that could not be read and may have held a missing
      image.
  """

  def __init__(
    self,
    places: Iterable[epath.PathLike],
    others: Iterable[epath.PathLike] = (),
    wanted: Collection[str] | None = None,
  ):
    """Open the zip files and folders and list their images.

    Args:
      places: zip files and folders.
      others: where to look for images that are not in `places`.
      wanted: ids of the images to list; all others are ignored. If None, all
        images are listed, and anything that can't be read is an error.

    Raises:
      DataError: a member with a wanted image's name is encrypted, compressed
        by an unusual method or declared to be larger than `LARGEST`, or is in
        a zip file in which a path leads outside; or, without `wanted`, a zip
        file or a folder can't be read. No member has been read by then.
    """
    self._images: dict[str, list[File]] = {}
    with contextlib.ExitStack() as stack:
      walk = stack.enter_context(Walk())
      self.faults = walk.faults
      for tier in (places, others):
        if wanted is not None and len(self._images) == len(wanted):
          break
        found: dict[str, list[File]] = {}
        for file in (file for place in tier for file in walk.files(place)):
          image_id = _parse_image_id(file.name)
          if not image_id or image_id in self._images:
            continue
          if wanted is None or image_id in wanted:
            file.check()
            found.setdefault(image_id, []).append(file)
        self._images |= found
      if wanted is None and walk.faults:
        raise walk.faults[0]
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
      image_id: id of an image in the archive; any other raises KeyError.

    Returns:
      The file's bytes, unchecked.

    Raises:
      DataError: the image can't be read, is larger than `LARGEST`, or occurs
        twice with different bytes.
    """
    first, *others = self._images[image_id]
    data = read_bytes(first)
    for other in others:
      if read_bytes(other) != data:
        raise DataError(
          f"image {image_id} differs between {first.where} and {other.where}; "
          "remove the one that is not the original"
        )
    return data

  def size(self, image_id: str) -> int:
    """Return the number of bytes that an image's file has or declares."""
    return self._images[image_id][0].size()

  def where(self, image_id: str) -> str:
    """Return the location of an image, for messages."""
    return self._images[image_id][0].where


def is_zip(path: epath.Path) -> bool:
  """Return whether a path has a zip file's name and is not a folder."""
  return path.suffix.lower() == ".zip" and not path.is_dir()


def file_at(path: epath.Path) -> File:
  """Return the file at a path without reading it."""
  read = functools.partial(_read_file, path)
  size = functools.partial(_measure_file, path)
  return File(path.name, str(path), read, size, path=path)


def read_bytes(file: File) -> bytes:
  """Read a file's bytes.

  Raises:
    DataError: the file or the zip file that it is in is damaged, can't be read,
      or has more than `LARGEST` bytes.
  """
  try:
    return file.read()
  except DataError:
    raise
  except _UNREADABLE as error:
    raise DataError(
      f"{file.where}: can't be read ({_cause(error)}); fetch it again"
    ) from error


@contextlib.contextmanager
def _open_zip(path: epath.Path) -> Iterator[zipfile.ZipFile]:
  """Open a zip file through epath, so that it may be anywhere epath reads."""
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
        f"{path}: {what}, where a complete zip file is expected "
        f"({_cause(error)}); fetch it again"
      ) from error
    yield archive


def _find_outside(
  path: epath.Path, members: Iterable[zipfile.ZipInfo]
) -> DataError | None:
  """Return an error if a member's path leads outside of the zip file."""
  for member in members:
    # Nothing is unpacked, so such a path does no harm here. But a zip file
    # that has one was made to do harm, and its files can't be trusted.
    name = member.filename.replace("\\", "/")
    parts = name.split("/")
    if ".." in parts or name.startswith("/") or ":" in parts[0]:
      return DataError(
        f"{path}, member {show(member.filename)}: the path leads outside of "
        "the zip file; refused: fetch the file again from its publisher"
      )
  return None


def _check_member(member: zipfile.ZipInfo, where: str) -> None:
  """Refuse a member by what the zip file declares about it."""
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
    f"{LARGEST:,} are read; fetch it again from its publisher"
  )


def _parse_image_id(name: str) -> str | None:
  """Return the image id in a file's name, None if it is not an image."""
  path = pathlib.PurePosixPath(name)
  # macOS leaves a "._NAME.jpg" next to files, which is not an image.
  if path.suffix.lower() not in _SUFFIXES or name.startswith("._"):
    return None
  return path.stem


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
  """Read no more of a member than its declared size."""
  # Ask for one byte more, which is never returned. Otherwise a member that
  # declares no bytes would pass as empty before its checksum is verified.
  with archive.open(member) as file:
    return file.read(member.file_size + 1)


def _read_file(path: epath.Path) -> bytes:
  """Read a file of at most `LARGEST` bytes."""
  check_is_file(path, "a JPEG image")
  with path.open("rb") as file:
    data = file.read(LARGEST + 1)
  if len(data) > LARGEST:
    raise DataError(f"{path}: {_too_large(path.stat().length)}")
  return data


def _measure_file(path: epath.Path) -> int:
  check_is_file(path, "a JPEG image")
  return path.stat().length


def _cause(error: Exception) -> str:
  """Return an error's own message, without the path, which ours has."""
  words = getattr(error, "strerror", None) or str(error)
  return show(words or type(error).__name__)
