"""Contamination: does a training row hold an item that the model will be measured on?

Texts are compared after folding case, Unicode forms and white space, as whole rows and line by line, so an
item inside a longer document is found when it fills a line of it. Near copies are not found yet.

Short items need sense. ``pass`` stands in every Python file, and finding it says nothing. An item of fewer
than `SHORT` folded characters therefore does not refuse a row by itself. But a whole eval may consist of
short items (first names, sums), so training rows that hold at least half of an eval's short items, and at
least `MANY`, are refused as well: nobody meets that many by chance.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from ml_intern.errors import ToolError
from ml_intern.evals.items import TARGETS

SHORT = 20
MANY = 10
SHOWN = 20

Row = str | Mapping[str, Any]


class Match(BaseModel):
    """A training row that holds a held-out item."""

    row: int
    eval: str
    text: str
    """The row's own text, shortened."""


class Contamination(BaseModel):
    """What the guard found.

    Attributes:
        clean: May these rows be trained on?
        rows: Training rows that were read.
        items: Held-out items they were compared with.
        contaminated: Training rows that must go.
        matches: The first of them.
        row_numbers: All of them, as positions in the given rows.
        short_matches: Held-out items too short to count that were met as well.
    """

    clean: bool
    rows: int
    items: int
    contaminated: int = 0
    matches: list[Match] = Field(default_factory=list)
    row_numbers: list[int] = Field(default_factory=list)
    short_matches: int = 0

    def says(self) -> str:
        """The finding in one sentence."""
        if self.clean:
            return f"None of {self.rows} training rows holds one of {self.items} held-out items."
        evals = ", ".join(sorted({m.eval for m in self.matches}))
        first = ", ".join(str(m.row) for m in self.matches[:5])
        return f"{self.contaminated} of {self.rows} training rows hold items of {evals} (rows {first} …)."

    def demand_clean(self) -> None:
        """Fail closed.

        Raises:
            ToolError: Held-out items are among the rows.
        """
        if not self.clean:
            raise ToolError(
                self.says(),
                "Nothing was started. Train on the part that split_dataset returned, or take these rows out.",
            )


class Guard:
    """The folded held-out items of every eval, ready to be looked up."""

    def __init__(self) -> None:
        self._where: dict[str, tuple[str, int]] = {}
        self._items: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(self._items.values())

    def add(self, eval: str, items: Iterable[Sequence[str]]) -> None:
        """Add an eval's items, dev and test alike; each is given as the texts in which it may be met."""
        number = 0
        for number, readings in enumerate(items, 1):
            for text in filter(None, map(fold, readings)):
                self._where.setdefault(text, (eval, number))
        self._items[eval] = number

    def check(self, rows: Sequence[Row]) -> Contamination:
        """Compare training rows, as strings or as rows with any columns of text, with every item."""
        bad, short, _ = self._look(rows)
        return Contamination(
            clean=not bad,
            rows=len(rows),
            items=len(self),
            contaminated=len(bad),
            matches=[Match(row=i, eval=bad[i], text=_short(rows[i])) for i in sorted(bad)[:SHOWN]],
            row_numbers=sorted(bad),
            short_matches=sum(len(set(met.values())) for met in short.values()),
        )

    def held_out(self, rows: Iterable[Row]) -> dict[int, str]:
        """The rows that nobody is to be shown, by position, each with its eval.

        They are the ones that `check` refuses, and those that are an item, however short. Answers do not
        count for that: one item that reads "yes" would take half of a dataset with it.
        """
        bad, _, equal = self._look(rows)
        return dict(sorted({**equal, **bad}.items()))

    def _look(self, rows: Iterable[Row]) -> tuple[dict[int, str], dict[str, dict[int, int]], dict[int, str]]:
        """Rows to refuse, the short items that were met by eval and row, and the rows that equal an item."""
        bad: dict[int, str] = {}
        short: dict[str, dict[int, int]] = {}
        equal: dict[int, str] = {}
        for i, row in enumerate(rows):
            for text, whole in self._found(row):
                eval, item = self._where[text]
                if len(text) >= SHORT:
                    bad.setdefault(i, eval)
                else:
                    short.setdefault(eval, {}).setdefault(i, item)
                if whole:
                    equal.setdefault(i, eval)
        for eval, met in short.items():
            if self._too_many(eval, set(met.values())):
                bad = {**dict.fromkeys(met, eval), **bad}
        return bad, short, equal

    def _too_many(self, eval: str, met: set[int]) -> bool:
        known = {n for text, (e, n) in self._where.items() if e == eval and len(text) < SHORT}
        return len(met) >= MANY and 2 * len(met) >= len(known)

    def _found(self, row: Row) -> Iterator[tuple[str, bool]]:
        """Items in a row, folded, and whether one is the whole of a text or a line of it."""
        for text, answer in _texts(row):
            folded = fold(text)
            if folded in self._where:
                yield folded, not answer
            if "\n" in text:
                yield from ((f, False) for line in text.splitlines() if (f := fold(line)) in self._where)


def fold(text: str) -> str:
    """Case, compatibility forms and runs of white space folded away."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def _texts(row: Any, answer: bool = False) -> Iterator[tuple[str, bool]]:
    """Every string of a row, columns and the contents of messages in them, and whether it is an answer."""
    if isinstance(row, str):
        yield row, answer
    elif isinstance(row, Mapping):
        answer = answer or row.get("role") == "assistant"
        for name, value in row.items():
            if isinstance(value, str | Mapping | list):
                yield from _texts(value, answer or name in TARGETS)
    elif isinstance(row, list):
        for value in row:
            yield from _texts(value, answer)


def _short(row: Row, limit: int = 120) -> str:
    text = row if isinstance(row, str) else " | ".join(text for text, _ in _texts(row))
    return text if len(text) <= limit else text[: limit - 1] + "…"
