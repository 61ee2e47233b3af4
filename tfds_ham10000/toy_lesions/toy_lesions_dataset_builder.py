"""toy_lesions, drawn pictures of invented lesions, for TFDS."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_ham10000.case_builder import (
  CaseBuilder,
  divide,
  make_example,
  square_config,
)
from tfds_ham10000.images import encode_png
from tfds_ham10000.tables import Case
from tfds_ham10000.toy_lesions.drawing import draw_lesion
from tfds_ham10000.toy_lesions.lesions import Lesion, invent_lesions

_SEED = 0
# All sizes are reduced from pictures of this size, so that they show the same.
_DRAWN_SIZE = 128
_NO_AGE_SHARE = 0.01
_PLACES = ("abdomen", "back", "face", "lower extremity", "upper extremity")


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture to draw.

  Attributes:
    case: its record in the data set.
    lesion: the lesion to draw.
    lesion_seed: seed for what the lesion's pictures share.
    view_seed: seed for what differs between them.
  """

  case: Case
  lesion: Lesion
  lesion_seed: tuple[int, ...]
  view_seed: tuple[int, ...]


class Builder(CaseBuilder):
  """Drawn lesions with HAM10000's classes and imbalance: 2,504 pictures."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
  LICENSE = "Apache-2.0"
  BUILDER_CONFIGS: ClassVar = [square_config(64), square_config(128)]

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
    del dl_manager  # Nothing is downloaded.
    pictures = {p.case.image_id: p for p in plan_pictures(_SEED)}
    cases = [picture.case for picture in pictures.values()]
    groups = {case.image_id: case.lesion_id for case in cases}
    return {
      split: self._generate_examples(
        [pictures[case.image_id] for case in members]
      )
      for split, members in divide(cases, groups).items()
    }

  def _generate_examples(
    self, pictures: Sequence[Picture]
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    for picture in pictures:
      image = draw_lesion(
        picture.lesion.look,
        _DRAWN_SIZE,
        picture.lesion_seed,
        picture.view_seed,
      ).reduce(_DRAWN_SIZE // self.builder_config.size)
      case = picture.case
      yield (
        case.image_id,
        make_example(case, case.lesion_id, encode_png(image)),
      )


def plan_pictures(seed: int) -> list[Picture]:
  """Plan the pictures of the whole data set.

  Args:
    seed: nonnegative; different seeds give different lesions.

  Returns:
    The pictures, sorted by image id. Age, sex and localization are random and
    independent of the diagnosis and the picture.
  """
  lesions = invent_lesions(seed)
  rng = np.random.default_rng((seed, len(lesions)))
  # Random ids, so that they don't leak the class.
  numbers = iter(1 + rng.permutation(sum(lesion.views for lesion in lesions)))
  pictures = []
  for index, number in enumerate(rng.permutation(len(lesions))):
    lesion = lesions[index]
    age = 5.0 * rng.integers(1, 18)
    person = {
      "lesion_id": f"TOYL_{number + 1:07}",
      "dx": lesion.dx,
      "dx_type": "drawn",
      "age": math.nan if rng.random() < _NO_AGE_SHARE else float(age),
      "sex": ("female", "male")[rng.integers(2)],
      "localization": _PLACES[rng.integers(len(_PLACES))],
      "dataset": "toy_lesions",
    }
    for view in range(lesion.views):
      image_number = int(next(numbers))
      case = Case(
        image_id=f"TOY_{image_number:07}", line=image_number, **person
      )
      seeds = (seed, index), (seed, index, view)
      pictures.append(Picture(case, lesion, *seeds))
  return sorted(pictures, key=lambda picture: picture.case.image_id)
