"""The session's append-only record.

One SQLite file in WAL mode. Ordinary lines are written with ``synchronous=NORMAL``: they survive the death of
the process, not always that of the machine. Intents of side effects are written with ``FULL``: when the call
goes out, the line that says so is on the disk.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
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
