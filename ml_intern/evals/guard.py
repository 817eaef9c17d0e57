"""Contamination: does a training row hold an item that the model will be measured on?

Every text of every row, whatever column or message it stands in, is held against every item of every eval:

- **as it stands**: whole texts and lines, after folding case, Unicode forms and white space. Short items need
  sense: ``pass`` stands in every Python file, and finding it says nothing. An item of fewer than `SHORT`
  folded characters does not refuse a row by itself; but a whole eval may consist of short items (first names,
  sums), so rows that hold at least half of an eval's short items, and at least `MANY`, are refused as well.
- **nearly** (`ml_intern.evals.near`): items with other numbers, sentences or options in another order, names
  and words exchanged by template, inside longer documents. `ml_intern.evals.nearness` says how near is too
  near.
- **packed** (`ml_intern.evals.disguises`): in base64, hexadecimal, gzip, entities, rot13, backwards.
An item that was retold in other words is not found, nor one in another language, packed in another
way or encrypted.
Items with fewer than ten words of their own, and items that only numbers tell from many others of the eval,
are looked for as they stand and not nearly: rows that teach the same task would all look like them.

Whatever goes wrong inside refuses the rows: `Guard.check` fails closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, Field

from ml_intern.errors import ToolError
from ml_intern.evals import letters
from ml_intern.evals.disguises import unpacked
from ml_intern.evals.nearness import Nearness
from ml_intern.evals.rows import Chunk, Row, Rows, ahead, chunks, fold, squeezed, texts_in

if TYPE_CHECKING:
    from ml_intern.evals.near import Found, Held, Near

SHORT = 20
MANY = 10
SHOWN = 20
PACKED = "encoded"


class Match(BaseModel):
    """A training row that holds a held-out item; how it does, but nothing of the item."""

    row: int
    eval: str
    how: str = "as it stands"


class Contamination(BaseModel):
    """What the guard found.

    Attributes:
        clean: May these rows be trained on?
        rows: Training rows that were read.
        items: Held-out items they were compared with.
        contaminated: Training rows that must go.
        matches: The first of them.
        row_numbers: All of them, as positions in the given rows.
        kinds: How many of them by the way in which they hold an item.
        short_matches: Held-out items too short to count that were met as well.
    """

    clean: bool
    rows: int
    items: int
    contaminated: int = 0
    matches: list[Match] = Field(default_factory=list)
    row_numbers: list[int] = Field(default_factory=list)
    kinds: dict[str, int] = Field(default_factory=dict)
    short_matches: int = 0

    def says(self) -> str:
        """The finding in one sentence."""
        if self.clean:
            return f"None of {self.rows} training rows holds one of {self.items} held-out items."
        evals = ", ".join(sorted({m.eval for m in self.matches}))
        first = ", ".join(str(m.row) for m in self.matches) + (
            " …" if self.contaminated > len(self.matches) else ""
        )
        return (
            f"{self.contaminated} of {self.rows} training rows hold items of {evals}: {self.how()}"
            f" (rows {first}, counted from 0)."
        )

    def how(self) -> str:
        """How many hold items in which way."""
        return ", ".join(f"{count} {how}" for how, count in self.kinds.items())

    def demand_clean(self, source: str = "") -> None:
        """Fail closed.

        Args:
            source: What the caller called the rows, for the hint.

        Raises:
            ToolError: Held-out items are among the rows.
        """
        if not self.clean:
            named = repr(source) if source else "the dataset"
            raise ToolError(
                self.says(),
                f"Nothing was started. filter_dataset({named}, where='1 = 1') makes one without these rows.",
            )


class _Searched(NamedTuple):
    """Near copies in a chunk, rows of it that may hold an item as it stands, items in what is packed."""

    near: Sequence[Found]
    maybe: Sequence[int]
    packed: Sequence[tuple[int, Match]]


class _Looked(NamedTuple):
    """How many rows, which to refuse, the short items met by eval and row, the rows that equal an item."""

    rows: int
    bad: dict[int, Match]
    short: dict[str, dict[int, int]]
    equal: dict[int, str]


class Guard:
    """The held-out items of every eval, ready to be looked up.

    Args:
        nearness: How near is too near; nothing means the defaults.
    """

    def __init__(self, nearness: Nearness | None = None) -> None:
        self.nearness = nearness or Nearness()
        self._where: dict[str, tuple[str, int]] = {}
        self._items: dict[str, int] = {}
        self._held: list[Held] = []
        self._ready: tuple[Near, frozenset[bytes]] | None = None

    def __len__(self) -> int:
        return sum(self._items.values())

    def add(self, eval: str, items: Iterable[Sequence[str]], answers: Iterable[str | None] = ()) -> None:
        """Add an eval's items, dev and test alike.

        Args:
            eval: Its name.
            items: Each as the texts in which it may be met as it stands; the first is looked for nearly.
            answers: What is right for each, looked for nearly as well where it is long.
        """
        from ml_intern.evals.near import Held

        number = 0
        for number, readings in enumerate(items, 1):
            self._held += [Held(eval, number, text) for text in readings[:1]]
            for text in filter(None, map(fold, readings)):
                self._where.setdefault(text, (eval, number))
        self._held += [Held(eval, n, text, answer=True) for n, text in enumerate(answers, 1) if text]
        self._items[eval] = number
        self._ready = None

    def check(self, rows: Rows, lines: bool = True) -> Contamination:
        """Compare training rows, as strings or as rows with any columns of text, with every item.

        Args:
            rows: The rows.
            lines: Whether items are looked for as they stand, too.

        Raises:
            ToolError: Something went wrong on the way: then nobody knows, and nothing may start.
        """
        height, bad, short, _ = self._look(rows, lines)
        kinds: dict[str, int] = {}
        for match in bad.values():
            kinds[match.how] = kinds.get(match.how, 0) + 1
        return Contamination(
            clean=not bad,
            rows=height,
            items=len(self),
            contaminated=len(bad),
            matches=[bad[i] for i in sorted(bad)[:SHOWN]],
            row_numbers=sorted(bad),
            kinds=dict(sorted(kinds.items(), key=lambda kind: -kind[1])),
            short_matches=sum(len(set(met.values())) for met in short.values()),
        )

    def held_out(self, rows: Rows) -> dict[int, str]:
        """The rows that nobody is to be shown, by position, each with its eval.

        They are the ones that `check` refuses, and those that are an item, however short. Answers do not
        count for that: one item that reads "yes" would take half of a dataset with it.

        Raises:
            ToolError: As for `check`.
        """
        _, bad, _, equal = self._look(rows)
        return dict(sorted({**equal, **{i: match.eval for i, match in bad.items()}}.items()))

    def near(self) -> Near:
        """The index of what is looked for nearly."""
        return self._made()[0]

    def _look(self, rows: Rows, lines: bool = True) -> _Looked:
        try:
            return self._looked(rows, lines)
        except ToolError:
            raise
        except _trouble() as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
            raise ToolError(
                f"The rows could not be compared with the sealed evaluations ({why}).",
                "Nothing was started: they may hold test items. audit_dataset says what is odd in them.",
            ) from error

    def _looked(self, rows: Rows, lines: bool) -> _Looked:
        bad: dict[int, Match] = {}
        short: dict[str, dict[int, int]] = {}
        equal: dict[int, str] = {}
        near, blind = self._made()
        if not self._where:
            return _Looked(len(rows) if isinstance(rows, Sized) else sum(1 for _ in rows), {}, {}, {})
        count = 0
        for chunk, seen in ahead(lambda chunk: self._searched(chunk, near, blind, lines), chunks(rows)):
            for found in seen.near:
                i = chunk.first + found.row
                bad[i] = Match(row=i, eval=found.eval, how=found.how)
            for at in seen.maybe:
                self._exactly(chunk.first + at, chunk.row(at), bad, short, equal)
            for i, match in seen.packed:
                bad.setdefault(i, match)
            count += len(chunk.texts)
        for eval, met in short.items():
            if self._too_many(eval, set(met.values())):
                bad = {**{i: Match(row=i, eval=eval) for i in met}, **bad}
        return _Looked(count, bad, short, equal)

    def _searched(self, chunk: Chunk, near: Near, blind: frozenset[bytes], lines: bool) -> _Searched:
        """What threads do beside each other: nothing here changes the guard."""
        data = letters.joined(chunk.texts)
        found = near.find(letters.of(data))
        maybe = chunk.may_hold(blind) if lines else []
        return _Searched(found, maybe, list(self._packed(chunk, data, near, lines)))

    def _packed(self, chunk: Chunk, data: bytes, near: Near, lines: bool) -> Iterator[tuple[int, Match]]:
        """Items in what is packed in rows as base64 and the like."""
        texts, rows = unpacked(chunk.texts, data)
        for found in near.find(letters.streams(texts)):
            i = chunk.first + rows[found.row]
            yield i, Match(row=i, eval=found.eval, how=f"{PACKED}, {found.how}")
        for text, row in zip(texts.to_list(), rows, strict=True) if lines else ():
            for item, _ in self._found(text):
                if len(item) >= SHORT:
                    i = chunk.first + row
                    yield i, Match(row=i, eval=self._where[item][0], how=PACKED)

    def _exactly(
        self,
        i: int,
        row: Row,
        bad: dict[int, Match],
        short: dict[str, dict[int, int]],
        equal: dict[int, str],
    ) -> None:
        for text, whole in self._found(row):
            eval, item = self._where[text]
            if len(text) >= SHORT:
                bad.setdefault(i, Match(row=i, eval=eval))
            else:
                short.setdefault(eval, {}).setdefault(i, item)
            if whole:
                equal.setdefault(i, eval)

    def _made(self) -> tuple[Near, frozenset[bytes]]:
        """The index, and what has to be looked for as it stands because the index might miss it."""
        from ml_intern.evals.near import Near

        if self._ready is None:
            near = Near(self._held, self.nearness)
            blind = {(h.eval, h.item) for h in self._held if not h.answer and h.text in near.blind}
            self._ready = near, frozenset(squeezed(t) for t, where in self._where.items() if where in blind)
        return self._ready

    def _too_many(self, eval: str, met: set[int]) -> bool:
        known = {n for text, (e, n) in self._where.items() if e == eval and len(text) < SHORT}
        return len(met) >= MANY and 2 * len(met) >= len(known)

    def _found(self, row: Row) -> Iterator[tuple[str, bool]]:
        """Items in a row, folded, and whether one is the whole of a text or a line of it."""
        for text, answer in texts_in(row):
            folded = fold(text)
            if folded in self._where:
                yield folded, not answer
            if "\n" in text:
                yield from ((f, False) for line in text.splitlines() if (f := fold(line)) in self._where)


def _trouble() -> tuple[type[BaseException], ...]:
    """What odd rows may raise in numpy, polars (its panics are no `Exception`) and here."""
    import polars as pl

    return (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    )
