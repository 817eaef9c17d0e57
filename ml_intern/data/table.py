"""Rows in memory, and the small questions that every part asks of them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    import polars as pl

    from ml_intern.data.units import Unit

MESSAGES = "messages"
# Columns that say where a row comes from: rows of one group never stand in two splits.
GROUP_COLUMNS = ("file", "group", "document_id", "doc_id")
_TEXT_NAMES = ("text", "content", "document", "body", "sentence", "code")


@dataclass(frozen=True)
class Table:
    """Rows that were opened.

    Attributes:
        rows: The rows.
        source: What was asked for, resolved: a dataset id, a path, a Hub id.
        fingerprint: sha256 of the bytes that were read.
        split: The split that was read; None where the source has none.
        splits: All splits of the source.
        unit: How text was cut into rows; None where the source has rows of its own.
        notes: What a reader should know: files left out, replaced characters, mixed types.
        parent: Id, when the source is a dataset of the store.
        revision: Commit of the Hub's repository that was read; empty for other sources.
        held: Rows of the source that are held out, and so not among `rows`.
    """

    rows: pl.DataFrame
    source: str
    fingerprint: str
    split: str | None = None
    splits: tuple[str, ...] = ()
    unit: Unit | None = None
    notes: tuple[str, ...] = ()
    parent: str | None = None
    revision: str = ""
    held: int = 0


def normalise(text: str) -> str:
    """The form in which two texts count as the same: case, white space and compatibility forms folded.

    Decomposed and recomposed until nothing moves, since folding case can undo a composition.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def text_of(value: Any) -> str:
    """A cell's value as text: messages and lists give the texts inside, one a line."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join(text_of(v) for v in value.values() if v is not None)
    if isinstance(value, (list, tuple)):
        return "\n".join(text_of(v) for v in value)
    return str(value)


def row_text(row: dict[str, Any], columns: list[str]) -> str:
    """The texts of a row, one a line."""
    return "\n".join(text_of(row[name]) for name in columns)


def content_columns(rows: pl.DataFrame) -> list[str]:
    """The columns that carry what a model would read: texts and messages, without the row's origin."""
    import polars as pl

    found = [
        name
        for name, dtype in rows.schema.items()
        if name not in GROUP_COLUMNS and isinstance(dtype, (pl.String, pl.List, pl.Struct))
    ]
    return found or list(rows.columns)


def text_column(rows: pl.DataFrame, asked: str | None = None) -> str | None:
    """The column of the text: the one asked for, else one with a usual name, else the only text column.

    Raises:
        ToolError: The column asked for is not there.
    """
    import polars as pl

    if asked is not None:
        need(rows, [asked])
        return asked
    texts = [name for name, dtype in rows.schema.items() if dtype == pl.String and name not in GROUP_COLUMNS]
    usual = [name for name in _TEXT_NAMES if name in texts]
    return usual[0] if usual else texts[0] if len(texts) == 1 else None


def is_messages(rows: pl.DataFrame, name: str) -> bool:
    """Whether a column holds lists of ``{role, content}``."""
    import polars as pl

    if name not in rows.columns or not isinstance(rows.schema[name], pl.List):
        return False
    inner = rows.schema[name].inner
    return isinstance(inner, pl.Struct) and {"role", "content"} <= {f.name for f in inner.fields}


def group_column(rows: pl.DataFrame) -> str | None:
    """The column whose groups must stay together, when there is more than one group."""
    return next((n for n in GROUP_COLUMNS if n in rows.columns and rows[n].n_unique() > 1), None)


def need(rows: pl.DataFrame, columns: list[str]) -> None:
    """Check that columns are there.

    Raises:
        ToolError: Names the column and those that exist.
    """
    for name in columns:
        if name not in rows.columns:
            known = ", ".join(rows.columns[:40]) + (" …" if rows.width > 40 else "")
            raise ToolError(
                f"There is no column {name!r}{did_you_mean(name, rows.columns)}.",
                f"The columns are: {known}.",
            )


def describe_type(dtype: Any) -> str:
    """A polars type in words: ``text``, ``integer``, ``list of {role: text, content: text}``."""
    import polars as pl

    if isinstance(dtype, (pl.List, pl.Array)):
        return f"list of {describe_type(dtype.inner)}"
    if isinstance(dtype, pl.Struct):
        return "{" + ", ".join(f"{f.name}: {describe_type(f.dtype)}" for f in dtype.fields) + "}"
    if dtype == pl.Null:
        return "nothing"
    if dtype == pl.Boolean:
        return "true or false"
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    return "text" if dtype in (pl.String, pl.Categorical) else str(dtype).lower()


def columns_of(rows: pl.DataFrame) -> dict[str, str]:
    """Column names with their types in words."""
    return {name: describe_type(dtype) for name, dtype in rows.schema.items()}


def shorten(value: Any, chars: int) -> Any:
    """A value fit for showing: long texts are cut and say how long they were."""
    if isinstance(value, str) and len(value) > chars:
        return f"{value[:chars]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {k: shorten(v, chars) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        shown = [shorten(v, chars) for v in value[:8]]
        return shown if len(value) <= 8 else [*shown, f"… ({len(value)} items)"]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return value


def sample_of(
    rows: pl.DataFrame, offset: int, count: int, chars: int, most: int = 20_000
) -> list[dict[str, Any]]:
    """Rows fit for showing; where they are many or wide, values are cut shorter, then rows are left out."""
    while True:
        shown = [shorten(row, chars) for row in rows.slice(offset, count).to_dicts()]
        if sum(len(str(row)) for row in shown) <= most or (chars <= 20 and count <= 1):
            return shown
        chars, count = (chars // 2, count) if chars > 20 else (chars, count // 2)


def slug(text: str) -> str:
    """A name fit for a folder and a repository: lower case, dashes, at most 60 characters."""
    name = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-_")[:60].strip("-_")
    return name or "dataset"


def name_of(source: str) -> str:
    """The name that what is made of a source goes by: ``data/qa.jsonl`` and ``qa@2`` are both ``qa``."""
    last = re.split(r"[@:]", source.rstrip("/"))[0].rsplit("/", 1)[-1]
    return slug(re.sub(r"\.(?:jsonl|ndjson|json|csv|tsv|parquet|arrow|txt|md|py|gz)\b", "", last))


def digest(data: bytes) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
