"""HAM10000 and a drawn stand-in for it, toy_lesions, as TFDS data sets.

Importing the package registers both, so that `tfds.builder("ham10000/64x64")`
and `tfds.builder("toy_lesions/64x64")` find them. The code that finds, checks,
reads and splits the user's files works without TFDS, and so do the commands
`fold_table` and, with a manual directory, `leaks`.
"""

from tfds_ham10000.errors import DataError
from tfds_ham10000.splits import SPLITS, assign_splits, fold_splits, folds
from tfds_ham10000.tables import CLASSES

try:
  from tfds_ham10000 import ham10000_dataset_builder as _ham10000  # noqa: F401
  from tfds_ham10000.toy_lesions import (
    toy_lesions_dataset_builder as _toy_lesions,  # noqa: F401
  )
except ModuleNotFoundError as error:
  if error.name != "tensorflow_datasets":
    raise

__all__ = [
  "CLASSES",
  "SPLITS",
  "DataError",
  "assign_splits",
  "fold_splits",
  "folds",
]
