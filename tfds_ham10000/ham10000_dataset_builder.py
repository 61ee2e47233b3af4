"""HAM10000, dermatoscopic images of pigmented skin lesions, for TFDS."""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from absl import logging
from etils import epath
from tensorflow_datasets.core.download import download_manager

from tfds_ham10000 import sources
from tfds_ham10000.archives import ImageArchive
from tfds_ham10000.case_builder import (
  CaseBuilder,
  SizeConfig,
  divide,
  make_example,
  square_config,
)
from tfds_ham10000.errors import DataError
from tfds_ham10000.images import check_jpeg, reduce_to_square
from tfds_ham10000.splits import join_groups
from tfds_ham10000.tables import Case, duplicates, read_cases

# What TFDS raises if a download fails: an HTTP status other than 200, a wrong
# checksum, or no connection.
DOWNLOAD_ERRORS = (
  tfds.download.DownloadError,
  download_manager.NonMatchingChecksumError,
  OSError,
)
# Images decoded at a time: enough to keep threads busy, few enough for memory.
_BATCH = 256


class Builder(CaseBuilder):
  """HAM10000: 10,015 images of 7,470 lesions, seven diagnoses."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = sources.INSTRUCTIONS
  HOMEPAGE = sources.PUBLISHER
  LICENSE = "CC BY-NC 4.0"
  BUILDER_CONFIGS: ClassVar = [
    SizeConfig(
      name="original",
      description="The JPEG files as published, 600 x 450 pixels.",
    ),
    *map(square_config, (64, 128, 256)),
  ]

  @property
  def prepared_from(self) -> str | None:
    """The source of the prepared data set; None if it is not recorded.

    Raises:
      DataError: the record is damaged.
    """
    return self._record("prepared_from")

  def check_prepared_from(self, manual_dir: epath.PathLike) -> None:
    """Refuse a manual directory that the data set was not prepared from.

    Any directory with the same cases and images is accepted. All columns of the
    table count: a copy without the column dataset is another. If nothing is
    recorded (earlier versions), any directory with HAM10000 is accepted.

    Args:
      manual_dir: the directory.

    Raises:
      DataError: it holds something else or nothing, or does not exist.
    """
    prepared = f"{self.data_dir} was prepared from "
    prepared += self.prepared_from or "something that is not recorded"
    use = "give no manual_dir to use what is prepared"
    manual_dir = epath.Path(manual_dir).expanduser()
    if not manual_dir.exists():
      raise DataError(
        f"Manual directory {manual_dir} does not exist; {prepared}: {use}, or "
        f"remove the folder {self.data_dir} to prepare it again"
      )
    source = sources.find_source(manual_dir)
    with source.open_images() as archive:
      content = _fingerprint(source.table.cases, archive)
    if self._record("content") not in (content, None):
      raise DataError(
        f"{prepared}, and {manual_dir} holds something else "
        f"({len(source.table.cases):,} images; it counts whether the table has "
        "the column dataset): remove the folder "
        f"{self.data_dir} to prepare that instead, or {use}"
      )

  def _record(self, key: str) -> str | None:
    try:
      value = self.info.metadata.get(key)
    except (OSError, TypeError, ValueError) as error:
      value = error
    if isinstance(value, str | None):
      return value
    raise DataError(
      f"{self.data_dir}{os.sep}metadata.json is damaged: remove "
      f"{self.data_dir} to prepare it again"
    )

  def download_and_prepare(self, *, download_config=None, **kwargs) -> None:
    """Prepare the data set, unless the data directory has it already.

    Args:
      download_config: if it has a manual_dir, that must hold what the data
        directory was prepared from.
      **kwargs: passed to `CaseBuilder.download_and_prepare`.

    Raises:
      DataError: as in `check_prepared_from` and the overridden method.
    """
    if self.is_prepared() and download_config and download_config.manual_dir:
      self.check_prepared_from(download_config.manual_dir)
    super().download_and_prepare(download_config=download_config, **kwargs)

  def _download_and_prepare(self, dl_manager, download_config) -> None:
    # TFDS has a default manual directory, shared by all data sets: if it has
    # none of our files, we download. An explicit one must have them.
    self._manual_dir_asked = download_config.manual_dir is not None
    super()._download_and_prepare(dl_manager, download_config)

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
    source = self._find_source(dl_manager)
    cases = source.table.cases
    groups = join_groups(
      {case.image_id: case.lesion_id for case in cases},
      duplicates(),
    )
    with source.open_images() as archive:
      self.info.metadata.update(
        prepared_from=source.name, content=_fingerprint(cases, archive)
      )
    return {
      split: self._generate_examples(members, groups, source)
      for split, members in divide(cases, groups).items()
    }

  def _find_source(
    self, dl_manager: tfds.download.DownloadManager
  ) -> sources.Source:
    """Find the manual directory's files, or download them."""
    try:
      manual_dir = dl_manager.manual_dir
    except AssertionError as error:  # It is absent or empty.
      if self._manual_dir_asked:
        raise DataError(str(error)) from error
      return self._download(dl_manager)
    except OSError as error:
      raise DataError(
        f"{error.filename}: can't be listed ({error.strerror}); a folder with "
        "HAM10000's files is expected"
      ) from error
    if self._manual_dir_asked or sources.holds_any(manual_dir):
      return sources.find_source(manual_dir)
    return self._download(dl_manager)

  def _download(
    self, dl_manager: tfds.download.DownloadManager
  ) -> sources.Source:
    """Download the files; TFDS verifies those whose SHA-256 is recorded."""
    urls = (sources.TABLE_URL, *sources.IMAGE_URLS)
    for url in urls:
      if url not in (self.url_infos or {}):
        logging.warning("No checksum is recorded for %s: not verified.", url)
    try:
      table, *places = map(epath.Path, dl_manager.download(list(urls)))
    except DOWNLOAD_ERRORS as error:
      raise DataError(
        f"the download failed: {error}\n{sources.INSTRUCTIONS}"
      ) from error
    cases = read_cases(table)
    return sources.Source(
      sources.Table(str(table), cases), tuple(places), (), sources.PUBLISHER
    )

  def _generate_examples(
    self,
    cases: Sequence[Case],
    groups: Mapping[str, str],
    source: sources.Source,
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    size = self.builder_config.size

    def load(case: Case) -> bytes:
      data = archive.read(case.image_id)
      where = archive.where(case.image_id)
      if size is None:
        return check_jpeg(data, where)
      return reduce_to_square(data, size, where)

    # Pillow releases the GIL while it decodes and resizes.
    with (
      source.open_images() as archive,
      concurrent.futures.ThreadPoolExecutor() as pool,
    ):
      for start in range(0, len(cases), _BATCH):
        batch = cases[start : start + _BATCH]
        for case, image in zip(batch, pool.map(load, batch), strict=True):
          group = groups[case.image_id]
          yield case.image_id, make_example(case, group, image)


def _fingerprint(cases: Sequence[Case], archive: ImageArchive) -> str:
  """Compute a SHA-256, in hex, of the cases' fields and the images' sizes.

  The files' location, zipped or not, and the table's format don't matter. The
  column dataset does: without it, as in Kaggle's copy, the SHA-256 is another.
  """
  digest = hashlib.sha256()
  for case in cases:
    known = dataclasses.asdict(case) | {"line": archive.size(case.image_id)}
    digest.update(json.dumps(list(known.values())).encode() + b"\n")
  return digest.hexdigest()
