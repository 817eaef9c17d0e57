"""What an audit found, as a model and in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

SHOWN = 10
"""Row numbers that stand as evidence for each finding."""
NUMBER_CLASSES = 10
"""So many numbers may be classes; more of them are quantities, of which some are always rare."""
PLACEHOLDERS = "made-up e-mail addresses"
NOTHING = "Nothing wrong was found."
REORDERED = "words in another order"
CONFLICTS = "conflicting answers"


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


class Outliers(BaseModel):
    """Numbers of a column that lie far from the others; `most_from` to `most_to` holds 99% of those."""

    rows: int
    lowest: float
    highest: float
    most_from: float
    most_to: float


class Leak(BaseModel):
    """Rows of a split whose text stands in another split too; `row_numbers` are the first of them."""

    split: str
    against: str
    rows: int
    share: float
    row_numbers: list[int] = Field(default_factory=list)


class AuditReport(BaseModel):
    """The findings.

    Attributes:
        source: What was audited.
        rows: Its rows.
        text: The column taken for the text; None where rows have several.
        columns: Types and missing values.
        empty_rows: Rows whose content is empty or white space.
        empty: Rows with an empty text, by column, where rows have several columns of text.
        exact_duplicates: Rows that repeat an earlier one.
        near_duplicates: Further rows that nearly repeat an earlier one.
        near_means: What that is, in words.
        chars: Lengths in characters.
        bytes: Lengths in bytes of UTF-8.
        tokens: Lengths in tokens; None where no tokenizer was named.
        labels: Rows by value, for columns with few values.
        conflicts: Rows that ask the same as another one and have another answer.
        conflicting: The columns that ask, then the one that answers.
        outliers: Numbers far from the rest, by column: a modified z-score above 3.5 (Iglewicz and Hoaglin
            1993), twice as far off as 99% of the others, and at most one row in a hundred.
        looks_like_python: Whether the text was taken for Python.
        python_parse_share: Share of rows that Python's parser accepts alone; None where it is not Python.
        python_parse_rows: Rows that this share was measured on.
        languages: Rows by language (ISO 639-1), "unsure" and "too short" among them; None: not looked at.
        language_rows: Rows that this was measured on, evenly spaced.
        personal: Rows with personal data in any column of text, by kind; their values are shown nowhere.
        placeholders: Rows with e-mail addresses that nobody can have, as at example.org.
        leaks: Texts that stand in two splits.
        reordered: Rows with the words and signs of an earlier one in another order, as 4+3 after 3+4.
        reordered_leaks: The same between splits.
        encoding: Rows with signs of a wrong encoding, by kind.
        evidence: The first row numbers of each finding, as inspect_dataset(offset=…) takes them.
        streamed: The source was read piece by piece, since it is large.
        findings: The same in sentences, worst first.
    """

    source: str
    rows: int
    text: str | None
    columns: list[ColumnAudit]
    empty_rows: int
    empty: dict[str, int] = Field(default_factory=dict)
    exact_duplicates: int
    near_duplicates: int
    near_means: str
    chars: Lengths
    bytes: Lengths
    tokens: Lengths | None = None
    labels: dict[str, dict[str, int]] = Field(default_factory=dict)
    conflicts: int = 0
    conflicting: list[str] = Field(default_factory=list)
    outliers: dict[str, Outliers] = Field(default_factory=dict)
    looks_like_python: bool = False
    python_parse_share: float | None = None
    python_parse_rows: int = 0
    languages: dict[str, int] | None = None
    language_rows: int = 0
    personal: dict[str, int] = Field(default_factory=dict)
    placeholders: int = 0
    leaks: list[Leak] = Field(default_factory=list)
    reordered: int = 0
    reordered_leaks: list[Leak] = Field(default_factory=list)
    encoding: dict[str, int] = Field(default_factory=dict)
    evidence: dict[str, list[int]] = Field(default_factory=dict)
    streamed: bool = False
    findings: list[str] = Field(default_factory=list)


def describe(report: AuditReport) -> list[str]:
    """The findings in sentences, the one that touches most rows first."""
    n = max(1, report.rows)
    said: list[tuple[float, str]] = []

    def say(share: float, text: str, evidence: str = "") -> None:
        if share > 0:
            rows = report.evidence.get(evidence, [])
            said.append((share, f"{text.removesuffix('.')}{_rows(rows)}."))

    if report.python_parse_share is not None:
        bad = 1 - report.python_parse_share
        measured = f"(measured on {report.python_parse_rows})"
        say(bad, f"{bad:.0%} of the rows do not parse as Python alone {measured}.")
    share = report.exact_duplicates / n
    say(share, f"{report.exact_duplicates} rows ({share:.1%}) repeat an earlier one.", "exact duplicates")
    near = f"{report.near_duplicates} more {report.near_means}."
    say(report.near_duplicates / n, near, "near duplicates")
    say(report.empty_rows / n, f"{report.empty_rows} rows are empty.", "empty rows")
    for name, count in report.empty.items():
        say(count / n, f"{count} rows have an empty {name!r}.", f"empty {name}")
    for column in report.columns:
        missing = f"missing {column.name}"
        say(column.missing / n, f"{column.missing} rows have no {column.name!r}.", missing)
    for kind, count in {**report.encoding, **report.personal}.items():
        say(count / n, f"{count} rows hold {kind}.", kind)
    made_up = f"{report.placeholders} rows hold {PLACEHOLDERS}, which are nobody's."
    say(report.placeholders / n, made_up, PLACEHOLDERS)
    say(report.conflicts / n, _conflict(report), CONFLICTS)
    for name, far in report.outliers.items():
        told = f"{far.rows} rows have an outlier in {name!r}: {_span(far.lowest, far.highest)}"
        say(
            far.rows / n,
            f"{told}, where 99% of the others are {_span(far.most_from, far.most_to)}.",
            f"outliers {name}",
        )
    for name, counts in report.labels.items():
        if len(counts) > NUMBER_CLASSES and all(map(_is_number, counts)):
            continue
        top, last = max(counts.values()), min(counts.values())
        if top >= 10 * last:
            say(top / n, f"{name!r} is out of balance: {_pairs(counts)}.")
    if mixed := _mixed(report.languages or {}):
        say(mixed[0], mixed[1])
    return [text for _, text in sorted(said, key=lambda item: -item[0])] or [NOTHING]


def describe_reordered(report: AuditReport) -> list[str]:
    """Rows with the words of others in another order, in sentences."""
    found = [
        f"{k.rows} rows of {k.split} ({k.share:.1%}) have the words of a row of {k.against} in another order"
        f"{_rows(k.row_numbers)}: where order makes no difference, as in 3+4 and 4+3, they ask the same."
        for k in report.reordered_leaks
    ]
    if not report.reordered:
        return found
    return [
        *found,
        f"{report.reordered} rows ({report.reordered / max(1, report.rows):.1%}) have the words of an earlier"
        f" one in another order{_rows(report.evidence.get(REORDERED, []))}: where order means nothing, as "
        "in 3+4 and 4+3, a split that parts them tests on what was trained. split_dataset(group=…) keeps them"
        " together by a column that both share.",
    ]


def describe_leaks(found: list[Leak]) -> list[str]:
    """Leaks in sentences."""
    return [
        f"{k.rows} rows of {k.split} ({k.share:.1%}) stand in {k.against} too{_rows(k.row_numbers)}."
        for k in found
    ]


def _conflict(report: AuditReport) -> str:
    asked = " and ".join(map(repr, report.conflicting[:-1]))
    right = repr(report.conflicting[-1]) if report.conflicting else ""
    return f"{report.conflicts} rows have the {asked} of another row and a different {right}."


def _span(low: float, high: float) -> str:
    return f"{low:.12g}" if low == high else f"{low:.12g} to {high:.12g}"


def _is_number(label: str) -> bool:
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False


def _rows(rows: list[int]) -> str:
    shown = ", ".join(map(str, rows[:3]))
    return f" (rows {shown}{' …' if len(rows) > 3 else ''})" if rows else ""


def _pairs(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{value} {count}" for value, count in list(counts.items())[:4])


def _mixed(languages: Mapping[str, int]) -> tuple[float, str] | None:
    """Rows in another language than most, where there are more than a guesser's slips."""
    known = {name: count for name, count in languages.items() if len(name) == 2}
    total, first = sum(known.values()), max(known.values(), default=0)
    if total < 20 or total - first < 0.02 * total:
        return None
    share = (total - first) / total
    return share, f"{share:.1%} of the rows are in another language than the rest: {_pairs(known)}."
