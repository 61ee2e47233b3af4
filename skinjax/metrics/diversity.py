"""Diversity of images, and whether a generator's class has collapsed."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial import distance


@dataclasses.dataclass(frozen=True)
class ClassDiversity:
  """Mean pairwise distances of one class; collapsed: with too small a ratio."""

  real: float
  generated: float
  ratio: float  # generated / real
  collapsed: bool


def mean_pairwise_distance(images: np.ndarray) -> float:
  """Average the distance of two images over all pairs.

  The distance is the root mean square of the difference of pixels scaled to
  [0, 1], whatever the size. The mean does not depend on the number of images
  but for noise.

  `images` are uint8 [N >= 2, H, W, C]; memory is of N^2 + N * H * W * C.
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
  """Measure by class of [N, H, W, C] uint8 how far apart the images are.

  Of a larger class, `num_images` are drawn without replacement.

  Returns:
    By class that has at least two images, `mean_pairwise_distance`.
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

  Takes the `distances` of both; under the ratio `threshold` a class counts as
  collapsed. Left out are classes whose real images are all the same.
  """
  result = {}
  for name, distance_of_two in generated.items():
    if real.get(name):
      ratio = distance_of_two / real[name]
      result[name] = ClassDiversity(
        real[name], distance_of_two, ratio, ratio < threshold
      )
  return result
