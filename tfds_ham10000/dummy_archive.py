"""Draws a small archive in the layout of HAM10000, for tests.

The folder dummy_data/ was made by
`write_archive("tfds_ham10000/dummy_data", {"nv": 10, "mel": 3, "vasc": 1})`.
"""

import csv
import io
from collections.abc import Mapping

from etils import epath

from tfds_ham10000.toy_lesions.drawing import draw_lesion
from tfds_ham10000.toy_lesions.lesions import typical_look

_COLUMNS = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"
_IMAGE_SIZE = (80, 60)


def write_archive(folder: epath.PathLike, lesions: Mapping[str, int]) -> None:
  """Write drawn images and a table of cases in the layout of HAM10000.

  The first lesion of every class has two images, the others have one. Images
  alternate between part 1 and part 2.

  Args:
    folder: where to write; created if absent.
    lesions: number of lesions of each class.
  """
  folder = epath.Path(folder)
  table = io.StringIO()
  writer = csv.writer(table, lineterminator="\n")
  writer.writerow(_COLUMNS.split(","))
  diagnoses = [dx for dx, count in lesions.items() for _ in range(count)]
  image_number = 0
  for number, dx in enumerate(diagnoses):
    for view in range(2 if dx not in diagnoses[:number] else 1):
      image_id = f"ISIC_{image_number:07}"
      part = folder / f"HAM10000_images_part_{1 + image_number % 2}"
      part.mkdir(parents=True, exist_ok=True)
      image = draw_lesion(typical_look(dx), 80, number, (number, view))
      buffer = io.BytesIO()
      image.resize(_IMAGE_SIZE).save(buffer, "JPEG", quality=75)
      (part / f"{image_id}.jpg").write_bytes(buffer.getvalue())
      # As in the real table, some ages are absent.
      age = "" if number % 5 == 4 else f"{20.0 + 5 * number}"
      patient = (age, "female", "back", "drawn")
      writer.writerow((f"HAM_{number:07}", image_id, dx, "histo", *patient))
      image_number += 1
  (folder / "HAM10000_metadata.csv").write_text(table.getvalue())
