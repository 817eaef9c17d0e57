"""Other people's words as they may stand in a report: no control characters, no Markdown, no HTML."""

from __future__ import annotations

import html
from typing import Any

from ml_intern.hub import card


def plain(text: str) -> str:
    """Without what a terminal obeys, XML refuses or turns the direction of reading."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def line(value: Any) -> str:
    """One line of Markdown that says nothing but the words."""
    return card.line(plain(value) if isinstance(value, str) else value)


def escape(text: str) -> str:
    """The words in HTML or SVG."""
    return html.escape(plain(text))
