"""HAM10000 from the user's own files, without TFDS.

The pixels, ids, groups and order are those that skinjax.data.sources.read
returns after TFDS has prepared the same files. This takes a few seconds and
writes no copy to disk.
"""

import hashlib
import pathlib

import numpy as np

import tfds_ham10000
from skinjax.data import images, sources
from tfds_ham10000 import images as pictures
from tfds_ham10000 import sources as archives
from tfds_ham10000 import splits, tables


def read(manual_dir: str | pathlib.Path, size: int) -> sources.Raw:
  """Read the table and the images, from a folder or from zip files.

  Raises:
    InputError: HAM10000 has no images of this size.
    tfds_ham10000.DataError: the files are not HAM10000.
  """
  stored = sources.stored_size("ham10000", size)
  source = archives.find_source(manual_dir)
  cases = {case.image_id: case for case in source.table.cases}
  groups = splits.join_groups(
    {name: case.lesion_id for name, case in cases.items()}, tables.duplicates()
  )
  ids = list(cases)
  assigned = splits.assign_splits(
    [groups[name] for name in ids], [cases[name].dx for name in ids]
  )
  with source.open_images() as archive:

    def load(name: str) -> np.ndarray:
      content, where = archive.read(name), archive.where(name)
      return np.asarray(pictures.read_square(content, stored, where))

    pixels = dict(zip(ids, images.in_threads(load, ids), strict=True))

  def split(key: str) -> sources.Split:
    mine = [n for n, place in zip(ids, assigned, strict=True) if place == key]
    # TFDS shuffles a split by the MD5 of its name and the example's id.
    mine.sort(key=lambda name: hashlib.md5(f"{key}{name}".encode()).digest())
    labels = [tfds_ham10000.CLASSES.index(cases[name].dx) for name in mine]
    found = images.reduce(np.stack([pixels[n] for n in mine]), stored // size)
    return sources.Split(
      found,
      np.array(labels, np.int32),
      np.array(mine),
      np.array([groups[name] for name in mine]),
    ).take(slice(None))

  return sources.Raw(
    name="ham10000",
    class_names=tfds_ham10000.CLASSES,
    splits={key: split(key) for key in tfds_ham10000.SPLITS},
    groups_known=True,
    stored=stored,
    origin=source.name,
  )
