"""Finds and reads images that lie in zip files and folders, side by side.

Zip files are read member by member: nothing is unpacked to the disk.
"""

import contextlib
import dataclasses
import functools
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator

from etils import epath

from tfds_ham10000.errors import DataError

_SUFFIXES = (".jpg", ".jpeg")
# What zipfile raises for bytes that are no zip file, for a damaged member, and
# (RuntimeError) for an encrypted one or an unknown compression.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


@dataclasses.dataclass(frozen=True)
class _Image:
  """One image in one place."""

  where: str
  read: Callable[[], bytes]


class ImageArchive(contextlib.AbstractContextManager):
  """The JPEG images of several zip files and folders, by image id.

  The image id is the file's name without `.jpg`, in whatever folder of a zip
  file. One image may lie in several places if its bytes are the same there
  (one public copy of HAM10000 has every folder twice). Reading is safe from
  several threads.
  """

  def __init__(self, places: Iterable[epath.PathLike]):
    """Open the places and list their images.

    Args:
      places: zip files, and folders with images right inside them.

    Raises:
      DataError: a zip file can't be read, or a member's path leads outside.
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
      DataError: the image can't be read, or lies in two places with different
        bytes.
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
  """List the images right inside a folder."""
  for path in folder.iterdir():
    if image_id := _parse_image_id(path.name):
      yield image_id, _Image(str(path), path.read_bytes)


@contextlib.contextmanager
def _open_zip(path: epath.Path) -> Iterator[zipfile.ZipFile]:
  """Open a zip file through epath, so that it may lie anywhere epath reads."""
  with contextlib.ExitStack() as stack:
    try:
      file = stack.enter_context(path.open("rb"))
      archive = stack.enter_context(zipfile.ZipFile(file))
    except _UNREADABLE as error:
      raise DataError(
        f"{path}: not a readable zip file ({error}); fetch it again"
      ) from error
    yield archive


def _list_zip(
  path: epath.Path, archive: zipfile.ZipFile
) -> Iterator[tuple[str, _Image]]:
  """List the images of a zip file, wherever in it they lie."""
  for member in archive.infolist():
    where = f"{path}, member {member.filename}"
    # Nothing is unpacked, so such a path does no harm here; but a zip file
    # that has one was made to do harm, and its images are not to be trusted.
    parts = member.filename.replace("\\", "/").split("/")
    if ".." in parts or not parts[0] or ":" in parts[0]:
      raise DataError(
        f"{where}: the path leads outside of the zip file; refused: fetch the "
        "file again, from its publisher"
      )
    if not member.is_dir() and (image_id := _parse_image_id(parts[-1])):
      yield image_id, _Image(where, functools.partial(archive.read, member))


def _parse_image_id(name: str) -> str | None:
  """Return the image id in a file's name, None if it is no image's."""
  path = pathlib.PurePosixPath(name)
  # macOS leaves a "._NAME.jpg" beside files, which is no image.
  if path.suffix.lower() not in _SUFFIXES or name.startswith("._"):
    return None
  return path.stem


def _read(image: _Image) -> bytes:
  """Read an image's bytes, or say which file can't be read."""
  try:
    return image.read()
  except (*_UNREADABLE, OSError) as error:
    raise DataError(
      f"{image.where}: can't be read ({error}); fetch it again"
    ) from error
