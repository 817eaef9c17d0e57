"""A workspace as it was: kept while finished cells run again, and put back afterwards.

The copy is whole or not there. Where the process ends in between, the next one puts it back first. What is
put back is opened without following links: cells run at the same time.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from ml_intern.workspace.disk import GO_ON, DiskTrouble
from ml_intern.workspace.safe_files import opened_folder, write_file

MOST_BYTES = 2 << 30
MOST_FILES = 50_000
"""A workspace above this is not copied; the person is told."""


class Kept:
    """The copy of a workspace.

    Args:
        folder: The session's, where the copy lies.
        workspace: What is kept.
        most_bytes: A workspace above it is not copied.
        name: Of the copy.
    """

    def __init__(
        self, folder: Path, workspace: Path, most_bytes: int = MOST_BYTES, name: str = "workspace-kept"
    ) -> None:
        self._copy = folder / name
        self._workspace = workspace
        self._most_bytes = most_bytes

    @property
    def there(self) -> bool:
        """Whether there is a copy."""
        return self._copy.is_dir()

    def keep(self) -> str:
        """Copy the workspace; answers why not where that cannot be.

        Raises:
            DiskTrouble: There is no room for it.
        """
        self.put_back()
        files = size = 0
        for _, status in _walk(self._workspace):
            files, size = files + 1, size + (status.st_size if stat.S_ISREG(status.st_mode) else 0)
            if files > MOST_FILES or size > self._most_bytes:
                return "The workspace is too large to be copied: cells that append to files do so twice."
        self._copy.parent.mkdir(parents=True, exist_ok=True)
        part = self._copy.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            shutil.copytree(self._workspace, part, symlinks=True, ignore=_special)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            return _why_not(error, self._copy.parent, size)
        part.rename(self._copy)
        return ""

    def put_back(self) -> None:
        """Make the workspace what it was, if there is a copy."""
        if not self._copy.is_dir():
            return
        was, now = dict(_walk(self._copy)), dict(_walk(self._workspace))
        for path in sorted(now.keys() - was.keys()):
            _remove(self._workspace, path)
        for path, status in sorted(was.items()):
            if path not in now or not _like(status, now[path]):
                self._restore(path, status, now.get(path))
        gone = self._copy.with_suffix(".gone")
        self._copy.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _restore(self, path: Path, status: os.stat_result, now: os.stat_result | None) -> None:
        if now is not None and stat.S_IFMT(now.st_mode) != stat.S_IFMT(status.st_mode):
            _remove(self._workspace, path)
        place = self._workspace / path
        if stat.S_ISLNK(status.st_mode):
            _remove(self._workspace, path)
            with opened_folder(self._workspace, place.parent) as fd:
                os.symlink((self._copy / path).readlink(), place.name, dir_fd=fd)
        elif stat.S_ISDIR(status.st_mode):
            with opened_folder(self._workspace, place.parent) as fd:
                if not _is_folder(place.name, fd):
                    os.mkdir(place.name, stat.S_IMODE(status.st_mode), dir_fd=fd)
        elif stat.S_ISREG(status.st_mode):
            write_file(self._workspace, place, (self._copy / path).read_bytes())
            with opened_folder(self._workspace, place.parent) as fd:
                times = (status.st_atime_ns, status.st_mtime_ns)
                os.utime(place.name, ns=times, dir_fd=fd, follow_symlinks=False)


def _why_not(error: OSError, folder: Path, size: int) -> str:
    reason = str(error)  # copytree gathers the errors of all files, and keeps their words only
    if any(os.strerror(number) in reason for number in (errno.ENOSPC, errno.EDQUOT)):
        told = f"There is no room in {folder} for a copy of the workspace ({size >> 20} MB)."
        raise DiskTrouble(told, GO_ON)
    return f"The workspace cannot be copied ({reason[:200]}): cells that append to files do so twice."


def _walk(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every entry below a folder, relative to it, outer ones first."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            try:
                yield path.relative_to(root), path.lstat()
            except FileNotFoundError:
                continue


def _like(a: os.stat_result, b: os.stat_result) -> bool:
    """Whether two entries are the same, as far as their times tell."""
    if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode):
        return False
    return stat.S_ISDIR(a.st_mode) or (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _special(folder: str, names: list[str]) -> list[str]:
    """Pipes, sockets and devices: they hold nothing."""
    modes = {name: Path(folder, name).lstat().st_mode for name in names}
    return [n for n, m in modes.items() if not (stat.S_ISREG(m) or stat.S_ISDIR(m) or stat.S_ISLNK(m))]


def _is_folder(name: str, fd: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _remove(root: Path, path: Path) -> None:
    place = root / path
    try:
        with opened_folder(root, place.parent) as fd:
            if _is_folder(place.name, fd):
                shutil.rmtree(place.name, dir_fd=fd)
            else:
                os.unlink(place.name, dir_fd=fd)
    except FileNotFoundError:
        pass  # it went with its folder
