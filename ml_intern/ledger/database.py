"""A SQLite file for one process with threads and for readers beside it: whole transactions or nothing."""

from __future__ import annotations

import io
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ml_intern.errors import InternError
from ml_intern.ledger.model import ItemScores


class Database:
    """One connection behind a lock, in WAL mode, flushed at each commit.

    Raises:
        InternError: The file is no SQLite file, or damaged.
    """

    def __init__(self, path: Path, tables: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(tables)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise InternError(
                f"{path} cannot be read: {error}.", "Restore the file, or start a new session."
            ) from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """One transaction; BEGIN IMMEDIATE takes the write lock before anything is read."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def run(self, sql: str, values: tuple[Any, ...] = ()) -> None:
        """Write; inside of `change`."""
        self._connection.execute(sql, values)

    def one(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        """The first row, or None."""
        with self._lock:
            return self._connection.execute(sql, values).fetchone()

    def all(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """All rows."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()


def pack(items: Mapping[str, ItemScores]) -> bytes:
    """Items of each metric as one compressed npz."""
    arrays: dict[str, Any] = {}
    for name, scores in items.items():
        arrays[f"{name}/numerator"] = scores.numerator
        arrays[f"{name}/denominator"] = scores.denominator
        if scores.groups is not None:
            arrays[f"{name}/groups"] = scores.groups
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def unpack(blob: bytes) -> dict[str, ItemScores]:
    """The inverse of `pack`."""
    with np.load(io.BytesIO(blob), allow_pickle=False) as arrays:
        names = [key.removesuffix("/numerator") for key in arrays.files if key.endswith("/numerator")]
        return {
            name: ItemScores(
                arrays[f"{name}/numerator"],
                arrays[f"{name}/denominator"],
                arrays[f"{name}/groups"] if f"{name}/groups" in arrays.files else None,
            )
            for name in names
        }
