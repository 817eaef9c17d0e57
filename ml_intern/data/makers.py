"""How each column of a format is made from a row: by usual names, by a mapping, by a template."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ml_intern.data.table import MESSAGES, is_messages, need, text_column, text_of
from ml_intern.errors import ToolError
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    import polars as pl

TARGET_COLUMNS = {
    "language_modeling": ("text",),
    "prompt_completion": ("prompt", "completion"),
    "conversational": (MESSAGES,),
    "preference": ("prompt", "chosen", "rejected"),
    "unpaired_preference": ("prompt", "completion", "label"),
    "prompt_only": ("prompt",),
}
# What other people's datasets call these columns, likeliest first.
ALIASES = {
    "prompt": ("prompt", "question", "instruction", "query", "problem", "input"),
    "completion": ("completion", "answer", "output", "response", "solution", "target"),
    MESSAGES: (MESSAGES, "conversations", "conversation", "dialogue", "chat"),
    "label": ("label",),
    "chosen": ("chosen", "preferred", "better", "winner", "accepted"),
    "rejected": ("rejected", "dispreferred", "worse", "loser"),
}
_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "prompter": "user"}
ROLES_LEFT_OUT = (
    "Roles were left out: a chat template belongs to a model. Train on the conversations to keep them."
)
_SLOT = re.compile(r"\{(\w+)\}")


Maker = Callable[[dict[str, Any]], Any]


def makers_for(
    rows: pl.DataFrame, target: str, mapping: dict[str, str] | None, notes: list[str]
) -> dict[str, Maker]:
    """How each column of the target is made from a row.

    Raises:
        ToolError: Nothing tells which column is which.
    """
    if mapping:
        return _mapped(rows, target, mapping)
    if target == "language_modeling":
        return {"text": _text_maker(rows, notes)}
    chat = next((name for name in ALIASES[MESSAGES] if name in rows.columns), None)
    if chat and target == "prompt_only" and "prompt" not in rows.columns:
        return {"prompt": lambda row: _before_answer(_messages(row[chat]))}
    if target in ("preference", "unpaired_preference", "prompt_only"):
        return _asked(rows, target, notes)
    if chat and target == "conversational":
        return {MESSAGES: lambda row: _messages(row[chat])}
    if chat:
        return {
            "prompt": lambda row: _before_answer(_messages(row[chat])),
            "completion": lambda row: _last_answer(_messages(row[chat])),
        }
    pair = _pair(rows, notes)
    return _as_chat(pair) if target == "conversational" else pair


def _asked(rows: pl.DataFrame, target: str, notes: list[str]) -> dict[str, Maker]:
    """A prompt by its usual names, and with a preference two answers to it; a preference can do without."""
    names = {
        side: next((c for c in ALIASES[side] if c in rows.columns), None) for side in TARGET_COLUMNS[target]
    }
    if target == "preference" and names["prompt"] is None:
        del names["prompt"]
    for side, name in names.items():
        if name is None:
            raise which(rows, side)
    others = {side: name for side, name in names.items() if name != side}
    if others:
        notes.append("Taken as " + ", as ".join(f"{side}: {name!r}" for side, name in others.items()) + ".")
    return {
        side: _prompt(rows, name) if side == "prompt" else _value(rows, name)
        for side, name in names.items()
        if name
    }


def _mapped(rows: pl.DataFrame, target: str, mapping: dict[str, str]) -> dict[str, Maker]:
    wanted = TARGET_COLUMNS[target]
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
            raise which(rows, name)
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


def _text_maker(rows: pl.DataFrame, notes: list[str]) -> Maker:
    """The text; of a conversation what was said; of a pair both, joined as TRL joins them."""
    chat = next((name for name in ALIASES[MESSAGES] if name in rows.columns), None)
    name = None if chat or {"prompt", "completion"} <= set(rows.columns) else text_column(rows)
    if name:
        return lambda row: row[name]
    if chat:
        notes.append(ROLES_LEFT_OUT)
        return lambda row: _said(_messages(row[chat]))
    if any(all(c not in rows.columns for c in ALIASES[side]) for side in ("prompt", "completion")):
        raise which(rows, "text")
    pair = _pair(rows, notes)
    if any(is_messages(rows, side) for side in ("prompt", "completion")):
        notes.append(ROLES_LEFT_OUT)

    def join(row: dict[str, Any]) -> str | None:
        asked, told = pair["prompt"](row), pair["completion"](row)
        if not asked or not told:
            return None
        if isinstance(asked, list) or isinstance(told, list):
            return "\n".join(
                _said(part) if isinstance(part, list) else text_of(part) for part in (asked, told)
            )
        return text_of(asked) + text_of(told)

    return join


def _said(messages: list[dict[str, Any]]) -> str:
    return "\n".join(text_of(m.get("content")) for m in messages)


def _last_answer(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    return messages[-1:] if messages and messages[-1]["role"] == "assistant" else []


def _before_answer(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """A conversation up to its last answer, which is for the model to give."""
    return messages[:-1] if messages and messages[-1]["role"] == "assistant" else messages


def _pair(rows: pl.DataFrame, notes: list[str]) -> dict[str, Maker]:
    """Prompt and completion by their usual names, a new line between, since TRL only joins them."""
    names = {}
    for side in ("prompt", "completion"):
        found = [c for c in ALIASES[side] if c in rows.columns]
        if not found:
            raise which(rows, side)
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


def which(rows: pl.DataFrame, wanted: str) -> ToolError:
    """The error where nothing tells which column is meant."""
    example = rows.columns[0] if rows.columns else "column"
    return ToolError(
        f"Nothing tells which column is the {wanted}: the columns are {', '.join(rows.columns)}.",
        f"Say it: mapping={{{wanted!r}: {example!r}}}; a template such as '{{{example}}}\\n' works too.",
    )
