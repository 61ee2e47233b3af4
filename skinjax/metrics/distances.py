"""All distances of one set of generated images from one of real ones."""

import dataclasses

import numpy as np

from skinjax.metrics import frechet as frechet_lib
from skinjax.metrics import kernel as kernel_lib
from skinjax.metrics import prdc as prdc_lib


@dataclasses.dataclass(frozen=True)
class Distances:
  """Distances of two sets of features.

  Attributes:
    num_real: images of the real set.
    num_fake: images of the other one.
    frechet: squared Fréchet distance of all images, biased by their numbers.
    curve: that distance by number of images, and its limit.
    kernel: kernel distance and its interval.
    prdc: precision, recall, density and coverage.
  """

  num_real: int
  num_fake: int
  frechet: float
  curve: frechet_lib.FrechetCurve
  kernel: kernel_lib.KernelInterval
  prdc: prdc_lib.Prdc


def judge(
  real: np.ndarray,
  fake: np.ndarray,
  *,
  groups: np.ndarray | None = None,
  fake_groups: np.ndarray | None = None,
  seed: int = 0,
  neighbours: int = 5,
  repeats: int = 5,
  resamples: int = 500,
) -> Distances:
  """Measure all distances of one pair of sets.

  The same call gives the floor (real against other real images) and the
  ceiling (another class), at the numbers of images that are passed.

  Args:
    real: [n, d] floats, n >= 10.
    fake: [m, d] floats, m >= 10.
    groups: [n] integers, the lesion of each real image; whole lesions are
      resampled for the kernel distance. By default each image is of its own.
    fake_groups: [m] integers, the same for the other set of a floor or a
      ceiling.
    seed: decides subsets and resamples.
    neighbours: k of `precision_recall_density_coverage`.
    repeats: subsets of each count of `frechet_curve`.
    resamples: of `kernel_distance_interval`.

  Raises:
    ValueError: as the functions named.
  """
  return Distances(
    num_real=len(real),
    num_fake=len(fake),
    frechet=frechet_lib.frechet(real, fake),
    curve=frechet_lib.frechet_curve(real, fake, seed=seed, repeats=repeats),
    kernel=kernel_lib.kernel_distance_interval(
      real,
      fake,
      groups=groups,
      fake_groups=fake_groups,
      resamples=resamples,
      seed=seed,
    ),
    prdc=prdc_lib.precision_recall_density_coverage(
      real, fake, neighbours=neighbours
    ),
  )
