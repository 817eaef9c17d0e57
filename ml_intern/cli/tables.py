"""Columns on a terminal or in a pipe, and JSON for machines."""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Collection, Sequence
from typing import Any

import click

from ml_intern.cli.board import clean
from ml_intern.secrets.masking import mask, mask_all

GAP = "  "
NARROWEST = 12
"""Characters that a column keeps at the least; where this is too much, each row becomes a few lines."""
LAST = 20
"""The same of the last column, which tells the most in words."""


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    whole: Collection[int] = (0,),
    spare: Sequence[int] = (),
) -> None:
    """Aligned columns. On a terminal they fit its width; in a pipe nothing is cut.

    Args:
        header: A name for each column.
        rows: Their cells.
        whole: Columns that are never cut: ids, which somebody wants to copy.
        spare: Columns that are left out where a terminal is too narrow, the first one first.
    """
    for line in table(header, rows, terminal_width(), whole, spare):
        click.echo(line)


def terminal_width() -> int | None:
    """Columns of the terminal that reads stdout; None where none does."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None = None,
    whole: Collection[int] = (0,),
    spare: Sequence[int] = (),
) -> list[str]:
    """The lines of a table, at most so wide; nothing is cut where no width is given."""
    cells = [[_plain(str(cell)) for cell in row] for row in (header, *rows)]
    # A column in which no row has anything to say is left out.
    kept = [i for i in range(len(header)) if any(row[i] for row in cells[1:]) or not rows]
    for left_out in range(len(spare) + 1):
        shown = [i for i in kept if i not in spare[:left_out]]
        columns = [[row[i] for row in cells] for i in shown]
        widths = [max(map(width_of, column)) for column in columns]
        if width is None or _shrink(widths, width, {shown.index(i) for i in whole if i in shown}):
            return [GAP.join(map(_padded, row, widths)).rstrip() for row in zip(*columns, strict=True)]
    return _stacked(
        [[row[i] for i in kept] for row in cells], width or 80, {kept.index(i) for i in whole if i in kept}
    )


def _plain(cell: str) -> str:
    """The cell in one line; its indent stays, trees have one."""
    indent = len(cell) - len(cell.lstrip(" "))
    return " " * indent + mask(clean(" ".join(cell.split())))


def _shrink(widths: list[int], width: int, whole: Collection[int]) -> bool:
    """Take from the widest columns until all fit; whether they do."""
    least = [LAST if i == len(widths) - 1 else NARROWEST for i in range(len(widths))]
    while sum(widths) + len(GAP) * (len(widths) - 1) > width:
        open_ones = [i for i in range(len(widths)) if i not in whole and widths[i] > least[i]]
        if not open_ones:
            return False
        widths[max(open_ones, key=lambda i: widths[i])] -= 1
    return True


def _stacked(cells: list[list[str]], width: int, whole: Collection[int]) -> list[str]:
    """Each row as lines of its own, a name and a value."""
    names = cells[0]
    margin = max(map(width_of, names), default=0)
    lines: list[str] = []
    for row in cells[1:]:
        lines += [""] if lines else []
        for i, (name, value) in enumerate(zip(names, row, strict=True)):
            room = width_of(value) if i in whole else max(NARROWEST, width - margin - len(GAP))
            lines += [f"{_padded(name, margin)}{GAP}{cut(value.strip(), room)}"] if value else []
    return lines


def _padded(text: str, width: int) -> str:
    shown = cut(text, width)
    return shown + " " * (width - width_of(shown))


def cut(text: str, width: int) -> str:
    """The text in so many columns, with a mark where something is missing."""
    if width_of(text) <= width:
        return text
    while text and width_of(text) > width - 1:
        text = text[:-1]
    return text + "…"


def width_of(text: str) -> int:
    """Columns that a text takes: wide characters take two, marks on letters none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def print_json(value: Any) -> None:
    """One JSON document."""
    click.echo(json.dumps(mask_all(value), ensure_ascii=False, default=str))
