"""Images that are damaged or of another format, and files that are none."""

import struct

import numpy as np
from PIL import Image

from tests.bad_input.case import of_ham10000

_PATH = "HAM10000_images_part_1/ISIC_0000004.jpg"
_EXPECTED = "a JPEG image of mode RGB is expected: fetch the published file"


def _as_deep_tiff(folder):
  """Save an image of 16 bits, under its old name."""
  Image.fromarray(np.full((450, 600), 257, np.uint16)).save(
    folder / _PATH, "TIFF"
  )


def _edit(change):
  def damage(folder):
    path = folder / _PATH
    path.write_bytes(change(path.read_bytes()))

  return damage


def _claim_size(data):
  """Make the header declare 60,000 x 60,000 pixels."""
  at = data.index(b"\xff\xc0") + 5
  return data[:at] + struct.pack(">HH", 60000, 60000) + data[at + 4 :]


CASES = {
  name: of_ham10000(damage, message and rf"ISIC_0000004\.jpg: {message}")
  for name, (damage, message) in {
    "text": (_edit(lambda data: b"image"), f"not an image; {_EXPECTED}"),
    "damaged_header": (
      _edit(lambda data: data.replace(b"\xff\xc0", b"\xff\xcf")),
      "not a complete JPEG image",
    ),
    "deep_tiff": (_as_deep_tiff, "a TIFF image of mode I;16; a JPEG"),
    "declared_bomb": (
      _edit(_claim_size),
      "an image of 60000 x 60000 pixels; sides of 8 to 8192 are expected",
    ),
  }.items()
}
