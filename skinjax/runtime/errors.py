"""Errors that are shown to users without a traceback."""

import difflib
import errno
from collections.abc import Iterable

# Disk errors that are not the program's fault.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
# There is no file at a path: the reader of the file reports what that means.
# Other errors of the system (permission, a failing disk) are left to `run.run`.
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class InputError(ValueError):
  """Bad input; the message names the file or key and what would be right."""


class InUseError(InputError):
  """The directory is in use by another process."""


_MOST = 30  # names that an error message lists


def unknown(what: str, given: str, known: Iterable[str]) -> InputError:
  """Build the error for an unknown name of a `what`, such as "class".

  The message suggests the closest known name, if one is close, and lists all,
  or the closest if there are many.
  """
  known = list(known)
  near = difflib.get_close_matches(given, known, n=1)
  hint = f" Did you mean {near[0]!r}?" if near else ""
  there = f"There are: {', '.join(known)}." if known else "There are none."
  if len(known) > _MOST:
    closest = difflib.get_close_matches(given, known, n=_MOST // 3, cutoff=0)
    there = f"The closest of {len(known)} are: {', '.join(closest)}."
  return InputError(f"Unknown {what} {given!r}.{hint} {there}")


def require_known(what: str, given: str, known: Iterable[str]) -> None:
  """Raise the error of `unknown` unless the given name is known."""
  if given not in known:
    raise unknown(what, given, known)
