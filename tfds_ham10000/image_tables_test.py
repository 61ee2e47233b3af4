"""Tests of image_tables.py: reading users' tables of images."""

import pytest

from tfds_ham10000 import image_tables
from tfds_ham10000.errors import DataError


def _read(tmp_path, content):
  path = tmp_path / "t.csv"
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return image_tables.read(str(path), "--test")


@pytest.mark.parametrize(
  ("text", "image"),
  [
    ("ISIC_0027419", "ISIC_0027419"),
    ("/data/x/ISIC_0027419.jpg", "ISIC_0027419"),
    ("C:\\x\\ISIC_0027419.JPG", "ISIC_0027419"),
    ("isic_0027419.png", "ISIC_0027419"),
    ("nv/ISIC_0027419_flipped.jpeg", "ISIC_0027419"),
    ("ISIC_2019/a.b/ISIC_0027419", "ISIC_0027419"),
    ("https://x.org/image/ISIC_0027419/download?a=1", "ISIC_0027419"),
    ("a/photo#7.jpg", "photo#7"),
    ("a/photo.v7.tiff", "photo.v7"),
    ("img_00274190", "img_00274190"),
    ("ISIC_00274190", "ISIC_00274190"),
    (".jpg", ".jpg"),
    ("a/b/", "b"),
  ],
)
def test_image_id(text, image):
  assert image_tables.image_id(text) == image


@pytest.mark.parametrize(
  ("content", "rows"),
  [
    ("image_id,dx\nI1,nv\nI2,mel\n", [("I1", "", "nv"), ("I2", "", "mel")]),
    ("\ufeffimage_id,dx\r\nI1,nv\r\n", [("I1", "", "nv")]),
    ("image_id,dx\rI1,nv\r", [("I1", "", "nv")]),
    ("Image;Label\nI1.jpg;4\n\n", [("I1", "", "4")]),
    ("\tfilepath\tclass\n0\ta/I1.png\tnv\n", [("I1", "", "nv")]),
    ('"id","y"\n"I1","a, b"\n', [("I1", "", "a, b")]),
    # Among several columns HAM10000's own count, then the first in the list.
    ("id,path,image_id,y,dx\n7,p,I1,0,nv\n", [("I1", "", "nv")]),
    ("image,group\nI1,L1\n", [("I1", "L1", "")]),
    (
      "group,label,image,lesion_id,image_id,dx\nG1,4,a,L1,I1,nv\n",
      [("I1", "L1", "nv")],
    ),
    ("LESION_ID,ISIC_ID\nL1,I1\nnan,I2\n", [("I1", "L1", ""), ("I2", "", "")]),
    (
      "image,group,patient_id,SCC,MEL,NV\nI1,1,1,1,0,0\n",
      [("I1", "1", "scc")],
    ),
    (
      "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nI1,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n",
      [("I1", "", "nv")],
    ),
    ("image,mel,nv\nI1,True,False\n", [("I1", "", "mel")]),
    ("image,NV\nI1,1\n", [("I1", "", "")]),  # one column is no one-hot code
    # No class, or several, or what is no class at all.
    ("image,MEL,NV\nI1,0,0\nI2,1,1\n", [("I1", "", ""), ("I2", "", "")]),
    ("image,MEL,NV\nI1,0.4,0.6\n", [("I1", "", "")]),
    ("image,MEL,NV,fold\nI1,0,1,1\n", [("I1", "", "nv")]),
    ("ISIC_0000001\n", [("ISIC_0000001", "", "")]),
    ("/my data/a.jpg\n/my data/b.jpg\n", [("a", "", ""), ("b", "", "")]),
    ("img1\nimg2", [("img1", "", ""), ("img2", "", "")]),
  ],
)
def test_tables(tmp_path, content, rows):
  read = _read(tmp_path, content)
  assert [(row.image_id, row.lesion, row.label) for row in read] == rows


def test_classes_that_ham10000_lacks_are_read_as_they_are(tmp_path):
  rows = _read(
    tmp_path,
    "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
    "ISIC_0000000,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\n"
    "ISIC_0000001,0.0,0.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n"
    "ISIC_0000002,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,0.0\n"
    "ISIC_0000003,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0\n",
  )
  assert [row.label for row in rows] == ["nv", "ak", "scc", "unk"]


def test_lines_are_counted_with_the_header(tmp_path):
  assert [row.line for row in _read(tmp_path, "id\nI1\n\nI2\n")] == [2, 4]
  assert [row.line for row in _read(tmp_path, "\nI1\n\nI2\n")] == [2, 4]


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("", "an empty file.*a table of images"),
    ("\n\n", "is empty: a table of images"),
    ("image_id,dx\n", "no line below its header"),
    ("picture,dx\nI1,nv\n", "first line names picture, dx; one of image,"),
    ("ISIC_0000001,nv\nI2,nv\n", "first line names ISIC_0000001, nv; one of"),
    ("picture\nI1\n", "first line names picture; one of"),
    ("image_id,dx\nI1,nv\n ,mel\n", "line 3: the column image_id is empty"),
    ("image_id,dx,dx\nI1,nv,mel\n", "the first line names 2 columns 'dx'"),
    ("image_id,dx\nI1\n", "line 2: 1 fields where the first line has 2"),
    ('image_id,dx\n"I1,nv\n', "line 2: unexpected end of data; is a"),
    (b"image_id\nI\xe91\n", r"line 2: .*UTF-8"),
    ("image_id\nI1\n".encode("utf-16"), "UTF-16.*UTF-8"),
    (b"PK\x03\x04\x00\xff", "a zip file.*a table of images"),
    ("<html>", "a web page"),
  ],
)
def test_what_is_no_table_is_told(tmp_path, content, message):
  with pytest.raises(DataError, match=message) as raised:
    _read(tmp_path, content)
  assert str(raised.value).startswith("--test")
  assert str(tmp_path / "t.csv") in str(raised.value)


def test_files_that_are_none_are_told(tmp_path):
  for path, message in (
    (tmp_path / "none.csv", r"--train=.*none\.csv: there is no such"),
    (tmp_path, r"--train: .*folder"),
  ):
    with pytest.raises(DataError, match=message):
      image_tables.read(str(path), "--train")
