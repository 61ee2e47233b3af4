"""The task that classifies images, and trained classifiers for Python."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence

import ml_collections
import numpy as np
from absl import logging
from PIL import Image

from skinjax.data import images as images_lib
from skinjax.data.sources import Split
from skinjax.runtime import errors, files, workdir
from skinjax.training import trained

Picture = str | pathlib.Path | np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
  """Classifies images; it needs neither flags nor the data set."""

  network: trained.Trained

  @property
  def class_names(self) -> tuple[str, ...]:
    """Return the names of the classes, by label."""
    return self.network.info.class_names

  def predict(self, images: Sequence[Picture] | np.ndarray) -> np.ndarray:
    """Predict the class of each image, resized as training images were.

    Images are paths of PNG or JPEG files, or uint8 arrays [height, width, 1 or
    3] or [height, width]; sizes may differ.

    Returns:
      float32 [images, classes], probabilities.

    Raises:
      InputError: a file is missing or not an image, or an array has another
        type or shape.
    """
    if isinstance(images, str | pathlib.Path) or (
      isinstance(images, np.ndarray) and images.ndim in (2, 3)
    ):
      raise errors.InputError(
        "predict takes several images: for one, give a list with it alone."
      )
    info = self.network.info
    pixels = images_lib.in_threads(self._pixels, list(images))
    if not pixels:
      return np.zeros((0, info.num_classes), np.float32)
    places = np.arange(len(pixels)).astype(str)
    labels = np.zeros(len(pixels), np.int32)
    outputs = trained.outputs(
      self.network.task,
      self.network.state,
      Split(np.stack(pixels), labels, places, places),
      config=self.network.config,
      info=info,
    )
    return outputs["probabilities"].astype(np.float32)

  def _pixels(self, image: Picture) -> np.ndarray:
    info = self.network.info
    if isinstance(image, str | pathlib.Path):
      try:
        path = files.user_path(image)
        pixels = images_lib.read(path, info.size, info.stored)
      except OSError as error:
        raise errors.InputError(
          f"{image} cannot be read: {error.strerror}."
        ) from error
    else:
      image = np.asarray(image)
      if image.ndim == 2:
        image = image[..., None]
      if (
        image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[-1] not in (1, 3)
        or 0 in image.shape
      ):
        raise errors.InputError(
          f"An image is {image.dtype} {list(image.shape)}: uint8 [height, "
          "width, 1 or 3] is expected."
        )
      picture = Image.fromarray(
        image[..., 0] if image.shape[-1] == 1 else image
      )
      pixels = images_lib.resized(picture, info.size, info.stored)
    return images_lib.in_channels(pixels, info.channels)


def load(path: str | pathlib.Path) -> Classifier:
  """Load a classifier from the workdir that trained it.

  Raises:
    InputError: it trained no classifier, or has no checkpoint.
  """
  return Classifier(trained.load_classifier(path))


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path) -> None:
  """Write WORKDIR/predictions.csv: each image's file, class, probabilities.

  Running the same command again rewrites it for the current images and the
  current classifier.

  Raises:
    InputError: there is no classifier or no image, or a file is not an image.
  """
  config = ml_collections.FrozenConfigDict(config)
  for key, what in (
    ("classifier", "the workdir of a trained classifier"),
    ("images", "an image, or a folder of images"),
  ):
    if not config[key]:
      raise errors.InputError(f"config.{key} is empty: name {what}.")
  classifier = load(config.classifier)
  place = files.user_path(config.images)
  pictures = _find(place)
  contents = {
    "classifier": classifier.network.digest,
    "images": _digest(pictures, place),
  }
  with workdir.claim(path, config, contents=contents, made_anew=True) as path:
    probabilities = classifier.predict(pictures)
    names = classifier.class_names
    rows = [("image", "predicted", *names)]
    for picture, row in zip(pictures, probabilities, strict=True):
      shown = (f"{p:.6f}" for p in row)
      rows.append((picture, names[int(row.argmax())], *shown))
    files.write_text(path / "predictions.csv", files.table(rows))
    logging.info(
      "%d images classified, see %s", len(pictures), path / "predictions.csv"
    )


def _find(place: pathlib.Path) -> list[pathlib.Path]:
  """List an image, or the images in a folder and its subfolders."""
  if place.is_file():
    return [place]
  found = sorted(
    path
    for path in place.rglob("*")
    if path.suffix.lower() in images_lib.SUFFIXES and path.is_file()
  )
  if not found:
    raise errors.InputError(
      f"config.images={place} has no image: files of "
      f"{', '.join(images_lib.SUFFIXES)} are expected."
    )
  return found


def _digest(pictures: list[pathlib.Path], place: pathlib.Path) -> str:
  """Compute the SHA-256, in hex, of images and their names in a folder."""
  whole = hashlib.sha256()
  for picture in pictures:
    try:
      content = files.digest(picture)
    except OSError as error:
      raise errors.InputError(
        f"{picture} cannot be read: {error.strerror}."
      ) from error
    whole.update(f"{picture.relative_to(place)} {content}\n".encode())
  return whole.hexdigest()
