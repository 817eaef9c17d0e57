"""Rows that say the same, exactly or nearly; the first of them stays.

Nearly means: of the letters and digits of two texts, the share of all pieces of eight that both have (the
Jaccard index) is `SIMILARITY` or more. Lee and others (Deduplicating Training Data Makes Language Models
Better, 2022, 4.2) take 0.8 of 5-grams of words; pieces of letters need no words, so any language will do.
Digits count: a sum with other numbers is another sum. rensa's MinHash (Rust, MIT) finds the pairs: a sketch
of every row says which rows have a likeness at all, and among these a longer sketch decides.

Texts shorter than `SHORTEST` letters and digits have too few pieces and are compared exactly.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml_intern.data.table import content_columns
from ml_intern.errors import ToolError
from ml_intern.evals import letters

if TYPE_CHECKING:
    import polars as pl

SIMILARITY = 0.8
SHORTEST = 24
PIECE = 8
SKETCH, SURE_SKETCH = 128, 256
"""Numbers in the sketch of every row, and of the rows that have a likeness; these tell it to within 0.03."""
CHANCE = 0.94
"""With what chance two rows that are just as near as asked share a band of their sketches: 0.947 for 0.8 and
bands of 8, 0.995 where they are near by 0.85. Shorter bands would miss less and let far more rows through."""
LEAST_SIMILARITY = 0.5
CHUNK_ROWS = 4096
SHOWN, COUNTED = 5, 8

Offsets: TypeAlias = NDArray[np.uint64]

_SIGNS = bytes(c for c in range(1, 128) if not chr(c).isalnum())
_LOWER = bytes(c | 32 if 65 <= c <= 90 else c for c in range(256))
_MIX, _32 = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


@dataclass
class Duplicates:
    """Which rows repeat an earlier one.

    Attributes:
        keep: For each row whether it stays.
        exact: Rows that are an earlier one.
        near: Further rows that are nearly an earlier one.
        pairs: The first of them, each with an earlier row that it repeats.
        short: Rows too short to be compared nearly.
    """

    keep: NDArray[np.bool_]
    exact: int = 0
    near: int = 0
    pairs: list[tuple[int, int]] = field(default_factory=list)
    short: int = 0


class Nearly:
    """Near duplicates for an audit: it holds the texts until it is asked."""

    means = f"share {SIMILARITY:.0%} of their text with an earlier one"

    def __init__(self) -> None:
        self._texts: list[pl.Series] = []

    def add(self, texts: pl.Series) -> None:
        """Take the texts of the next rows."""
        self._texts.append(texts)

    def rows(self) -> NDArray[np.int64]:
        """The numbers of rows that repeat an earlier one, exact copies included."""
        import polars as pl

        if not self._texts:
            return np.zeros(0, np.int64)
        return np.flatnonzero(~find(pl.concat(self._texts), near=True).keep)


def find(texts: pl.Series, near: bool, similarity: float = SIMILARITY) -> Duplicates:
    """Look for texts that repeat an earlier one.

    Args:
        texts: One for each row.
        near: Whether nearly the same counts.
        similarity: Jaccard index from which on it does.

    Raises:
        ToolError: The similarity is none, or the library is not installed.
    """
    first = texts.is_first_distinct().to_numpy()
    found = Duplicates(first.copy(), exact=int((~first).sum()))
    if near:
        if not LEAST_SIMILARITY <= similarity <= 1:
            hint = f"Give {LEAST_SIMILARITY} to 1; {SIMILARITY} is usual."
            raise ToolError(f"similarity = {similarity} is no likeness to look for.", hint)
        _nearly(texts, np.flatnonzero(first), similarity, found)
    return found


def texts_of(rows: pl.DataFrame, columns: list[str] | None = None) -> pl.Series:
    """What is compared of each row: the columns that are named, else its content."""
    import polars as pl

    names = columns or content_columns(rows)
    if len(names) == 1 and rows.schema[names[0]] == pl.String:
        return rows[names[0]].fill_null("")
    # A column as JSON keeps ("a", "b") from ("ab", "") and numbers and lists as they are.
    return rows.select(pl.struct(names).struct.json_encode()).to_series()


def _nearly(texts: pl.Series, rows: letters.Places, similarity: float, found: Duplicates) -> None:
    alike = _with_likeness(texts.gather(rows), similarity, found)
    # Keeps what it has not seen, in the order of the rows, and holds each row against what it kept.
    judge = _library().RMinHashDeduplicator(
        threshold=similarity, num_perm=SURE_SKETCH, use_lsh=True, num_bands=SURE_SKETCH // _band(similarity)
    )
    for first in range(0, len(alike), CHUNK_ROWS):
        some = rows[alike[first : first + CHUNK_ROWS]].tolist()
        pieces = _as_tokens(texts.gather(some))
        fresh = judge.add_pairs((str(row), tokens) for row, tokens in zip(some, pieces, strict=True))
        known = [(row, tokens) for row, tokens, new in zip(some, pieces, fresh, strict=True) if not new]
        others = judge.get_duplicate_sets([tokens for _, tokens in known])
        for (row, tokens), keys in zip(known, others, strict=True):
            # A sketch is a guess: nothing is dropped that was not counted.
            other = _really(texts, tokens, sorted(map(int, keys))[:COUNTED], similarity)
            if other is not None:
                found.keep[row] = False
                found.near += 1
                found.pairs += [(row, other)] if len(found.pairs) < SHOWN else []


def _really(texts: pl.Series, tokens: list[bytes], rows: list[int], similarity: float) -> int | None:
    """The first of some rows that is as near as is asked, counted piece by piece."""
    mine = set(tokens)
    for row, pieces in zip(rows, map(set, _as_tokens(texts.gather(rows))), strict=True):
        if len(mine & pieces) >= similarity * len(mine | pieces):
            return row
    return None


def _band(similarity: float) -> int:
    """The longest band that two rows of a likeness share with the chance that is wanted."""
    met = {band: 1 - (1 - similarity**band) ** (SKETCH // band) for band in (8, 4, 2)}
    return next((band for band, chance in met.items() if chance >= CHANCE), 2)


def _with_likeness(texts: pl.Series, similarity: float, found: Duplicates) -> letters.Places:
    """The rows that share a band of their sketch with another: those that may have a near copy."""
    rensa = _library()
    bands = SKETCH // _band(similarity)
    index, sketches = rensa.RMinHashLSH(threshold=similarity, num_perm=SKETCH, num_bands=bands), []
    able = list[letters.Places]()
    for first in range(0, texts.len(), CHUNK_ROWS):
        rows, hashes, offsets = shingles(texts[first : first + CHUNK_ROWS])
        able.append(rows + first)
        sketches.append(rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, SKETCH, 0))
        index.insert_matrix(sketches[-1], sum(map(len, able[:-1])))
    flags = [np.array(index.query_duplicate_flags_matrix(sketch), bool) for sketch in sketches]
    every = np.concatenate([np.zeros(0, np.int64), *able])
    found.short += texts.len() - len(every)
    chosen: letters.Places = every[np.concatenate([np.zeros(0, bool), *flags])]
    return chosen


def shingles(texts: pl.Series) -> tuple[letters.Places, letters.Hashes, Offsets]:
    """The texts that are long enough, hashes of all their pieces, and where each text's begin."""
    data = _letters_and_digits(texts)
    ends = letters.ends(data)
    lengths = np.diff(ends, prepend=-1) - 1
    able = lengths >= SHORTEST
    hashes = letters.every_eight(data)
    hashes *= _MIX
    hashes ^= hashes >> _32
    hashes *= _MIX
    # A piece belongs to a text where it ends before the text does.
    inside = np.repeat(able, lengths + 1)[: len(hashes)]
    for back in range(PIECE):
        cut = ends - back
        inside[cut[(cut >= 0) & (cut < len(inside))]] = False
    offsets = np.append(0, np.cumsum(lengths[able] - PIECE + 1)).astype(np.uint64)
    return np.flatnonzero(able), hashes[inside], offsets


def _as_tokens(texts: pl.Series) -> list[list[bytes]]:
    rows = _letters_and_digits(texts).split(b"\0")[:-1]
    return [[row[i : i + PIECE] for i in range(len(row) - PIECE + 1)] for row in rows]


def _letters_and_digits(texts: pl.Series) -> bytes:
    return letters.raw(texts).translate(_LOWER, _SIGNS)


def _library() -> Any:
    try:
        return importlib.import_module("rensa")
    except ImportError as error:
        raise ToolError(
            "Near duplicates need the library rensa.", "pip install rensa, or leave near out."
        ) from error
