"""The error that a person is shown without a traceback."""

import difflib
import errno
from collections.abc import Iterable

# What a disk does to a run that is no fault of the program.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
# What says that a path leads to no file, which a reader knows the meaning of.
# What else the system says (permission, a disk's failure) `run.run` tells.
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class InputError(ValueError):
  """Bad input, in words that name the file or key and what would be right."""


class InUseError(InputError):
  """What is asked for is in the hands of another process for now."""


def unknown(what: str, given: str, known: Iterable[str]) -> InputError:
  """Build the error for the name of a `what`, as "class", that does not exist.

  It has the nearest right name, if one is near, and all of them.
  """
  known = list(known)
  near = difflib.get_close_matches(given, known, n=1)
  hint = f" Did you mean {near[0]!r}?" if near else ""
  return InputError(
    f"Unknown {what} {given!r}.{hint} There are: {', '.join(known)}."
  )


def require_known(what: str, given: str, known: Iterable[str]) -> None:
  """Raise the error of `unknown` unless the name that was given exists."""
  if given not in known:
    raise unknown(what, given, known)
