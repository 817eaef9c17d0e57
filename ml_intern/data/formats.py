"""TRL's dataset formats: which one a dataset has, what can be trained on it, and how to get there.

The names and columns are TRL's own: ``text`` or ``messages`` (language modelling), ``prompt`` and
``completion``, ``prompt`` alone, ``chosen`` and ``rejected`` (preference). A column is conversational when
its values are lists of ``{role, content}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ml_intern.data import conversions
from ml_intern.data.makers import ALIASES, TARGET_COLUMNS, makers_for, which
from ml_intern.data.table import GROUP_COLUMNS, MESSAGES, is_messages, text_column
from ml_intern.data.units import CHUNK_CHARS, UNITS, Unit, pieces
from ml_intern.errors import ToolError

if TYPE_CHECKING:
    import polars as pl

Target = Literal[
    "auto",
    "language_modeling",
    "prompt_completion",
    "conversational",
    "preference",
    "unpaired_preference",
    "prompt_only",
    "statements",
    "lines",
    "paragraphs",
    "chunks",
]
_OTHER_FORMATS = {"chosen", "rejected", "label", "completions", "labels", *ALIASES[MESSAGES]}
"""Columns that would make another format of prompts."""


@dataclass(frozen=True)
class Format:
    """What a dataset is, in TRL's words.

    Attributes:
        name: ``language_modeling``, ``prompt_completion``, ``conversational``, ``prompt_only``,
            ``preference``, ``unpaired_preference``, ``stepwise`` or ``unknown``.
        conversational: Whether its values are messages.
        methods: The training methods that take it as it is.
        hint: What to do where no method does.
    """

    name: str
    conversational: bool
    methods: tuple[str, ...]
    hint: str = ""


def detect(rows: pl.DataFrame) -> Format:
    """The format of a dataset, by its columns."""
    columns = set(rows.columns)
    chat = any(is_messages(rows, name) for name in columns & {MESSAGES, "prompt", "completion", "chosen"})
    rules: list[tuple[bool, str, tuple[str, ...]]] = [
        ({"chosen", "rejected"} <= columns, "preference", ("dpo", "reward")),
        ({"prompt", "completions", "labels"} <= columns, "stepwise", ("prm",)),
        ({"prompt", "completion", "label"} <= columns, "unpaired_preference", ("kto", "sft")),
        ({"prompt", "completion"} <= columns, "prompt_completion", ("sft", "grpo")),
        (MESSAGES in columns and is_messages(rows, MESSAGES), "conversational", ("sft",)),
        ("prompt" in columns, "prompt_only", ("grpo",)),
        ("text" in columns and _is_text(rows, "text"), "language_modeling", ("pretrain", "sft")),
    ]
    for fits, name, methods in rules:
        if fits:
            return Format(name, chat, methods)
    return Format("unknown", False, (), _advice(rows))


def columns_of(target: Target) -> tuple[str, ...]:
    """The columns that a format has."""
    return TARGET_COLUMNS[target]


def suiting(rows: pl.DataFrame) -> Target:
    """What ``auto`` stands for: a format of TRL stays what it is, texts stay texts, questions get answers.

    Raises:
        ToolError: The rows are steps with labels, which become nothing else.
    """
    found = detect(rows).name
    if found == "stepwise":
        raise ToolError("The rows are in TRL's stepwise format already.", "Name a target, or train on them.")
    own: dict[str, Target] = {
        "conversational": "conversational",
        "preference": "preference",
        "unpaired_preference": "unpaired_preference",
        "prompt_completion": "prompt_completion",
    }
    if found in own:
        return own[found]
    if any(c in rows.columns for c in ALIASES[MESSAGES]):
        return "conversational"
    if found == "prompt_only" and rows.width == 1:
        return "prompt_only"
    return "language_modeling" if text_column(rows) else "prompt_completion"


def reformat(
    rows: pl.DataFrame, target: Target, mapping: dict[str, str] | None = None, size: int = CHUNK_CHARS
) -> tuple[pl.DataFrame, list[str]]:
    """Bring rows into a format, or cut their text into units.

    Args:
        rows: The rows as they are.
        target: The format or the unit; ``auto`` is what suits the columns.
        mapping: For each column of the target a column of the rows, or a template: ``"Q: {question}\\n"``.
        size: Characters of a chunk.

    Returns:
        The new rows, and notes on what was assumed and what was left out.

    Raises:
        ToolError: A column is missing, or nothing tells which column is which.
    """
    target = suiting(rows) if target == "auto" else target
    if target in UNITS:
        return _cut(rows, target, size, (mapping or {}).get("text")), []
    notes: list[str] = []
    if not mapping:
        rows = _prepared(rows, target, notes)
    makers = makers_for(rows, target, mapping, notes)
    wanted = tuple(makers)
    made, dropped = [], 0
    # Rewards read further columns beside a prompt, such as the answer.
    kept = [c for c in rows.columns if c not in _OTHER_FORMATS] if target == "prompt_only" else GROUP_COLUMNS
    origins = [name for name in kept if name in rows.columns and name not in makers]
    for row in rows.iter_rows(named=True):
        values = {name: make(row) for name, make in makers.items()}
        if any(not values[name] and values[name] is not False for name in wanted):
            dropped += 1
            continue
        made.append({**values, **{name: row[name] for name in origins}})
    if dropped:
        notes.append(f"{dropped} rows without {' or '.join(wanted)} were left out.")
    if not made:
        raise ToolError(f"No row has {' and '.join(wanted)}.", f"The columns are: {', '.join(rows.columns)}.")
    if alike := sum(row["chosen"] == row["rejected"] for row in made) if "chosen" in wanted else 0:
        notes.append(f"{alike} of {len(made)} pairs have a chosen answer that equals the rejected one.")
    from ml_intern.data.frames import frame

    return frame(target, made, notes), notes


def _prepared(rows: pl.DataFrame, target: Target, notes: list[str]) -> pl.DataFrame:
    """Rows of a format of TRL in the columns that the target is made of."""
    found = detect(rows).name
    if found == "preference":
        return conversions.from_preferences(rows, target, notes)
    if found == "unpaired_preference":
        return conversions.from_judged(rows, target, notes)
    return rows


def pairs(rows: pl.DataFrame) -> list[tuple[Any, Any] | None]:
    """For each row its prompt and its completion, as texts or as messages; None where one is missing.

    Raises:
        ToolError: Nothing tells which columns they are.
    """
    makers = makers_for(_prepared(rows, "prompt_completion", []), "prompt_completion", None, [])
    found = ((makers["prompt"](row), makers["completion"](row)) for row in rows.iter_rows(named=True))
    return [pair if pair[0] and pair[1] else None for pair in found]


def _cut(rows: pl.DataFrame, unit: Unit, size: int, column: str | None) -> pl.DataFrame:
    import polars as pl

    name = text_column(rows, column)
    if name is None:
        raise which(rows, "text")
    origins = [c for c in GROUP_COLUMNS if c in rows.columns]
    found = [
        (piece, *origin)
        for text, *origin in rows.select(name, *origins).iter_rows()
        for piece in pieces(text or "", unit, size)
    ]
    if not found:
        raise ToolError(f"The column {name!r} has no {unit}.")
    return pl.DataFrame(
        found, schema={"text": pl.String, **{c: rows.schema[c] for c in origins}}, orient="row"
    )


def _is_text(rows: pl.DataFrame, name: str) -> bool:
    import polars as pl

    return bool(rows.schema[name] == pl.String)


def _advice(rows: pl.DataFrame) -> str:
    has = {side: any(c in rows.columns for c in names) for side, names in ALIASES.items()}
    if has[MESSAGES]:
        return "reformat_dataset(source, 'conversational') gives it the columns that sft takes."
    if has["prompt"] and has["completion"]:
        return "reformat_dataset(source, 'prompt_completion') gives it the columns that sft takes."
    return "Name its columns with reformat_dataset(source, target, mapping={…})."
