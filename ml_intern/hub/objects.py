"""Files by content: written beside, checked, flushed, and only then renamed into place.

A process that is killed leaves at most a file in ``tmp``; what lies under ``objects`` is always whole.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ml_intern.hub.names import Problem

STALE_S = 24 * 3600
"""What is this old was left behind by a process that ended."""


@dataclass(frozen=True)
class Entry:
    """A file of a commit.

    Attributes:
        size: Bytes of the content.
        sha256: Of the content; where the bytes are found.
        oid: What git calls it: the blob's sha1, for a large file that of its pointer.
        lfs: Whether it is a large file.
    """

    size: int
    sha256: str
    oid: str
    lfs: bool

    @property
    def etag(self) -> str:
        """What a client caches the file under."""
        return self.sha256 if self.lfs else self.oid


class Objects:
    """The content of every file of every repository under one root."""

    def __init__(self, root: Path) -> None:
        self._objects = root / "objects"
        self._tmp = root / "tmp"
        for folder in (self._objects, self._tmp):
            folder.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def path(self, sha256: str) -> Path:
        """Where the bytes are, or would be."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise Problem("BadRequest", f"{sha256!r} is not a sha256.")
        return self._objects / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Whether the bytes are here."""
        return self.path(sha256).is_file()

    def put(self, data: bytes) -> Entry:
        """Store a regular file."""
        with self.writer() as writer:
            writer.write(data)
            sha256 = writer.keep()
        return Entry(len(data), sha256, git_blob(data), lfs=False)

    def large(self, sha256: str) -> Entry:
        """The entry of a large file that was uploaded before.

        Raises:
            Problem: ``BadRequest`` when it was not.
        """
        path = self.path(sha256)
        if not path.is_file():
            raise Problem("BadRequest", f"The large file {sha256} was not uploaded.")
        size = path.stat().st_size
        return Entry(size, sha256, git_blob(pointer(sha256, size)), lfs=True)

    def writer(self) -> Writer:
        """A new file; nothing of it is seen before `Writer.keep`."""
        return Writer(self, self._tmp)

    def _sweep(self) -> None:
        """Drop what interrupted uploads left behind, a day later: another server may still be writing."""
        for left in self._tmp.iterdir():
            try:
                if time.time() - left.stat().st_mtime > STALE_S:
                    left.unlink()
            except FileNotFoundError:
                continue


class Writer:
    """A file on its way into the store. Use as a context; without `keep` it leaves nothing."""

    def __init__(self, objects: Objects, tmp: Path) -> None:
        self._store = objects
        handle, name = tempfile.mkstemp(dir=tmp)
        self._file: IO[bytes] = os.fdopen(handle, "wb")
        self._path = Path(name)
        self._hash = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def keep(self, sha256: str | None = None) -> str:
        """Put the file in its place; the sha256 comes back.

        Raises:
            Problem: ``BadRequest`` when the content is not what was announced.
        """
        found = self._hash.hexdigest()
        if sha256 is not None and found != sha256:
            raise Problem("BadRequest", f"The upload has sha256 {found}, announced was {sha256}.")
        self._file.flush()
        os.fsync(self._file.fileno())
        target = self._store.path(found)
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            self._path.replace(target)
            flush_folder(target.parent)
        return found


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, whenever the power goes."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def git_object(kind: str, data: bytes) -> str:
    """The id that git gives to an object."""
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


def git_blob(data: bytes) -> str:
    """The id that git gives to a file's content."""
    return git_object("blob", data)


def pointer(sha256: str, size: int) -> bytes:
    """What git holds in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
