"""Diversity of images, and whether a generator's class has collapsed."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial import distance


@dataclasses.dataclass(frozen=True)
class ClassDiversity:
  """Mean pairwise distances of one class; collapsed if the ratio is too low."""

  real: float
  generated: float
  ratio: float  # generated / real
  collapsed: bool


def mean_pairwise_distance(images: np.ndarray) -> float:
  """Average the distance of two images over all pairs.

  The distance is the root mean square difference of pixels scaled to [0, 1],
  for any size. Except for noise, the mean does not depend on the number of
  images.

  `images` are uint8 [N >= 2, H, W, C]; memory is O(N^2 + N * H * W * C).
  """
  flat = images.reshape(len(images), -1) / 255.0
  return float(distance.pdist(flat).mean() / np.sqrt(flat.shape[1]))


def distances(
  images: np.ndarray,
  labels: np.ndarray,
  class_names: Sequence[str],
  *,
  num_images: int = 100,
  seed: int = 0,
) -> dict[str, float]:
  """Measure how far apart the images [N, H, W, C] uint8 of each class are.

  From larger classes, `num_images` are sampled without replacement.

  Returns:
    `mean_pairwise_distance` of each class that has at least two images.
  """
  result = {}
  for label, name in enumerate(class_names):
    index = np.flatnonzero(labels == label)
    if len(index) > num_images:
      rng = np.random.default_rng([seed, label])
      index = rng.choice(index, num_images, replace=False)
    if len(index) > 1:
      result[name] = mean_pairwise_distance(images[index])
  return result


def compare(
  generated: Mapping[str, float], real: Mapping[str, float], threshold: float
) -> dict[str, ClassDiversity]:
  """Test each class for collapse: samples much more alike than real images.

  Takes the `distances` of both; a class has collapsed if its ratio is below
  `threshold`. Classes whose real images are all identical are left out.
  """
  result = {}
  for name, distance_of_two in generated.items():
    if real.get(name):
      ratio = distance_of_two / real[name]
      result[name] = ClassDiversity(
        real[name], distance_of_two, ratio, ratio < threshold
      )
  return result
