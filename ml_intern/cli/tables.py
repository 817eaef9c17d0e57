"""Columns on a terminal or in a pipe, and JSON for machines."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click

from ml_intern.cli.board import clean, shorten
from ml_intern.masking import mask, mask_all


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns. On a terminal the last one is cut at its width; in a pipe nothing is cut."""
    table = [[mask(clean(" ".join(str(cell).split()))) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header) - 1)]
    room = shutil.get_terminal_size().columns - sum(widths) - 2 * len(widths) if sys.stdout.isatty() else None
    for row in table:
        last = row[-1] if room is None else shorten(row[-1], max(10, room))
        click.echo("  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), last]).rstrip())


def print_json(value: Any) -> None:
    """One JSON document."""
    click.echo(json.dumps(mask_all(value), ensure_ascii=False, default=str))
