"""HAM10000, dermatoscopic images of pigmented skin lesions, for TFDS."""

import concurrent.futures
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from absl import logging
from etils import epath

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

# Images decoded at a time: enough to keep the threads busy, little in memory.
_BATCH = 256


class Builder(CaseBuilder):
  """HAM10000: 10,015 images of 7,470 lesions, seven diagnoses."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = sources.INSTRUCTIONS
  HOMEPAGE = "https://doi.org/10.7910/DVN/DBW86T"
  LICENSE = "CC BY-NC 4.0"
  BUILDER_CONFIGS: ClassVar = [
    SizeConfig(
      name="original",
      description="The JPEG files as published, 600 x 450 pixels.",
    ),
    *map(square_config, (64, 128, 256)),
  ]

  def _download_and_prepare(self, dl_manager, download_config) -> None:
    # TFDS has a manual directory by default, for all data sets: if it holds
    # none of our files, we download. One that was asked for has to hold them.
    self._manual_dir_asked = download_config.manual_dir is not None
    super()._download_and_prepare(dl_manager, download_config)

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
    source = self._find_source(dl_manager)
    cases = read_cases(source.table)
    groups = join_groups(
      {case.image_id: case.lesion_id for case in cases},
      duplicates(),
    )
    with ImageArchive(source.places) as archive:
      _check_complete(cases, archive, source.table)
    return {
      split: self._generate_examples(members, groups, source.places)
      for split, members in divide(cases, groups).items()
    }

  def _find_source(
    self, dl_manager: tfds.download.DownloadManager
  ) -> sources.Source:
    """Take the manual directory's files, or else download them."""
    try:
      manual_dir = dl_manager.manual_dir
    except AssertionError as error:  # TFDS's way to say: absent or empty.
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
    """Download the files; TFDS checks the SHA-256 of those that it knows."""
    urls = (sources.TABLE_URL, *sources.IMAGE_URLS)
    for url in urls:
      if url not in (self.url_infos or {}):
        logging.warning("No checksum is recorded for %s: not verified.", url)
    try:
      table, *places = map(epath.Path, dl_manager.download(list(urls)))
    except OSError as error:
      raise DataError(
        f"the download failed: {error}\n{sources.INSTRUCTIONS}"
      ) from error
    return sources.Source(table, tuple(places))

  def _generate_examples(
    self,
    cases: Sequence[Case],
    groups: Mapping[str, str],
    places: Sequence[epath.Path],
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    size = self.builder_config.size

    def load(case: Case) -> bytes:
      data = archive.read(case.image_id)
      where = archive.where(case.image_id)
      if size is None:
        return check_jpeg(data, where)
      return reduce_to_square(data, size, where)

    # Pillow lets go of the interpreter's lock while it decodes and resizes.
    with (
      ImageArchive(places) as archive,
      concurrent.futures.ThreadPoolExecutor() as pool,
    ):
      for start in range(0, len(cases), _BATCH):
        batch = cases[start : start + _BATCH]
        for case, image in zip(batch, pool.map(load, batch), strict=True):
          group = groups[case.image_id]
          yield case.image_id, make_example(case, group, image)


def _check_complete(
  cases: Sequence[Case], archive: ImageArchive, table: epath.Path
) -> None:
  """Refuse a table with an image that is nowhere."""
  missing = [case for case in cases if case.image_id not in archive]
  if missing:
    case = min(missing, key=lambda case: case.line)
    raise DataError(
      f"{table}: line {case.line}: {case.image_id}.jpg is in none of "
      f"{', '.join(map(str, archive.places))}; {len(missing)} of "
      f"{len(cases)} images are missing"
    )
