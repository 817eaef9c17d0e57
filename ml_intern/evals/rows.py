"""Training rows in pieces that fit in memory, each with its texts as one column."""

from __future__ import annotations

import os
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ml_intern.evals.items import TARGETS
from ml_intern.evals.letters import CELL, cells

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")
Row: TypeAlias = str | Mapping[str, Any]
Rows: TypeAlias = "Iterable[Row] | pl.DataFrame"

CHUNK_ROWS = 32768
CHUNK_BYTES = 16 << 20
"""A piece is at most so long, or one row."""
MOST_THREADS = 4
"""Beyond these Python's lock is what threads wait for."""

_LINES = bytes(
    10 if c in b"\x01\r\x0b\x0c\x1c\x1d\x1e" else c | 32 if 65 <= c <= 90 else c for c in range(256)
)
_SPACE = b" \t\x1f"


@dataclass(frozen=True)
class Chunk:
    """Some rows.

    Attributes:
        first: Position of the first of them.
        texts: All texts of each row in one.
        row: Gives one of the rows, counted from `first`.
    """

    first: int
    texts: pl.Series
    row: Callable[[int], Row]

    def may_hold(self, known: AbstractSet[bytes]) -> list[int]:
        """Rows of which a text or a line may be one of the `known`, which are as `squeezed` makes them.

        What is not ASCII may be anything.
        """
        if not known:
            return []
        foreign = (self.texts.str.len_bytes() != self.texts.str.len_chars()).to_list()
        found = []
        for i, text in enumerate(self.texts.to_list()):
            if foreign[i]:
                found.append(i)
                continue
            data = text.encode()
            lines = data.translate(_LINES, _SPACE).split(b"\n")
            if any(line in known for line in lines) or (b"\n" in data and _any_cell(data, known)):
                found.append(i)
        return found


def squeezed(folded: str) -> bytes:
    """A folded text without white space, by which rows are looked through before they are folded."""
    return folded.replace(" ", "").encode()


def fold(text: str) -> str:
    """Case, compatibility forms and runs of white space folded away."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def texts_in(row: Any, answer: bool = False) -> Iterator[tuple[str, bool]]:
    """Every string of a row, columns and the contents of messages in them, and whether it is an answer."""
    if isinstance(row, str):
        yield row, answer
    elif isinstance(row, Mapping):
        answer = answer or row.get("role") == "assistant"
        for name, value in row.items():
            if isinstance(value, str | Mapping | list):
                yield from texts_in(value, answer or name in TARGETS)
    elif isinstance(row, list):
        for value in row:
            yield from texts_in(value, answer)


def chunks(rows: Rows) -> Iterator[Chunk]:
    """The rows, piece by piece."""
    import polars as pl

    if isinstance(rows, pl.DataFrame):
        yield from _of_frame(rows)
    else:
        yield from _of_rows(rows if isinstance(rows, Sequence) else list(rows))


def ahead(work: Callable[[Chunk], T], pieces: Iterable[Chunk]) -> Iterator[tuple[Chunk, T]]:
    """Each piece with what became of it, in order, while threads work on the next ones.

    numpy and polars let other threads run. One piece more than there are threads is in memory.
    """
    threads = min(MOST_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Chunk, Future[T]]] = deque()
        for piece in pieces:
            waiting.append((piece, pool.submit(work, piece)))
            if len(waiting) > threads:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def _of_frame(frame: pl.DataFrame) -> Iterator[Chunk]:
    first, step = 0, CHUNK_ROWS
    while first < frame.height:
        texts = cells(frame[first : first + step]).fill_null("")
        while len(texts) > 1 and int(texts.str.len_bytes().sum()) > CHUNK_BYTES:
            step = len(texts) // 2
            texts = texts[:step]
        yield Chunk(first, texts, partial(_row_of, frame, first))
        first, step = first + len(texts), min(CHUNK_ROWS, 2 * step)


def _of_rows(rows: Sequence[Row]) -> Iterator[Chunk]:
    import polars as pl

    first, texts, size = 0, list[str](), 0
    for number, row in enumerate(rows):
        texts.append(CELL.join(text for text, _ in texts_in(row)))
        size += len(texts[-1])
        if size > CHUNK_BYTES or len(texts) == CHUNK_ROWS or number == len(rows) - 1:
            yield Chunk(first, pl.Series("text", texts, dtype=pl.String), partial(_item_of, rows, first))
            first, texts, size = number + 1, [], 0


def _row_of(frame: pl.DataFrame, first: int, i: int) -> Row:
    row: dict[str, Any] = frame.row(first + i, named=True)
    return row


def _item_of(rows: Sequence[Row], first: int, i: int) -> Row:
    return rows[first + i]


def _any_cell(data: bytes, known: AbstractSet[bytes]) -> bool:
    whole = (cell.translate(_LINES, _SPACE).replace(b"\n", b"") for cell in data.split(CELL.encode()))
    return any(cell in known for cell in whole)
