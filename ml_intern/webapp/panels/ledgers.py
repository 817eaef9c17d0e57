"""The ledger of a session as a reader beside its owner sees it: opened read-only, again when it changed."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from ml_intern.ledger import Comparison, Experiment

MOST_KEPT = 64
T = TypeVar("T", Experiment, Comparison)
_Stamp = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Ledgered:
    """What a ledger holds, oldest first. `problem` says why it could not be read."""

    experiments: Sequence[Experiment] = ()
    comparisons: Sequence[Comparison] = ()
    problem: str = ""

    def against_parent(self, e: Experiment) -> Comparison | None:
        """How an experiment stands against its parent on the metric that decides, the newest word on it."""
        own = [c for c in self.comparisons if c.b == e.id and c.a == e.parent]
        return next((c for c in reversed(own) if c.metric == e.primary), own[-1] if own else None)

    def about(self, e: Experiment) -> list[Comparison]:
        """All comparisons that an experiment is part of."""
        return [c for c in self.comparisons if e.id in (c.a, c.b)]


def read_ledger(path: Path) -> Ledgered:
    """Read a ledger without changing it; a row that cannot be read is left out."""
    if not path.is_file():
        return Ledgered()
    # Without its -wal nobody has it open, and a reader need not leave one behind either.
    still = "" if path.with_name(path.name + "-wal").exists() else "&immutable=1"
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{still}", uri=True, timeout=2)
        ) as db:
            rows = db.execute("SELECT body FROM experiments ORDER BY number").fetchall()
            held = db.execute("SELECT body FROM comparisons ORDER BY rowid").fetchall()
    except sqlite3.Error as error:
        return Ledgered(problem=f"The ledger cannot be read: {error}.")
    return Ledgered(
        [e for (body,) in rows if (e := _checked(Experiment, body))],
        [c for (body,) in held if (c := _checked(Comparison, body))],
    )


def _checked(kind: type[T], body: str) -> T | None:
    try:
        return kind.model_validate_json(body)
    except ValidationError:
        return None


class Ledgers:
    """Ledgers that pages look at. May be asked from any thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, tuple[_Stamp, Ledgered]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, session: Path | None) -> Ledgered:
        """What the ledger of a session's folder holds now."""
        if session is None:
            return Ledgered()
        path = session / "ledger.sqlite"
        stamp = tuple(_stamp(path.with_name(path.name + end)) for end in ("", "-wal"))
        with self._lock:
            known = self._kept.get(path)
        if known and known[0] == stamp:
            return known[1]
        found = read_ledger(path)
        with self._lock:
            if not found.problem:
                self._kept[path] = stamp, found
                self._kept.move_to_end(path)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return known[1] if found.problem and known else found


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_size
