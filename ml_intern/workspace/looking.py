"""What lies in a workspace, entry by entry, and a copy of each file's content under its hash.

A look costs what has changed: a file whose size, times and number are as they were is not read again. Code in
a sandbox may change everything meanwhile and may have put anything there, so folders are entered one by one
without following links, and depth, count and bytes are bounded.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple

from ml_intern.errors import InternError
from ml_intern.sandbox.shared import FOLDER as OURS
from ml_intern.workspace.safe_files import FOLDER, READ

DEEPEST = 64
"""Folders within folders; what lies deeper was made by a loop."""

RACY_NS = 50_000_000
"""The file system's clock ticks every few milliseconds: a file that changed just now may change once more and
look the same. It is read again at the next look."""

CHUNK = 1 << 20


class TooMuch(InternError):
    """There is more in a workspace than is looked at."""


class Entry(NamedTuple):
    """Something in a workspace.

    Attributes:
        kind: ``file``, ``folder``, ``link``, or ``other``: a pipe, a device, what cannot be read.
        mode: Its permission bits.
        mtime: Nanoseconds; of a file.
        size: Bytes; of a file.
        content: Of a file its SHA-256, of a link where it leads.
    """

    kind: str
    mode: int = 0
    mtime: int = 0
    size: int = 0
    content: str = ""


State = dict[str, Entry]
"""All entries of a workspace by their path in it; a folder stands before what lies in it."""


class Objects:
    """Contents by their hash, in a folder that no cell sees."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, file: IO[bytes], most: int) -> tuple[str, int]:
        """Keep what a file holds; its hash and size.

        Raises:
            TooMuch: It holds more than `most` bytes.
        """
        chunk = file.read(CHUNK)
        digest, size = hashlib.sha256(chunk), len(chunk)
        if size < CHUNK and (self.folder / digest.hexdigest()).exists():
            return digest.hexdigest(), size  # one that changed just now, and is looked at again
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self.folder / f"{secrets.token_hex(8)}.part"
        try:
            with part.open("wb") as copy:
                copy.write(chunk)
                while chunk := file.read(CHUNK):
                    size += len(chunk)
                    if size > most:
                        raise TooMuch("A file grows while it is read.")
                    digest.update(chunk)
                    copy.write(chunk)
            part.rename(self.folder / digest.hexdigest())
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return digest.hexdigest(), size

    def get(self, content: str) -> bytes | None:
        """What was kept; None where it is gone or is not what it was."""
        try:
            data = (self.folder / content).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == content else None

    def drop(self, contents: Iterable[str]) -> None:
        """Forget contents."""
        for content in contents:
            (self.folder / content).unlink(missing_ok=True)

    def all(self) -> set[str]:
        """The names of all that lie there, half-written ones too."""
        try:
            return {entry.name for entry in os.scandir(self.folder)}
        except OSError:
            return set()


Sign = tuple[int, int, int, int]


class Looker:
    """Looks at a workspace again and again.

    Args:
        root: The workspace.
        objects: Where contents are kept.
        most_files: Entries of all kinds, at the most.
        most_bytes: Of all files together.
    """

    def __init__(self, root: Path, objects: Objects, most_files: int, most_bytes: int) -> None:
        self._root = root
        self._objects = objects
        self._most_files = most_files
        self._most_bytes = most_bytes
        self._known: dict[str, tuple[Sign, Entry]] = {}

    def look(self) -> State:
        """What is there now.

        Raises:
            TooMuch: More than is looked at.
            OSError: It cannot be looked at, or its contents cannot be kept.
        """
        return _Look(self._known, self._objects, self._most_files, self._most_bytes).at(self._root)


class _Look:
    """One look."""

    def __init__(self, known: dict[str, tuple[Sign, Entry]], objects: Objects, files: int, room: int) -> None:
        self._known = known
        self._objects = objects
        self._files = files
        self._room = room
        self._settled = time.time_ns() - RACY_NS
        self._state: State = {}

    def at(self, root: Path) -> State:
        fd = os.open(root, FOLDER)
        try:
            self._folder(fd, "", 0)
        finally:
            os.close(fd)
        for path in self._known.keys() - self._state.keys():
            del self._known[path]
        return self._state

    def _folder(self, fd: int, prefix: str, depth: int) -> None:
        if depth > DEEPEST:
            raise TooMuch(f"Its folders lie more than {DEEPEST} deep.")
        with os.scandir(fd) as entries:
            for entry in entries:
                if prefix or entry.name != OURS:
                    try:
                        self._one(
                            fd, entry.name, prefix + entry.name, entry.stat(follow_symlinks=False), depth
                        )
                    except FileNotFoundError:
                        continue  # it was there a moment ago

    def _one(self, fd: int, name: str, path: str, status: os.stat_result, depth: int) -> None:
        if len(self._state) >= self._files:
            raise TooMuch(f"It holds more than {self._files:,} files and folders.")
        mode = stat.S_IMODE(status.st_mode) & 0o777
        if stat.S_ISREG(status.st_mode):
            self._state[path] = self._file(fd, name, path, status)
        elif stat.S_ISLNK(status.st_mode):
            self._state[path] = Entry("link", content=os.readlink(name, dir_fd=fd))
        elif stat.S_ISDIR(status.st_mode) and (inner := _entered(fd, name)) >= 0:
            self._state[path] = Entry("folder", mode)
            try:
                self._folder(inner, f"{path}/", depth + 1)
            finally:
                os.close(inner)
        else:
            self._state[path] = Entry("other")

    def _file(self, fd: int, name: str, path: str, status: os.stat_result) -> Entry:
        self._room -= status.st_size
        if self._room < 0:
            raise TooMuch("Its files are too large.")
        sign = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
        known = self._known.pop(path, None)
        if known is None or known[0] != sign:
            known = sign, self._read(fd, name, status)
        if max(sign[1:3]) < self._settled:
            self._known[path] = known
        return known[1]

    def _read(self, fd: int, name: str, status: os.stat_result) -> Entry:
        try:
            file = os.open(name, READ, dir_fd=fd)
        except OSError:
            return Entry("other")  # closed to us, or a link since a moment ago
        with os.fdopen(file, "rb") as stream:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return Entry("other")
            content, size = self._objects.take(stream, status.st_size + self._room)
        return Entry("file", stat.S_IMODE(status.st_mode) & 0o777, status.st_mtime_ns, size, content)


def _entered(fd: int, name: str) -> int:
    """A descriptor of an inner folder; -1 where it is closed to us, or is none any more."""
    try:
        return os.open(name, FOLDER, dir_fd=fd)
    except FileNotFoundError:
        raise
    except OSError:
        return -1
