"""What lay in a workspace when it was put back: kept for a person, who may have changed something by hand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ml_intern.workspace.looking import Entry, Objects, State

FOLDER = "put-back"
MOST = 10
"""So many are kept, the newest ones."""


def rescue(folder: Path, was: State, target: State, objects: Objects) -> Path | None:
    """Write the files that were changed or removed to a folder of the session; None where there are none.

    Args:
        folder: The session's.
        was: The workspace before it was put back.
        target: The workspace now.
        objects: Has the contents.
    """
    changed = {path: entry for path, entry in was.items() if _differs(entry, target.get(path))}
    if not changed:
        return None
    place = _next(folder / FOLDER)
    _drop_old(place)
    for path, entry in changed.items():
        data = objects.get(entry.content)
        try:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            if data is not None:
                (place / path).write_bytes(data)
        except OSError:
            continue  # a path that is too long, a disk that is full: the rest is worth keeping all the same
    return place


def _differs(entry: Entry, other: Entry | None) -> bool:
    return entry.kind == "file" and (other is None or other.content != entry.content)


def _next(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    number = 1 + max((int(name) for name in os.listdir(folder) if name.isdecimal()), default=0)  # noqa: PTH208
    return folder / str(number)


def _drop_old(newest: Path) -> None:
    for number in range(1, int(newest.name) - MOST + 1):
        shutil.rmtree(newest.with_name(str(number)), ignore_errors=True)
