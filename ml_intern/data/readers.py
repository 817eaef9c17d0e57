"""One file becomes a table. Every refusal names the file, and the line where there is one."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import tokenize
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ml_intern.errors import ToolError

if TYPE_CHECKING:
    import polars as pl

# Rows are held in memory, at several times the size of their file.
MAX_BYTES = 2 * 2**30
# What people try, and what to make of it instead.
_FOREIGN = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "Save it as CSV."),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".zst", ".bz2", ".xz"), "Unpack it first."),
    **dict.fromkeys((".pdf", ".docx", ".doc", ".epub"), "Save its text as .txt."),
    **dict.fromkeys(
        (".pkl", ".pickle", ".npy", ".npz", ".pt", ".bin"), "Save the rows as JSON lines or Parquet."
    ),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3", ".duckdb"), "Export the table as CSV or Parquet."),
}
TABLE_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class Reading:
    """What one file gave: its rows, its bytes, what to tell about it."""

    rows: pl.DataFrame
    data: bytes
    notes: list[str] = field(default_factory=list)


def kind_of(path: Path) -> str:
    """The suffix that decides how a file is read; ``.gz`` is looked through."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def read_table(path: Path) -> Reading:
    """Read a file that has rows of its own.

    Raises:
        ToolError: It is empty, broken, too large, or not what its name says.
    """
    notes: list[str] = []
    data = load(path)
    if not data.strip():
        refuse(path, "is empty")
    kind = kind_of(path)
    if kind in (".parquet", ".arrow"):
        rows = _columnar(path, data, kind)
    else:
        text = decode(path, data, notes)
        if kind in (".csv", ".tsv"):
            rows = _csv(path, text, "\t" if kind == ".tsv" else None)
        else:
            records = _json(path, text) if kind == ".json" else _jsonl(path, text)
            rows = frame(path.name, records, notes)
    if rows.height == 0:
        refuse(path, "has no rows", f"Its columns are: {', '.join(rows.columns)}." if rows.columns else "")
    return Reading(rows, data, notes)


def load(path: Path) -> bytes:
    """The bytes of a file, unpacked where its name ends in ``.gz``."""
    if not path.is_file():
        refuse(path, "is not a file that can be read")
    if path.suffix.lower() in _FOREIGN:
        refuse(path, f"is a kind of file that cannot be read ({path.suffix})", _FOREIGN[path.suffix.lower()])
    try:
        if path.stat().st_size > MAX_BYTES:
            refuse(path, f"is larger than {MAX_BYTES >> 30} GiB", "Split it, or take a sample first.")
        if not path.name.lower().endswith(".gz"):
            return path.read_bytes()
        with gzip.open(path) as packed:
            data = packed.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        refuse(path, f"is not a whole gzip file ({error})")
    except OSError as error:
        refuse(path, f"cannot be read: {error.strerror or error}")
    if len(data) > MAX_BYTES:
        refuse(path, f"unpacks to more than {MAX_BYTES >> 30} GiB", "Split it, or take a sample first.")
    return data


def decode(path: Path, data: bytes, notes: list[str]) -> str:
    """Bytes to text: UTF-8, UTF-16 with its mark, and for Python files the encoding that they declare."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif path.suffix in (".py", ".pyi"):
        encoding = _declared(path, data)
    else:
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        wrong = f"byte 0x{data[error.start]:02x} is not {encoding.removesuffix('-sig').upper()}"
        refuse(path, f"line {line}: {wrong}", "Convert the file, for example: iconv -f latin1 -t utf-8.")
    if encoding == "utf-16":
        notes.append(f"{path.name} was read as UTF-16.")
    if "\0" in text:
        refuse(
            path, f"line {text.count(chr(10), 0, text.index(chr(0))) + 1}: null byte; the file is not text"
        )
    return text


def frame(name: str, records: list[dict[str, Any]], notes: list[str]) -> pl.DataFrame:
    """A polars frame of dicts; what had to be changed to make columns of them is noted.

    Raises:
        ToolError: A column holds values that are no one type.
    """
    import polars as pl

    try:
        rows = pl.DataFrame(_clean(name, records, notes), infer_schema_length=None, strict=False)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        column = next((c for c in records[0] if not _uniform(records, c)), "")
        told = f"column {column!r} mixes kinds of values" if column else f"rows make no table ({error})"
        raise ToolError(f"{name}: {told}.", "Give every row the same kind of value.") from None
    for column, dtype in rows.schema.items():
        if dtype == pl.String and any(not isinstance(r.get(column, ""), (str, type(None))) for r in records):
            notes.append(f"Column {column!r} mixes texts with other values; all were read as text.")
    return rows


def refuse(path: Path, what: str, hint: str = "") -> NoReturn:
    """Raise the one line that names the file and what is wrong."""
    raise ToolError(f"{path.name} {what}.", hint) from None


def _declared(path: Path, data: bytes) -> str:
    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError as error:
        refuse(path, f"line 1: {error.msg or error}")


def _jsonl(path: Path, text: str) -> list[dict[str, Any]]:
    records = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            refuse(path, f"line {number}: not JSON ({why}): {line.strip()[:60]!r}")
        if not isinstance(record, dict):
            refuse(path, f"line {number}: expected an object, found {_kind(record)}")
        records.append(record)
    if not any(records):
        refuse(path, "has no columns: its objects are empty" if records else "is empty")
    return records


def _json(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        # Many files called .json hold one object a line.
        if error.msg == "Extra data" and text.lstrip()[:1] == "{":
            return _jsonl(path, text)
        refuse(path, f"line {error.lineno}: not JSON ({error.msg}, column {error.colno})")
    except (ValueError, RecursionError) as error:
        refuse(path, f"holds JSON that cannot be read ({error})")
    if isinstance(value, dict):
        value = _unwrapped(path, value)
    if not isinstance(value, list):
        refuse(path, f"holds {_kind(value)}", "Expected a list of objects, or one object a line.")
    for number, record in enumerate(value, 1):
        if not isinstance(record, dict):
            refuse(
                path, f"holds a list whose item {number} is {_kind(record)}", "Expected a list of objects."
            )
    if not any(value):
        refuse(path, "has no rows")
    return value


def _unwrapped(path: Path, value: dict[str, Any]) -> list[Any]:
    """The rows of ``{"data": [...]}`` or of ``{"a": [1, 2], "b": [3, 4]}``."""
    lists = {k: v for k, v in value.items() if isinstance(v, list)}
    of_rows = {k: v for k, v in lists.items() if v and all(isinstance(item, dict) for item in v)}
    if len(of_rows) == 1:
        return next(iter(of_rows.values()))
    if not lists or len(lists) != len(value):
        return [value]
    lengths = {k: len(v) for k, v in lists.items()}
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{k} {n}" for k, n in lengths.items())
        refuse(path, "holds columns of different lengths", f"Lengths: {shown}.")
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _csv(path: Path, text: str, separator: str | None) -> pl.DataFrame:
    import polars as pl

    header, *body = _fields(path, text, separator or _separator(text))
    # An empty field is a missing value.
    columns = {name: [cells[i] or None for cells in body] for i, name in enumerate(header)}
    return _typed(pl.DataFrame(columns, schema=dict.fromkeys(header, pl.String)))


def _fields(path: Path, text: str, separator: str) -> list[list[str]]:
    """The header and the rows; a row that is too short or too long is an error, never filled."""
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    found: list[list[str]] = []
    start = 1
    try:
        for cells in reader:
            if cells and not found:
                cells = [name.strip() or f"column_{i}" for i, name in enumerate(cells, 1)]
                twice = next((name for name in cells if cells.count(name) > 1), None)
                if twice:
                    refuse(path, f"has two columns called {twice!r}")
            elif cells and len(cells) != len(found[0]):
                refuse(path, f"line {start}: {len(cells)} fields, but the header has {len(found[0])}")
            if cells:
                found.append(cells)
            start = reader.line_num + 1
    except csv.Error as error:
        refuse(path, f"line {start}: {error}")
    return found


def _separator(text: str) -> str:
    header = text.lstrip().split("\n", 1)[0]
    return max(",;\t|", key=header.count)


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


def _columnar(path: Path, data: bytes, kind: str) -> pl.DataFrame:
    import polars as pl

    try:
        if kind == ".parquet":
            return pl.read_parquet(io.BytesIO(data))
        reader = pl.read_ipc if data[:6] == b"ARROW1" else pl.read_ipc_stream
        return reader(io.BytesIO(data))
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0][:120] if str(error).strip() else "no reason given"
        refuse(path, f"is not a whole {kind[1:].capitalize()} file ({why})")


def _clean(name: str, records: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    """Replace lone surrogates (JSON can spell them, UTF-8 cannot) and say so."""
    broken = 0

    def mend(value: Any) -> Any:
        nonlocal broken
        if isinstance(value, str):
            if not _SURROGATE.search(value):
                return value
            broken += 1
            return _SURROGATE.sub("\ufffd", value)
        if isinstance(value, dict):
            return {mend(k): mend(v) for k, v in value.items()}
        return [mend(v) for v in value] if isinstance(value, list) else value

    mended = [mend(record) for record in records]
    if broken:
        notes.append(f"{name}: {broken} texts held half characters (lone surrogates); they are U+FFFD now.")
    return mended


def _uniform(records: Iterable[dict[str, Any]], column: str) -> bool:
    return len({_kind(r[column]) for r in records if r.get(column) is not None}) <= 1


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
