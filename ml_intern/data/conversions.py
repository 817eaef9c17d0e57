"""From one of TRL's formats to another, where a row does not simply become a row with other columns.

Preferences come with their prompt in a column of its own or at the head of both answers; TRL takes both, and
the common head is split off by TRL's own rule (``trl.extract_prompt``). Answers that were judged one by one
(``label``) and pairs of a better and a worse one become each other. A preferred answer, or one that was
judged good, is what a model is taught; the others never become its examples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ml_intern.data.frames import frame
from ml_intern.data.table import GROUP_COLUMNS, is_messages
from ml_intern.errors import ToolError

if TYPE_CHECKING:
    import polars as pl

Row = dict[str, Any]

TAUGHT = ("prompt_completion", "conversational", "language_modeling")
"""Targets of which a model learns every answer."""


def from_preferences(rows: pl.DataFrame, target: str, notes: list[str]) -> pl.DataFrame:
    """Preferences in the columns that a target is made of.

    Args:
        rows: With ``chosen`` and ``rejected``.
        target: What they shall become.
        notes: Takes what a reader should know.
    """
    if target == "preference" and ("prompt" in rows.columns or not is_messages(rows, "chosen")):
        return rows
    found = _explicit(rows, notes)
    if target in TAUGHT:
        notes.append("The preferred answers were taken; the rejected ones were left out.")
        return _renamed(found, {"prompt": "prompt", "chosen": "completion"})
    if target == "unpaired_preference":
        judged = (
            {**_origin(row), "prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
            for row in found
            for side in ("chosen", "rejected")
        )
        return frame("preferences", list(judged), notes)
    return frame("preferences", found, notes)


def from_judged(rows: pl.DataFrame, target: str, notes: list[str]) -> pl.DataFrame:
    """Answers with a label in the columns that a target is made of.

    Raises:
        ToolError: No prompt has both a good and a bad answer.
    """
    found = rows.to_dicts()
    if target in TAUGHT:
        good = [{k: v for k, v in row.items() if k != "label"} for row in found if row["label"]]
        notes.append(f"{len(found) - len(good)} answers that were judged bad were left out.")
        if not good:
            raise ToolError("No answer was judged good.", "Nothing is left to be taught.")
        return frame("answers", good, notes)
    if target != "preference":
        return rows
    pairs = _paired(found)
    if not pairs:
        raise ToolError("No prompt has a good and a bad answer.", "A preference needs both.")
    notes.append(
        f"{2 * len(pairs)} of {len(found)} answers have a partner of the other kind; the rest is left out."
    )
    return frame("pairs", pairs, notes)


def _paired(rows: Sequence[Row]) -> list[Row]:
    """The first good answer of a prompt with its first bad one, the second with the second."""
    sides: dict[str, dict[bool, list[Row]]] = defaultdict(lambda: {True: [], False: []})
    for row in rows:
        if row["label"] is not None:
            sides[repr(row["prompt"])][bool(row["label"])].append(row)
    return [
        {
            **_origin(good),
            "prompt": good["prompt"],
            "chosen": good["completion"],
            "rejected": bad["completion"],
        }
        for both in sides.values()
        for good, bad in zip(both[True], both[False], strict=False)
    ]


def _explicit(rows: pl.DataFrame, notes: list[str]) -> list[Row]:
    """Rows with their prompt in a column of its own."""
    found: list[Row] = rows.to_dicts()
    if "prompt" in rows.columns:
        return found
    split = [_split(row) for row in found if row["chosen"] and row["rejected"]]
    whole = [row for row in split if row["prompt"] and row["chosen"] and row["rejected"]]
    notes.append("The prompt is what both answers begin with.")
    if len(whole) < len(found):
        notes.append(f"{len(found) - len(whole)} rows without a common prompt were left out.")
    if not whole:
        raise ToolError("No row's answers begin with a common prompt.", "Name it: mapping={'prompt': …}.")
    return whole


def _split(row: Row) -> Row:
    chosen, rejected = row["chosen"], row["rejected"]
    shorter = min(len(chosen), len(rejected))
    head = next((i for i in range(shorter) if chosen[i] != rejected[i]), shorter)
    if isinstance(chosen, str) and head and chosen[head - 1] == " ":
        head -= 1
    return {**row, "prompt": chosen[:head], "chosen": chosen[head:], "rejected": rejected[head:]}


def _renamed(rows: list[Row], names: dict[str, str]) -> pl.DataFrame:
    return frame(
        "rows", [{**_origin(row), **{new: row[old] for old, new in names.items()}} for row in rows], []
    )


def _origin(row: Row) -> Row:
    return {name: row[name] for name in GROUP_COLUMNS if name in row}
