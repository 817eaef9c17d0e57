"""What is wrong with a dataset, in numbers: before anything is trained on it.

The rows come in one piece or in many: what is kept of them is a few bytes each, so a source may be larger
than the memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ml_intern.data import language, personal
from ml_intern.data.answers import Conflicts, Numbers, asked_and_right
from ml_intern.data.report import (
    CONFLICTS,
    PLACEHOLDERS,
    SHOWN,
    AuditReport,
    Leak,
    describe,
    describe_leaks,
)
from ml_intern.data.splitting import texts_of
from ml_intern.data.table import GROUP_COLUMNS, content_columns, row_text, text_column
from ml_intern.data.tallies import Column, Copies, Folded, Marks, NearDuplicates, Sizes, Spaced
from ml_intern.data.units import parse_all

if TYPE_CHECKING:
    import polars as pl

__all__ = ["AuditReport", "Leak", "audit", "describe_leaks", "leaks", "looks_like_python"]

# Parsing is the slowest measure; this many rows, evenly spaced, give a share to a third of a percent.
PARSE_ROWS = 20_000
LANGUAGE_ROWS = 5_000
REORDERED_CHARS = 1_000
"""Longer texts are not looked for in another order of their words: they have it by no accident."""
_CODE_WORDS = "import from return raise def class if for while with try else elif except assert del pass"
_CODE_SIGN = rf"[=(\[{{]|^\s*(?:{_CODE_WORDS.replace(' ', '|')})\b"
_ENCODING = {
    "replacement characters": "\ufffd",
    "double-encoded characters": "[ÃÂ][\u0080-\u00bf]|â€",
    "control characters": "[\u0000-\u0008\u000e-\u001f\u007f]",
    "byte order marks": "\ufeff",
}

CountTokens = Callable[[Sequence[str]], Sequence[int]]


def audit(
    rows: pl.DataFrame | Iterable[pl.DataFrame],
    source: str,
    text: str | None = None,
    count_tokens: CountTokens | None = None,
    region: str | None = None,
    near: NearDuplicates | None = None,
) -> AuditReport:
    """Measure one table.

    Args:
        rows: The table, or its pieces one after the other.
        source: Its name, for the report.
        text: The column of the text; nothing means what `text_column` finds, else all content together.
        count_tokens: From texts to numbers of tokens.
        region: Country whose national phone numbers are looked for.
        near: What finds near duplicates; nothing means equality but for case, digits and signs.

    Raises:
        ToolError: The column is not there.
    """
    import polars as pl

    made = Audit(source, text, count_tokens, region, near)
    for piece in [rows] if isinstance(rows, pl.DataFrame) else rows:
        made.add(piece)
    return made.report()


class Audit:
    """An audit under way; see `audit`."""

    def __init__(
        self,
        source: str,
        text: str | None = None,
        count_tokens: CountTokens | None = None,
        region: str | None = None,
        near: NearDuplicates | None = None,
    ) -> None:
        self.source, self.rows, self.pieces = source, 0, 0
        self._asked, self._text, self._content = text, text, list[str]()
        self._count_tokens, self._region = count_tokens, region
        self._columns: dict[str, Column] = {}
        self._numbers: dict[str, Numbers] = {}
        self._conflicts = Conflicts()
        self._roles: tuple[list[str], str] | None = None
        self._exact, self._near = Copies(), near or Folded()
        self._chars, self._bytes, self._tokens = Sizes(), Sizes(), Sizes()
        self._marks, self._sample = Marks(), Spaced(PARSE_ROWS)
        self._python_files = True

    def add(self, rows: pl.DataFrame) -> None:
        """Take the next rows."""
        if not self.pieces:
            self._text = text_column(rows, self._asked)
            self._content = [self._text] if self._text else content_columns(rows)
            self._roles = asked_and_right(rows)
        texts = _joined(rows, [name for name in self._content if name in rows.columns])
        self._add_columns(rows)
        for tally in (self._exact, self._near):
            tally.add(texts)
        self._chars.add(texts.str.len_chars())
        self._bytes.add(texts.str.len_bytes())
        if self._count_tokens:
            self._tokens.add(self._count_tokens(texts.to_list()))
        self._mark(rows, texts)
        self._add_answers(rows)
        self._sample.add(texts)
        self._python_files = self._python_files and _python_files(rows)
        self.rows, self.pieces = self.rows + rows.height, self.pieces + 1

    def report(self) -> AuditReport:
        """What was found."""
        exact = self._exact.rows()
        near = np.setdiff1d(self._near.rows(), exact)
        conflicts = self._conflicts.rows()
        evidence = {"exact duplicates": exact, "near duplicates": near, CONFLICTS: conflicts}
        far = {name: odd for name, tally in self._numbers.items() if (odd := tally.outliers())}
        evidence |= {f"outliers {name}": rows for name, (rows, _) in far.items()}
        marks = self._marks
        sample = self._sample.texts
        python = bool(self.rows) and (self._python_files or _looks_like_code(sample))
        parsed = parse_all(sample) if python else []
        spoken = [] if python else sample[:: max(1, -(-len(sample) // LANGUAGE_ROWS))]
        languages = language.languages(spoken) if spoken else None
        report = AuditReport(
            source=self.source,
            rows=self.rows,
            text=self._text,
            columns=[column.audit() for column in self._columns.values()],
            empty_rows=marks.counts.get("empty rows", 0),
            empty={name: n for name in self._columns if (n := marks.counts.get(f"empty {name}", 0))},
            exact_duplicates=len(exact),
            near_duplicates=len(near),
            near_means=self._near.means,
            chars=self._chars.lengths(),
            bytes=self._bytes.lengths(),
            tokens=self._tokens.lengths() if self._count_tokens else None,
            labels={c.name: found for c in self._columns.values() if (found := c.labels())},
            conflicts=len(conflicts),
            conflicting=[*self._roles[0], self._roles[1]] if self._roles and len(conflicts) else [],
            outliers={name: told for name, (_, told) in far.items()},
            looks_like_python=python,
            python_parse_share=round(sum(parsed) / len(parsed), 4) if parsed else None,
            python_parse_rows=len(parsed),
            languages=languages,
            language_rows=len(spoken) if languages is not None else 0,
            personal={kind: n for kind, n in marks.counts.items() if kind in personal.KINDS},
            placeholders=marks.counts.get(PLACEHOLDERS, 0),
            encoding={kind: n for kind, n in marks.counts.items() if kind in _ENCODING},
            evidence={
                **{what: rows[:SHOWN].tolist() for what, rows in evidence.items() if len(rows)},
                **marks.rows,
            },
            streamed=self.pieces > 1,
        )
        report.findings = describe(report)
        return report

    def _add_columns(self, rows: pl.DataFrame) -> None:
        import polars as pl

        for name in [*rows.columns, *(n for n in self._columns if n not in rows.columns)]:
            if name not in self._columns:
                self._columns[name] = Column(name, self._text)
                self._columns[name].missing = self.rows
            column = rows[name] if name in rows.columns else pl.Series(name, [None] * rows.height, pl.Null)
            self._columns[name].add(column)
            self._marks.add(f"missing {name}", column.is_null().arg_true().to_list(), self.rows)
            if self.pieces:
                self._columns[name].forget()

    def _add_answers(self, rows: pl.DataFrame) -> None:
        import polars as pl

        for name in rows.columns:
            if name not in GROUP_COLUMNS:
                known = self._numbers.setdefault(name, Numbers(self.rows))
                known.add(rows[name])
        for name in self._numbers.keys() - set(rows.columns):
            self._numbers[name].add(pl.Series(name, [None] * rows.height, pl.Null))
        asked, right = self._roles or ([], "")
        if asked:
            there = [name for name in asked if name in rows.columns]
            answers = _joined(rows, [right] if right in rows.columns else [])
            self._conflicts.add(_joined(rows, there), answers)

    def _mark(self, rows: pl.DataFrame, texts: pl.Series) -> None:
        empty = (texts.str.strip_chars() == "").arg_true().to_list()
        self._marks.add("empty rows", empty, self.rows)
        # What is measured is one column or all together; what must not be there may stand in any.
        content = [name for name in content_columns(rows) if name not in self._content]
        texts = _joined(rows, [*(n for n in self._content if n in rows.columns), *content])
        for name in _text_columns(rows):
            if self._content != [name]:
                hollow = (rows[name].str.strip_chars() == "").arg_true().to_list()
                self._marks.add(f"empty {name}", hollow, self.rows)
        self._marks.add(PLACEHOLDERS, personal.placeholders(texts), self.rows)
        for kind, sign in _ENCODING.items():
            self._marks.add(kind, texts.str.contains(sign).arg_true().to_list(), self.rows)
        for kind, positions in personal.find(texts, self._region).items():
            self._marks.add(kind, positions, self.rows)


def _text_columns(rows: pl.DataFrame) -> list[str]:
    import polars as pl

    return [name for name in content_columns(rows) if rows.schema[name] == pl.String]


def leaks(splits: Mapping[str, pl.DataFrame]) -> list[Leak]:
    """Rows of each later split whose text stands in an earlier one; train comes first."""
    order = _in_order(splits)
    texts = {name: [found[0] for found in texts_of(splits[name])] for name in order}
    known = {name: set(found) - {""} for name, found in texts.items()}
    found = []
    for position, later in enumerate(order):
        for earlier in order[:position]:
            if rows := [at for at, text in enumerate(texts[later]) if text in known[earlier]]:
                found.append(_leak(later, earlier, rows, len(texts[later])))
    return found


def reordered_leaks(splits: Mapping[str, pl.DataFrame]) -> list[Leak]:
    """Rows of each later split whose words stand in a row of an earlier one in another order."""
    order = _in_order(splits)
    texts = {name: [found[0] for found in texts_of(splits[name])] for name in order}
    found = []
    for position, later in enumerate(order):
        for earlier in order[:position]:
            same = set(texts[earlier])
            pairs = reordered(texts[later], texts[earlier])
            if rows := [at for at, _ in pairs if texts[later][at] not in same]:
                found.append(_leak(later, earlier, rows, len(texts[later])))
    return found


def _in_order(splits: Mapping[str, pl.DataFrame]) -> list[str]:
    return sorted(splits, key=lambda name: (name.rsplit("/", 1)[-1] != "train", name))


def _leak(later: str, earlier: str, rows: list[int], of: int) -> Leak:
    share = round(len(rows) / of, 4)
    return Leak(split=later, against=earlier, rows=len(rows), share=share, row_numbers=rows[:SHOWN])


def reordered(later: Sequence[str], earlier: Sequence[str] | None = None) -> list[tuple[int, int]]:
    """Texts whose words and signs stand in another text in another order, each with the first such text.

    Args:
        later: The texts to look at.
        earlier: What they are held against; nothing: those before each of them.
    """
    first, found = dict[tuple[str, ...], int](), list[tuple[int, int]]()
    before = later if earlier is None else earlier
    for at, text in enumerate(earlier or ()):
        first.setdefault(_bag(text), at)
    for at, text in enumerate(later):
        bag = _bag(text)
        where = first.setdefault(bag, at) if earlier is None else first.get(bag)
        if bag and where is not None and before[where] != text:
            found.append((at, where))
    return found


def _bag(text: str) -> tuple[str, ...]:
    """The words and signs of a short text, in no order; of two words or of a long text nothing."""
    words = re.findall(r"\w+|[^\w\s]", text) if len(text) <= REORDERED_CHARS else []
    return tuple(sorted(words)) if len(words) > 2 else ()


def _joined(rows: pl.DataFrame, columns: list[str]) -> pl.Series:
    """The texts of columns as one; a separator that texts do not hold keeps ("a", "b") from ("ab", "")."""
    import polars as pl

    if len(columns) == 1 and rows.schema[columns[0]] == pl.String:
        return rows[columns[0]].fill_null("").rename("text")
    if not columns:
        return pl.Series("text", [""] * rows.height, pl.String)
    return pl.Series(
        "text", [row_text(r, columns) for r in rows.select(columns).iter_rows(named=True)], pl.String
    )


def looks_like_python(rows: pl.DataFrame, texts: pl.Series) -> bool:
    """Whether texts are Python: by their files' names, else by how much looks like code and parses."""
    return _python_files(rows) or _looks_like_code(texts.to_list())


def _python_files(rows: pl.DataFrame) -> bool:
    if "file" not in rows.columns:
        return False
    return bool(rows["file"].cast(str, strict=False).str.ends_with(".py").mean() == 1.0)


def _looks_like_code(texts: Sequence[str]) -> bool:
    import polars as pl

    filled = [text for text in texts if text.strip()]
    sample = filled[:: max(1, len(filled) // 200)][:200]
    signs = pl.Series(sample, dtype=pl.String).str.contains(_CODE_SIGN).to_list()
    both = sum(sign and parsed for sign, parsed in zip(signs, parse_all(sample), strict=True))
    return bool(sample) and both / len(sample) >= 0.3
