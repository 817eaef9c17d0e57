"""Files that host and kernel share, in a folder of the workspace: the output of cells and a snapshot."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ml_intern.errors import InternError

FOLDER = ".ml-intern"
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER_ONLY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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
        with self._own_folder() as folder:
            with suppress(FileExistsError):
                ignore = os.open(".gitignore", NEW, 0o644, dir_fd=folder)
                os.write(ignore, b"*\n")
                os.close(ignore)
            self._fd = os.open(self.output.name, NEW, 0o600, dir_fd=folder)

    @contextmanager
    def _own_folder(self) -> Iterator[int]:
        """A descriptor of the folder. A cell may have put a link or a file in its place: it is moved aside.

        Raises:
            InternError: The workspace cannot be used any more.
        """
        workspace = -1
        try:
            workspace = os.open(self.folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            for again in (True, False):
                with suppress(FileExistsError):
                    os.mkdir(self.folder.name, dir_fd=workspace)
                try:
                    folder = os.open(self.folder.name, FOLDER_ONLY, dir_fd=workspace)
                    break
                except OSError:
                    if not again:
                        raise
                    aside = f"{self.folder.name}.{secrets.token_hex(4)}"
                    os.rename(self.folder.name, aside, src_dir_fd=workspace, dst_dir_fd=workspace)
            try:
                yield folder
            finally:
                os.close(folder)
        except OSError as error:
            raise InternError(
                f"The workspace {str(self.folder.parent)!r} cannot be used: {error.strerror}.",
                "A cell may have taken its rights away; mend them, or choose another workspace.",
            ) from None
        finally:
            if workspace >= 0:
                os.close(workspace)

    def close(self) -> None:
        """Remove the output file."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
                with suppress(OSError):  # its folder may be gone, or closed to us
                    self.output.unlink()

    def unheard(self, heard: int, limit: int) -> str:
        """The output from where the kernel last told of it; of a long one the beginning and the end.

        Args:
            heard: Bytes from the beginning that are known already.
            limit: Bytes to give at the most.
        """
        with self._lock:
            if self._fd < 0:
                return ""
            begin, size = max(0, heard), os.fstat(self._fd).st_size
            if size - begin <= limit:
                return self._between(begin, size)
            half = limit // 2
            left_out = f"\n… {size - begin - 2 * half} bytes left out …\n"
            return self._between(begin, begin + half) + left_out + self._between(size - half, size)

    def _between(self, begin: int, end: int) -> str:
        return os.pread(self._fd, end - begin, begin).decode("utf-8", "replace") if end > begin else ""

    def has_snapshot(self) -> bool:
        """Whether a kernel left a snapshot."""
        with suppress(OSError):
            return self.snapshot.is_file()
        return False

    def drop_snapshot(self) -> None:
        """Remove the snapshot."""
        with suppress(OSError):
            self.snapshot.unlink()
