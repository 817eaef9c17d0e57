"""What a card may say of who saw held-out items: those that a split of the session sealed lay open before."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath

from ml_intern.data.store import DatasetInfo, DatasetStore
from ml_intern.errors import ToolError

_READERS = ("inspect_dataset", "audit_dataset")
_BEFORE = """
select kind, payload from journal
where at < ? and (kind = 'cell' or (kind = 'intent' and instr(payload, '"source"') > 0)) order by seq"""
_READS = re.compile(r"\bopen\(|read|load|scan_|\bcat\b|\bhead\b|\.lines\b")
"""What a cell's code has where it reads a file."""


@dataclass(frozen=True)
class Sealed:
    """An evaluation that a split of this session has made.

    Attributes:
        eval: Its name.
        source: What was split.
        at: When, in seconds since 1970.
        read: A cell or a call that shows rows had read the source before, as far as the journal tells.
    """

    eval: str
    source: str
    at: float
    read: bool

    def told(self, source: str) -> str:
        """The same in a sentence, with the source as it may be called."""
        when = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d %H:%M")
        before = "a cell had read it before" if self.read else "no cell is known to have read it before"
        return (
            f"Those of `{self.eval}` were sealed at {when} UTC, when {source} was split: {before}, no"
            " training saw them, and no tool showed them from then on."
        )


def sealed_by_splits(evals: Iterable[str], data: DatasetStore, journal: Path) -> list[Sealed]:
    """The evaluations among these that came of a split; the others were sealed before the first cell."""
    wanted, found = set(evals), dict[str, Sealed]()
    for info in sorted(data.list(), key=lambda info: info.created):
        made = info.lineage
        name = made.arguments.get("eval")
        if made.operation == "split_dataset" and name in wanted and name not in found:
            source = PurePath(made.source).name if made.source.startswith(("/", "~")) else made.source
            names = set(_names(info, data))
            found[name] = Sealed(name, source, info.created, _was_read(journal, info.created, names))
    return [*found.values()]


def _names(info: DatasetInfo, data: DatasetStore) -> Iterator[str]:
    """What the source of a dataset is called, and what that was made of."""
    source = info.lineage.source
    yield from {source, PurePath(source.partition(":")[0] or source).name}
    for parent in info.lineage.parents:
        yield from (parent, parent.partition("@")[0])
        try:
            yield from _names(data.info(parent), data)
        except ToolError:
            continue


def _was_read(journal: Path, until: float, names: set[str]) -> bool:
    if not journal.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return any(_reads(kind, payload, names) for kind, payload in db.execute(_BEFORE, (until,)))
    except sqlite3.Error:
        return False


def _reads(kind: str, payload: str, names: set[str]) -> bool:
    try:
        told = json.loads(payload)
    except ValueError:
        return False
    if kind == "intent":
        source = str((told.get("arguments") or {}).get("source") or "")
        return told.get("tool") in _READERS and bool({source, PurePath(source).name} & names)
    lines = str(told.get("code") or "").splitlines()
    return any(_READS.search(line) and any(name in line for name in names) for line in lines)
