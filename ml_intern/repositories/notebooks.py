"""Notebooks as text: the sources of their cells, without outputs."""

from __future__ import annotations

import json
from typing import Any


def notebook_text(data: bytes) -> str:
    """The cells of a notebook, each under a line ``# %% cell 3`` or ``# %% cell 4 (markdown)``.

    Raises:
        ValueError: It is no notebook.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it is no notebook: its JSON cannot be read") from None
    cells = _cells(found)
    return "\n".join(_shown(number, cell) for number, cell in enumerate(cells, 1))


def _cells(notebook: Any) -> list[dict[str, Any]]:
    if not isinstance(notebook, dict):
        raise ValueError("it is no notebook")
    # Before version 4 the cells stood in worksheets.
    sheets = notebook.get("worksheets")
    holders = [notebook, *(sheets if isinstance(sheets, list) else [])]
    lists = [holder["cells"] for holder in holders if isinstance(holder, dict) and "cells" in holder]
    if not lists:
        raise ValueError("it is no notebook: it has no cells")
    return [cell for cells in lists if isinstance(cells, list) for cell in cells if isinstance(cell, dict)]


def _shown(number: int, cell: dict[str, Any]) -> str:
    kind = cell.get("cell_type")
    about = "" if kind == "code" else f" ({str(kind)[:20]})"
    return f"# %% cell {number}{about}\n{_source(cell)}".rstrip("\n") + "\n"


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        return "".join(line for line in source if isinstance(line, str))
    return source if isinstance(source, str) else ""
