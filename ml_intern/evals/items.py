"""Rows that somebody brought become items that the host keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.evals.model import Item
from ml_intern.ledger.model import Split
from ml_intern.tooling import did_you_mean

INPUTS = ("text", "input", "prompt", "question")
TARGETS = ("target", "answer", "completion", "label", "output")


def readings(item: Item) -> list[str]:
    """The forms in which an item may stand in training data."""
    if item.target is None:
        return [item.input]
    return [
        item.input,
        item.input + item.target,
        f"{item.input} {item.target}",
        f"{item.input}\n{item.target}",
    ]


def items_from(
    name: str,
    rows: Sequence[dict[str, Any]],
    input: str | None,
    target: str | None,
    needs_target: bool,
    split_by: str | None,
    group: str | None,
    slice_by: str | None,
) -> list[Item]:
    """The items of an eval; see `Evals.register` for the arguments.

    Raises:
        ToolError: A column is missing, or a row has nothing in it.
    """
    if not rows:
        raise ToolError(f"The eval {name!r} has no rows.")
    columns = list(rows[0])
    input = _column(columns, input, INPUTS, "text or prompt")
    target = _column(columns, target, TARGETS, "right answer") if target or needs_target else None
    items = []
    for number, row in enumerate(rows, 1):
        text = row.get(input)
        if not isinstance(text, str) or not text:
            raise ToolError(f"Row {number} of the eval {name!r} has no text in the column {input!r}.")
        if target and row.get(target) is None:
            raise ToolError(f"Row {number} of the eval {name!r} has nothing in the column {target!r}.")
        cluster = str(row[group]) if group and row.get(group) is not None else None
        items.append(
            Item(
                split=_split(row, split_by, cluster or text, number),
                input=text,
                target=str(row[target]) if target else None,
                group=cluster,
                slice=str(row[slice_by]) if slice_by and row.get(slice_by) is not None else None,
            )
        )
    return items


def groups_of(items: Sequence[Item]) -> dict[str, int]:
    """Groups by split; an item without one is a group of its own."""
    found: dict[str, set[str]] = {}
    for number, item in enumerate(items):
        found.setdefault(item.split, set()).add(f"i{number}" if item.group is None else f"g{item.group}")
    return {split: len(names) for split, names in sorted(found.items())}


def _column(columns: Sequence[str], named: str | None, usual: Sequence[str], what: str) -> str:
    found = (
        named
        if named in columns
        else next((c for c in usual if c in columns), None)
        if named is None
        else None
    )
    if found is None:
        guess = did_you_mean(named, columns) if named else ""
        raise ToolError(
            f"The rows have no column {named or ' or '.join(usual)!r} for the {what}{guess}.",
            f"Columns: {', '.join(columns)}.",
        )
    return found


def _split(row: dict[str, Any], split_by: str | None, unit: str, number: int) -> Split:
    if split_by is None:
        return "dev" if hashlib.sha256(unit.encode()).digest()[0] % 2 else "test"
    said = row.get(split_by)
    if said not in ("dev", "test"):
        raise ToolError(f"Row {number}: {split_by} = {said!r} is neither dev nor test.")
    return "dev" if said == "dev" else "test"
