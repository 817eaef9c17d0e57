"""Large files, piece by piece: what is read of them is never held as a whole."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.data import json_rows, loading
from ml_intern.data.frames import frame
from ml_intern.data.loading import is_utf16, kind_of, opened, refuse
from ml_intern.data.readers import (
    cells,
    check_parquet,
    columns_of_cells,
    not_whole,
    plain,
    read_table,
    separator_of,
)

if TYPE_CHECKING:
    import polars as pl

MOST = 1024 * 2**30
"""Bytes of a file that is read in pieces: a day's work at 10 MB a second."""
PIECE_ROWS = 50_000
STREAMED = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")


@dataclass
class Stream:
    """A source whose rows come in pieces.

    Attributes:
        source: What was asked for, resolved.
        pieces: Reads the rows; may be called again.
        split: The split that is read; None where the source has none.
        splits: All splits of the source.
        notes: What a reader should know; more come while it is read.
    """

    source: str
    pieces: Callable[[], Iterator[pl.DataFrame]]
    split: str | None = None
    splits: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


def pieces(path: Path, notes: list[str]) -> Iterator[pl.DataFrame]:
    """The rows of one file, some tens of thousands at a time.

    Raises:
        ToolError: See `ml_intern.data.readers.read_table`; what comes before a broken line has come by then.
    """
    kind = kind_of(path)
    packed = kind == ".parquet" and path.suffix.lower() == ".gz"
    if kind not in STREAMED or packed or (kind != ".parquet" and is_utf16(path)):
        yield read_table(path).rows
        return
    loading.check(path, MOST)
    if kind == ".parquet":
        yield from _parquet(path)
    elif kind in (".csv", ".tsv"):
        yield from _csv(path, "\t" if kind == ".tsv" else None)
    else:
        for records in json_rows.lines(path, notes):
            if any(records):
                yield frame(path.name, records, notes)


def _csv(path: Path, separator: str | None) -> Iterator[pl.DataFrame]:
    with opened(path) as file:
        text = io.TextIOWrapper(file, "utf-8-sig", newline="")
        try:
            first = text.readline()
            rows = cells(path, _chained(first, text), separator or separator_of(first))
            header = next(rows, None)
            while header and (body := list(islice(rows, PIECE_ROWS))):
                yield columns_of_cells(header, body)
        except UnicodeDecodeError as error:
            refuse(
                path,
                f"holds bytes that are not UTF-8 (0x{error.object[error.start]:02x})",
                "Convert the file, for example: iconv -f latin1 -t utf-8.",
            )


def _chained(first: str, rest: io.TextIOWrapper) -> Iterator[str]:
    yield first
    yield from rest


def _parquet(path: Path) -> Iterator[pl.DataFrame]:
    """Slices, each read by itself: texts that a file holds once are held once here too."""
    import polars as pl

    rows = check_parquet(path, MOST)
    for first in range(0, rows, PIECE_ROWS):
        try:
            piece = pl.scan_parquet(path, glob=False).slice(first, PIECE_ROWS).collect()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
            not_whole(path, error)
        yield plain(path, piece)
