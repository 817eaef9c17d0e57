"""Rows that somebody brought become items that the host keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.evals.columns import Columns, choices_of, column_of, place_of, rubric_of, tests_of
from ml_intern.evals.model import Item
from ml_intern.ledger.model import Split

INPUTS = ("text", "input", "prompt", "question")
TARGETS = ("target", "answer", "completion", "label", "output")
RIGHT_OPTIONS = (*TARGETS, "answerKey", "answer_index", "correct")
"""Columns that say which option of a multiple choice is right."""


def readings(item: Item) -> list[str]:
    """The forms in which an item may stand in training data."""
    more = [*filter(None, [item.tests]), *(item.also or ())]
    answer = item.answer
    if answer is None:
        return [item.input, *more]
    return [
        item.input,
        item.input + answer,
        f"{item.input} {answer}",
        f"{item.input}\n{answer}",
        *more,
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
    more: Columns = Columns(),
) -> list[Item]:
    """The items of an eval; see `Evals.register` for the arguments.

    Raises:
        ToolError: A column is missing, or a row has nothing in it.
    """
    if not rows:
        raise ToolError(f"The eval {name!r} has no rows.")
    columns = list(rows[0])
    input = column_of(columns, input, INPUTS, "text or prompt")
    target = _target(columns, target, more) if target or needs_target else None
    items = []
    for number, row in enumerate(rows, 1):
        text = row.get(input)
        if not isinstance(text, str) or not text:
            raise ToolError(f"Row {number} of the eval {name!r} has no text in the column {input!r}.")
        where = f"Row {number} of the eval {name!r}"
        if target and row.get(target) is None:
            raise ToolError(f"{where} has nothing in the column {target!r}.")
        choices, right = None, str(row[target]) if target else None
        if more.choices:
            choices, labels = choices_of(row, more.choices, where)
            right = place_of(row[target], choices, labels, where) if target else None
        cluster = str(row[group]) if group and row.get(group) is not None else None
        items.append(
            Item(
                split=_split(row, split_by, cluster or text, number),
                input=text,
                target=right,
                group=cluster,
                slice=str(row[slice_by]) if slice_by and row.get(slice_by) is not None else None,
                choices=choices,
                tests=tests_of(row, more.tests, where) if more.tests else None,
                rubric=rubric_of(row, more.rubric, where) if more.rubric else None,
                also=[str(text) for text in row.get("also") or ()] or None,
            )
        )
    return items


def _target(columns: Sequence[str], named: str | None, more: Columns) -> str:
    return column_of(columns, named, RIGHT_OPTIONS if more.choices else TARGETS, "right answer")


def groups_of(items: Sequence[Item]) -> dict[str, int]:
    """Groups by split; an item without one is a group of its own."""
    found: dict[str, set[str]] = {}
    for number, item in enumerate(items):
        found.setdefault(item.split, set()).add(f"i{number}" if item.group is None else f"g{item.group}")
    return {split: len(names) for split, names in sorted(found.items())}


def _split(row: dict[str, Any], split_by: str | None, unit: str, number: int) -> Split:
    if split_by is None:
        return "dev" if hashlib.sha256(unit.encode()).digest()[0] % 2 else "test"
    said = row.get(split_by)
    if said not in ("dev", "test"):
        raise ToolError(f"Row {number}: {split_by} = {said!r} is neither dev nor test.")
    return "dev" if said == "dev" else "test"
