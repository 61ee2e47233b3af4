"""Weights files that are none, or that are programs."""

import io
import os
import pickle
import zipfile

import numpy as np

from skinjax.models import weights
from tests.bad_input.case import Case


class Planted:
  """Makes a file when it is unpickled."""

  def __init__(self, marker):
    self._marker = marker

  def __reduce__(self):
    return os.system, (f"touch '{self._marker}'",)


def planted(marker, protocol=2):
  """Returns a pickle that makes a file when it is loaded."""
  return pickle.dumps(Planted(marker), protocol)


def _packed(pickled):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w") as archive:
    archive.writestr("archive/data.pkl", pickled)
    archive.writestr("archive/version", b"3\n")
  return buffer.getvalue()


def _of(content, told):
  """Reads a file of the content that is given, or made for a marker's path."""

  def make(tmp_path):
    marker = tmp_path / "ran"
    data = content(marker) if callable(content) else content
    path = tmp_path / "weights.pth"
    if data is not None:
      path.write_bytes(data)

    def run():
      try:
        weights.read(path)
      finally:
        assert not marker.exists()

    return run

  return Case(make, rf"Cannot read .*weights\.pth: {told}.*Give a file")


def _shapes(arrays, told):
  def make(tmp_path):
    wanted = {"a.weight": (3, 4), "a.bias": (4,)}
    arrays_of = {name: np.zeros(shape) for name, shape in arrays.items()}
    path = tmp_path / "weights.pth"
    return lambda: weights.require_shapes(arrays_of, wanted, path)

  return Case(make, rf"weights\.pth has not the 2 weights of this .*: {told}")


_RUNS = r"it asks to run (posix|nt|os)\.system; a weights file has tensors only"

CASES = {
  "absent": _of(None, "there is no such file"),
  "empty": _of(b"", ""),
  "text": _of(b"no weights", ""),
  "web_page": _of(b"<html>Log in</html>", ""),
  "zip_of_something": _of(_packed(b"x"), ""),
  **{
    f"pickle_that_runs_{protocol}": _of(
      lambda marker, protocol=protocol: planted(marker, protocol), ""
    )
    for protocol in (0, 2, 4)
  },
  "zip_that_runs": _of(lambda marker: _packed(planted(marker)), _RUNS),
  "zip_that_runs_newer": _of(lambda marker: _packed(planted(marker, 4)), ""),
  "of_other_shapes": _shapes(
    {"a.weight": (3, 5), "a.bias": (4,)},
    r"1 of another shape \('a.weight' \(3, 5\) for \(3, 4\)\)",
  ),
  "of_other_names": _shapes(
    {"b.weight": (3, 4), "a.bias": (4,)},
    r"1 missing \('a.weight'\); 1 unexpected \('b.weight'\)",
  ),
}
