"""Synthetic sets on disk: image folders that say where they come from.

A set is a directory with `CLASS/NAME.png`, `metadata.csv` (`file_name` and
`label` first, as Hugging Face's imagefolder wants it) and `provenance.json`.
torchvision's ImageFolder and TFDS's ImageFolder read it as it is.
"""

import csv
import hashlib
import io
import json
import pathlib
import shutil
from typing import Any

import numpy as np
from PIL import Image

from skinjax import errors, files
from skinjax.data import Split

_COLUMNS = ("file_name", "label", "seed", "index", "sha256")


def write(
  directory: str | pathlib.Path,
  images: np.ndarray,
  labels: np.ndarray,
  *,
  class_names: tuple[str, ...],
  seed: int,
  origin: dict[str, Any],
) -> None:
  """Writes a set, whole or not at all.

  Args:
    directory: where it goes; must not exist yet.
    images: uint8 [images, size, size, channels].
    labels: int32 [images].
    class_names: by label.
    seed: that the images were drawn with.
    origin: what is known of the generator; kept in provenance.json.
  """
  directory = pathlib.Path(directory)
  partial = directory.with_name(f"{directory.name}.partial")
  shutil.rmtree(partial, ignore_errors=True)
  try:
    _write(partial, images, labels, class_names, seed, origin)
    partial.rename(directory)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def _write(directory, images, labels, class_names, seed, origin) -> None:
  rows = []
  for index, (image, label) in enumerate(zip(images, labels, strict=True)):
    name = class_names[label]
    path = directory / name / f"{name}_{index:06d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = _png(image)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    rows.append((f"{name}/{path.name}", name, seed, index, digest))
  table = files.table([_COLUMNS, *rows])
  files.write_text(directory / "metadata.csv", table)
  files.write_json(
    directory / "provenance.json",
    {
      **origin,
      "seed": seed,
      "classes": {
        name: int(np.sum(labels == label))
        for label, name in enumerate(class_names)
      },
      "metadata_sha256": hashlib.sha256(table.encode()).hexdigest(),
    },
  )


def read(
  directory: str | pathlib.Path, class_names: tuple[str, ...]
) -> tuple[Split, dict[str, Any]]:
  """Reads a set and checks that its images are those that were written.

  Args:
    directory: where it is.
    class_names: by label.

  Returns:
    The images, each a group of its own, and provenance.json.

  Raises:
    InputError: a file is missing, or differs from what was written.
  """
  directory = pathlib.Path(directory)
  try:
    provenance = json.loads((directory / "provenance.json").read_text())
    text = (directory / "metadata.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    digest = hashlib.sha256(text.encode()).hexdigest()
    if digest != provenance["metadata_sha256"]:
      raise errors.InputError(
        f"{directory / 'metadata.csv'} is not the table that provenance.json "
        "speaks of: make the set anew."
      )
    images = [_verified(directory / row["file_name"], row) for row in rows]
  except (OSError, KeyError, json.JSONDecodeError) as error:
    raise errors.InputError(
      f"{directory} is not a whole synthetic set: {error}."
    ) from error
  for row in rows:
    if row["label"] not in class_names:
      raise errors.InputError(
        f"{directory} has images of class {row['label']!r}, which is none of "
        f"{', '.join(class_names)}."
      )
  labels = [class_names.index(row["label"]) for row in rows]
  names = np.array([row["file_name"] for row in rows])
  split = Split(np.stack(images), np.array(labels, np.int32), names, names)
  return split.take(slice(None)), provenance


def _verified(path: pathlib.Path, row: dict[str, str]) -> np.ndarray:
  content = path.read_bytes()
  if hashlib.sha256(content).hexdigest() != row["sha256"]:
    raise errors.InputError(
      f"{path} is not the image that metadata.csv speaks of: make the set anew."
    )
  pixels = np.asarray(Image.open(io.BytesIO(content)))
  return pixels if pixels.ndim == 3 else pixels[..., None]


def _png(image: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
    buffer, "PNG"
  )
  return buffer.getvalue()
