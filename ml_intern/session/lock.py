"""One process a session: a lock that a dead owner does not hold.

The system frees a file lock when its process ends, however it ends. The file names the owner for
whoever is refused; what it says counts only while the lock is held.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ml_intern.errors import InternError

FILE = "lock"


class SessionBusy(InternError):
    """Another process runs the session."""


class SessionLock:
    """Held from its making until `release`, or until this process ends.

    Raises:
        SessionBusy: Another process, or another session object of this one, holds it; says which.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise SessionBusy(
                f"The session {folder.name} is in use by process {owner}.",
                "Wait for its end, or stop it first.",
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others in; a second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
