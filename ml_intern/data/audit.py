"""What is wrong with a dataset, in numbers: before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from ml_intern.data.splitting import texts_of
from ml_intern.data.table import GROUP_COLUMNS, content_columns, describe_type, need, row_text, text_column
from ml_intern.data.units import parse_all

if TYPE_CHECKING:
    import polars as pl

# Parsing is the slowest measure; this many rows, evenly spaced, give a share to a third of a percent.
PARSE_ROWS = 20_000
LABEL_VALUES = 20
_CODE_WORDS = "import from return raise def class if for while with try else elif except assert del pass"
_CODE_SIGN = rf"[=(\[{{]|^\s*(?:{_CODE_WORDS.replace(' ', '|')})\b"
_ENCODING = {
    "replacement characters": "\ufffd",
    "double-encoded characters": "[ÃÂ][\u0080-\u00bf]|â€",
    "control characters": "[\u0000-\u0008\u000e-\u001f\u007f]",
    "byte order marks": "\ufeff",
}


class Lengths(BaseModel):
    """How long texts are."""

    min: int
    median: int
    mean: float
    p95: int
    max: int
    total: int


class ColumnAudit(BaseModel):
    """One column. `missing` counts rows without a value; `distinct` is None where it was not counted."""

    name: str
    type: str
    missing: int
    distinct: int | None = None


class Leak(BaseModel):
    """Rows of a split whose text stands in another split too."""

    split: str
    against: str
    rows: int
    share: float


class AuditReport(BaseModel):
    """The findings.

    Attributes:
        source: What was audited.
        rows: Its rows.
        text: The column taken for the text; None where rows have several.
        columns: Types and missing values.
        empty_rows: Rows whose content is empty or white space.
        exact_duplicates: Rows that repeat an earlier one.
        near_duplicates: Further rows that repeat an earlier one but for case, digits and punctuation.
        chars: Lengths in characters.
        bytes: Lengths in bytes of UTF-8.
        labels: Rows by value, for columns with few values.
        looks_like_python: Whether the text was taken for Python.
        python_parse_share: Share of rows that Python's parser accepts alone; None where it is not Python.
        python_parse_rows: Rows that this share was measured on.
        leaks: Texts that stand in two splits.
        encoding: Rows with signs of a wrong encoding, by kind.
        findings: The same in sentences, worst first.
    """

    source: str
    rows: int
    text: str | None
    columns: list[ColumnAudit]
    empty_rows: int
    exact_duplicates: int
    near_duplicates: int
    chars: Lengths
    bytes: Lengths
    labels: dict[str, dict[str, int]] = Field(default_factory=dict)
    looks_like_python: bool = False
    python_parse_share: float | None = None
    python_parse_rows: int = 0
    leaks: list[Leak] = Field(default_factory=list)
    encoding: dict[str, int] = Field(default_factory=dict)
    findings: list[str] = Field(default_factory=list)


def audit(rows: pl.DataFrame, source: str, text: str | None = None) -> AuditReport:
    """Measure one table.

    Args:
        rows: The table.
        source: Its name, for the report.
        text: The column of the text; nothing means what `text_column` finds, else all content together.

    Raises:
        ToolError: The column is not there.
    """
    name = text_column(rows, text)
    texts = _texts(rows, name)
    filled = texts.str.strip_chars() != ""
    exact = texts.len() - texts.n_unique()
    python = looks_like_python(rows, texts.filter(filled))
    parsed = parse_all(_spaced(texts, PARSE_ROWS)) if python else []
    report = AuditReport(
        source=source,
        rows=rows.height,
        text=name,
        columns=[_column(rows, column) for column in rows.columns],
        empty_rows=int((~filled).sum()),
        exact_duplicates=exact,
        near_duplicates=max(0, texts.len() - _folded(texts).n_unique() - exact),
        chars=_lengths(texts.str.len_chars()),
        bytes=_lengths(texts.str.len_bytes()),
        labels=_labels(rows, name),
        looks_like_python=python,
        python_parse_share=round(sum(parsed) / len(parsed), 4) if parsed else None,
        python_parse_rows=len(parsed),
        encoding={kind: n for kind, sign in _ENCODING.items() if (n := int(texts.str.contains(sign).sum()))},
    )
    report.findings = _findings(report)
    return report


def leaks(splits: Mapping[str, pl.DataFrame]) -> list[Leak]:
    """Rows of each later split whose text stands in an earlier one; train comes first."""
    order = sorted(splits, key=lambda name: (name.rsplit("/", 1)[-1] != "train", name))
    texts = {name: [found[0] for found in texts_of(splits[name])] for name in order}
    known = {name: set(found) - {""} for name, found in texts.items()}
    found = []
    for position, later in enumerate(order):
        for earlier in order[:position]:
            if count := sum(text in known[earlier] for text in texts[later]):
                found.append(
                    Leak(split=later, against=earlier, rows=count, share=round(count / len(texts[later]), 4))
                )
    return found


def describe_leaks(found: list[Leak]) -> list[str]:
    """Leaks in sentences."""
    return [f"{k.rows} rows of {k.split} ({k.share:.1%}) stand in {k.against} too." for k in found]


def first_of_each(rows: pl.DataFrame, columns: list[str] | None = None, near: bool = False) -> pl.DataFrame:
    """The rows that repeat no earlier one, in their order.

    Args:
        rows: The rows.
        columns: What to compare; nothing means the content.
        near: Whether case, digits and punctuation are ignored.

    Raises:
        ToolError: A column is not there.
    """
    need(rows, columns or [])
    texts = _joined(rows, columns or content_columns(rows))
    return rows.filter((_folded(texts) if near else texts).is_first_distinct())


def _texts(rows: pl.DataFrame, name: str | None) -> pl.Series:
    return _joined(rows, [name] if name else content_columns(rows))


def _joined(rows: pl.DataFrame, columns: list[str]) -> pl.Series:
    """The texts of columns as one; a separator that texts do not hold keeps ("a", "b") from ("ab", "")."""
    import polars as pl

    if len(columns) == 1 and rows.schema[columns[0]] == pl.String:
        return rows[columns[0]].fill_null("").rename("text")
    return pl.Series(
        "text", [row_text(r, columns) for r in rows.select(columns).iter_rows(named=True)], pl.String
    )


def _folded(texts: pl.Series) -> pl.Series:
    folded = (
        texts.str.to_lowercase()
        .str.replace_all(r"\d+", "0")
        .str.replace_all(r"[\W_]+", " ")
        .str.strip_chars()
    )
    # What is nothing but signs keeps them: "{" and "}" are not near each other.
    return folded.zip_with(folded != "", texts)


def _spaced(texts: pl.Series, most: int) -> list[str]:
    step = -(-texts.len() // most)
    spaced: list[str] = texts.gather_every(max(1, step)).to_list()
    return spaced


def looks_like_python(rows: pl.DataFrame, texts: pl.Series) -> bool:
    """Whether texts are Python: by their files' names, else by how much looks like code and parses."""
    if "file" in rows.columns and rows["file"].cast(str, strict=False).str.ends_with(".py").mean() == 1.0:
        return True
    sample = texts.gather_every(max(1, texts.len() // 200)).head(200)
    if sample.is_empty():
        return False
    signs = sample.str.contains(_CODE_SIGN).to_list()
    both = sum(sign and parsed for sign, parsed in zip(signs, parse_all(sample), strict=True))
    return bool(both / sample.len() >= 0.3)


def _lengths(lengths: pl.Series) -> Lengths:
    def at(share: float) -> int:
        return int(lengths.quantile(share, interpolation="nearest") or 0)

    return Lengths(
        min=at(0),
        median=at(0.5),
        mean=round(float(lengths.mean() or 0), 1),
        p95=at(0.95),
        max=at(1),
        total=int(lengths.sum()),
    )


def _column(rows: pl.DataFrame, name: str) -> ColumnAudit:
    column = rows[name]
    return ColumnAudit(
        name=name,
        type=describe_type(column.dtype),
        missing=column.null_count(),
        distinct=None if column.dtype.is_nested() else column.n_unique(),
    )


def _labels(rows: pl.DataFrame, text: str | None) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name in rows.columns:
        column = rows[name].drop_nulls()
        if name == text or name in GROUP_COLUMNS or column.dtype.is_nested() or column.dtype.is_float():
            continue
        distinct = column.n_unique()
        if 2 <= distinct <= LABEL_VALUES and column.len() >= 5 * distinct:
            counts = column.value_counts(sort=True)
            found[name] = {str(value)[:60]: int(count) for value, count in counts.iter_rows()}
    return found


def _findings(report: AuditReport) -> list[str]:
    n = max(1, report.rows)
    said: list[tuple[float, str]] = []

    def say(share: float, text: str) -> None:
        if share > 0:
            said.append((share, text))

    if report.python_parse_share is not None:
        bad = 1 - report.python_parse_share
        say(
            bad,
            f"{bad:.0%} of the rows do not parse as Python alone (measured on {report.python_parse_rows}).",
        )
    say(
        report.exact_duplicates / n,
        f"{report.exact_duplicates} rows ({report.exact_duplicates / n:.1%}) repeat an earlier one.",
    )
    say(
        report.near_duplicates / n,
        f"{report.near_duplicates} more differ from an earlier one only in case, digits or signs.",
    )
    say(report.empty_rows / n, f"{report.empty_rows} rows are empty.")
    for column in report.columns:
        say(column.missing / n, f"{column.missing} rows have no {column.name!r}.")
    for kind, count in report.encoding.items():
        say(count / n, f"{count} rows hold {kind}.")
    for name, counts in report.labels.items():
        top, last = max(counts.values()), min(counts.values())
        if top >= 10 * last:
            say(top / n, f"{name!r} is out of balance: {_pairs(counts)}.")
    return [text for _, text in sorted(said, key=lambda item: -item[0])] or ["Nothing wrong was found."]


def _pairs(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{value} {count}" for value, count in list(counts.items())[:4])
