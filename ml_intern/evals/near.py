"""Finds near copies of items among rows: what shares long runs of letters with them, in any order.

Two passes. The first looks at every eighth window of the rows' letters (`letters.windows`) and drops the rows
that share too few with any item; on rows that hold none this is nearly all of them, and what it costs is a
few numpy operations a byte. The second looks at every window of the rest and measures, item by item, the
share of the item's letters that the row repeats; in long rows only as far as they stand near each other.

Letters that several items share count for nothing: they are the eval's phrasing, and rows that are meant to
teach a task have it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml_intern.evals import letters
from ml_intern.evals.disguises import swapped
from ml_intern.evals.letters import STRIDE, WINDOW, Hashes, Places
from ml_intern.evals.nearness import Nearness

WORD_FOR_WORD = "word for word, numbers aside"
NEARLY = "nearly"
PIECE = "as a piece of one"
SIEVE_BITS = 24
FIRST_HIT, LETTERS_A_HIT = 30, 70
"""In the first pass an item must be met once, and once more for each so many of its own letters beyond the
first. Measured on GSM8K: it lets one in twenty clean questions through, and next to nothing is lost."""
BUCKET_BITS = 20
SLICE = 1 << 20
_DEEP = np.uint64(64 - SIEVE_BITS)
_3, _7 = np.uint64(3), np.uint64(7)
_BUCKET = np.uint64(64 - BUCKET_BITS)
_MASK = np.uint64((1 << SIEVE_BITS) - 1)

Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Held:
    """A text to look for: of which eval and which of its items, and what it is of the item."""

    eval: str
    item: int
    text: str
    answer: bool = False


@dataclass(frozen=True)
class Found:
    """A row that repeats an item.

    Attributes:
        row: Its position.
        eval: Whose item.
        item: Its number.
        how: In words: `WORD_FOR_WORD`, `NEARLY`, `PIECE`, or the disguise.
        share: Of the item's own letters (of the row's, for a piece).
    """

    row: int
    eval: str
    item: int
    how: str
    share: float


@dataclass
class _Unit:
    """One text or disguise of an item, as the index knows it."""

    held: Held
    how: str
    stream: bytes
    own: int = 0
    asked: float = 0.0
    hits: int = 1


class Near:
    """An index of items.

    Args:
        held: What to look for.
        nearness: How near is too near.

    Attributes:
        blind: The texts of items that are too short, or too much like others, to be surely met.
    """

    def __init__(self, held: Sequence[Held], nearness: Nearness) -> None:
        self.nearness = nearness
        self.units: list[_Unit] = []
        self.blind: set[str] = set()
        self._index(list({h.text: h for h in held}.values()))

    def find(self, data: bytes) -> list[Found]:
        """The rows of a stream that repeat an item, each with the item that it repeats most of.

        Args:
            data: What `letters.of` or `letters.streams` made of texts.
        """
        if not len(self._hashes) or len(data) < WINDOW:
            return []
        ends = letters.ends(data)
        rows = self._first_pass(data, ends)
        return self._second_pass(data, ends, rows) if len(rows) else []

    # Building

    def _index(self, held: Sequence[Held]) -> None:
        texts = [(h, "", h.text) for h in held]
        texts += [(h, how, text) for h in held if not h.answer for how, text in swapped(h.text)]
        import polars as pl

        data = letters.streams(pl.Series("text", [text for _, _, text in texts], dtype=pl.String))
        parts = data.split(b"\0")
        self.units = [_Unit(h, how, part) for (h, how, _), part in zip(texts, parts, strict=False)]
        hashes = [letters.all_windows(part) for part in parts[: len(texts)]]
        lengths = [len(h) for h in hashes]
        every = np.concatenate([np.zeros(0, np.uint64), *hashes])
        unit = np.repeat(np.arange(len(lengths)), lengths)
        place = np.concatenate([np.zeros(0, np.int64), *map(np.arange, lengths)]).astype(np.int64)
        self._keep(every, unit, place)

    def _keep(self, every: Hashes, unit: Places, place: Places) -> None:
        """Sort the windows, each once a unit, without those that too many units share."""
        order = np.lexsort((place, unit, every))
        every, unit, place = every[order], unit[order], place[order]
        new = _changes(every)
        once = _changes(every, unit)
        shared = np.add.reduceat(once.astype(np.int64), np.flatnonzero(new)) if len(every) else place
        kept = once & (shared <= self.nearness.alike)[np.cumsum(new) - 1]
        self._measure(unit[kept], place[kept])
        able = np.array([u.asked > 0 for u in self.units], bool)
        kept &= able[unit]
        self._unit, self._place = unit[kept], place[kept]
        self._hashes, starts = np.unique(every[kept], return_index=True)
        self._starts = np.append(starts, len(self._unit))
        tops = np.arange(1 << BUCKET_BITS, dtype=np.uint64) << _BUCKET
        self._buckets = np.minimum(np.searchsorted(self._hashes, tops), max(0, len(self._hashes) - 1))
        self._hits = np.array([u.hits for u in self.units], np.int64)
        self._asked = np.array([u.asked for u in self.units], np.float64)
        self._length = np.array([max(1, len(u.stream)) for u in self.units], np.int64)
        self._plain = np.array([not u.how and not u.held.answer for u in self.units], bool)
        self._sieves = [_sieve(self._hashes >> _DEEP), _sieve(self._hashes & _MASK)]

    def _measure(self, unit: Places, place: Places) -> None:
        """What of each unit is its own, and how much of that a row must repeat."""
        order = np.lexsort((place, unit))
        which, own = _covered(unit[order], place[order])
        for number, count in zip(which.tolist(), own.tolist(), strict=True):
            self.units[number].own = count
        n = self.nearness
        for u in self.units:
            if u.held.answer:
                u.asked = n.whole * u.own if u.own >= n.answer else 0.0
            elif u.own >= n.least:
                u.asked = max(n.share * u.own, min(n.letters, n.whole * u.own))
            u.hits = int(_hits(np.array(u.own)))
        phases = np.bincount(unit * STRIDE + place % STRIDE, minlength=STRIDE * len(self.units))
        least = phases.reshape(-1, STRIDE).min(axis=1).tolist()
        self.blind = {
            u.held.text
            for u, met in zip(self.units, least, strict=True)
            if not u.how and not u.held.answer and (not u.asked or met < u.hits)
        }

    # Looking

    def _first_pass(self, data: bytes, ends: Places) -> Places:
        """The rows that share enough windows with one item."""
        hashes, met = [], []
        for first in range(0, len(data), SLICE):  # In slices that stay in a processor's cache.
            part = letters.windows(data[first : first + SLICE + STRIDE])
            known = self._sift(part)
            hashes.append(part[known])
            met.append(known + first // STRIDE)
        place, entry = self._entries(np.concatenate(hashes), np.concatenate(met))
        row = np.searchsorted(ends, place * STRIDE)
        # A phrase that the row repeats counts once.
        _, once = np.unique(row * len(self._unit) + entry, return_index=True)
        pair, count = np.unique(row[once] * len(self.units) + self._unit[entry[once]], return_counts=True)
        # A row that is a piece of a long item cannot meet it more often than the row is long.
        length = np.diff(ends, prepend=-1)[pair // len(self.units)]
        enough = count >= np.minimum(self._hits[pair % len(self.units)], _hits(length))
        found: Places = np.unique(pair[enough] // len(self.units))
        return found

    def _second_pass(self, data: bytes, ends: Places, rows: Places) -> list[Found]:
        """Every window of some rows, and what of which item they cover."""
        starts = np.append(0, ends[:-1] + 1)
        parts = [data[starts[r] : ends[r]] for r in rows.tolist()]
        lengths = np.array([len(p) for p in parts])
        together = b"\0".join([*parts, b"\0" * STRIDE])
        hashes = letters.all_windows(together)
        met = self._sift(hashes)
        place, entry = self._entries(hashes[met], met)
        begins = np.append(0, np.cumsum(lengths + 1)[:-1])
        row = np.searchsorted(begins, place, side="right") - 1
        unit = self._unit[entry]
        found = self._copies(row, unit, place - begins[row], self._place[entry], parts)
        found += self._pieces(row, unit, place - begins[row], lengths)
        best: dict[int, Found] = {}
        for f in found:
            if f.row not in best or f.share > best[f.row].share:
                best[f.row] = f
        return [Found(int(rows[f.row]), f.eval, f.item, f.how, f.share) for _, f in sorted(best.items())]

    def _copies(
        self, row: Places, unit: Places, place: Places, own: Places, parts: Sequence[bytes]
    ) -> list[Found]:
        """Rows that repeat enough of an item, within twice its length."""
        lengths = np.array([len(p) for p in parts])
        span = 2 * self._length[unit]
        long = lengths[row] > span
        # Two rulers over a long row, the second shifted by half: one of them has no cut in the middle.
        block = np.where(long, place // span + 1, 0)
        shifted = np.where(long, -((place + span // 2) // span) - 1, 0)[long]
        keys = [np.concatenate([a, a[long]]) for a in (row, unit, own)]
        block = np.concatenate([block, shifted])
        order = np.lexsort((keys[2], block, keys[1], keys[0]))
        row, unit, own, block = keys[0][order], keys[1][order], keys[2][order], block[order]
        new = _changes(row, unit, block)
        _, covered = _covered(np.cumsum(new), own)
        row, unit = row[new], unit[new]
        found = []
        for n in np.flatnonzero(covered >= self._asked[unit]).tolist():
            u = self.units[unit[n]]
            how = u.how or (WORD_FOR_WORD if u.stream in parts[row[n]] else NEARLY)
            found.append(Found(int(row[n]), u.held.eval, u.held.item, how, covered[n] / u.own))
        return found

    def _pieces(self, row: Places, unit: Places, place: Places, lengths: Places) -> list[Found]:
        """Rows that are part of a longer item."""
        n = self.nearness
        may = self._plain[unit] & (lengths[row] >= n.answer) & (lengths[row] < self._length[unit] * n.share)
        row, unit, place = row[may], unit[may], place[may]
        order = np.lexsort((place, unit, row))
        row, unit, place = row[order], unit[order], place[order]
        new = _changes(row, unit)
        _, covered = _covered(np.cumsum(new), place)
        found = []
        for at in np.flatnonzero(covered >= n.piece * lengths[row[new]]).tolist():
            u = self.units[unit[new][at]]
            share = float(covered[at] / lengths[row[new][at]])
            found.append(Found(int(row[new][at]), u.held.eval, u.held.item, PIECE, share))
        return found

    def _sift(self, hashes: Hashes) -> Places:
        """Where hashes may be known: two sieves let one in a hundred of the others through."""
        met = np.flatnonzero(_passes(self._sieves[0], hashes >> _DEEP))
        found: Places = met[_passes(self._sieves[1], hashes[met] & _MASK)]
        return found

    def _entries(self, hashes: Hashes, place: Places) -> tuple[Places, Places]:
        """For each known hash the entries of the index, beside the place where it was met."""
        at, last = self._buckets[(hashes >> _BUCKET).view(np.int64)], len(self._hashes) - 1
        todo = np.arange(len(at))
        while len(
            todo
        ):  # Buckets hold two hashes on average: some ten rounds, each on half of the one before.
            todo = todo[self._hashes[at[todo]] < hashes[todo]]
            todo = todo[at[todo] < last]
            at[todo] += 1
        known = self._hashes[at] == hashes
        at, place = at[known], place[known]
        count = self._starts[at + 1] - self._starts[at]
        first = np.repeat(self._starts[at] - np.append(0, np.cumsum(count)[:-1]), count) if len(at) else at
        return np.repeat(place, count), first + np.arange(len(first))


def _hits(length: Places) -> Places:
    """How often something so long must be met in the first pass."""
    found: Places = 1 + np.maximum(0, length - FIRST_HIT) // LETTERS_A_HIT
    return found


def _sieve(keys: Hashes) -> NDArray[np.uint8]:
    """A bit for each key that there may be: two megabytes, which a processor keeps at hand."""
    marks = np.zeros(1 << SIEVE_BITS, bool)
    marks[keys.astype(np.int64)] = True
    return np.packbits(marks, bitorder="little")


def _passes(sieve: NDArray[np.uint8], keys: Hashes) -> Flags:
    bits = sieve[(keys >> _3).view(np.int64)] >> (keys & _7).astype(np.uint8)
    return (bits & 1).view(bool)


def _changes(*columns: Places | Hashes) -> Flags:
    """Where a row of sorted columns differs from the one before."""
    found = np.ones(len(columns[0]), bool)
    if len(found):
        found[1:] = np.logical_or.reduce([c[1:] != c[:-1] for c in columns])
    return found


def _covered(group: Places, place: Places) -> tuple[Places, Places]:
    """Letters under windows at sorted places, by group: groups, and their counts."""
    if not len(group):
        return group, place
    add = np.full(len(place), WINDOW)
    same = group[1:] == group[:-1]
    add[:-1][same] = np.minimum(WINDOW, np.diff(place)[same])
    first = np.flatnonzero(np.append(True, ~same))
    return group[first], np.add.reduceat(add, first)
