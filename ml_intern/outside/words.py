"""Untrusted words made fit to be shown: bounded, without control characters, with names that Python takes."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Container

from ml_intern.secrets.masking import mask

LONGEST_NAME = 64
_UNSEEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
"""Categories of characters that hide or move text: escapes of a terminal, reversed writing, tags."""

TAKEN = frozenset(dir(builtins)) | {"final_answer", "ToolError", "help"}
"""Names that every cell has already."""


def clean(text: str, limit: int) -> str:
    """At most `limit` characters of a text, line breaks kept, without what cannot be seen."""
    whole = text[: limit + 1].replace("\r\n", "\n").replace("\t", "    ")  # no more of it can be shown
    longer = len(text) > limit + 1 or len(whole) > limit
    kept = whole[:limit]
    shown = "".join(c if c == "\n" or unicodedata.category(c) not in _UNSEEN else " " for c in kept)
    return shown.rstrip() + ("…" if longer else "")


def one_line(text: str, limit: int) -> str:
    """The same in one line, with credentials hidden."""
    shown = " ".join(clean(text, 4 * limit).split())
    # Masked before it is cut: the half of a credential would not be known for one.
    shown = mask(shown)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def quoted(text: str, limit: int) -> str:
    """In quotes that the text itself cannot close."""
    return '"' + one_line(text, limit).replace('"', "'") + '"'


def identifier(raw: str, taken: Container[str] = (), fallback: str = "unnamed") -> str:
    """A Python name like `raw` that is not in `taken`: ``create-issue`` becomes ``create_issue``."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", raw[:LONGEST_NAME]).strip("_") or fallback
    if name[0].isdigit():
        name = f"{fallback}_{name}"
    if keyword.iskeyword(name):
        name += "_"
    number, free = 2, name
    while free in taken:
        free, number = f"{name.rstrip('_')}_{number}", number + 1
    return free
