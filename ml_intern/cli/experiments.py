"""Experiments for people: a tree, each with its value, its interval and how it stands against another."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_intern.cli.board import clean, show_number
from ml_intern.cli.tables import table, width_of

Row = Mapping[str, Any]
"""An experiment, or a comparison, as the JSON of the ledger has it."""
HEADER = ("experiment", "verdict", "{metric}", "against its parent", "sealed test", "change")
DEEPEST = 6
SHORTEST_CHANGE = 18
"""Columns that the change of an experiment has in a table, gap and all; with less there is no table."""


def read(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The experiments and the comparisons of a session, as JSON objects; none where it has no ledger."""
    from ml_intern.ledger import Ledger

    path = folder / "ledger.sqlite"
    if not path.is_file():
        return [], []
    ledger = Ledger(path)
    try:
        comparisons = [c.model_dump(mode="json") for c in ledger.comparisons()]
        return [e.model_dump(mode="json") for e in ledger.list()], comparisons
    finally:
        ledger.close()


def lines_of(
    experiments: Sequence[Row], comparisons: Sequence[Row] = (), width: int | None = None
) -> list[str]:
    """A table, at most so wide; where numbers would be cut, a few lines for each experiment."""
    primaries = {e["primary"] for e in experiments if e.get("primary")}
    one = primaries.pop() if len(primaries) == 1 else None
    header = [name.format(metric=one or "dev") for name in HEADER]
    by_id = {e["id"]: e for e in experiments}
    rows = [_row(e, depth, one, against(e, comparisons, by_id)) for depth, e in tree(experiments)]
    numbers = table(header[:-1], [row[:-1] for row in rows])
    if width is None or max(map(width_of, numbers), default=0) + SHORTEST_CHANGE <= width:
        return table(header, rows, width, whole=range(len(HEADER) - 1))
    return [line for row in rows for line in _block(header, row, width)]


def _block(header: Sequence[str], row: Sequence[str], width: int) -> Iterator[str]:
    """One experiment in lines of its own, for a narrow terminal."""
    id_, verdict, value, stands, test, change = row
    indent = " " * (len(id_) - len(id_.lstrip(" └")) + 2)
    head = f"{id_}  {verdict}" + (f"  {header[2]} {value}" if value else "")
    yield head if width_of(head) <= width else f"{id_}  {verdict}"
    told = (
        (value if width_of(head) > width else "", f"{header[2]} "),
        (change, ""),
        (stands, f"{header[3]} "),
        (test, f"{header[4]} "),
    )
    for text, name in told:
        if text:
            lines = textwrap.wrap(name + clean(text), max(20, width - len(indent)))
            yield from (indent + line for line in lines)


def tree(experiments: Sequence[Row]) -> list[tuple[int, Row]]:
    """Each below its parent, with its depth; what a damaged ledger puts in a circle stands at the top."""
    known = {e["id"] for e in experiments}
    below: dict[str | None, list[Row]] = {}
    for e in experiments:
        parent = e.get("parent")
        below.setdefault(parent if parent in known and parent != e["id"] else None, []).append(e)
    found: list[tuple[int, Row]] = []
    waiting = [(0, e) for e in reversed(below.get(None, []))]
    while waiting:
        depth, e = waiting.pop()
        found.append((depth, e))
        waiting += [(depth + 1, child) for child in reversed(below.get(e["id"], []))]
    shown = {e["id"] for _, e in found}
    return found + [(0, e) for e in experiments if e["id"] not in shown]


def _row(e: Row, depth: int, one: str | None, stands: str) -> tuple[str, ...]:
    branch = f"{'  ' * (min(depth, DEEPEST) - 1)}└ " if depth else ""
    return (
        branch + str(e["id"]),
        str(e["verdict"]),
        _measured(e.get("dev") or {}, e.get("primary"), one),
        stands,
        _measured(e.get("test") or {}, e.get("primary"), one),
        clean(str(e["change"])),
    )


def _measured(metrics: Mapping[str, Mapping[str, Any]], primary: str | None, one: str | None) -> str:
    """The value of the metric that decides, with its interval; its name where it is not the column's."""
    name = primary if primary in metrics else next(iter(metrics), None)
    if name is None:
        return ""
    m = metrics[name]
    told = f"{show_number(m['value'])} [{show_number(m['low'])}, {show_number(m['high'])}]"
    return told if name == one else f"{name} {told}"


def against(e: Row, comparisons: Sequence[Row], by_id: Mapping[str, Row]) -> str:
    """How it stands against its parent, else against what it was held against last, in a few words."""
    own = [c for c in comparisons if c["b"] == e["id"]]
    found = next((c for c in reversed(own) if c["a"] == e.get("parent")), own[-1] if own else None)
    if found is None:
        return _untested(e, by_id.get(e.get("parent") or "", {}))
    told = f"{_signed(found['difference'])} [{_signed(found['low'])}, {_signed(found['high'])}]"
    told += f" {found['verdict']}"
    if (confirmed := found.get("confirmed")) is not None:
        told += ", confirmed" if confirmed else ", not confirmed"
    elif found.get("seeds_needed") is not None:
        told += ", too few seeds to tell"
    return told if found["a"] == e.get("parent") else f"{told} (against {found['a']})"


def _untested(e: Row, parent: Row) -> str:
    """The bare difference of two values that nobody has compared; a further seed stands for itself."""
    if e.get("replicates"):
        return ""
    metric = str(e.get("primary") or "")
    values = [row.get("dev", {}).get(metric, {}).get("value") for row in (parent, e)]
    return f"{_signed(values[1] - values[0])} (not compared)" if None not in values else ""


def _signed(value: float) -> str:
    return f"{value:+.3g}"
