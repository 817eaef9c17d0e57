"""A mirrored folder on the host's side: what both ends agreed on, and how the other's changes are taken over.

What comes out of a sandbox is untrusted: a path is a plain name below the folder or nothing, links are
neither followed nor made, and what the host has in the way stays.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ml_intern.errors import InternError
from ml_intern.sandbox.e2b_bundle import CHUNK
from ml_intern.sandbox.e2b_tree import MAX_DEPTH, MAX_FILES, RACY_NS, Sign, TooMany, walk
from ml_intern.workspace.safe_files import open_file, opened_folder, write_file


class Folder:
    """One mirrored folder.

    Args:
        path: The folder, here and inside.
        write: The sandbox's changes are taken over.
        only: Names to which the mirror is held; nothing: all.
        append: Its files only grow.
        skip: Paths below that are no part of it.
        most: Larger files are left out.

    Attributes:
        known: For each file how it looks here, and how inside.
        folders: Folders that both ends have.
        owed: Reported by the sandbox, and not yet taken over: path, size, time, first byte, content.
        base: Bytes inside when it was first complete.
        skipped: What was told and not taken over.
    """

    def __init__(
        self,
        path: Path,
        write: bool,
        only: Iterable[str] = (),
        append: bool = False,
        skip: Iterable[str] = (),
        most: int | None = None,
    ) -> None:
        self._most = most
        self.path, self.write, self.append = path, write, append
        self.only, self.skip = set(only), frozenset(skip)
        self.known: dict[str, tuple[Sign, Sign]] = {}
        self.folders: set[str] = set()
        self.owed: dict[str, list[Any]] = {}
        self.base = self.skipped = 0
        self._unsettled: dict[str, bytes] = {}

    def told(self) -> dict[str, Any]:
        """For the other end."""
        return {
            "path": str(self.path),
            "write": self.write,
            "only": sorted(self.only),
            "append": self.append,
            "skip": sorted(self.skip),
            "known": {path: inside for path, (_, inside) in self.known.items()},
        }

    def takes_in(self, new: Folder) -> bool:
        """Whether another one is the same but for its names, which this one then has, too."""
        same = (self.path, self.write, self.append, bool(self.only))
        if same != (new.path, new.write, new.append, bool(new.only)):
            return False
        self.only |= new.only
        return True

    # What the host has

    def look(self) -> tuple[dict[str, os.stat_result], set[str]]:
        """The files and folders that the sandbox is to have.

        Raises:
            InternError: There are too many.
        """
        if self.only:
            paths = {name: self.path / name for name in self.only}
            regular = {name: p for name, p in paths.items() if p.is_file() and not p.is_symlink()}
            return {name: p.lstat() for name, p in regular.items()}, set()
        try:
            files, folders = walk(str(self.path), self.skip)
        except TooMany:
            raise InternError(
                f"{str(self.path)!r} has more than {MAX_FILES:,} files, and E2B's copy takes no more.",
                "Move what the sandbox does not need out of it, or run with --sandbox local.",
            ) from None
        if self._most is not None:
            files = {path: found for path, found in files.items() if found.st_size <= self._most}
        return files, folders

    def changed(self, files: dict[str, os.stat_result]) -> list[str]:
        """What the host changed since the last exchange."""
        return [path for path, now in files.items() if self._is_new(path, (now.st_size, now.st_mtime_ns))]

    def _is_new(self, path: str, now: Sign) -> bool:
        pair = self.known.get(path)
        if pair is None or pair[0] != now:
            return True
        return path in self._unsettled and self._unsettled[path] != self._digest(path)

    def agree(self, path: str, here: os.stat_result, inside: Sign) -> None:
        """Both ends have the same now."""
        self.known[path] = ((here.st_size, here.st_mtime_ns), inside)
        self.owed.pop(path, None)
        self._unsettled.pop(path, None)
        if time.time_ns() - here.st_mtime_ns < RACY_NS:
            self._unsettled[path] = self._digest(path)

    def forget(self, path: str) -> None:
        """Neither end has it."""
        self.known.pop(path, None)
        self.owed.pop(path, None)
        self._unsettled.pop(path, None)

    def size(self) -> int:
        """Bytes inside, with what is owed."""
        inside = {path: sign[0] for path, (_, sign) in self.known.items()}
        return sum((inside | {path: entry[1] for path, entry in self.owed.items()}).values())

    # What the sandbox tells

    def note(self, changes: dict[str, Any]) -> None:
        """Take over removals and folders; remember which files are owed.

        Raises:
            InternError: There are too many.
        """
        for path in self._fitting(changes.get("gone")):
            self._remove(path)
        for path in self._fitting(changes.get("gone_folders")):
            with suppress(OSError), opened_folder(self.path, (self.path / path).parent) as fd:
                os.rmdir(Path(path).name, dir_fd=fd)
            self.folders.discard(path)
        for path in self._fitting(changes.get("folders")):
            self._room(len(self.folders))
            if not self.only:
                self._make_folder(path)
        for entry in _list(changes.get("changed")):
            if not _is_entry(entry) or not self._fits(entry[0]):
                self.skipped += 1
                continue
            pair = self.known.get(entry[0])
            if pair is None:
                self._room(len(self.known) + len(self.owed))
            if pair is None or pair[1] != (entry[1], entry[2]):
                self.owed[entry[0]] = entry

    def take(self, path: str, data: bytes, inside: Sign, start: int = 0) -> bool:
        """The file as the sandbox has it, unless the host has a newer one; whether more is needed for that.

        Args:
            path: Below the folder.
            data: Its bytes from `start` on.
            inside: Its size and time there.
            start: Where the file only grew, what is here already.
        """
        if start:
            return not self._append(path, start, data, inside)
        target = self.path / path
        pair, now = self.known.get(path), _sign(target)
        if now is not None and (pair is None or pair[0] != now) and now[1] > inside[1]:
            self.owed.pop(path, None)  # the next push brings the host's in
            return False
        try:
            if "/" in path:
                self._make_folder(path.rpartition("/")[0])
            if now is None or not self._has(target, data):
                write_file(self.path, target, data)
            self.agree(path, target.lstat(), inside)
        except (InternError, OSError):
            self.owed.pop(path, None)  # a link or a folder of the host's is in the way
            self.skipped += 1
        return False

    def take_large(self, path: str, pieces: Iterable[bytes], mtime: int) -> None:
        """A file that is too large for memory, as it comes; it takes its name when it is whole."""
        target, temporary = self.path / path, f".{secrets.token_hex(8)}"
        if "/" in path:
            self._make_folder(path.rpartition("/")[0])
        owner = self.path.stat()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with opened_folder(self.path, target.parent) as folder:
                try:
                    with os.fdopen(os.open(temporary, flags, 0o644, dir_fd=folder), "wb") as out:
                        out.writelines(pieces)
                        if os.geteuid() == 0:
                            os.fchown(out.fileno(), owner.st_uid, owner.st_gid)
                    os.rename(temporary, target.name, src_dir_fd=folder, dst_dir_fd=folder)
                finally:
                    with suppress(OSError):
                        os.unlink(temporary, dir_fd=folder)
            here = target.lstat()
            self.agree(path, here, (here.st_size, mtime))
        except OSError:
            self.owed.pop(path, None)
            self.skipped += 1

    def _append(self, path: str, start: int, data: bytes, inside: Sign) -> bool:
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with suppress(OSError), opened_folder(self.path, (self.path / path).parent) as folder:
            fd = os.open(Path(path).name, flags, dir_fd=folder)
            with os.fdopen(fd, "ab") as out:
                if os.fstat(fd).st_size != start:
                    return False
                out.write(data)
                out.flush()
                self.agree(path, os.fstat(fd), inside)
                return True
        return False

    def _remove(self, path: str) -> None:
        """Remove what was removed inside, unless the host changed it since."""
        pair = self.known.get(path)
        if pair is not None and _sign(self.path / path) == pair[0]:
            with suppress(OSError), opened_folder(self.path, (self.path / path).parent) as fd:
                os.unlink(Path(path).name, dir_fd=fd)
        self.forget(path)

    def _make_folder(self, path: str) -> None:
        owner, at = self.path.stat(), self.path
        with suppress(OSError):
            for part in path.split("/"):
                with opened_folder(self.path, at) as fd, suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=fd)
                    if os.geteuid() == 0:
                        os.chown(part, owner.st_uid, owner.st_gid, dir_fd=fd, follow_symlinks=False)
                at = at / part
                self.folders.add(str(at.relative_to(self.path)))

    def _has(self, path: Path, data: bytes) -> bool:
        """Whether a file has this content already: then nobody who watches it is woken."""
        with suppress(InternError), os.fdopen(open_file(self.path, path), "rb") as file:
            return os.fstat(file.fileno()).st_size == len(data) and file.read() == data
        return False

    def _digest(self, path: str) -> bytes:
        made = hashlib.blake2b()
        with suppress(InternError), os.fdopen(open_file(self.path, self.path / path), "rb") as file:
            while piece := file.read(CHUNK):
                made.update(piece)
        return made.digest()

    def _fitting(self, paths: Any) -> list[str]:
        found = [path for path in _list(paths) if self._fits(path)]
        self.skipped += len(_list(paths)) - len(found)
        return found

    def _fits(self, path: Any) -> bool:
        """Whether a path is a plain name below the folder, and of what is mirrored."""
        if not _is_below(path) or (self.only and path not in self.only):
            return False
        return not any(path == part or path.startswith(part + "/") for part in self.skip)

    @staticmethod
    def _room(there: int) -> None:
        """There may be twice as many as there are at one time: some are gone, and that is told later."""
        if there >= 2 * MAX_FILES:
            raise InternError(f"The sandbox told of more than {MAX_FILES:,} files.", "Remove some.")


def _is_below(path: Any) -> bool:
    """No way up, no empty part, nothing that a file cannot be called."""
    if not isinstance(path, str) or not 0 < len(path) <= 4096 or "\0" in path:
        return False
    parts = path.split("/")
    try:
        short = all(len(os.fsencode(part)) <= 255 for part in parts)
    except UnicodeEncodeError:
        return False
    return short and len(parts) <= MAX_DEPTH + 1 and not {"", ".", ".."} & set(parts)


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, list) or len(entry) != 5 or not isinstance(entry[0], str):
        return False
    numbers = all(type(n) is int and 0 <= n < 1 << 63 for n in entry[1:4])
    return numbers and entry[3] <= entry[1] and (entry[4] is None or isinstance(entry[4], str))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _sign(path: Path) -> Sign | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
