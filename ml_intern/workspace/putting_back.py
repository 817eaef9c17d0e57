"""Makes a workspace what it was, or a part of it.

Cells may run at the same time: nothing here follows a link, and what cannot be done is left out and told.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from ml_intern.errors import ToolError
from ml_intern.sandbox.shared import FOLDER as OURS
from ml_intern.workspace.looking import CHUNK, Entry, Objects, State
from ml_intern.workspace.safe_files import FOLDER, READ, opened_folder, write_file

TRIES = 3
"""So often a folder is emptied that something fills again."""


def put_back(root: Path, target: State, objects: Objects) -> list[str]:
    """Make a workspace be `target`; the paths that could not be brought to it.

    Only the folders of the target are looked into: what else is there goes, however much and deep it is.
    """
    missed = []
    inside: dict[str, set[str]] = {"": set()}
    for path, entry in sorted(target.items()):  # outer folders first
        folder, _, name = path.rpartition("/")
        inside[folder].add(name)
        if entry.kind == "folder":
            inside[path] = set()
    for folder, names in inside.items():
        missed += _clear(root, folder, names)
        for path in (f"{folder}/{name}" if folder else name for name in sorted(names)):
            if not put(root, path, target[path], objects):
                missed.append(path)
    return missed


def apply(root: Path, entries: Mapping[str, Entry], gone: Iterable[str], objects: Objects) -> list[str]:
    """Bring a part of a workspace to what it was; the paths that could not be."""
    missed = [path for path in sorted(gone, reverse=True) if not remove(root, path)]
    return missed + [path for path, entry in sorted(entries.items()) if not put(root, path, entry, objects)]


def put(root: Path, path: str, entry: Entry, objects: Objects) -> bool:
    """Make one entry what it was; whether that could be. Its folder is there."""
    place = root / path
    try:
        with opened_folder(root, place.parent) as fd:
            if entry.kind == "other" or _same(fd, place.name, entry):
                return True
            there = _kind(fd, place.name)
            if there != entry.kind or entry.kind == "link":
                _remove(fd, place.name)
            if entry.kind == "folder" != there:
                os.mkdir(place.name, 0o700, dir_fd=fd)
            elif entry.kind == "link":
                os.symlink(entry.content, place.name, dir_fd=fd)
        if entry.kind == "file":
            data = objects.get(entry.content)
            if data is None:
                return False
            write_file(root, place, data)
        with opened_folder(root, place.parent) as fd:
            _dress(fd, place.name, entry, root.stat())
    except (OSError, ToolError):
        return False
    return True


def remove(root: Path, path: str) -> bool:
    """Remove an entry and all that lies below; whether it is gone."""
    place = root / path
    try:
        with opened_folder(root, place.parent) as fd:
            _remove(fd, place.name)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _clear(root: Path, folder: str, names: set[str]) -> list[str]:
    """Remove what does not belong into a folder; the paths that could not be removed."""
    missed = []
    try:
        with opened_folder(root, root / folder) as fd:
            for name in set(os.listdir(fd)) - names - ({OURS} if not folder else set()):  # noqa: PTH208
                try:
                    _remove(fd, name)
                except OSError:
                    missed.append(f"{folder}/{name}" if folder else name)
    except OSError:
        missed.append(folder)
    return missed


def _same(fd: int, name: str, entry: Entry) -> bool:
    """Whether something is what it was; a file is read for that."""
    try:
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if entry.kind == "link":
        return stat.S_ISLNK(status.st_mode) and os.readlink(name, dir_fd=fd) == entry.content
    if stat.S_IMODE(status.st_mode) & 0o777 != entry.mode:
        return False
    if entry.kind == "folder":
        return stat.S_ISDIR(status.st_mode)
    alike = stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (entry.size, entry.mtime)
    return alike and _hash(fd, name) == entry.content


def _hash(fd: int, name: str) -> str:
    digest = hashlib.sha256()
    with os.fdopen(os.open(name, READ, dir_fd=fd), "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _kind(fd: int, name: str) -> str:
    try:
        mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return ""
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "another"


def _dress(fd: int, name: str, entry: Entry, owner: os.stat_result) -> None:
    """Rights, time and owner of something that was put there."""
    if os.geteuid() == 0 and entry.kind != "file":
        os.chown(name, owner.st_uid, owner.st_gid, dir_fd=fd, follow_symlinks=False)
    if entry.kind == "link":
        return
    inner = os.open(name, FOLDER if entry.kind == "folder" else READ, dir_fd=fd)
    try:
        os.fchmod(inner, entry.mode)
        if entry.kind == "file":
            os.utime(inner, ns=(entry.mtime, entry.mtime))
    finally:
        os.close(inner)


def _remove(fd: int, name: str) -> None:
    """Remove a file or a folder. Inner folders are moved up first: no depth is too deep."""
    try:
        os.unlink(name, dir_fd=fd)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass
    waiting, tries = [name], 0
    while waiting:
        _lift(fd, waiting[-1], waiting)
        try:
            os.rmdir(waiting[-1], dir_fd=fd)
            waiting.pop()
        except FileNotFoundError:
            waiting.pop()
        except OSError:
            tries += 1
            if tries > TRIES + len(waiting):
                raise


def _lift(fd: int, name: str, waiting: list[str]) -> None:
    """Empty a folder: files go, folders come up beside it and wait for their turn."""
    try:
        inner = os.open(name, FOLDER, dir_fd=fd)
    except PermissionError:  # it may be ours to open
        _open_up(fd, name)
        inner = os.open(name, FOLDER, dir_fd=fd)
    try:
        for entry in list(os.scandir(inner)):
            if entry.is_dir(follow_symlinks=False):
                aside = f".gone-{secrets.token_hex(8)}"
                os.rename(entry.name, aside, src_dir_fd=inner, dst_dir_fd=fd)
                waiting.insert(0, aside)
            else:
                os.unlink(entry.name, dir_fd=inner)
    finally:
        os.close(inner)


def _open_up(fd: int, name: str) -> None:
    """Give ourselves the rights to a folder; a link that took its place is not followed."""
    place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    try:
        Path(f"/proc/self/fd/{place}").chmod(0o700)
    finally:
        os.close(place)
