"""Hand held-out rows to the host's evaluations, and to nothing that a cell or a training can read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ml_intern.data.audit import looks_like_python
from ml_intern.data.formats import detect, reformat
from ml_intern.data.sealing_parts import SUITS, frame_of, parts_of
from ml_intern.data.table import Table, is_messages, text_column, text_of
from ml_intern.errors import ToolError
from ml_intern.evals.scorers import Part
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    import polars as pl

    from ml_intern.data.store import DatasetStore
    from ml_intern.evals.store import Evals


# A final number after "####", as in worked answers, or an answer that is nothing but a number.
_NUMBER_LAST = re.compile(r"(?:^|####|=)\s*[-+]?[$€£]?\d[\d.,]*\s*%?\s*$")


SPLIT_FIRST = (
    "To train on some of its rows or to publish them, split first, in a new session: "
    "split_dataset(source, fractions={'train': 0.8, 'dev': 0.1, 'test': 0.1}) seals only what it holds out."
)
COPY_SHARE, COPY_ROWS = 0.9, 10
"""From so large a share of held-out rows on, a source is a copy of an evaluation and refused as a whole."""


@dataclass
class SealedEval:
    """What is registered: rows with input, target, split and group; how they are asked and scored."""

    name: str
    rows: list[dict[str, Any]]
    scorers: list[str]
    primary: str
    target: str | None
    grouped: bool
    asking: dict[str, Any]
    notes: list[str]


@dataclass
class _Items:
    items: pl.DataFrame
    scorers: list[str]
    asking: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def prepare(
    name: str,
    held: Mapping[str, pl.DataFrame],
    group: str | None,
    scorers: Sequence[str] | None,
    primary: str | None,
) -> SealedEval:
    """Bring held-out rows into the form of an evaluation and choose its scorers.

    Raises:
        ToolError: Nothing tells what is asked and what is right.
    """
    import polars as pl

    together = pl.concat([rows.with_columns(pl.lit(split).alias("__split")) for split, rows in held.items()])
    parts = parts_of(together, scorers)
    made = _items_with(together.drop("__split"), parts) if parts else _items(together.drop("__split"))
    used = list(scorers or made.scorers)
    if primary is not None and primary not in used:
        hint = f"They are {', '.join(used)}."
        raise ToolError(
            f"primary = {primary!r} is not one of the scorers{did_you_mean(primary, used)}.", hint
        )
    frame = made.items.with_columns(together["__split"].alias("split"))
    if group:
        frame = frame.with_columns(together[group].cast(pl.String).alias("group"))
    target = "target" if "target" in frame.columns else None
    return SealedEval(
        name, frame.to_dicts(), used, primary or used[0], target, bool(group), made.asking, made.notes
    )


def _items_with(rows: pl.DataFrame, parts: Sequence[Part]) -> _Items:
    """Questions with options, with tests of code, or with a rubric."""
    frame, asking = frame_of(rows, parts)
    return _Items(frame, [name for part in parts for name in SUITS[part]], asking)


def _items(rows: pl.DataFrame) -> _Items:
    """What is asked of a model: the text itself, or a prompt and what is right for it."""
    import polars as pl

    found, notes = rows, list[str]()
    if detect(rows).name in ("language_modeling", "unknown") and (text := text_column(rows)):
        python = looks_like_python(rows, rows[text])
        scorers = ["bits_per_byte", "python_parses"] if python else ["bits_per_byte"]
        return _Items(pl.DataFrame({"input": rows[text]}), scorers)
    if detect(rows).name != "prompt_completion":
        found, notes = _pairs(rows)
    chat = is_messages(found, "prompt")
    asked = [_last(value) if chat else text_of(value) for value in found["prompt"].to_list()]
    right = [text_of(value) if not chat else _last(value) for value in found["completion"].to_list()]
    if not all(asked) or not all(right):
        raise ToolError("Some held-out rows have no prompt or no completion.", "Filter them out first.")
    if chat and any(len(value) > 1 for value in found["prompt"].to_list()):
        notes = [
            *notes,
            "The evaluation asks the last question of each conversation, without what came before.",
        ]
    # Half a token a character is plenty for the longest answers but one in twenty.
    longest = sorted(map(len, right))[int(0.95 * (len(right) - 1))]
    asking = {"chat": chat, "max_new_tokens": max(16, min(1024, longest // 2 + 16))}
    numbers = sum(bool(_NUMBER_LAST.search(text)) for text in right) >= 0.95 * len(right)
    return _Items(
        pl.DataFrame({"input": asked, "target": right}),
        ["numeric_match", "exact_match"] if numbers else ["exact_match"],
        asking,
        notes,
    )


def _pairs(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    try:
        found, notes = reformat(rows, "prompt_completion")
    except ToolError as error:
        raise ToolError(
            f"Nothing tells what an evaluation asks and what is right: {error.message}",
            "Use reformat_dataset first, or seal=False.",
        ) from None
    if found.height != rows.height:
        raise ToolError("Some held-out rows have no prompt or no completion.", "Filter them out first.")
    return found, notes


def _last(messages: list[dict[str, str]]) -> str:
    return text_of(messages[-1].get("content")) if messages else ""


def register(evals: Evals, sealed: SealedEval) -> None:
    """Hand the rows over."""
    columns: dict[str, Any] = {part: part for part in SUITS if sealed.rows and part in sealed.rows[0]}
    evals.register(
        sealed.name,
        sealed.rows,
        sealed.scorers,
        sealed.primary,
        input="input",
        target=sealed.target,
        split_by="split",
        group="group" if sealed.grouped else None,
        asking=sealed.asking,
        **columns,
    )


def sealed_elsewhere(
    evals: Evals, sealed: SealedEval, held: Mapping[str, pl.DataFrame]
) -> dict[str, list[int]]:
    """Positions in each split of rows that another evaluation holds.

    They stay there alone: a second evaluation would be a second way to their scores, with queries of its own,
    and what is dev in it may be test in the first.

    Raises:
        ToolError: Nothing is left of a split.
    """
    names = evals.elsewhere(sealed.name, sealed.rows)
    found: dict[str, list[int]] = {}
    first = 0
    for split, rows in held.items():
        here = [at - first for at in names if first <= at < first + rows.height]
        if here and len(here) == rows.height:
            others = ", ".join(sorted(set(names.values())))
            raise ToolError(
                f"All {rows.height} {split} rows are sealed in {others} already.",
                "evaluate() measures on it. If not all of the source is sealed, another seed holds out other"
                f" rows. {SPLIT_FIRST}",
            )
        found |= {split: here} if here else {}
        first += rows.height
    return found


def sweep(evals: Evals, train: pl.DataFrame) -> list[int]:
    """The positions of training rows that hold items of this or of another evaluation.

    Raises:
        ToolError: All of them do.
    """
    left, held = without_held_out(evals, train)
    if left.is_empty():
        raise ToolError("No training row is left: every one holds a held-out item.", "Split the data anew.")
    return sorted(held)


def without_held_out(evals: Evals, rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[int, str]]:
    """The rows that may be shown, and the ones that may not: their positions, each with its evaluation.

    What is left is looked through again until nothing is found. The guard's first look samples the letters of
    all rows as one stream, so a near copy that it just misses it may meet once the rows before it are gone,
    and a training would be refused for it.
    """
    import polars as pl

    held, places = dict[int, str](), pl.Series(range(rows.height), dtype=pl.Int64)
    while found := evals.held_out(rows):
        held |= {places[at]: name for at, name in found.items()}
        kept = pl.Series([at not in found for at in range(rows.height)])
        rows, places = rows.filter(kept), places.filter(kept)
    return rows, dict(sorted(held.items()))


def openly(evals: Evals, table: Table) -> Table:
    """A table as tools may show it and hand it on; a note says how many rows were left out.

    Raises:
        ToolError: It is an evaluation under whatever name: next to nothing of it may be shown.
    """
    rows, held = without_held_out(evals, table.rows)
    if len(held) >= COPY_ROWS and len(held) >= COPY_SHARE * table.rows.height:
        names = ", ".join(sorted(set(held.values())))
        raise ToolError(
            f"{table.source!r} is a copy of the sealed evaluation {names}:"
            f" {len(held)} of its {table.rows.height} rows are held out.",
            f"No tool opens it, whatever its name, in this session; evaluate() measures on it. {SPLIT_FIRST}",
        )
    notes = (*table.notes, *left_out(evals, table.rows, held))
    return replace(table, rows=rows, notes=notes, held=len(held)) if held else table


def left_out(evals: Evals, rows: pl.DataFrame, held: Mapping[int, str]) -> list[str]:
    """The note about rows that were left out; none where there are none.

    Args:
        evals: What holds them.
        rows: Among which they were.
        held: Their positions, each with its evaluation.
    """
    if not held:
        return []
    names = ", ".join(sorted(set(held.values())))
    # Most are no items but look too much like one: without the kinds this reads like a leak of the test.
    found = evals.guard(rows[list(held)])
    how = ("among them " if found.contaminated < len(held) else "") + found.how()
    near = f" or too near to what is ({how})" if found.kinds else ""
    return [f"{len(held)} rows that are held out in {names}{near} are left out."]


def withdraw(evals: Evals, datasets: DatasetStore) -> list[str]:
    """Take the datasets that hold held-out rows out of what cells read, for good; their ids.

    A source that was stored before it was split holds them all. What a cell read before the split, it knows.
    """
    found = []
    for info in datasets.list():
        if evals.held_out(datasets.open(info.id).rows):
            datasets.withdraw(info.id, evals.folder / "withdrawn")
            found.append(info.id)
    return found
