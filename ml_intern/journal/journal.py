"""The session's append-only record.

One SQLite file in WAL mode. Ordinary lines are written with ``synchronous=NORMAL``: they survive the death of
the process, not always that of the machine. Intents of side effects are written with ``FULL``: when the call
goes out, the line that says so is on the disk.

On a full disk the room that was kept is given up: what is under way is written down, and the run is told to
end. A line that cannot be written even so raises.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_intern.clock import now
from ml_intern.secrets.masking import mask, mask_all
from ml_intern.workspace.disk import DiskTrouble, told
from ml_intern.workspace.room import Room

ROOM_BYTES = 1 << 20
"""Lines are rarely longer than some ten thousand bytes: room for all that end a run."""

NOT_TAKEN = "The answer was not taken yet"
"""The first words of what is written beside an answer that was held back."""

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
    """Append-only; safe from several threads.

    Attributes:
        trouble: Why lines cannot be written any more, or only in the room that was kept for the last ones.
        on_trouble: Called once, when there is.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.trouble: DiskTrouble | None = None
        self.on_trouble: Callable[[], None] = lambda: None
        self._room = Room(path.with_name("room"), ROOM_BYTES)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=normal")
        self._db.execute(_SCHEMA)
        self._file = path.stat().st_ino

    def keep_room(self) -> None:
        """Take the room for the last lines.

        Raises:
            DiskTrouble: There is none: a run would end at its first line.
        """
        with told(f"The journal {self.path}"):
            self._room.take()

    def give_up_room(self) -> None:
        """Free it: what is written now are the last lines."""
        self._room.give_up()

    def append(self, kind: str, payload: dict[str, Any], *, durable: bool = False) -> int:
        """Write a line; answers its number. `durable` waits until the disk has it.

        Raises:
            DiskTrouble: It cannot be written.
        """
        text = json.dumps(mask_all(payload), ensure_ascii=False, default=lambda value: mask(str(value)))
        # Half of a surrogate pair, as in an odd file name, is text to Python and not to SQLite.
        text = text.encode("utf-8", "backslashreplace").decode()
        try:
            with self._lock:
                return self._insert_somehow((now(), kind, text), durable)
        finally:
            if self.trouble is not None:
                heard, self.on_trouble = self.on_trouble, lambda: None
                heard()

    def _insert_somehow(self, row: tuple[float, str, str], durable: bool) -> int:
        self._check_place()
        try:
            return self._insert(row, durable)
        except sqlite3.Error as error:
            trouble = DiskTrouble.of(error, f"The journal {self.path}")
            if trouble is None:
                raise
            self.trouble = self.trouble or trouble
            if not self._room.give_up():
                raise trouble from error
        with told(f"The journal {self.path}"):
            return self._insert(row, durable)

    def _insert(self, row: tuple[float, str, str], durable: bool) -> int:
        if durable:
            self._db.execute("pragma synchronous=full")
        try:
            done = self._db.execute("insert into journal (at, kind, payload) values (?, ?, ?)", row)
        finally:
            if durable:
                self._db.execute("pragma synchronous=normal")
        return int(done.lastrowid or 0)

    def _check_place(self) -> None:
        """SQLite writes on into a file that somebody has removed, and nobody would ever read it."""
        try:
            there = self.path.stat().st_ino == self._file
        except OSError:
            there = False
        if not there:
            self.trouble = DiskTrouble(f"The journal {self.path} is gone: somebody removed or replaced it.")
            raise self.trouble

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
