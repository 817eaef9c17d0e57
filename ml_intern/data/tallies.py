"""Sums over rows that come in pieces: duplicates, lengths, labels, samples. The rows are not held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ml_intern.data.report import SHOWN, ColumnAudit, Lengths
from ml_intern.data.table import GROUP_COLUMNS, describe_type

if TYPE_CHECKING:
    import polars as pl

LABEL_VALUES = 20
MOST_DISTINCT = 1_000_000
"""Different values of a column that are counted, where rows come in pieces."""


class NearDuplicates(Protocol):
    """What finds rows that nearly repeat earlier ones; `means` says in words what that is."""

    means: str

    def add(self, texts: pl.Series) -> None:
        """Take the texts of the next rows."""

    def rows(self) -> npt.NDArray[np.int64]:
        """The numbers of rows that repeat an earlier one, exact copies included."""


class Copies:
    """Rows that repeat an earlier one, by 64 bits of hash: at 10 million rows 1 audit of 370,000 errs."""

    def __init__(self) -> None:
        self._hashes: list[npt.NDArray[np.uint64]] = []

    def add(self, texts: pl.Series) -> None:
        """Take the texts of the next rows."""
        self._hashes.append(texts.hash(seed=0).to_numpy())

    def rows(self) -> npt.NDArray[np.int64]:
        """The numbers of rows that repeat an earlier one."""
        every = np.concatenate(self._hashes) if self._hashes else np.zeros(0, np.uint64)
        again = np.ones(len(every), bool)
        again[np.unique(every, return_index=True)[1]] = False
        return np.flatnonzero(again)


class Folded(Copies):
    """Rows that repeat an earlier one but for case, digits and signs."""

    means = "differ from an earlier one only in case, digits or signs"

    def add(self, texts: pl.Series) -> None:
        """Take the texts of the next rows."""
        super().add(folded(texts))


def folded(texts: pl.Series) -> pl.Series:
    """Texts without case, digits and signs."""
    made = (
        texts.str.to_lowercase()
        .str.replace_all(r"\d+", "0")
        .str.replace_all(r"[\W_]+", " ")
        .str.strip_chars()
    )
    # What is nothing but signs keeps them: "{" and "}" are not near each other.
    return made.zip_with(made != "", texts)


class Sizes:
    """Lengths."""

    def __init__(self) -> None:
        self._sizes: list[npt.NDArray[np.uint32]] = []

    def add(self, sizes: Any) -> None:
        """Take the lengths of the next rows."""
        self._sizes.append(np.asarray(sizes, np.uint32))

    def lengths(self) -> Lengths:
        """Their distribution."""
        every = np.concatenate(self._sizes) if self._sizes else np.zeros(0, np.uint32)
        if not len(every):
            return Lengths(min=0, median=0, mean=0.0, p95=0, max=0, total=0)

        def at(share: float) -> int:
            return int(np.quantile(every, share, method="nearest"))

        total = int(every.sum(dtype=np.int64))
        return Lengths(
            min=at(0), median=at(0.5), mean=round(total / len(every), 1), p95=at(0.95), max=at(1), total=total
        )


class Marks:
    """How many rows something was seen in, and the first of them."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.rows: dict[str, list[int]] = {}

    def add(self, what: str, positions: list[int], offset: int) -> None:
        """Take the positions within the next rows, which begin at `offset`."""
        if positions:
            self.counts[what] = self.counts.get(what, 0) + len(positions)
            known = self.rows.setdefault(what, [])
            known += [offset + at for at in positions[: SHOWN - len(known)]]


class Spaced:
    """At most so many texts, evenly spaced, of rows whose number is not known before the end."""

    def __init__(self, most: int) -> None:
        self.most, self.step, self.texts, self._seen = most, 1, list[str](), 0

    def add(self, texts: pl.Series) -> None:
        """Take the texts of the next rows."""
        first = -self._seen % self.step
        self._seen += texts.len()
        if first < texts.len():
            self.texts += texts.slice(first).gather_every(self.step).to_list()
        while len(self.texts) > self.most:
            self.texts, self.step = self.texts[::2], self.step * 2


class Column:
    """Missing and different values of one column, and rows by value where those are few."""

    def __init__(self, name: str, text: str | None) -> None:
        self.name, self.missing, self.type = name, 0, ""
        self._distinct: npt.NDArray[np.uint64] | None = np.zeros(0, np.uint64)
        self._labels: dict[str, int] | None = None if name == text or name in GROUP_COLUMNS else {}

    def add(self, column: pl.Series) -> None:
        """Take the values of the next rows."""
        told = describe_type(column.dtype)
        self.type = told if self.type in ("", "nothing", told) or told == "nothing" else "mixed"
        self.missing += column.null_count()
        if column.dtype.is_nested():
            self._distinct = self._labels = None
        if self._distinct is not None:
            self._distinct = np.union1d(self._distinct, column.unique().hash(seed=0).to_numpy())
        if self._labels is not None:
            self._count(column.drop_nulls())

    def forget(self) -> None:
        """Where there are many pieces, a count of different values must not grow with the rows."""
        if self._distinct is not None and len(self._distinct) > MOST_DISTINCT:
            self._distinct = None

    def audit(self) -> ColumnAudit:
        """What is said of it."""
        distinct = None if self._distinct is None else len(self._distinct)
        return ColumnAudit(name=self.name, type=self.type, missing=self.missing, distinct=distinct)

    def labels(self) -> dict[str, int]:
        """Rows by value, the most frequent first; nothing where the values are no labels."""
        found = self._labels or {}
        if len(found) < 2 or sum(found.values()) < 5 * len(found):
            return {}
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def _count(self, column: pl.Series) -> None:
        if column.dtype.is_float() or column.n_unique() > LABEL_VALUES:
            self._labels = None
            return
        known = self._labels if self._labels is not None else {}
        for value, count in column.value_counts(sort=True).iter_rows():
            known[str(value)[:60]] = known.get(str(value)[:60], 0) + int(count)
        self._labels = known if len(known) <= LABEL_VALUES else None
