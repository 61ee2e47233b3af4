"""Which synthetic images look like their class, and are no copies.

All is learnt from a fold's training and validation lesions.
"""

import numpy as np
from absl import logging

from skinjax.data.sources import Split
from skinjax.metrics import copies, pixels

# Of the validation images of a class, so many show it less than is asked of
# synthetic ones.
_QUANTILE = 0.2
_BLOCK = 1000  # images whose copies are looked for at a time


def passes(
  train: Split,
  validation: Split,
  synthetic: Split,
  probabilities: dict[str, np.ndarray],
) -> np.ndarray:
  """Tells which synthetic images [n] may be used.

  An image has to show its class as well as all but a fifth of the validation
  images of the class do, by the probability that a classifier of the training
  images gives it; and it must not be nearer to a training image than real
  images of other lesions are, see metrics/copies.py.

  `probabilities` are by split, `validation` and `synthetic`, [images, classes].
  """
  shows = lambda split, p: p[np.arange(len(split.labels)), split.labels]
  real = shows(validation, probabilities["validation"])
  found = shows(synthetic, probabilities["synthetic"])
  agrees = np.zeros(len(found), bool)
  for label in np.unique(synthetic.labels):
    mine = validation.labels == label
    least = np.quantile(real[mine], _QUANTILE) if mine.any() else 0
    agrees |= (synthetic.labels == label) & (found >= least)
  criterion = copies.calibrate(
    "pixels",
    pixels.vectors(train.images),
    pixels.oriented_vectors(validation.images),
    validation.labels,
    validation.groups,
    probabilities["validation"].shape[1],
  )
  copied = np.zeros(len(found), bool)
  for start in range(0, len(found), _BLOCK):
    part = slice(start, start + _BLOCK)
    nearest = criterion.nearest(pixels.oriented_vectors(synthetic.images[part]))
    copied[part] = nearest.distance < criterion.limits[synthetic.labels[part]]
  logging.info(
    "Of %d synthetic images %d show their class, and %d are suspected copies.",
    len(found),
    agrees.sum(),
    copied.sum(),
  )
  return agrees & ~copied
