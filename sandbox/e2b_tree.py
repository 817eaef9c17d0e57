"""Folders as the sandbox's end of a mirror sees them: what changed, and files written and packed.

Standard library only: this file is uploaded and runs inside, beside `e2b_inside`; the host has its limits
from here. Links are never followed, and never reported: a file that became a link is gone for the mirror.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, Any

MAX_FILES = 20_000
"""Files and folders of all mirrored folders together; more are told, not copied."""

MAX_DEPTH = 40
INLINE = 64 << 10
"""A file up to here travels within the report of the change; a larger one is fetched."""

INLINE_TOGETHER = 256 << 10
CHUNK = 1 << 20
RACY_NS = 100_000_000
"""The file system's clock ticks every few milliseconds: a file changed just now may change again unseen, with
the same size and the same time. It is looked at again, by its content."""

FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Sign = tuple[int, int]
"""Size in bytes and time of change in nanoseconds."""


class TooMany(Exception):
    """More files than a mirror takes."""


def open_below(root: str, folder: str, make: bool = False) -> int:
    """A descriptor of a folder below `root`, reached without following links."""
    fd = os.open(root, FOLDER)
    try:
        for part in folder.split("/") if folder else ():
            if make:
                try:
                    os.mkdir(part, 0o755, dir_fd=fd)
                except FileExistsError:
                    pass
            inner = os.open(part, FOLDER, dir_fd=fd)
            os.close(fd)
            fd = inner
    except BaseException:
        os.close(fd)
        raise
    return fd


def walk(
    root: str, skip: frozenset[str] = frozenset(), most: int = MAX_FILES
) -> tuple[dict[str, os.stat_result], set[str]]:
    """The regular files and the folders below `root`, by their path from there.

    Args:
        root: A folder.
        skip: Paths that are left out, with all below them.
        most: How many may be found.

    Raises:
        TooMany: There are more.
    """
    files: dict[str, os.stat_result] = {}
    folders: set[str] = set()

    def enter(fd: int, prefix: str, depth: int) -> None:
        with os.scandir(fd) as entries:
            for entry in entries:
                path = prefix + entry.name
                if path in skip:
                    continue
                if len(files) + len(folders) >= most:
                    raise TooMany
                try:
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode):
                        files[path] = found
                    elif stat.S_ISDIR(found.st_mode) and depth < MAX_DEPTH:
                        inner = os.open(entry.name, FOLDER, dir_fd=fd)
                        folders.add(path)
                        try:
                            enter(inner, path + "/", depth + 1)
                        finally:
                            os.close(inner)
                except OSError:  # gone meanwhile, or not ours to read
                    continue

    try:
        top = os.open(root, FOLDER)
    except OSError:
        return files, folders
    try:
        enter(top, "", 0)
    finally:
        os.close(top)
    return files, folders


class Tree:
    """One mirrored folder.

    Args:
        path: The folder.
        write: Code inside may change it, so its changes are reported.
        only: Names to which the mirror is held; nothing: all.
        append: Its files only grow (a job's metrics): a change is told by what was added.
        skip: Paths below that are no part of it.
        known: Files as host and sandbox last agreed on them.
    """

    def __init__(
        self,
        path: str,
        write: bool = True,
        only: Iterable[str] = (),
        append: bool = False,
        skip: Iterable[str] = (),
        known: dict[str, Sign] | None = None,
    ) -> None:
        self.path, self.write, self.append = path, write, append
        self.only = frozenset(only)
        self.skip = frozenset(skip)
        self.known: dict[str, Sign] = dict(known or {})
        self.folders: set[str] = set()
        self._unsettled: dict[str, bytes] = {}

    def changes(self, room: int, settle_s: float = 0) -> tuple[dict[str, Any], int]:
        """What changed since the last look, and the room that is left.

        Args:
            room: Bytes of content that the report may carry.
            settle_s: Larger files that changed this short ago wait for a later look: they are being written.
        """
        files, folders = self._look()
        changed: list[list[Any]] = []
        now = time.time_ns()
        for path, found in files.items():
            sign = (found.st_size, found.st_mtime_ns)
            if sign == self.known.get(path) and path not in self._unsettled:
                continue
            # A time to come: somebody has set the clock back since.
            if found.st_size > INLINE and 0 <= now - found.st_mtime_ns < settle_s * 1e9:
                continue
            entry = self._entry(path, sign, room, now)
            if entry is not None:
                changed.append(entry)
                room -= len(entry[4] or "")
        gone = [path for path in self.known if path not in files]
        for path in gone:
            del self.known[path]
            self._unsettled.pop(path, None)
        report = {
            "changed": changed,
            "gone": gone,
            "folders": sorted(folders - self.folders),
            "gone_folders": sorted(self.folders - folders, reverse=True),
        }
        self.folders = folders
        return {key: value for key, value in report.items() if value}, room

    def put(self, path: str, mtime: int, mode: int, content: Iterable[bytes]) -> None:
        """Write a file as the host has it."""
        folder, _, name = path.rpartition("/")
        fd = open_below(self.path, folder, make=True)
        temporary = f".{name[:100]}.{secrets.token_hex(4)}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=fd), "wb") as file:
                for piece in content:
                    file.write(piece)
                file.flush()
                os.fchmod(file.fileno(), mode & 0o777 | 0o400)
                os.utime(file.fileno(), ns=(mtime, mtime))
                made = os.fstat(file.fileno())
            os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=fd)
            raise
        finally:
            os.close(fd)
        self.known[path] = (made.st_size, made.st_mtime_ns)
        self._unsettled.pop(path, None)
        while folder:
            self.folders.add(folder)
            folder = folder.rpartition("/")[0]

    def make_folder(self, path: str) -> None:
        """Make a folder that the host has."""
        os.close(open_below(self.path, path, make=True))
        self.folders.add(path)

    def drop(self, path: str, folder: bool) -> None:
        """Remove what the host removed; a folder only where it is empty."""
        above, _, name = path.rpartition("/")
        try:
            fd = open_below(self.path, above)
            try:
                (os.rmdir if folder else os.unlink)(name, dir_fd=fd)
            finally:
                os.close(fd)
        except OSError:
            return  # gone already, or the code inside put something of its own there
        self.known.pop(path, None)
        self.folders.discard(path)

    def open(self, path: str) -> IO[bytes]:
        """A regular file for reading."""
        folder, _, name = path.rpartition("/")
        above = open_below(self.path, folder)
        try:
            fd = os.open(name, READ, dir_fd=above)
        finally:
            os.close(above)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileNotFoundError(path)
        return os.fdopen(fd, "rb")

    def _look(self) -> tuple[dict[str, os.stat_result], set[str]]:
        if not self.only:
            return walk(self.path, self.skip)
        files = {}
        for name in self.only:
            try:
                found = os.lstat(f"{self.path}/{name}")
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode):
                files[name] = found
        return files, set()

    def _entry(self, path: str, sign: Sign, room: int, now: int) -> list[Any] | None:
        """Path, size, time, first byte told, content or nothing: it is too long for the report."""
        start, old = 0, self.known.get(path)
        if self.append and old and old[0] <= sign[0]:
            start = old[0]
        content, digest = None, b""
        racy = now - sign[1] < RACY_NS
        try:
            with self.open(path) as file:
                if sign[0] - start <= min(INLINE, room):
                    file.seek(start)
                    data = file.read(INLINE)
                    sign = (start + len(data), os.fstat(file.fileno()).st_mtime_ns)
                    content = base64.b64encode(data).decode()
                    digest = hashlib.blake2b(data).digest()
                elif racy or path in self._unsettled:
                    digest = _digest(file)
        except OSError:
            self.known[path] = sign
            return None
        same = old == sign and self._unsettled.get(path) == digest
        if racy:
            self._unsettled[path] = digest
        else:
            self._unsettled.pop(path, None)
        self.known[path] = sign
        return None if same else [path, sign[0], sign[1], start, content]


def _digest(file: IO[bytes]) -> bytes:
    made = hashlib.blake2b()
    while piece := file.read(CHUNK):
        made.update(piece)
    return made.digest()
