"""A disk that is full, read-only or gone: what that is in one line."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from ml_intern.errors import InternError

GO_ON = "Make room there; then `ml-intern resume` goes on."

_FULL = "cannot be written: the disk is full, or has no inodes left"
_MAY_NOT = ("cannot be opened: this user may not", "Mend its permissions, or name another --state folder.")
_ERRNO = {
    errno.ENOSPC: (_FULL, GO_ON),
    errno.EDQUOT: ("cannot be written: the disk quota is used up", GO_ON),
    errno.EFBIG: ("may not grow so large (ulimit -f)", "Raise the limit, then resume."),
    errno.EROFS: (
        "cannot be written: the file system is read-only",
        "Mount it for writing, or name another --state folder.",
    ),
    errno.EACCES: _MAY_NOT,
    errno.EPERM: _MAY_NOT,
    errno.EIO: ("cannot be read or written: the disk reports an error", "Look at the system's log."),
}
_SQLITE = {
    "is full": errno.ENOSPC,
    "readonly": errno.EROFS,
    "unable to open": errno.EACCES,
    "disk i/o": errno.EIO,
}


class DiskTrouble(InternError):
    """Something that a run has to write cannot be written. The session can be resumed when it can.

    Attributes:
        full: It lacks room, and nothing else.
    """

    full = False

    @classmethod
    def of(cls, error: BaseException, what: str = "") -> DiskTrouble | None:
        """An error of the disk in words; None for any other error.

        Args:
            error: What was raised.
            what: What was to be written, where the error names no file.
        """
        number = _number(error)
        if number not in _ERRNO:
            return None
        why, hint = _ERRNO[number]
        what = str(getattr(error, "filename", None) or what or "A file")
        trouble = cls(f"{what} {why}.", hint)
        trouble.full = number in (errno.ENOSPC, errno.EDQUOT)
        return trouble


def _number(error: BaseException) -> int | None:
    if isinstance(error, sqlite3.Error):
        text = str(error).lower()
        return next((number for words, number in _SQLITE.items() if words in text), None)
    return error.errno if isinstance(error, OSError) else None


@contextmanager
def told(what: str = "") -> Iterator[None]:
    """Turn errors of the disk into one line.

    Raises:
        DiskTrouble: Something cannot be written.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        trouble = DiskTrouble.of(error, what)
        if trouble is None:
            raise
        raise trouble from error
