"""Whether what an open tab shows may have changed: sizes and times of files tell it, nothing is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

_JOB_FILES = ("status.json", "metrics.jsonl", "log.txt")
_LEDGER = ("ledger.sqlite", "ledger.sqlite-wal")
SPACING_S = {"Jobs": 1.5, "Curves": 1.5, "Experiments": 2.0, "Files": 5.0}
"""A tab is drawn anew so often at most, in seconds. Files are looked for in the whole workspace."""

Stamp = tuple[object, ...]


class PanelChanges:
    """Of one open page; the first answer is yes, so that nothing that got lost is missing for long.

    Args:
        tab: The name of the tab that the page shows.
    """

    def __init__(self, tab: str) -> None:
        self._tab = tab
        self._looked = 0.0
        self._stamp: Stamp | None = None

    async def changed(self, session: Path | None, happened: object) -> bool:
        """Whether to draw it anew.

        Args:
            session: The folder of the session that the page shows.
            happened: Another value after something happened in the session.
        """
        now = time.monotonic()
        if self._tab not in SPACING_S or now - self._looked < SPACING_S[self._tab]:
            return False
        self._looked = now
        stamp = await asyncio.to_thread(stamp_of, self._tab, session, happened)
        self._stamp, before = stamp, self._stamp
        return stamp != before


def stamp_of(tab: str, session: Path | None, happened: object = None) -> Stamp:
    """Equal to the one before as long as the tab shows the same."""
    if session is None:
        return ()
    if tab == "Files":
        return (session, happened)
    paths = _job_files(session) if tab in ("Jobs", "Curves") else (session / name for name in _LEDGER)
    return (session, *map(_facts, paths))


def _job_files(session: Path) -> Iterator[Path]:
    for folder in sorted((session / "jobs").glob("[!.]*")):
        yield from (folder / name for name in _JOB_FILES)


def _facts(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
