"""The user that a root host's sandboxes run as, and the files that this user must own."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ml_intern.sandbox.walk import walk

FIRST, COUNT = 50_000, 10_000
"""User ids that Linux systems leave unused (systemd and Debian hand out ids below and above)."""

NOBODY = 65_534


def sandbox_user(workspace: Path) -> tuple[int, int]:
    """User and group id for a workspace: its owner's where that is no root, else one made from its path.

    The same workspace gets the same user again, so that a resumed session can change its files. Each has its
    own, because the system counts processes by user.
    """
    owner = workspace.stat()
    if owner.st_uid != 0:
        return owner.st_uid, owner.st_gid
    number = FIRST + zlib.crc32(os.fsencode(workspace)) % COUNT
    number = number if number in _mapped() else NOBODY
    return number, number


def hand_over(paths: Iterable[Path], user: tuple[int, int]) -> None:
    """Give root's files and folders to the sandbox's user; links are not followed, others' stay theirs.

    Works by folder descriptor: code in an earlier sandbox that still runs could swap a folder for a link.
    """
    for path in paths:
        if os.lstat(path).st_uid == 0:
            os.chown(path, *user, follow_symlinks=False)
        if path.is_dir():
            for found in walk(path):
                if found and found.status.st_uid == 0:
                    with suppress(FileNotFoundError):
                        os.chown(found.name, *user, dir_fd=found.folder, follow_symlinks=False)


def _mapped() -> range:
    """The user ids that exist here: a container may know only some."""
    try:
        spans = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except OSError:
        return range(1 << 32)
    for first, _, count in spans:
        if int(first) <= FIRST and int(first) + int(count) >= FIRST + COUNT:
            return range(int(first), int(first) + int(count))
    return range(0)
