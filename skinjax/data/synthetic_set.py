"""Synthetic sets on disk: image folders that say where they come from.

A set is a directory with `CLASS/NAME.png`, `metadata.csv` (`file_name` and
`label` first, as Hugging Face's imagefolder wants it) and `provenance.json`.
torchvision's ImageFolder and TFDS's ImageFolder read it as it is.
"""

import collections
import csv
import hashlib
import io
import json
import pathlib
import re
import shutil
from typing import Any

import numpy as np
from PIL import Image

from skinjax.data.datasets import Split
from skinjax.runtime import errors, files

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
    digest = hashlib.sha256(text.encode()).hexdigest()
    if digest != provenance["metadata_sha256"]:
      raise errors.InputError(
        f"{directory / 'metadata.csv'} is not the table that provenance.json "
        "speaks of: make the set anew."
      )
    rows = _rows(directory, text, class_names)
    images = [_verified(directory, row) for row in rows]
    counts = collections.Counter(row["label"] for row in rows)
    if {n: k for n, k in provenance["classes"].items() if k} != counts:
      raise errors.InputError(
        f"{directory / 'provenance.json'} speaks of other numbers of images by "
        "class than metadata.csv: make the set anew."
      )
  except errors.InputError:
    raise
  # Also of JSON that is no object, or nests deeper than Python's stack.
  except (
    *(OSError, KeyError, TypeError, AttributeError, ValueError),
    *(RecursionError, csv.Error),
  ) as error:
    raise errors.InputError(
      f"{directory} is not a whole synthetic set: {error}."
    ) from error
  if len({image.shape for image in images}) != 1:
    raise errors.InputError(
      f"{directory} has no images, or images of several sizes or modes."
    )
  labels = [class_names.index(row["label"]) for row in rows]
  names = np.array([row["file_name"] for row in rows])
  split = Split(np.stack(images), np.array(labels, np.int32), names, names)
  return split.take(slice(None)), provenance


def _rows(
  directory: pathlib.Path, text: str, class_names: tuple[str, ...]
) -> list[dict[str, str]]:
  """Parses metadata.csv, and lets no row leave the set."""
  rows, seen = list(csv.DictReader(io.StringIO(text), strict=True)), set()
  for row in rows:
    if tuple(row) != _COLUMNS or None in row.values():
      raise errors.InputError(
        f"{directory / 'metadata.csv'} must have the columns "
        f"{', '.join(_COLUMNS)} in every row: make the set anew."
      )
    if row["label"] not in class_names:
      raise errors.InputError(
        f"{directory} has images of class {row['label']!r}, which is none of "
        f"{', '.join(class_names)}."
      )
    name = row["file_name"]
    folder, _, file = name.partition("/")
    if folder != row["label"] or not re.fullmatch(r"\w[\w.-]{,99}", file, re.A):
      raise errors.InputError(
        f"{directory / 'metadata.csv'}: {name!r:.200} is not a file in the "
        f"folder {row['label']} of the set: make the set anew."
      )
    if name in seen:
      raise errors.InputError(
        f"{directory / 'metadata.csv'} has {name} twice: make the set anew."
      )
    seen.add(name)
  return rows


def _verified(directory: pathlib.Path, row: dict[str, str]) -> np.ndarray:
  path = directory / row["file_name"]
  content = path.read_bytes()
  if hashlib.sha256(content).hexdigest() != row["sha256"]:
    raise errors.InputError(
      f"{path} is not the image that metadata.csv speaks of: make the set anew."
    )
  try:
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
      if image.mode not in ("L", "RGB"):
        raise ValueError(f"mode {image.mode}")
      pixels = np.asarray(image)
  # Whatever Pillow makes of a damaged image, and of one of absurd size.
  except (
    *(OSError, ValueError, SyntaxError),
    Image.DecompressionBombError,
  ) as error:
    raise errors.InputError(
      f"{path} is not a PNG image in grey or RGB: make the set anew."
    ) from error
  return pixels if pixels.ndim == 3 else pixels[..., None]


def _png(image: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
    buffer, "PNG"
  )
  return buffer.getvalue()
