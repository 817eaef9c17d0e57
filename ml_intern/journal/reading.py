"""Reads a journal and changes nothing about it: whole, or else what a damaged one still gives.

Nothing is opened for writing, so a file that is damaged, foreign or on a read-only disk stays as it is.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile
from typing import Any

from ml_intern.journal.journal import Entry

CARD, JOURNAL = "session.json", "journal.sqlite"
"""The files of a session's folder that tell what it was and what it did."""

_LINES = "select seq, at, kind, payload from journal order by seq"


@dataclass
class Salvaged:
    """What could be read.

    Attributes:
        entries: The lines, in order.
        problem: Why it is not all; empty where it is.
    """

    entries: list[Entry] = field(default_factory=list)
    problem: str = ""


def whole(path: Path) -> list[Entry]:
    """All lines of a sound journal.

    Raises:
        ValueError: It is empty, or a line in it makes no sense.
        sqlite3.DatabaseError: It is no journal, or damaged.
    """
    if not path.is_file() or path.stat().st_size == 0:
        raise ValueError("it is empty" if path.is_file() else "it is no file")
    with _opened(path) as db:
        verdict = str(db.execute("pragma quick_check(1)").fetchone()[0])
        if verdict != "ok":
            raise ValueError(verdict.splitlines()[-1])
        return [_entry(row) for row in db.execute(_LINES)]


def salvage(path: Path) -> Salvaged:
    """The lines that can be read, from both ends of the place where a file is damaged."""
    found = Salvaged()
    lost = 0
    rows, found.problem = _rows(path)
    for row in rows:
        try:
            found.entries.append(_entry(row))
        except ValueError as error:
            lost, found.problem = lost + 1, found.problem or str(error)
    if lost:
        found.problem += f"; {lost} of {len(rows)} lines make no sense"
    return found


def _rows(path: Path) -> tuple[list[Any], str]:
    rows: list[Any] = []
    try:
        with _opened(path, forgiving=True) as db:
            try:
                rows.extend(db.execute(_LINES))
                return rows, ""
            except sqlite3.DatabaseError as error:
                problem = str(error)
            seen, tail = {row[0] for row in rows}, []
            try:
                for row in db.execute(f"{_LINES} desc"):
                    if row[0] in seen:
                        break
                    tail.append(row)
            except sqlite3.DatabaseError:
                pass
            return [*rows, *reversed(tail)], problem
    except (sqlite3.DatabaseError, OSError) as error:
        return rows, str(error)


def _entry(row: Any) -> Entry:
    seq, at, kind, text = row
    try:
        payload = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"line {seq} is no JSON") from None
    if not isinstance(payload, dict) or not isinstance(kind, str) or not isinstance(at, int | float):
        raise ValueError(f"line {seq} is no line of a journal")
    return Entry(seq, at, kind, payload)


@contextmanager
def _opened(path: Path, forgiving: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write. Where the system forbids what even a reader needs, one to a copy."""
    with ExitStack() as stack:
        try:
            db = stack.enter_context(closing(_connect(path, forgiving)))
            db.execute("select count(*) from sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            if "unable to open" not in str(error):
                raise
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            db = stack.enter_context(closing(_connect(_copied(path, scratch), forgiving)))
        yield db


def _copied(path: Path, folder: Path) -> Path:
    for ending in ("", "-wal"):
        if (part := path.with_name(path.name + ending)).exists():
            copyfile(part, folder / part.name)
    return folder / path.name


def _connect(path: Path, forgiving: bool) -> sqlite3.Connection:
    # Without its -wal nobody has it open, and a reader need not leave one behind either.
    still = "" if path.with_name(path.name + "-wal").exists() else "&immutable=1"
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{still}", uri=True, check_same_thread=False)
    db.text_factory = _text
    if forgiving:  # the one way to make SQLite look into a file that is shorter than it ought to be
        db.execute("pragma writable_schema=on")
    return db


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
