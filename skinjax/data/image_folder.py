"""Image folders: written by generators, read by evaluations and studies.

A folder has `CLASS/NAME.png` (or JPEG). torchvision's ImageFolder, TFDS's and
Hugging Face's imagefolder read it as it is. Next to the classes there may be
two files: `metadata.csv` (`file_name`, `label`, a SHA-256 of each image, and
its scores, see synthesis/quality.py), and `provenance.json`, which describes
the generator of the images and what it was trained on:

```
{
  name: "ACGAN", command, skinjax: version, seed,
  generator: {state_sha256, step, workdir, config},
  trained_on: {groups: [str] or image_ids: [str], …},   # see provenance.py
  pretrained: [pretrained networks that the generator was trained through],
  truncation, filter: how the images were selected, with the SHA-256 of the
    filter's networks; see synthesis/filtering.py
  classes: {class: images}, metadata_sha256
}
```

Folders that skinjax did not write need only `trained_on`.
"""

import csv
import hashlib
import io
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from skinjax.data import datasets, images
from skinjax.data.sources import Split
from skinjax.runtime import errors, files
from tfds_ham10000.images import encode_png

_COLUMNS = ("file_name", "label", "seed", "index", "sha256")
# What the images depend on, besides the generator.
_SAMPLED = ("skinjax", "seed", "truncation", "filter", "classes")


class ImageFolder(NamedTuple):
  """An image folder, read."""

  path: pathlib.Path
  split: Split  # each image is its own group; its id is CLASS/NAME
  provenance: Mapping[str, Any]  # the content of provenance.json, if it exists

  @property
  def origin(self) -> Mapping[str, Any] | None:
    """Return what the generator was trained on; None if not recorded."""
    trained_on = self.provenance.get("trained_on")
    return trained_on if isinstance(trained_on, Mapping) else None

  @property
  def generator(self) -> Mapping[str, Any]:
    """Return the record of the generator itself; empty if there is none."""
    generator = self.provenance.get("generator")
    return generator if isinstance(generator, Mapping) else {}

  @property
  def pretrained(self) -> frozenset[str]:
    """Return the pretrained networks that the generator was trained through."""
    return frozenset(files.texts(self.provenance.get("pretrained")))

  @property
  def chosen_by(self) -> frozenset[str]:
    """Return the SHA-256 of the networks that filtered the images."""
    used = self.provenance.get("filter")
    names = used.get("networks") if isinstance(used, Mapping) else None
    return frozenset(files.texts(names))

  @property
  def digest(self) -> str:
    """Return a hash of the images.

    Of images that skinjax generated it is a hash of their generator and how it
    was sampled, as `read` verifies them by themselves: another processor rounds
    some pixels in another way. Of others it is a hash of their pixels.
    """
    generator = self.generator.get("state_sha256")
    if not generator or "metadata_sha256" not in self.provenance:
      return datasets.fingerprint(self.split)
    sampled = {key: self.provenance.get(key) for key in _SAMPLED}
    return files.short_digest({"generator": generator, **sampled})

  @property
  def title(self) -> str:
    """Return the images' name in reports, a plural with an initial capital."""
    name = self.provenance.get("name")
    return f"{name} images" if isinstance(name, str) else "Synthetic images"


def write(
  directory: str | pathlib.Path,
  pixels: np.ndarray,
  labels: np.ndarray,
  *,
  class_names: tuple[str, ...],
  seed: int,
  provenance: Mapping[str, Any],
  scores: Mapping[str, np.ndarray] | None = None,
) -> None:
  """Write a folder that does not exist yet, whole or not at all.

  The images, uint8 [images, size, size, channels], were sampled with the seed;
  `provenance` describes their generator, and `scores` [images] by name are
  columns of metadata.csv.
  """
  directory = pathlib.Path(directory)
  partial = directory.with_name(f"{directory.name}.partial")
  shutil.rmtree(partial, ignore_errors=True)
  try:
    _write(partial, pixels, labels, class_names, seed, provenance, scores)
    partial.rename(directory)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def _write(
  directory, pixels, labels, class_names, seed, provenance, scores
) -> None:
  rows, scores = [], scores or {}
  for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
    name = class_names[label]
    path = directory / name / f"{name}_{index:06d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = image.shape[-1] == 1
    picture = Image.fromarray(image.squeeze(-1) if grey else image)
    content = encode_png(picture)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    fields = (f"{values[index]:.6g}" for values in scores.values())
    rows.append((f"{name}/{path.name}", name, seed, index, digest, *fields))
  table = files.table([(*_COLUMNS, *scores), *rows])
  files.write_text(directory / "metadata.csv", table)
  counts = np.bincount(labels, minlength=len(class_names)).tolist()
  files.write_json(
    directory / "provenance.json",
    {
      **provenance,
      "seed": seed,
      "classes": dict(zip(class_names, counts, strict=True)),
      "metadata_sha256": hashlib.sha256(table.encode()).hexdigest(),
    },
  )


def read(
  directory: str | pathlib.Path,
  info: datasets.DataInfo,
  *,
  all_classes: bool = False,
) -> ImageFolder:
  """Read an image folder, its images resized as the real ones of `info` were.

  Folders and files whose names begin with a dot, and files next to the class
  folders, are ignored. If skinjax wrote the folder, every image is verified by
  its SHA-256.

  Raises:
    InputError: there is no such folder, a subfolder is not a class, there is no
      image (of a class, if `all_classes`), a file is not a PNG or JPEG image,
      or an image differs from the one that was written.
  """
  directory = files.user_path(directory)
  if not directory.is_dir():
    raise errors.InputError(
      f"{directory} is no folder: give one that has a folder of images for "
      f"each of {', '.join(info.class_names)}."
    )
  provenance = {}
  if (directory / "provenance.json").exists():
    provenance = files.read_json(
      directory / "provenance.json", "it records where the images come from"
    )
  for folder in sorted(directory.iterdir()):
    if folder.is_dir() and folder.name[0] != ".":
      errors.require_known(
        f"class folder in {directory},", folder.name, info.class_names
      )
  paths, labels = [], []
  for label, name in enumerate(info.class_names):
    of_class = []
    if (directory / name).is_dir():
      of_class = images.files_in(directory / name)
    if all_classes and not of_class:
      raise errors.InputError(
        f"{directory / name} has no images: give some of each class, or list "
        "the classes that have some in --config.data.classes."
      )
    paths += of_class
    labels += [label] * len(of_class)
  if not paths:
    raise errors.InputError(
      f"{directory} has no images: a folder of PNG or JPEG images is expected "
      f"in it for each of {', '.join(info.class_names)}."
    )
  names = [f"{path.parent.name}/{path.name}" for path in paths]
  written = None
  if "metadata_sha256" in provenance:
    written = _written(directory, provenance["metadata_sha256"], names)

  def load(item: tuple[str, pathlib.Path]) -> np.ndarray:
    name, path = item
    if written and files.digest(path) != written[name]:
      raise errors.InputError(
        f"{path} is not the image that metadata.csv lists: generate the folder "
        "again."
      )
    pixels = images.read(path, info.size, info.stored)
    return images.in_channels(pixels, info.channels)

  pixels = images.in_threads(load, list(zip(names, paths, strict=True)))
  ids = np.array(names)
  split = Split(np.stack(pixels), np.array(labels, np.int32), ids, ids)
  return ImageFolder(directory, split, provenance)


def _written(directory, digest, names) -> dict[str, str]:
  """Read the SHA-256 of each image from metadata.csv."""
  table, again = directory / "metadata.csv", "generate the folder again."
  try:
    text = table.read_text()
  except (*errors.ABSENT, ValueError) as error:
    raise errors.InputError(f"{table} cannot be read: {again}") from error
  if hashlib.sha256(text.encode()).hexdigest() != digest:
    raise errors.InputError(
      f"{table} is not the table that provenance.json describes: {again}"
    )
  rows = csv.DictReader(io.StringIO(text))
  written = {row["file_name"]: row["sha256"] for row in rows}
  for name in sorted(written.keys() ^ set(names)):
    there = "is not listed in" if name in names else "is missing, but listed in"
    raise errors.InputError(f"{directory / name} {there} {table}: {again}")
  return written
