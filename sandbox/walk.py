"""Everything below a folder, however deep it is and whatever changes meanwhile. Standard library only.

Code in a sandbox can nest folders deeper than Python recurses and than a path may be long, and it can put a
link in a folder's place while somebody looks. So this goes by descriptors, follows no link and keeps a list.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NAME_LIMIT = 250
"""Longer paths are opened from a folder on their way: each part costs, and 4,096 bytes are too many."""


class Found(NamedTuple):
    """Something in a folder.

    Attributes:
        folder: The folder's descriptor, open until the next one is asked for.
        name: Its name there.
        status: Of the thing itself, not of what a link leads to.
    """

    folder: int
    name: str
    status: os.stat_result


def walk(root: Path) -> Iterator[Found | None]:
    """What is below a folder; a folder is found before it is opened. None stands for one that is closed."""
    waiting: list[tuple[_Folder | None, str]] = [(None, str(root))]
    while waiting:
        anchor, name = waiting.pop()
        try:
            folder = _Folder(name, anchor)
            with os.scandir(folder.fd) as entries:
                for entry in entries:
                    yield Found(folder.fd, entry.name, entry.stat(follow_symlinks=False))
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(folder.below(entry.name))
        except FileNotFoundError:
            continue  # it was there a moment ago
        except OSError:
            yield None


class _Folder:
    """An open folder; closed when nobody refers to it any more."""

    def __init__(self, name: str, anchor: _Folder | None) -> None:
        self.fd = -1
        self._name, self._anchor = name, anchor
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        self.fd = os.open(name, flags, dir_fd=anchor.fd if anchor else None)

    def below(self, name: str) -> tuple[_Folder | None, str]:
        """How to open a folder in this one: by its path from an earlier one, while that is short enough."""
        path = f"{self._name}/{name}"
        return (self._anchor, path) if len(path) < NAME_LIMIT else (self, name)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
