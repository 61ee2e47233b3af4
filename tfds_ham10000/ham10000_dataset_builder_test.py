import pytest

pytest.importorskip("tensorflow", reason="TFDS's test case needs TensorFlow")
pytest.importorskip("dill", reason="TFDS's test case needs dill")

from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_ham10000 import ham10000_dataset_builder


@pytest.mark.slow
class Ham10000Test(tfds.testing.DatasetBuilderTestCase):
  DATASET_CLASS = ham10000_dataset_builder.Builder
  SPLITS: ClassVar = {"train": 12, "validation": 1, "test": 4}
