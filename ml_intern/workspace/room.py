"""Room that is kept on a disk for last words. Standard library only: a job's supervisor uses it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path


class Room:
    """Space that is taken while there is some, and given up for what must be written on a full disk.

    Args:
        path: The file that takes it.
        size: Bytes.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size

    def take(self) -> None:
        """Take the space.

        Raises:
            OSError: There is none.
        """
        with self._path.open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, self._size)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    self.give_up()
                    raise
                # A file system that cannot take space ahead: do without.

    def give_up(self) -> bool:
        """Free the space; whether there was any."""
        with suppress(OSError):
            self._path.unlink()
            return True
        return False
