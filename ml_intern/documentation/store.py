"""The index of what is installed: SQLite's full-text search, one file, a part for each library."""

from __future__ import annotations

import itertools
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_intern.documentation.words import asked_words, like, split_name

FORMAT = 1
"""Another layout of the rows gets another file."""

MOST_PARTS = 40
"""Libraries that are kept; the one that was longest unused goes first."""

MOST_ROWS = 60_000
"""Of one library."""

WEIGHTS = (9.0, 3.0, 5.0, 1.0)
"""What a word counts in the name, in what the name stands in, in the summary, in the text."""

CANDIDATES = 400
"""Entries of a library that are looked at closely; half of that where several are searched."""

_COLUMNS = (
    "p.library, p.version, e.name, e.kind, e.public, e.signature, e.summary, e.id, e.file, e.line, e.fame"
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS parts (
    id INTEGER PRIMARY KEY, place TEXT, library TEXT, version TEXT, state TEXT, used REAL,
       UNIQUE (place, library));
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, part INTEGER, name TEXT, kind TEXT, public INTEGER, signature TEXT, summary TEXT,
    file TEXT, line INTEGER, fame INTEGER);
CREATE INDEX IF NOT EXISTS entries_part ON entries (part);
CREATE INDEX IF NOT EXISTS entries_name ON entries (name);
PRAGMA user_version = 1;
"""


_WORDS = """CREATE VIRTUAL TABLE words_{} USING fts5 (
    own, above, summary, body, tokenize='porter unicode61')"""
# A table for each library: how rare a word is does not depend on what else was ever searched.


@dataclass(frozen=True)
class Entry:
    """Something that can be found.

    Attributes:
        name: Dotted; for a page its file and heading.
        kind: class, function, method, field, parameter, module, page.
        public: 2: the library offers it; 1: it stands somewhere below; 0: private or experimental.
        signature: As it is written.
        summary: First paragraph.
        row: Its number in the index, for `Store.body`.
        file: Where it stands, and `line`.
        fame: How many other entries speak of it, or of the class that it belongs to.
    """

    library: str
    version: str
    name: str
    kind: str
    public: int
    signature: str
    summary: str
    row: int
    file: str
    line: int
    fame: int
    score: float = 0.0


class Store:
    """The index in a file; safe for several processes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"docs-{FORMAT}.sqlite"

    def open(self) -> sqlite3.Connection:
        """A connection; the file is made where it is missing, and anew where it is broken."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._opened()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self.path.unlink(missing_ok=True)
            return self._opened()

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")  # a lost index is built again
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            connection.executescript(_SCHEMA)
        return connection

    def has(self, place: str, library: str, state: str) -> bool:
        """Whether this state of a library is indexed."""
        with closing(self.open()) as connection, connection:
            found = connection.execute(
                "UPDATE parts SET used = ? WHERE place = ? AND library = ? AND state = ? RETURNING id",
                (time.time(), place, library, state),
            ).fetchall()
        return bool(found)

    def put(self, place: str, library: str, version: str, state: str, rows: Iterable[Sequence[Any]]) -> int:
        """Index a library in place of what was there of it before; how many rows."""
        with closing(self.open()) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            self._drop(connection, "place = ? AND library = ?", (place, library))
            part = connection.execute(
                "INSERT INTO parts (place, library, version, state, used) VALUES (?,?,?,?,?)",
                (place, library, version, state, time.time()),
            ).lastrowid
            taken = list(itertools.islice(rows, MOST_ROWS))
            known = fame(taken)
            connection.execute(_WORDS.format(part))
            for row in taken:
                self._add(connection, part, row, known)
            old = connection.execute(
                "SELECT id FROM parts ORDER BY used DESC LIMIT -1 OFFSET ?", (MOST_PARTS,)
            ).fetchall()
            for (gone,) in old:
                self._drop(connection, "id = ?", (gone,))
        return len(taken)

    @staticmethod
    def _add(
        connection: sqlite3.Connection, part: int | None, row: Sequence[Any], known: Counter[str]
    ) -> None:
        name, kind, public, signature, summary, body, file, line = row
        added = connection.execute(
            "INSERT INTO entries (part, name, kind, public, signature, summary, file, line, fame)"
            " VALUES (?,?,?,?,?,?,?,?,?) RETURNING id",
            (part, name, kind, public, signature, summary, file, line, _fame(name, kind, known)),
        ).fetchone()[0]
        above, _, own = name.rpartition("#" if kind == "page" else ".")
        near = above.split("/")[-1] if kind == "page" else ".".join(above.split(".")[-2:])
        connection.execute(
            f"INSERT INTO words_{part} (rowid, own, above, summary, body) VALUES (?,?,?,?,?)",
            (added, split_name(own), split_name(near) if near else "", f"{signature} {summary}", body),
        )

    @staticmethod
    def _drop(connection: sqlite3.Connection, which: str, values: tuple[Any, ...]) -> None:
        ids = [row[0] for row in connection.execute(f"SELECT id FROM parts WHERE {which}", values)]
        for part in ids:
            connection.execute(f"DROP TABLE IF EXISTS words_{part}")
            connection.execute("DELETE FROM entries WHERE part = ?", (part,))
            connection.execute("DELETE FROM parts WHERE id = ?", (part,))

    def candidates(self, place: str, libraries: Sequence[str], question: str) -> list[Entry]:
        """What has words of the question, by BM25, the best first."""
        matched = _match(question)
        if not matched:
            return []
        weights = ",".join(map(str, WEIGHTS))
        found: list[Entry] = []
        with closing(self.open()) as connection:
            parts = self._parts(connection, place, libraries)
            most = CANDIDATES if len(parts) < 2 else CANDIDATES // 2
            for part in parts:
                rows = connection.execute(
                    f"SELECT {_COLUMNS}, -w.score FROM (SELECT rowid, bm25(words_{part}, {weights}) AS score"
                    f" FROM words_{part} WHERE words_{part} MATCH ? ORDER BY score LIMIT ?) w"
                    " JOIN entries e ON e.id = w.rowid JOIN parts p ON p.id = e.part",
                    (matched, most),
                )
                found += [Entry(*row) for row in rows]
        return found

    @staticmethod
    def _parts(connection: sqlite3.Connection, place: str, libraries: Sequence[str]) -> list[int]:
        marks = ",".join("?" * len(libraries))
        found = connection.execute(
            f"SELECT id FROM parts WHERE place = ? AND library IN ({marks})", (place, *libraries)
        )
        return [int(row[0]) for row in found]

    def named(self, place: str, names: Sequence[str]) -> list[Entry]:
        """The entries of these names."""
        marks = ",".join("?" * len(names))
        with closing(self.open()) as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS}, 0.0 FROM entries e JOIN parts p ON p.id = e.part"
                f" WHERE p.place = ? AND e.name IN ({marks})",
                (place, *names),
            ).fetchall()
        return [Entry(*row) for row in rows]

    def body(self, entry: Entry) -> str:
        """All the text of an entry."""
        with closing(self.open()) as connection:
            part = connection.execute("SELECT part FROM entries WHERE id = ?", (entry.row,)).fetchone()
            if not part:
                return ""
            found = connection.execute(f"SELECT body FROM words_{part[0]} WHERE rowid = ?", (entry.row,))
            return "".join(str(row[0]) for row in found)


_NAMES = re.compile(r"\b(?:[A-Z][a-z0-9]*[A-Z]?\w+|[a-z]\w*_\w+)\b")


def fame(rows: Sequence[Sequence[Any]]) -> Counter[str]:
    """How many entries speak of each name: what many others mention is what people ask for."""
    told: Counter[str] = Counter()
    for row in rows:
        told.update({*_NAMES.findall(row[5])} - {row[0].rpartition(".")[2]})
    return told


def _fame(name: str, kind: str, known: Counter[str]) -> int:
    *above, own = name.split(".")
    if kind in ("method", "field", "parameter") and above:
        return known[above[-1]]
    return known[own] if kind in ("class", "function") else 0


def _match(question: str) -> str:
    words = asked_words(question)
    every = dict.fromkeys([*words, *(other for word in words for other in like(word))])
    return " OR ".join(f'"{word}"' for word in every)
