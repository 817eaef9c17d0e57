"""The rows of a ledger: opened, read and written back whole, each change one transaction."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.events import Event, ExperimentChanged
from ml_intern.ledger.database import Database
from ml_intern.ledger.environment import environment as this_environment
from ml_intern.ledger.model import Experiment
from ml_intern.tooling import did_you_mean

_TABLES = """
CREATE TABLE IF NOT EXISTS experiments (number INTEGER PRIMARY KEY, key TEXT UNIQUE, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS scores (
    number INTEGER PRIMARY KEY, experiment TEXT, eval TEXT NOT NULL, split TEXT NOT NULL,
    model TEXT NOT NULL, body TEXT NOT NULL, items BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS scores_by_eval ON scores (eval, split, model);
CREATE TABLE IF NOT EXISTS comparisons (
    a TEXT, b TEXT, eval TEXT, metric TEXT, body TEXT NOT NULL, PRIMARY KEY (a, b, eval, metric));
CREATE TABLE IF NOT EXISTS replaced (number INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS frozen (one INTEGER PRIMARY KEY CHECK (one = 1), experiment TEXT, model TEXT);
"""


class Rows:
    """The experiments of a ledger; see `ml_intern.ledger.store.Ledger`."""

    def __init__(self, path: Path, emit: Callable[[Event], None] = lambda event: None) -> None:
        self.path = path
        self._emit = emit
        self._db = Database(path, _TABLES)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def get(self, id: str) -> Experiment:
        """One experiment.

        Raises:
            ToolError: There is none of that id.
        """
        row = self._db.one("SELECT body FROM experiments WHERE number = ?", (_number(id),))
        if row is None:
            known = [e.id for e in self.list()]
            raise ToolError(
                f"There is no experiment {id!r}{did_you_mean(id, known)}.",
                f"Experiments: {', '.join(known)}." if known else "Open one with start_experiment.",
            )
        return Experiment.model_validate_json(row[0])

    def list(self) -> list[Experiment]:
        """All experiments, oldest first."""
        return [
            Experiment.model_validate_json(b)
            for (b,) in self._db.all("SELECT body FROM experiments ORDER BY number")
        ]

    def by_key(self, key: str) -> Experiment | None:
        """The experiment that a call with this key opened, if it did."""
        return self._by_key(key)

    # Below

    def _open(self, key: str | None, **told: Any) -> Experiment:
        number = self._db.one("SELECT COALESCE(MAX(number), 0) + 1 FROM experiments")[0]
        opened = Experiment(id=f"exp-{number}", environment=this_environment(), created=time.time(), **told)
        self._db.run("INSERT INTO experiments VALUES (?, ?, ?)", (number, key, opened.model_dump_json()))
        return opened

    def _by_key(self, key: str) -> Experiment | None:
        row = self._db.one("SELECT body FROM experiments WHERE key = ?", (key,))
        return Experiment.model_validate_json(row[0]) if row else None

    def _row(self, id: str) -> dict[str, Any]:
        self.get(id)
        text = self._db.one("SELECT body FROM experiments WHERE number = ?", (_number(id),))[0]
        row: dict[str, Any] = json.loads(text)
        return row

    def _store(self, row: dict[str, Any]) -> Experiment:
        """Write a row back; `spent` is what each job cost, which the experiment shows as a sum."""
        checked = Experiment.model_validate(row)
        body = {**checked.model_dump(), "spent": row.get("spent", {})}
        self._db.run(
            "UPDATE experiments SET body = ? WHERE number = ?", (json.dumps(body), _number(checked.id))
        )
        return checked

    def _tell(self, e: Experiment) -> None:
        metrics = {name: m.value for name, m in e.dev.items()} | {
            f"test {n}": m.value for n, m in e.test.items()
        }
        self._emit(ExperimentChanged(e.id, e.change, e.verdict, metrics))


def _number(id: str) -> int:
    found = re.fullmatch(r"exp-(\d+)", id)
    return int(found[1]) if found else 0
