"""Synthetic sets that are not what was written."""

import csv
import hashlib
import io
import json
import shutil

import numpy as np
from PIL import Image

from skinjax.data import synthetic_set
from skinjax.runtime import files
from tests import shrunk
from tests.bad_input import trained
from tests.bad_input.case import Case

_DISC = "disc/disc_000000.png"
_COLUMNS = ("file_name", "label", "seed", "index", "sha256")


def _of(mess, told):
  """Goes on with a run of synthesize after its set was changed."""

  def make(tmp_path):
    path = trained.copy(trained.drawn(), tmp_path / "run")
    mess(path / "synthetic")
    return lambda: trained.draw(path)

  return Case(make, told)


def _accepted(mess):
  """Reads a set that may be changed in such a way."""

  def make(tmp_path):
    path = trained.copy(trained.drawn(), tmp_path / "run") / "synthetic"
    expected, _ = synthetic_set.read(path, shrunk.CLASSES)
    mess(path)

    def run():
      split, _ = synthetic_set.read(path, shrunk.CLASSES)
      for column, right in zip(split, expected, strict=True):
        np.testing.assert_array_equal(column, right)

    return run

  return Case(make, None)


def _provenance(change):
  def mess(folder):
    path = folder / "provenance.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))

  return mess


def _content(name, content):
  return lambda folder: (folder / name).write_bytes(content)


def _forged(change):
  """Changes the rows of the table, and all that speaks of them."""

  def mess(folder):
    path = folder / "metadata.csv"
    with path.open(newline="") as file:
      rows = list(csv.DictReader(file))
    changed = change(rows, folder) or rows
    columns = [tuple(row) for row in changed[:1]] or [_COLUMNS]
    table = files.table([*columns, *(row.values() for row in changed)])
    _forge_table(folder, table)

  return mess


def _forge_table(folder, table):
  (folder / "metadata.csv").write_text(table)
  digest = hashlib.sha256(table.encode()).hexdigest()
  _provenance(lambda record: record.update(metadata_sha256=digest))(folder)


def _led_to(name):
  """Has the first row name another file, which is there, elsewhere."""

  def change(rows, folder):
    given = name.format(folder=folder)
    outside = folder / given
    outside.parent.mkdir(exist_ok=True)
    shutil.copy(folder / _DISC, outside)
    rows[0]["file_name"] = given

  return _forged(change)


def _drawn_as(make):
  """Has the first row's image be another, of a digest that is right."""

  def change(rows, folder):
    with Image.open(folder / _DISC) as image:
      content = make(image.convert("RGB"))
    (folder / _DISC).write_bytes(content)
    rows[0]["sha256"] = hashlib.sha256(content).hexdigest()

  return _forged(change)


def _all_drawn_as(make):
  def change(rows, folder):
    for row in rows:
      with Image.open(folder / row["file_name"]) as image:
        content = make(image)
      (folder / row["file_name"]).write_bytes(content)
      row["sha256"] = hashlib.sha256(content).hexdigest()

  return _forged(change)


def _saved(kind="PNG", mode="RGB", size=None):
  def make(image):
    buffer = io.BytesIO()
    image.resize(size or image.size).convert(mode).save(buffer, kind)
    return buffer.getvalue()

  return make


def _set(column, value):
  return _forged(lambda rows, folder: rows[0].update({column: value}))


def _add(folder):
  shutil.copy(folder / _DISC, folder / "disc" / "disc_999999.png")


def _other_generator(record):
  record["generator"]["state_sha256"] = "0" * 64


_CHANGED = f"{_DISC} is not the image that metadata.csv speaks of: make the set"
_TABLE = "metadata.csv is not the table that provenance.json speaks of: make"
_PART = "synthetic is not a whole synthetic set: "
_OUTSIDE = "metadata.csv: .* is not a file in the folder disc of the set: make"
_GENERATOR = "was made by another generator, or before this one had trained fur"
_IMAGE = f"{_DISC} is not a PNG image in grey or RGB: make the set anew"
_PIXELS = "images of several sizes or modes"
_COUNTS = "provenance.json speaks of other numbers of images by class than meta"
_HEADER = "metadata.csv must have the columns file_name, label, seed, index, sh"

CASES = {
  name: _of(mess, told)
  for name, (mess, told) in {
    "image_changed": (_content(_DISC, b"x"), _CHANGED),
    "image_missing": (
      lambda folder: (folder / _DISC).unlink(),
      f"{_PART}.*No such file.*{_DISC}",
    ),
    "table_changed": (_content("metadata.csv", b"a,b\n"), _TABLE),
    "table_without_column": (
      lambda folder: _forge_table(folder, "file_name,label\na,disc\n"),
      _HEADER,
    ),
    "row_missing": (_forged(lambda rows, folder: rows[1:]), _COUNTS),
    "row_twice": (
      _forged(lambda rows, folder: [*rows[:1], *rows[:1], *rows[2:]]),
      f"metadata.csv has {_DISC} twice: make the set anew",
    ),
    "label_unknown": (
      _set("label", "circle"),
      "has images of class 'circle', which is none of disc, square, stripes",
    ),
    "label_of_another_folder": (
      _set("label", "square"),
      "'disc/disc_000000.png' is not a file in the folder square of the set",
    ),
    "leads_outside": (_led_to("../../x.png"), _OUTSIDE),
    "leads_outside_by_the_class": (_led_to("disc/../../x.png"), _OUTSIDE),
    "leads_to_a_hidden_file": (_led_to("disc/.x.png"), _OUTSIDE),
    "absolute": (_led_to("{folder}/../x.png"), _OUTSIDE),
    "control_characters": (_set("file_name", "disc/\x1b[2J.png"), r"x1b\[2J"),
    "provenance_missing": (
      lambda folder: (folder / "provenance.json").unlink(),
      f"{_PART}.*No such file.*provenance.json",
    ),
    "provenance_cut": (_content("provenance.json", b'{"seed":'), _PART),
    "provenance_nested": (_content("provenance.json", b"[" * 200_000), _PART),
    "provenance_without_keys": (_content("provenance.json", b"{}"), _PART),
    "provenance_without_generator": (
      _provenance(lambda record: record.pop("generator")),
      _GENERATOR,
    ),
    "of_another_generator": (_provenance(_other_generator), _GENERATOR),
    "other_counts": (
      _provenance(lambda record: record["classes"].update(disc=4)),
      _COUNTS,
    ),
    "image_of_another_size": (_drawn_as(_saved(size=(8, 8))), _PIXELS),
    "images_of_another_size": (
      _all_drawn_as(_saved(size=(8, 8))),
      "has images of 8x8 pixels in 3 channels, and not of 16x16 .*: make the",
    ),
    "images_in_grey": (
      _all_drawn_as(_saved(mode="L")),
      "16x16 pixels in 1 channels, and not of 16x16 pixels in 3 channels",
    ),
    "image_with_alpha": (_drawn_as(_saved(mode="RGBA")), _IMAGE),
    "image_is_jpeg": (_drawn_as(_saved("JPEG")), _IMAGE),
    "image_is_cut": (_drawn_as(lambda image: _saved()(image)[:-30]), _IMAGE),
  }.items()
} | {
  "image_added": _accepted(_add),
  "rows_turned_round": _accepted(
    _forged(lambda rows, folder: sorted(rows, key=lambda row: row["label"]))
  ),
}
