"""Files that host and kernel share, in a folder of the workspace: the output of cells and a snapshot."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

FOLDER = ".ml-intern"


class SharedFiles:
    """The host makes the output file and holds it open: what a dead kernel printed is still there.

    It reads through its own descriptor only. A cell can put a link in the file's place; nobody follows it.
    """

    def __init__(self, workspace: Path) -> None:
        self.folder = workspace / FOLDER
        self._mark = secrets.token_hex(4)
        self.snapshot = self.folder / f"kernel-{self._mark}.snapshot"
        self.output = self.folder / f"kernel-{self._mark}.out"
        self._fd = -1
        self._lock = threading.Lock()  # a session may be closed while a cell ends

    def open(self) -> None:
        """Make an empty output file for a new kernel."""
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not os.path.lexists(ignore):
            ignore.write_text("*\n")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self.output, flags, 0o600)

    def close(self) -> None:
        """Remove the output file."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
                self.output.unlink(missing_ok=True)

    def unheard(self, heard: int, limit: int) -> str:
        """The end of the output, from where the kernel last told of it.

        Args:
            heard: Bytes from the beginning that are known already.
            limit: Bytes to give at the most.
        """
        with self._lock:
            if self._fd < 0:
                return ""
            size = os.fstat(self._fd).st_size
            begin = max(heard, size - limit)
            return os.pread(self._fd, limit, begin).decode("utf-8", "replace") if size > begin else ""

    def has_snapshot(self) -> bool:
        """Whether a kernel left a snapshot."""
        return self.snapshot.is_file()

    def drop_snapshot(self) -> None:
        """Remove the snapshot."""
        self.snapshot.unlink(missing_ok=True)
