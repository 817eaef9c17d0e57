"""What is wrong with the answers of rows that come in pieces: two for one question, odd numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ml_intern.data.report import Outliers
from ml_intern.data.table import GROUP_COLUMNS, content_columns
from ml_intern.evals.items import TARGETS

if TYPE_CHECKING:
    import polars as pl

FAR = 3.5
"""The modified z-score, 0.6745 |x - median| / MAD, from which on a number is far from the others (Iglewicz
and Hoaglin, How to Detect and Handle Outliers, 1993)."""
TIMES = 2
"""And so many times as far from the median as 99% of the others, or the ends of a bell were outliers."""
LEAST_NUMBERS = 20
MOST_OUTLIERS = 0.01
"""Where more of the numbers are far, the column has a long tail and no outliers."""
MOST = 0.99
"""Of the others, the share that is compared with and whose range is told."""
MOST_NUMBERS = 5_000_000
"""Numbers of a column that are kept; longer columns are not looked through."""

_IDS = re.compile(r"(?:^|_)(?:u?u?id|idx|index|url|source)$", re.I)


def asked_and_right(rows: pl.DataFrame) -> tuple[list[str], str] | None:
    """The columns of what is asked, and the one of what is right; nothing where no column has its name.

    A label is what is right even beside a completion: it judges the two.
    """
    right = next((name for name in ("label", *TARGETS) if name in rows.columns), None)
    if right is None:
        return None
    asked = [name for name in content_columns(rows) if name != right and not _IDS.search(name)]
    return (asked, right) if asked and right not in GROUP_COLUMNS else None


class Conflicts:
    """Rows that ask the same and are answered otherwise, by 64 bits of hash."""

    def __init__(self) -> None:
        self._asked: list[npt.NDArray[np.uint64]] = []
        self._right: list[npt.NDArray[np.uint64]] = []
        self._there: list[npt.NDArray[np.bool_]] = []

    def add(self, asked: pl.Series, right: pl.Series) -> None:
        """Take the texts of the next rows; empty ones ask or answer nothing."""
        asked, right = asked.str.strip_chars(), right.str.strip_chars()
        self._asked.append(asked.hash(seed=0).to_numpy())
        self._right.append(right.hash(seed=0).to_numpy())
        self._there.append(((asked != "") & (right != "")).to_numpy())

    def rows(self) -> npt.NDArray[np.int64]:
        """The numbers of all rows that are in conflict with another one."""
        if not self._asked:
            return np.zeros(0, np.int64)
        asked, right = np.concatenate(self._asked), np.concatenate(self._right)
        there = np.flatnonzero(np.concatenate(self._there))
        pairs = np.unique(np.stack([asked[there], right[there]], axis=1), axis=0)
        questions, answers = np.unique(pairs[:, 0], return_counts=True)
        return there[np.isin(asked[there], questions[answers > 1])]


class Numbers:
    """The numbers of a column, as long as it holds nothing else."""

    def __init__(self, before: int = 0) -> None:
        """Begin after so many rows that have no such column."""
        self._pieces: list[npt.NDArray[np.float64]] | None = [np.full(before, np.nan)]
        self._rows = before

    def add(self, column: pl.Series) -> None:
        """Take the values of the next rows."""
        if self._pieces is not None:
            found = _numbers(column)
            self._rows += len(column)
            if found is None or self._rows > MOST_NUMBERS:
                self._pieces = None
            else:
                self._pieces.append(found)

    def outliers(self) -> tuple[npt.NDArray[np.int64], Outliers] | None:
        """The rows whose number is far from the others, and what is said of them."""
        every = np.concatenate(self._pieces) if self._pieces else np.zeros(0)
        known = every[np.isfinite(every)]
        if len(known) < LEAST_NUMBERS:
            return None
        median = float(np.median(known))
        away = np.abs(every - median)
        least = _far(away[np.isfinite(every)])
        rows = np.flatnonzero(np.isfinite(every) & (away > least))
        if not len(rows):
            return None
        far, near = every[rows], known[np.abs(known - median) <= least]
        low, high = np.quantile(near, [(1 - MOST) / 2, (1 + MOST) / 2], method="nearest")
        ends = far.min(), far.max(), low, high
        lowest, highest, low, high = (float(f"{end:.6g}") for end in ends)
        told = Outliers(rows=len(rows), lowest=lowest, highest=highest, most_from=low, most_to=high)
        return rows, told


def _far(away: npt.NDArray[np.float64]) -> float:
    """How far from the median an outlier is, by how far all are; infinite where nothing is one."""
    with np.errstate(over="ignore"):
        least = float(FAR * np.median(away) / 0.6745)
    far = int((away > least).sum())
    if not least or far > max(1, MOST_OUTLIERS * len(away)):
        return np.inf
    return max(least, TIMES * float(np.quantile(away[away <= least], MOST, method="nearest")))


def _numbers(column: pl.Series) -> npt.NDArray[np.float64] | None:
    """A column's values as numbers, a missing one as none; nothing where it holds something else."""
    import polars as pl

    if column.dtype == pl.String:
        if _as_numbers(column.head(20)) is None:
            return None  # Most columns of text are no numbers, and this tells it without reading them.
        found = _as_numbers(column)
    else:
        able = column.dtype.is_numeric() or column.dtype == pl.Null
        found = column.cast(pl.Float64) if able else None
    return None if found is None else found.fill_null(np.nan).to_numpy()


def _as_numbers(texts: pl.Series) -> pl.Series | None:
    import polars as pl

    plain = texts.str.strip_chars()
    plain = plain.set(plain == "", None)
    found = plain.cast(pl.Float64, strict=False)
    return found if found.null_count() == plain.null_count() else None
