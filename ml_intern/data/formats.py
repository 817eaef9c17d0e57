"""TRL's dataset formats: which one a dataset has, what can be trained on it, and how to get there.

The names and columns are TRL's own: ``text`` or ``messages`` (language modelling), ``prompt`` and
``completion``, ``prompt`` alone, ``chosen`` and ``rejected`` (preference). A column is conversational when
its values are lists of ``{role, content}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ml_intern.data.table import GROUP_COLUMNS, MESSAGES, need, text_column, text_of
from ml_intern.data.units import CHUNK_CHARS, UNITS, Unit, pieces
from ml_intern.errors import ToolError
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    import polars as pl

Target = Literal[
    "auto",
    "language_modeling",
    "prompt_completion",
    "conversational",
    "preference",
    "prompt_only",
    "statements",
    "lines",
    "paragraphs",
    "chunks",
]
_TARGET_COLUMNS = {
    "language_modeling": ("text",),
    "prompt_completion": ("prompt", "completion"),
    "conversational": (MESSAGES,),
    "preference": ("prompt", "chosen", "rejected"),
    "prompt_only": ("prompt",),
}
# What other people's datasets call these columns, likeliest first.
_ALIASES = {
    "prompt": ("prompt", "question", "instruction", "query", "problem", "input"),
    "completion": ("completion", "answer", "output", "response", "solution", "target"),
    MESSAGES: (MESSAGES, "conversations", "conversation", "dialogue", "chat"),
    "chosen": ("chosen", "preferred", "better", "winner", "accepted"),
    "rejected": ("rejected", "dispreferred", "worse", "loser"),
}
_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "prompter": "user"}
_SLOT = re.compile(r"\{(\w+)\}")


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


def is_messages(rows: pl.DataFrame, name: str) -> bool:
    """Whether a column holds lists of ``{role, content}``."""
    import polars as pl

    if name not in rows.columns or not isinstance(rows.schema[name], pl.List):
        return False
    inner = rows.schema[name].inner
    return isinstance(inner, pl.Struct) and {"role", "content"} <= {f.name for f in inner.fields}


def suiting(rows: pl.DataFrame) -> Target:
    """What ``auto`` stands for: messages stay messages, texts texts, questions get their answers."""
    if detect(rows).name == "conversational" or any(c in rows.columns for c in _ALIASES[MESSAGES]):
        return "conversational"
    return (
        "language_modeling"
        if detect(rows).name != "prompt_completion" and text_column(rows)
        else "prompt_completion"
    )


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
    makers = _makers(rows, target, mapping, notes)
    wanted = tuple(makers)
    made, dropped = [], 0
    # Rewards read further columns beside a prompt, such as the answer.
    kept = rows.columns if target == "prompt_only" else GROUP_COLUMNS
    origins = [name for name in kept if name in rows.columns and name not in makers]
    for row in rows.iter_rows(named=True):
        values = {name: make(row) for name, make in makers.items()}
        if any(not values[name] for name in wanted):
            dropped += 1
            continue
        made.append({**values, **{name: row[name] for name in origins}})
    if dropped:
        notes.append(f"{dropped} rows without {' or '.join(wanted)} were left out.")
    if not made:
        raise ToolError(f"No row has {' and '.join(wanted)}.", f"The columns are: {', '.join(rows.columns)}.")
    from ml_intern.data.frames import frame

    return frame(target, made, notes), notes


def pairs(rows: pl.DataFrame) -> list[tuple[Any, Any] | None]:
    """For each row its prompt and its completion, as texts or as messages; None where one is missing.

    Raises:
        ToolError: Nothing tells which columns they are.
    """
    makers = _makers(rows, "prompt_completion", None, [])
    found = ((makers["prompt"](row), makers["completion"](row)) for row in rows.iter_rows(named=True))
    return [pair if pair[0] and pair[1] else None for pair in found]


def _cut(rows: pl.DataFrame, unit: Unit, size: int, column: str | None) -> pl.DataFrame:
    import polars as pl

    name = text_column(rows, column)
    if name is None:
        raise _which(rows, "text")
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


Maker = Callable[[dict[str, Any]], Any]


def _makers(
    rows: pl.DataFrame, target: str, mapping: dict[str, str] | None, notes: list[str]
) -> dict[str, Maker]:
    """How each column of the target is made from a row."""
    if mapping:
        return _mapped(rows, target, mapping)
    if target == "language_modeling":
        return {"text": _text_maker(rows)}
    if target in ("preference", "prompt_only"):
        return _asked(rows, target, notes)
    chat = next((name for name in _ALIASES[MESSAGES] if name in rows.columns), None)
    if chat and target == "conversational":
        return {MESSAGES: lambda row: _messages(row[chat])}
    if chat:
        return {
            "prompt": lambda row: _messages(row[chat])[:-1],
            "completion": lambda row: _messages(row[chat])[-1:],
        }
    pair = _pair(rows, notes)
    return _as_chat(pair) if target == "conversational" else pair


def _asked(rows: pl.DataFrame, target: str, notes: list[str]) -> dict[str, Maker]:
    """A prompt by its usual names, and with a preference two answers to it; a preference can do without."""
    names = {
        side: next((c for c in _ALIASES[side] if c in rows.columns), None) for side in _TARGET_COLUMNS[target]
    }
    if target == "preference" and names["prompt"] is None:
        del names["prompt"]
    for side, name in names.items():
        if name is None:
            raise _which(rows, side)
    others = {side: name for side, name in names.items() if name != side}
    if others:
        notes.append("Taken as " + ", as ".join(f"{side}: {name!r}" for side, name in others.items()) + ".")
    return {
        side: _prompt(rows, name) if side == "prompt" else _value(rows, name)
        for side, name in names.items()
        if name
    }


def _mapped(rows: pl.DataFrame, target: str, mapping: dict[str, str]) -> dict[str, Maker]:
    wanted = _TARGET_COLUMNS[target]
    if target == "conversational" and MESSAGES not in mapping:
        wanted = ("prompt", "completion")
    for name in mapping:
        if name not in wanted:
            raise ToolError(
                f"{target} has no column {name!r}{did_you_mean(name, wanted)}.",
                f"mapping gives {' and '.join(wanted)} each a column of the source or a template.",
            )
    if target == "preference" and "prompt" not in mapping:
        wanted = ("chosen", "rejected")
    for name in wanted:
        if name not in mapping:
            raise _which(rows, name)
    makers = {name: _value(rows, mapping[name]) for name in wanted}
    if target == "conversational":
        return (
            _as_chat(makers)
            if MESSAGES not in mapping
            else {MESSAGES: lambda r: _messages(makers[MESSAGES](r))}
        )
    return makers


def _value(rows: pl.DataFrame, given: str) -> Maker:
    """A column's value, or a template filled with the row's values."""
    if given in rows.columns:
        return lambda row: row[given]
    slots = _SLOT.findall(given)
    need(rows, slots or [given])

    def fill(row: dict[str, Any]) -> str | None:
        if any(row[slot] is None for slot in slots):
            return None
        return _SLOT.sub(lambda m: text_of(row[m[1]]), given)

    return fill


def _text_maker(rows: pl.DataFrame) -> Maker:
    name = text_column(rows)
    if name:
        return lambda row: row[name]
    pair = [next((c for c in _ALIASES[side] if c in rows.columns), None) for side in ("prompt", "completion")]
    if None in pair:
        raise _which(rows, "text")
    return _value(rows, f"{{{pair[0]}}}\n{{{pair[1]}}}")


def _pair(rows: pl.DataFrame, notes: list[str]) -> dict[str, Maker]:
    """Prompt and completion by their usual names, a new line between, since TRL only joins them."""
    names = {}
    for side in ("prompt", "completion"):
        found = [c for c in _ALIASES[side] if c in rows.columns]
        if not found:
            raise _which(rows, side)
        names[side] = found[0]
    prompt, completion = names["prompt"], names["completion"]
    if (prompt, completion) != ("prompt", "completion"):
        notes.append(
            f"Taken as prompt: {prompt!r}, as completion: {completion!r}; a new line was put between."
        )
    return {"prompt": _prompt(rows, prompt), "completion": lambda row: row[completion]}


def _prompt(rows: pl.DataFrame, name: str) -> Maker:
    """A prompt as it is; a question under another name gets a new line, since TRL only joins."""
    further = "input" if name == "instruction" and "input" in rows.columns else None

    def ask(row: dict[str, Any]) -> Any:
        if name == "prompt" or not isinstance(row[name], str):
            return row[name]
        return row[name] + (f"\n{row[further]}" if further and row[further] else "") + "\n"

    return ask


def _as_chat(pair: dict[str, Maker]) -> dict[str, Maker]:
    def talk(row: dict[str, Any]) -> list[dict[str, str]] | None:
        prompt, completion = pair["prompt"](row), pair["completion"](row)
        if not prompt or not completion:
            return None
        asked = prompt if isinstance(prompt, list) else [{"role": "user", "content": text_of(prompt).strip()}]
        told = (
            completion
            if isinstance(completion, list)
            else [{"role": "assistant", "content": text_of(completion)}]
        )
        return [*asked, *told]

    return {MESSAGES: talk}


def _messages(value: Any) -> list[dict[str, str]]:
    """Messages with ``role`` and ``content``, whatever their source called them; none where one is broken."""
    made = []
    for message in value or []:
        if not isinstance(message, dict):
            return []
        role = message.get("role", message.get("from"))
        content = message.get("content", message.get("value"))
        if not isinstance(role, str) or not isinstance(content, str):
            return []
        made.append({"role": _ROLES.get(role.lower(), role.lower()), "content": content})
    return made


def _is_text(rows: pl.DataFrame, name: str) -> bool:
    import polars as pl

    return bool(rows.schema[name] == pl.String)


def _advice(rows: pl.DataFrame) -> str:
    has = {side: any(c in rows.columns for c in names) for side, names in _ALIASES.items()}
    if has[MESSAGES]:
        return "reformat_dataset(source, 'conversational') gives it the columns that sft takes."
    if has["prompt"] and has["completion"]:
        return "reformat_dataset(source, 'prompt_completion') gives it the columns that sft takes."
    return "Name its columns with reformat_dataset(source, target, mapping={…})."


def _which(rows: pl.DataFrame, wanted: str) -> ToolError:
    example = rows.columns[0] if rows.columns else "column"
    return ToolError(
        f"Nothing tells which column is the {wanted}: the columns are {', '.join(rows.columns)}.",
        f"Say it: mapping={{{wanted!r}: {example!r}}}; a template such as '{{{example}}}\\n' works too.",
    )
