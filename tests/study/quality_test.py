"""Tests of the filter of synthetic images."""

import numpy as np

from skinjax.study import quality
from tests import shrunk


def test_copies_and_images_that_do_not_show_their_class_are_left_out():
  dataset = shrunk.dataset()
  train, validation = dataset.train, dataset.validation
  synthetic = shrunk.split("made", (4, 4, 4))
  images = synthetic.images.copy()
  images[0] = np.rot90(train.images[0])  # of class 0
  synthetic = synthetic._replace(images=images)
  # Validation images of a class show it with 0.5 to 0.9.
  sure = np.linspace(0.5, 0.9, len(validation.labels))
  probabilities = lambda p, labels: (
    np.eye(3)[labels] * (1.5 * p - 0.5)[:, None] + (1 - p)[:, None] / 2
  )
  made = np.full(12, 0.95)
  made[5] = 0.1
  passes = quality.passes(
    train,
    validation,
    synthetic,
    {
      "validation": probabilities(sure, validation.labels),
      "synthetic": probabilities(made, synthetic.labels),
    },
  )
  assert not passes[0]
  assert not passes[5]
  assert passes[[4, 6, 7]].all()
