"""Files in a folder that code in a sandbox can change at the same moment.

A cell can swap a folder for a link, or put a pipe where a file was, between a check and the opening. So paths
are opened one folder after another without following links, and only regular files are read.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml_intern.errors import ToolError

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def opened_folder(root: Path, folder: Path) -> Iterator[int]:
    """A descriptor of a folder at or below `root`; both are absolute and free of links."""
    fd = os.open(root, FOLDER)
    try:
        for part in folder.relative_to(root).parts:
            inner = os.open(part, FOLDER, dir_fd=fd)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


@contextmanager
def told(path: Path, what: str) -> Iterator[None]:
    """The system's refusals as one line for the brain."""
    try:
        yield
    except OSError as error:
        raise ToolError(f"{str(path)!r} cannot be {what}: {error.strerror or error}.") from None


def open_file(root: Path, path: Path) -> int:
    """A descriptor for reading a regular file below `root`.

    Raises:
        ToolError: It is a link, a pipe, a device or a folder, or it is gone.
    """
    with told(path, "opened"), opened_folder(root, path.parent) as folder:
        fd = os.open(path.name, READ, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ToolError(f"{path.name!r} is not a file.", "list_files shows what is in a folder.")
        return fd


def write_file(root: Path, path: Path, data: bytes | memoryview) -> None:
    """Write a file below `root` in one piece: a reader sees the old or the new, never a half.

    An existing file keeps its mode and owner. A new one, and the folders made for it, belong to the owner of
    `root`: the user that a root host's sandbox runs as.
    """
    owner = root.stat()
    with told(path, "written"), opened_folder(root, path.parent) as folder:
        _adopt_folders(root, path.parent, owner)
        mode, user, group = _kept(path.name, folder, owner)
        temporary = f".{path.name[:100]}.{secrets.token_hex(4)}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                if os.geteuid() == 0:
                    os.fchown(file.fileno(), user, group)
                os.fchmod(file.fileno(), mode)
            os.rename(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(temporary, dir_fd=folder)
            raise


def _kept(name: str, folder: int, owner: os.stat_result) -> tuple[int, int, int]:
    try:
        old = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return 0o644, owner.st_uid, owner.st_gid
    if not stat.S_ISREG(old.st_mode):
        raise ToolError(f"{name!r} is not a file.", "Write to another name.")
    return stat.S_IMODE(old.st_mode), old.st_uid, old.st_gid


def _adopt_folders(root: Path, folder: Path, owner: os.stat_result) -> None:
    """Give folders that a root host made to the owner of `root`."""
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for part in (folder, *folder.parents):
        if part == root or root not in part.parents:
            return
        with opened_folder(root, part) as fd:
            if os.fstat(fd).st_uid == 0:
                os.fchown(fd, owner.st_uid, owner.st_gid)
