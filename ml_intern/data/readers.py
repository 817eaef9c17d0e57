"""One file becomes a table. Every refusal names the file, and the line where there is one."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ml_intern.data import json_rows, loading
from ml_intern.data.frames import check_width, frame, mixed_note
from ml_intern.data.loading import MAX_BYTES, decode, kind_of, load, refuse

if TYPE_CHECKING:
    import polars as pl

CELL_BYTES = 16
"""What a value takes in memory at the least, however well its file has packed it."""


@dataclass
class Reading:
    """What one file gave: its rows, the hash of its bytes, what to tell about it."""

    rows: pl.DataFrame
    sha256: str
    notes: list[str] = field(default_factory=list)


def read_table(path: Path) -> Reading:
    """Read a file that has rows of its own.

    Raises:
        ToolError: It is empty, broken, too large, or not what its name says.
    """
    notes: list[str] = []
    loading.check(path)
    kind = kind_of(path)
    if kind in (".parquet", ".arrow"):
        rows = _columnar(path, kind)
    elif kind in (".csv", ".tsv"):
        rows = _csv(path, _text(path, notes), "\t" if kind == ".tsv" else None)
    elif kind == ".json":
        rows = frame(path.name, json_rows.document(path, _text(path, notes)), notes)
    else:
        rows = _json_lines(path, notes)
    if rows.height == 0:
        refuse(path, "has no rows", f"Its columns are: {', '.join(rows.columns)}." if rows.columns else "")
    return Reading(rows, loading.sha256_of(path), notes)


def _text(path: Path, notes: list[str]) -> str:
    text = decode(path, load(path), notes)
    if not text.strip():
        refuse(path, "is empty")
    return text


def _json_lines(path: Path, notes: list[str]) -> pl.DataFrame:
    """Batch by batch, since objects of Python take many times the room of the columns they become."""
    import polars as pl

    frames, objects = [], 0
    for records in json_rows.lines(path, notes):
        objects += len(records)
        if any(records):
            frames.append(frame(path.name, records, notes))
    if not frames:
        refuse(path, "has no columns: its objects are empty" if objects else "is empty")
    try:
        rows = pl.concat(frames, how="diagonal_relaxed") if len(frames) > 1 else frames[0]
    except pl.exceptions.PolarsError as error:
        why = str(error).strip().splitlines()[0]
        refuse(path, f"rows make no table ({why})", "Give every row the same kind of value.")
    check_width(path.name, rows.width)
    for name, dtype in rows.schema.items():
        if dtype == pl.String and any(f.schema.get(name, dtype) not in (dtype, pl.Null) for f in frames):
            notes += [note for note in [mixed_note(name)] if note not in notes]
    return rows


def _csv(path: Path, text: str, separator: str | None) -> pl.DataFrame:
    first = text.lstrip().split("\n", 1)[0]
    header, *body = cells(path, io.StringIO(text, newline=""), separator or separator_of(first))
    return columns_of_cells(header, body)


def columns_of_cells(header: list[str], body: list[list[str]]) -> pl.DataFrame:
    """Rows of fields as columns; an empty field is a missing value."""
    import polars as pl

    columns = {name: [fields[i] or None for fields in body] for i, name in enumerate(header)}
    return _typed(pl.DataFrame(columns, schema=dict.fromkeys(header, pl.String)))


def cells(path: Path, lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    """The header and the rows; a row that is too short or too long is an error, never filled.

    Raises:
        ToolError: Names the line at which the row begins.
    """
    csv.field_size_limit(loading.MAX_LINE)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    header: list[str] = []
    start = 1
    try:
        for fields in reader:
            if fields and not header:
                header = fields = _header(path, fields)
            elif fields and len(fields) != len(header):
                refuse(path, f"line {start}: {len(fields)} fields, but the header has {len(header)}")
            if fields:
                yield fields
            start = reader.line_num + 1
    except csv.Error as error:
        refuse(path, f"line {start}: {error}")


def _header(path: Path, fields: list[str]) -> list[str]:
    names = [name.strip() or f"column_{i}" for i, name in enumerate(fields, 1)]
    check_width(path.name, len(names))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        refuse(path, f"has two columns called {twice!r}")
    return names


def separator_of(line: str) -> str:
    """The separator of a table, by its first line."""
    return max(",;\t|", key=line.count)


def _typed(rows: pl.DataFrame) -> pl.DataFrame:
    """Columns of which every value is a number become numbers; the rest stays as written."""
    import polars as pl

    for name in rows.columns:
        filled = rows[name].drop_nulls()
        # Leading zeros mean something (postcodes, ids): those columns stay text.
        if filled.is_empty() or filled.str.contains(r"^-?0\d").any():
            continue
        for dtype in (pl.Int64, pl.Float64):
            numbers = filled.str.strip_chars().cast(dtype, strict=False)
            if numbers.null_count() == 0:
                rows = rows.with_columns(pl.col(name).str.strip_chars().cast(dtype))
                break
    return rows


def _columnar(path: Path, kind: str) -> pl.DataFrame:
    import polars as pl

    data = load(path) if path.suffix.lower() == ".gz" or kind == ".arrow" else None
    try:
        if kind == ".parquet":
            check_parquet(path, MAX_BYTES, data)
            rows = pl.read_parquet(path if data is None else io.BytesIO(data), glob=False)
        else:
            reader = pl.read_ipc if data and data[:6] == b"ARROW1" else pl.read_ipc_stream
            rows = reader(io.BytesIO(data or b""))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        not_whole(path, error)
    return plain(path, rows)


def plain(path: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Columns as others have them, unless they are too many or too large.

    Raises:
        ToolError: A value that is packed once and meant a million times makes them too large.
    """
    import polars as pl
    from polars import selectors as cs

    size = int(rows.estimated_size()) + sum(_spelled_out(rows[name]) for name in rows.columns)
    if size > MAX_BYTES:
        _too_large(path, size)
    check_width(path.name, rows.width)
    return rows.with_columns(cs.categorical().cast(pl.String), cs.enum().cast(pl.String))


def not_whole(path: Path, error: BaseException) -> NoReturn:
    """Refuse a columnar file that its library cannot read."""
    told = str(error).strip()
    why = told.splitlines()[0][:120] if told else "no reason given"
    refuse(path, f"is not a whole {kind_of(path)[1:].capitalize()} file ({why})")


def _spelled_out(column: pl.Series) -> int:
    """Bytes of a column's texts where it holds numbers of them in their place; 0 for others."""
    import polars as pl

    if not isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        return 0
    counts = column.drop_nulls().value_counts()
    return int((counts[column.name].cast(pl.String).str.len_bytes() * counts["count"]).sum())


def check_parquet(path: Path, most: int, data: bytes | None = None) -> int:
    """What the file says of itself, before it is unpacked; its rows.

    Raises:
        ToolError: It cannot be read, or unpacks to more than `most` bytes.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        found = pq.read_metadata(path if data is None else pa.BufferReader(data))
        unpacked = sum(found.row_group(i).total_byte_size for i in range(found.num_row_groups))
    except (pa.ArrowException, OSError, ValueError) as error:
        not_whole(path, error)
    least = max(unpacked, found.num_rows * found.num_columns * CELL_BYTES)
    if least > most:
        _too_large(path, least, most)
    return int(found.num_rows)


def _too_large(path: Path, size: int, most: int = MAX_BYTES) -> NoReturn:
    refuse(
        path,
        f"unpacks to {size / 2**30:.1f} GiB, more than {most >> 30} GiB",
        "Split it, or take a sample first.",
    )
