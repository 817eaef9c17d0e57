"""Undoing the last turn of a session: the brain forgets it, the workspace is as it was before it.

What was spent, launched or published cannot be taken back; it is named. The journal keeps everything: undoing
is one more line in it.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.errors import UsageError
from ml_intern.events import Notice
from ml_intern.journal.journal import Entry, Journal
from ml_intern.journal.reading import JOURNAL
from ml_intern.router.recorded import Recorded
from ml_intern.session.lock import SessionLock
from ml_intern.workspace.keeping import Kept
from ml_intern.workspace.snapshots import moved_on

if TYPE_CHECKING:
    from ml_intern.session.session import Session

LASTING = ("compute", "publish", "destroy")
"""Effects that no undoing takes back."""


@dataclass(frozen=True)
class Undone:
    """What became of a turn.

    Attributes:
        prompt: Its prompt; nothing: it was the session's first.
        steps: How many the brain forgets.
        workspace: Whether the files are as they were before it.
        stays: Calls of it that nothing takes back.
    """

    prompt: str
    steps: int
    workspace: bool
    stays: list[str]

    def _repr_html_(self) -> str:
        from ml_intern.notebook.outcome import undone

        return undone(self)


def keep_for_undo(session: Session, first: int) -> None:
    """Copy the workspace before the turn that begins with a step, if it is not too large."""
    kept = _kept(session.folder, session.workspace, first, session.settings.undo_mb)
    if kept.there:
        return
    if not kept.keep():
        _make_room(session.folder / "turns", session.settings.undo_mb << 20)
    else:
        told = (
            f"The workspace is above {session.settings.undo_mb} MB: undoing this turn will not bring it back."
        )
        session.emit(Notice("info", told))


def _make_room(folder: Path, most_bytes: int) -> None:
    """Drop the copies of the oldest turns where all together take too much."""
    copies = sorted((p for p in folder.iterdir() if p.name.isdecimal()), key=lambda path: int(path.name))
    sizes = [sum(p.lstat().st_size for p in copy.rglob("*") if p.is_file()) for copy in copies]
    while len(copies) > 1 and sum(sizes) > most_bytes:
        shutil.rmtree(copies.pop(0), ignore_errors=True)
        sizes.pop(0)


def undo(folder: Path, workspace: Path) -> Undone:
    """Undo the last turn of a session that does not run.

    Args:
        folder: The session's.
        workspace: Where its cells work.

    Raises:
        SessionBusy: It runs.
        UsageError: There is nothing to undo.
        Damaged: Its journal cannot be read to the end.
    """
    if not (folder / JOURNAL).is_file():
        raise UsageError(f"The session {folder.name} has no journal: there is nothing to undo.")
    lock = SessionLock(folder)
    try:
        with closing(_opened(folder)) as journal:
            return _undo(folder, workspace, journal)
    finally:
        lock.release()


def _opened(folder: Path) -> Journal:
    from ml_intern.session.resuming import Damaged

    try:
        Recorded.in_folder(folder)
        return Journal(folder / JOURNAL)
    except (sqlite3.DatabaseError, ValueError) as error:
        raise Damaged.of(folder, error) from None


def _undo(folder: Path, workspace: Path, journal: Journal) -> Undone:
    entries = list(journal.entries())
    known = Recorded.of(entries)
    if not known.turns and not known.anything:
        raise UsageError(f"There is nothing to undo in the session {folder.name}.")
    turn = known.turns[-1] if known.turns else None
    first = turn.step if turn else known.begun
    steps = sum(said.step >= first for said in known.answers)
    journal.append("undo", {"step": first}, durable=True)
    restored = put_back(folder, workspace, [first])
    return Undone(turn.prompt if turn else "", steps, restored, _lasting(entries, first))


def put_back(folder: Path, workspace: Path, undone: Iterable[int]) -> bool:
    """Make the workspace what it was before a turn that was undone; also where a crash came between."""
    restored = False
    for first in sorted(undone, reverse=True):
        kept = _kept(folder, workspace, first)
        if kept.there:
            kept.put_back()
            restored = True
    if restored:
        moved_on(folder, workspace)
    return restored


def _kept(folder: Path, workspace: Path, first: int, most_mb: int = 0) -> Kept:
    return Kept(folder / "turns" / str(first), workspace, most_mb << 20, "workspace")


def _lasting(entries: Iterable[Entry], first: int) -> list[str]:
    """The calls of the steps from a number on that had an effect beyond the workspace."""
    found: dict[str, str] = {}
    for entry in entries:
        given = entry.payload
        if entry.kind == "intent" and given.get("effect") in LASTING:
            number = re.fullmatch(r"cell-(\d+)", str(given.get("source", "")))
            if number and int(number[1]) >= first:
                found[given["call"]] = f"{given['tool']} ({given['call']})"
        elif entry.kind == "result" and not given.get("ok"):
            found.pop(given["call"], None)
    return list(found.values())
