"""The session's append-only record.

One SQLite file in WAL mode. Ordinary lines are written with ``synchronous=NORMAL``: they survive the death of
the process, not always that of the machine. Intents of side effects are written with ``FULL``: when the call
goes out, the line that says so is on the disk.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_intern.masking import mask, mask_all

_SCHEMA = """
create table if not exists journal (
    seq integer primary key autoincrement,
    at real not null,
    kind text not null,
    payload text not null
)
"""


@dataclass(frozen=True)
class Entry:
    """One line of the journal."""

    seq: int
    at: float
    kind: str
    payload: dict[str, Any]


class Journal:
    """Append-only; safe from several threads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=normal")
        self._db.execute(_SCHEMA)

    def append(self, kind: str, payload: dict[str, Any], *, durable: bool = False) -> int:
        """Write a line; answers its number. `durable` waits until the disk has it."""
        text = json.dumps(mask_all(payload), ensure_ascii=False, default=lambda value: mask(str(value)))
        # Half of a surrogate pair, as in an odd file name, is text to Python and not to SQLite.
        text = text.encode("utf-8", "backslashreplace").decode()
        with self._lock:
            if durable:
                self._db.execute("pragma synchronous=full")
            try:
                row = self._db.execute(
                    "insert into journal (at, kind, payload) values (?, ?, ?)", (time.time(), kind, text)
                )
            finally:
                if durable:
                    self._db.execute("pragma synchronous=normal")
            return int(row.lastrowid or 0)

    def entries(self, kind: str | None = None) -> Iterator[Entry]:
        """The lines in order, of one kind or all."""
        where, values = ("where kind = ?", (kind,)) if kind else ("", ())
        with self._lock:
            rows = self._db.execute(
                f"select seq, at, kind, payload from journal {where} order by seq", values
            ).fetchall()
        for seq, at, name, payload in rows:
            yield Entry(seq, at, name, json.loads(payload))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def read_journal(path: Path) -> list[Entry]:
    """The lines of a journal, which is opened read-only: nothing is written, mended or moved.

    Raises:
        OSError: It cannot be opened.
        sqlite3.DatabaseError: It is damaged.
        ValueError: A line of it is.
    """
    if path.stat().st_size == 0:
        raise ValueError("the file is empty")
    with _unchanged(path) as db:
        rows = db.execute("select seq, at, kind, payload from journal order by seq").fetchall()
    return [_entry(*row) for row in rows]


def salvage(path: Path) -> tuple[list[Entry], int]:
    """What can be read of a damaged journal, and how many lines between can not; it is opened read-only.

    From the front to the first hole, and from the back to the last one.

    Raises:
        OSError: It cannot be opened.
        sqlite3.DatabaseError: Nothing can be read.
    """
    with _unchanged(path) as db:
        found, whole = _run_of(db, "asc", after=-1)
        last = max(found, default=-1)
        if not whole:
            found |= _run_of(db, "desc", after=last)[0]
    if not found and not whole:
        raise sqlite3.DatabaseError("nothing of it can be read")
    kept: list[Entry] = []
    for seq, row in sorted(found.items()):
        try:
            kept.append(_entry(seq, *row))
        except (ValueError, TypeError):
            continue
    return kept, max(found, default=0) - len(kept)


def _run_of(db: sqlite3.Connection, way: str, after: int) -> tuple[dict[int, tuple[Any, Any, Any]], bool]:
    """The raw lines up to the first that cannot be read, and whether there was none."""
    found: dict[int, tuple[Any, Any, Any]] = {}
    try:
        rows = db.execute(
            f"select seq, at, kind, payload from journal where seq > ? order by seq {way}", (after,)
        )
        for seq, *row in rows:
            found[int(seq)] = (row[0], row[1], row[2])
    except (sqlite3.DatabaseError, ValueError, TypeError):
        return found, False
    return found, True


def _entry(seq: Any, at: Any, kind: Any, payload: Any) -> Entry:
    known = json.loads(payload)
    if not isinstance(known, dict) or not isinstance(kind, str):
        raise ValueError(f"line {seq} is none")
    return Entry(int(seq), float(at), kind, known)


@contextmanager
def _unchanged(path: Path) -> Iterator[sqlite3.Connection]:
    """A journal to read. SQLite needs a file beside it: where the folder cannot be written, it reads a copy."""
    with tempfile.TemporaryDirectory() as aside:
        try:
            db = _open(path)
        except sqlite3.OperationalError:
            for part in (path, path.with_name(f"{path.name}-wal")):
                if part.exists():
                    shutil.copyfile(part, Path(aside, part.name))
            db = _open(Path(aside, path.name))
        with closing(db):
            yield db


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        db.execute("pragma schema_version").fetchone()
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db
