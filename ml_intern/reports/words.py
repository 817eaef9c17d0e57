"""Other people's words as they may stand in a report: no control characters, no Markdown, no HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from ml_intern.hub import card
from ml_intern.hub.card import show
from ml_intern.ledger import Measured

LONGEST = 300
"""Characters of what a brain or a library says."""


def plain(text: str) -> str:
    """Without what a terminal obeys, XML refuses or turns the direction of reading."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def line(value: Any) -> str:
    """One line of Markdown that says nothing but the words."""
    return card.line(plain(value) if isinstance(value, str) else value)


def escape(text: str) -> str:
    """The words in HTML or SVG."""
    return html.escape(plain(text))


def value(m: Measured | None) -> str:
    """A measured value with its interval; nothing where there is none."""
    return "" if m is None else f"{show(m.value)} ({show(m.low)} to {show(m.high)})"


def signed(value: float) -> str:
    """A difference, with its sign."""
    return f"+{show(value)}" if value > 0 else show(value)


def p_value(value: float) -> str:
    """A p value as it is told."""
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}"


def short(text: str) -> str:
    """A line of somebody's words, not long."""
    return line(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def not_measured(numbers: Sequence[str] | None) -> str:
    """A mark behind words with numbers that nobody measured; nothing where there are none."""
    return f" **(not measured: {line(', '.join((numbers or ())[:5]))})**" if numbers else ""


def address(url: str) -> str:
    """An address that cannot leave its angle brackets."""
    return "".join(c for c in url if c.isprintable() and c not in "<> ")


def more(count: int, what: str, told: str = "") -> str:
    """How many rows are not shown."""
    if count <= 0:
        return ""
    return f"\n\nAnd {count:,} more {what}{'s' if count != 1 else ''}{f' ({told})' if told else ''}."
