"""Diversity of images, and whether a generator's class has collapsed."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.spatial import distance


@dataclasses.dataclass(frozen=True)
class ClassDiversity:
  """Mean pairwise distances of one class, and what follows from them.

  Attributes:
    real: mean pairwise distance of the class's real images.
    generated: that of its generated images.
    ratio: generated / real.
    collapsed: whether the ratio is under the threshold.
  """

  real: float
  generated: float
  ratio: float
  collapsed: bool


def mean_pairwise_distance(images: np.ndarray) -> float:
  """Average the distance of two images over all pairs.

  The distance is the root mean square of the difference of pixels scaled to
  [0, 1]: Euclidean / sqrt(H * W * C), from 0 (the same) to 1 (black and
  white), whatever the size. A mean over pairs of different images does not
  depend on their number but for noise, so sets of unequal size compare.

  Args:
    images: [N, H, W, C] uint8, N >= 2; memory is of N^2 + N * H * W * C.

  Raises:
    ValueError: not uint8, not of rank 4, or fewer than two images.
  """
  images = np.asarray(images)
  if images.dtype != np.uint8 or images.ndim != 4 or len(images) < 2:
    raise ValueError(
      "Expected uint8 [N >= 2, H, W, C], got "
      f"{images.dtype} {list(images.shape)}."
    )
  flat = images.reshape(len(images), -1) / 255.0
  return float(distance.pdist(flat).mean() / np.sqrt(flat.shape[1]))


def collapse(
  generated: np.ndarray,
  generated_labels: np.ndarray,
  real: np.ndarray,
  real_labels: np.ndarray,
  *,
  class_names: Sequence[str],
  threshold: float,
  num_images: int = 100,
  seed: int = 0,
) -> dict[str, ClassDiversity]:
  """Test each class for collapse: samples much more alike than real images.

  Of each class at most `num_images` generated and as many real images are
  compared, drawn without replacement, the same ones for the same seed.

  Args:
    generated: [M, H, W, C] uint8.
    generated_labels: [M] integers, the classes asked for.
    real: [N, H, W, C] uint8.
    real_labels: [N] integers.
    class_names: names of the K classes, by label.
    threshold: ratio under which a class counts as collapsed.
    num_images: images compared of each class and kind.
    seed: decides which images are drawn.

  Returns:
    Class name to its diversity, in the order of `class_names`.

  Raises:
    ValueError: a class has fewer than two images of either kind, or real
      images that are all the same.
  """
  result = {}
  for label, name in enumerate(class_names):
    distances = []
    for images, labels in ((real, real_labels), (generated, generated_labels)):
      index = np.flatnonzero(np.asarray(labels) == label)
      if len(index) < 2:
        raise ValueError(f"Class {name} has fewer than two images to compare.")
      if len(index) > num_images:
        rng = np.random.default_rng([seed, label])
        index = rng.choice(index, num_images, replace=False)
      distances.append(mean_pairwise_distance(images[index]))
    if distances[0] == 0:
      raise ValueError(f"The real images of class {name} are all the same.")
    ratio = distances[1] / distances[0]
    result[name] = ClassDiversity(*distances, ratio, ratio < threshold)
  return result
