"""Authenticity: generated images that are no copies but for a change."""

from collections.abc import Callable

import numpy as np

from skinjax.metrics import neighbours


def authentic(
  fake: np.ndarray,
  train: np.ndarray,
  train_groups: np.ndarray,
  *,
  orient: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
  """Tell which generated images are no nearer than real ones are to another.

  An image is authentic if its nearest training image is at least as far from
  it as that one is from the nearest training image of another lesion. AuthPct
  of Alaa et al., "How Faithful is your Synthetic Data?" (2022) is the share of
  these, but with other photographs of one lesion among the neighbours, which
  hide copies. There is no one share that a generator should reach: whoever is
  the nearest of many has near neighbours itself, so that most new images are
  authentic (0.85 of HAM10000's held-out ones, by pixels). Compare with the
  share of held-out images.

  Args:
    fake: [k, m, d] floats of generated images, k orientations; or [m, d].
    train: [n, d] floats.
    train_groups: [n], lesions.
    orient: returns the orientations [k, asked, d] of the training images at
      some indices [asked], to compare them as the generated ones are; None for
      `train` alone.

  Returns:
    Booleans [m]; their mean is the authenticity.

  Raises:
    ValueError: as neighbours.nearest; or there is one lesion only.
  """
  if len(np.unique(train_groups)) < 2:
    raise ValueError("Expected training images of two lesions or more.")
  found = neighbours.nearest(fake, train)
  # Only of those that are anybody's nearest.
  asked, place = np.unique(found.index, return_inverse=True)
  turned = orient(asked) if orient else np.asarray(train)[asked]
  if turned.shape[-2:] != (len(asked), np.shape(train)[1]):
    raise ValueError("orient must return [k, asked, d], with train's d.")
  groups = np.asarray(train_groups)
  own = neighbours.nearest(
    turned,
    train,
    query_groups=groups[asked],
    reference_groups=groups,
  )
  return found.distance >= own.distance[place]
