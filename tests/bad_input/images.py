"""Images that are none, are damaged, or are of another kind."""

import io
import struct

import numpy as np
from PIL import Image

from tests.bad_input.case import of_ham10000

_PATH = "HAM10000_images_part_1/ISIC_0000004.jpg"
_EXPECTED = "a JPEG image of mode RGB is expected: fetch the published file"


def _as(kind, mode="RGB", size=None):
  """Saves an image in another format or mode, under its old name."""

  def mess(folder):
    with Image.open(folder / _PATH) as image:
      other = image.resize(size or image.size)
    if mode == "I;16":
      pixels = np.asarray(other.convert("L")).astype(np.uint16) * 257
      other = Image.fromarray(pixels)
    else:
      other = other.convert(mode)
    other.save(folder / _PATH, kind)

  return mess


def _edit(change):
  def mess(folder):
    path = folder / _PATH
    path.write_bytes(change(path.read_bytes()))

  return mess


def _claim_size(data):
  """Makes the header tell of 60,000 x 60,000 pixels."""
  at = data.index(b"\xff\xc0") + 5
  return data[:at] + struct.pack(">HH", 60000, 60000) + data[at + 4 :]


def insert_exif(data, block):
  """Puts an EXIF block, right or not, behind the first marker of a JPEG."""
  block = b"Exif\0\0" + block
  return b"".join(
    (data[:2], b"\xff\xe1", struct.pack(">H", len(block) + 2), block, data[2:])
  )


def turned():
  """Makes the EXIF block of a camera that was held upright."""
  exif = Image.Exif()
  exif[0x0112] = 6
  buffer = io.BytesIO()
  Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=exif)
  with Image.open(buffer) as image:
    return image.info["exif"].removeprefix(b"Exif\0\0")


CASES = {
  name: of_ham10000(mess, told and rf"ISIC_0000004\.jpg: {told}")
  for name, (mess, told) in {
    "empty": (_edit(lambda data: b""), f"an empty file; {_EXPECTED}"),
    "text": (_edit(lambda data: b"image"), f"no image; {_EXPECTED}"),
    "cut": (_edit(lambda data: data[:-300]), "no whole JPEG image .*truncated"),
    "damaged_header": (
      _edit(lambda data: data.replace(b"\xff\xc0", b"\xff\xcf")),
      "no whole JPEG image",
    ),
    "grey": (_as("JPEG", "L"), "a JPEG image of mode L; a JPEG .* in RGB"),
    "deep_tiff": (_as("TIFF", "I;16"), "a TIFF image of mode I;16; a JPEG"),
    "gif": (_as("GIF", "P"), f"a GIF image of mode (P|RGB); {_EXPECTED}"),
    "strip": (_as("JPEG", size=(700, 3)), "an image of 700 x 3 pixels; sides"),
    "declared_bomb": (
      _edit(_claim_size),
      "an image of 60000 x 60000 pixels; sides of 8 to 8192 are expected",
    ),
    "turned_by_exif": (_edit(lambda data: insert_exif(data, turned())), None),
    "damaged_exif": (
      _edit(lambda data: insert_exif(data, turned()[:-7] + b"\xff" * 9)),
      None,
    ),
  }.items()
}
