"""Takes the cell out of what a brain wrote, whatever it wrote: runs only what is whole.

A cell stands between the configured tags, between ``<code>`` and ``</code>``, or in a fenced python block.
Where a closing mark also stands inside a string of the code, the mark counts with which the code compiles.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Literal

from ml_intern.brains.blocks import best_of, blocks_in, compiles, syntax_error, without_thoughts

CELL_TAGS = ("<cell>", "</cell>")
"""Tags that neither a model card nor HTML contains, so that text inside of a cell does not end it."""

CELL_FAILED = "The cell failed."
"""First line of the observation of a cell that raised."""

CUTS = {"length": "at the length limit", "content_filter": "by the provider's content filter"}
"""Why a provider ends a reply before its end, in words."""

Problem = Literal["", "no_code", "truncated", "unclosed"]

_BARE_FENCE = re.compile(r"^[ \t]*```", re.M)


@dataclass(frozen=True)
class Reply:
    """What a reply asks for.

    Attributes:
        code: The cell, or None when nothing may run.
        problem: Why nothing runs; empty when `code` is there.
        note: What the brain is told. With a `code`, something that it should know beside the observation.
    """

    code: str | None
    problem: Problem = ""
    note: str = ""


def parse_reply(
    text: str | None, tags: tuple[str, str] = CELL_TAGS, finish_reason: str | None = None
) -> Reply:
    """The cell in a reply, or the note that gets a better reply. Never raises.

    Args:
        text: What the brain wrote.
        tags: The configured opening and closing tag, as plain text.
        finish_reason: Why the provider ended the reply; ``length`` or ``content_filter``: it was cut.
    """
    clean = without_thoughts((text or "").replace("\r\n", "\n").replace("\r", "\n"))
    cut = finish_reason in CUTS
    found = list(blocks_in(clean, tags))
    blocks = best_of(found)
    if cut and (not blocks or not found[-1].closed or not compiles(blocks[-1].code)):
        return _truncated(tags, CUTS[finish_reason or ""])
    if not blocks:
        return _no_block(clean, tags)
    last = blocks[-1]
    if not last.closed and not compiles(last.code):
        return Reply(None, "unclosed", _unclosed_note(last.code, tags))
    code = "\n".join(block.code for block in blocks)
    return Reply(code, note=f"Your reply was cut {CUTS[finish_reason or '']} after its cell." if cut else "")


def _no_block(text: str, tags: tuple[str, str]) -> Reply:
    if _is_bare_code(text):
        return Reply(text.strip())
    return Reply(None, "no_code", _how_to_write(text, tags))


def _is_bare_code(text: str) -> bool:
    """True when the whole reply is a program that does something, only without marks around it."""
    if not text.strip() or not compiles(text):
        return False
    doing = (
        ast.Assign,
        ast.AugAssign,
        ast.Import,
        ast.ImportFrom,
        ast.FunctionDef,
        ast.For,
        ast.With,
        ast.Try,
        ast.If,
    )
    return any(
        isinstance(s, doing) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Call))
        for s in ast.parse(text).body
    )


def _how_to_write(text: str, tags: tuple[str, str]) -> str:
    if "final_answer" in text or re.search(r"\bfinal answer\b", text, re.I):
        told, example = (
            "To end with an answer, call final_answer in a cell",
            'final_answer("what came of the task")',
        )
    elif _BARE_FENCE.search(text):
        told, example = (
            "A fenced block counts only with the word python after its opening; better write",
            "# Python code",
        )
    elif not text.strip():
        told, example = "The reply was empty. Every reply needs one cell", "# Python code"
    else:
        told, example = "No cell was found. Every reply needs one cell", "# Python code"
    return f"{told}:\n{tags[0]}\n{example}\n{tags[1]}"


def _truncated(tags: tuple[str, str], where: str) -> Reply:
    again = "Write a shorter cell" if where == CUTS["length"] else "Write it in other words as a cell"
    note = (
        f"Your reply was cut {where}, so nothing of it was run. "
        f"{again}, closed with {tags[1]}; do the rest in further cells."
    )
    return Reply(None, "truncated", note)


def _unclosed_note(code: str, tags: tuple[str, str]) -> str:
    wrong = syntax_error(code) or "it is not complete"
    return (
        f"The cell was opened but never closed, and what is there is not whole Python: {wrong}. "
        f"Nothing was run. Write it again between {tags[0]} and {tags[1]}."
    )
