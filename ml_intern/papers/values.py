"""Reads what services send: anything may be missing, null, or of another type than promised."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from ml_intern.web.page import Page

Raw = Mapping[str, Any]


def an_object(page: Page) -> dict[str, Any]:
    """A page's JSON, which is to be an object.

    Raises:
        ValueError: It is none.
    """
    found = page.json()
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def a_list(page: Page) -> list[Any]:
    """A page's JSON, which is to be a list.

    Raises:
        ValueError: It is none.
    """
    found = page.json()
    if not isinstance(found, list):
        raise ValueError("it is no JSON list")
    return found


def text(value: Any) -> str:
    """A text in one line; empty for what is none."""
    return " ".join(value.split()) if isinstance(value, str) else ""


def whole(value: Any) -> int | None:
    """A whole number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,15}", value):
        return int(value)
    return value if isinstance(value, int) else None


def rows(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a list; nulls between them are left out."""
    yield from (row for row in value if isinstance(row, dict)) if isinstance(value, list) else ()


def texts(value: Any) -> list[str]:
    """The texts in a list."""
    return [text(entry) for entry in value if text(entry)] if isinstance(value, list) else []


def part(value: Any, *names: str) -> dict[str, Any]:
    """An object within an object; empty where it is not there."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, dict) else {}


def day(value: Any) -> date | None:
    """The day of a date or a time."""
    try:
        return date.fromisoformat(str(value)[:10]) if value else None
    except ValueError:
        return None
