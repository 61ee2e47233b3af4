import pytest

pytest.importorskip("tensorflow", reason="TFDS's test case needs TensorFlow")
pytest.importorskip("dill", reason="TFDS's test case needs dill")

import pathlib
from typing import ClassVar
from unittest import mock

import tensorflow_datasets as tfds

from tfds_ham10000.toy_lesions import lesions, toy_lesions_dataset_builder


@pytest.mark.slow
class ToyLesionsTest(tfds.testing.DatasetBuilderTestCase):
  DATASET_CLASS = toy_lesions_dataset_builder.Builder
  SPLITS: ClassVar = {"train": 73, "validation": 12, "test": 20}
  # It reads nothing, but the test case insists on a folder.
  EXAMPLE_DIR = str(pathlib.Path(__file__).parent)

  def setUp(self):
    super().setUp()
    # To draw them all takes too long for a test.
    few = mock.patch.dict(lesions.COUNTS, dict.fromkeys(lesions.COUNTS, 15))
    few.start()
    self.addCleanup(few.stop)
