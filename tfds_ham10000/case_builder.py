"""The base of this package's data sets: examples, sizes, file format."""

import dataclasses
import importlib.util
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfds_ham10000.errors import DataError
from tfds_ham10000.splits import SPLITS, assign_splits
from tfds_ham10000.tables import CLASSES, Case

_TFRECORD = tfds.core.FileFormat.TFRECORD.value
_ARRAY_RECORD = tfds.core.FileFormat.ARRAY_RECORD.value


@dataclasses.dataclass
class SizeConfig(tfds.core.BuilderConfig):
  """A variant of a data set by the size of its images.

  Attributes:
    size: side of the square images, pixels; None for the original files.
  """

  size: int | None = None


def square_config(size: int) -> SizeConfig:
  """Return the variant with images of size x size pixels."""
  return SizeConfig(
    name=f"{size}x{size}",
    description=f"Square images, {size} x {size} pixels, PNG.",
    size=size,
  )


class CaseBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A data set of cases: an image, its lesion's diagnosis and the patient.

  The file format is TFDS's default where TensorFlow is installed; elsewhere it
  is array_record, which does not need TensorFlow.
  """

  HOMEPAGE: str | None = None
  LICENSE: str

  def __init__(self, *, file_format=None, **kwargs):
    super().__init__(**kwargs)
    prepared = self.info.file_format.value if self.is_prepared() else None
    asked = file_format and tfds.core.FileFormat.from_value(file_format).value
    chosen = choose_file_format(
      asked, prepared, self.data_dir, has_tensorflow()
    )
    if prepared is None:
      self.info.set_file_format(chosen, override=True)

  def _info(self) -> tfds.core.DatasetInfo:
    size = self.builder_config.size
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(
            shape=(size, size, 3), encoding_format="png" if size else "jpeg"
          ),
          "label": tfds.features.ClassLabel(names=list(CLASSES)),
          "image_id": tfds.features.Text(),
          "lesion_id": tfds.features.Text(),
          "group": tfds.features.Text(),
          "dx_type": tfds.features.Text(),
          "age": tfds.features.Scalar(np.float32),
          "sex": tfds.features.Text(),
          "localization": tfds.features.Text(),
          "dataset": tfds.features.Text(),
        }
      ),
      supervised_keys=("image", "label"),
      metadata=tfds.core.MetadataDict(),
      homepage=self.HOMEPAGE,
      license=self.LICENSE,
    )

  def download_and_prepare(self, *, file_format=None, **kwargs) -> None:
    """Prepare the data set, unless the data directory has it already.

    Args:
      file_format: overrides the builder's file format.
      **kwargs: passed to `tfds.core.DatasetBuilder.download_and_prepare`.

    Raises:
      DataError: the data directory has the data set in another file format, the
        data are invalid, or `tfds.load` is about to prepare a format that it
        can't read. Nothing is left behind in the directory.
    """
    written = self.info.file_format
    if file_format:
      written = tfds.core.FileFormat.from_value(file_format)
      choose_file_format(
        written.value,
        self.info.file_format.value if self.is_prepared() else None,
        self.data_dir,
        has_tensorflow(),
      )
    if written.value == _ARRAY_RECORD and _is_in_load():
      raise self._no_tf_data()
    super().download_and_prepare(file_format=file_format, **kwargs)

  def as_dataset(self, *args, **kwargs):
    """Return `tf.data.Dataset`s, as `tfds.core.DatasetBuilder.as_dataset`.

    Args:
      *args: passed to the overridden method.
      **kwargs: passed to the overridden method.

    Returns:
      The result of the overridden method.

    Raises:
      DataError: the data directory has a file format that tf.data can't read.
    """
    if self.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
      raise self._no_tf_data()
    return super().as_dataset(*args, **kwargs)

  def _no_tf_data(self) -> DataError:
    """Return an error that explains how to read the data without tf.data."""
    state = "was prepared" if self.is_prepared() else "would be prepared"
    other = "or install TensorFlow, and give another data_dir"
    if has_tensorflow():
      other = "or give another data_dir"
    return DataError(
      f"{self.data_dir} {state} as {_ARRAY_RECORD}, but tf.data, which "
      f"tfds.load and as_dataset return, reads only {_TFRECORD}: use "
      "tfds.data_source instead of tfds.load, as_data_source instead of "
      f"as_dataset, {other} to prepare with file_format={_TFRECORD!r}"
    )


def _is_in_load() -> bool:
  """Return whether `tfds.load` is calling.

  It prepares a data set before it asks for a tf.data.Dataset, and does not
  announce that; only the call stack distinguishes it from tfds.data_source.
  """
  return any(
    frame.f_code.co_name == "load"
    and frame.f_globals.get("__name__") == tfds.core.load.__name__
    for frame, _ in traceback.walk_stack(None)
  )


def choose_file_format(
  asked: str | None, prepared: str | None, data_dir: str, tensorflow: bool
) -> str:
  """Choose the file format in which a data set is written or read.

  Args:
    asked: the format that the caller asks for; None for no preference.
    prepared: the format in the data directory; None if nothing is prepared.
    data_dir: the directory, for messages.
    tensorflow: whether TensorFlow is installed.

  Returns:
    A value of `tfds.core.FileFormat`, such as `tfrecord` or `array_record`.

  Raises:
    DataError: the directory has another format than the one asked for, or the
      format needs TensorFlow, which is not installed.
  """
  if asked and prepared and asked != prepared:
    raise DataError(
      f"{data_dir} was prepared as {prepared}, but file_format={asked!r} is "
      f"asked for: ask for file_format={prepared!r}, or give another data_dir "
      f"to prepare {asked} in"
    )
  if prepared == _TFRECORD and not tensorflow:
    raise DataError(
      f"{data_dir} was prepared as {_TFRECORD}, which can't be read without "
      f"TensorFlow: give another data_dir to prepare {_ARRAY_RECORD} in "
      f"(file_format={_ARRAY_RECORD!r}), or install TensorFlow"
    )
  if asked == _TFRECORD and not tensorflow:
    raise DataError(
      f"file_format={_TFRECORD!r} needs TensorFlow, which is not installed; "
      f"file_format={_ARRAY_RECORD!r} does not"
    )
  default = _TFRECORD if tensorflow else _ARRAY_RECORD
  return asked or prepared or default


def has_tensorflow() -> bool:
  """Return whether TensorFlow can be imported, without importing it."""
  return importlib.util.find_spec("tensorflow") is not None


def divide(
  cases: Sequence[Case], groups: Mapping[str, str]
) -> dict[str, list[Case]]:
  """Divide cases into the three splits, by group and stratified by class.

  Args:
    cases: all cases of the data set.
    groups: the group of every image id.

  Returns:
    The cases of train, validation and test, in their original order.

  Raises:
    DataError: a split would be empty.
  """
  names = assign_splits(
    [groups[case.image_id] for case in cases], [case.dx for case in cases]
  )
  divided = {split: [] for split in SPLITS}
  for case, name in zip(cases, names, strict=True):
    divided[name].append(case)
  for split, members in divided.items():
    if not members:
      raise DataError(
        f"the split {split} would be empty: the table has only "
        f"{len(set(groups.values()))} lesions; 10 of one class are enough"
      )
  return divided


def make_example(case: Case, group: str, image: bytes) -> dict[str, Any]:
  """Build the example that TFDS stores for a case.

  Args:
    case: a row of the table.
    group: the lesion id, merged over known duplicates.
    image: the bytes of the image file.

  Returns:
    The example, with the keys and types of `CaseBuilder`'s features.
  """
  return {
    "image": image,
    "label": case.dx,
    "image_id": case.image_id,
    "lesion_id": case.lesion_id,
    "group": group,
    "dx_type": case.dx_type,
    "age": case.age,
    "sex": case.sex,
    "localization": case.localization,
    "dataset": case.dataset,
  }
