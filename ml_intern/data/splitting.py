"""Divide rows so that what measures a model was never near what trained it.

Groups stay whole (all lines of a file are in one split), equal texts stay on one side even when different
groups hold them, and the same seed gives the same split on every machine.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

from ml_intern.data.filtering import mask
from ml_intern.data.table import (
    MESSAGES,
    content_columns,
    group_column,
    need,
    normalise,
    row_text,
    text_column,
    text_of,
)
from ml_intern.errors import ToolError

if TYPE_CHECKING:
    import polars as pl

TRAIN = "train"
SPLITS = (TRAIN, "dev", "test")
_OTHER_WORDS = {"validation": "dev", "valid": "dev", "val": "dev", "training": TRAIN}
# A line of a longer row counts as a held-out text only where it is long enough to be no coincidence.
LONG_LINE = 20

# Why a row is in no split.
OVER, REPEATS = "over max_rows", "repeats a held-out row"
UNMET, EMPTY = "does not meet seal_where", "is empty"


@dataclass
class Parts:
    """Rows by split, and what was left out on the way.

    Attributes:
        rows: Train, and the held-out splits.
        group: The column whose groups were kept whole.
        dropped: Training rows that repeated a held-out one.
        fates: For each row the name of its split, or ``split: why it is in none``.
        places: For each row of a split, which row of the source it is.
        notes: What a reader should know.
    """

    rows: dict[str, pl.DataFrame]
    group: str | None
    dropped: int = 0
    fates: list[str] = field(default_factory=list)
    places: dict[str, list[int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> dict[str, int]:
        """Rows that are in no split, by why."""
        return dict(Counter(fate for fate in self.fates if fate not in self.rows))

    def drop_train(self, positions: Collection[int], why: str) -> None:
        """Take rows out of train, by their positions there."""
        self.drop(TRAIN, positions, why)

    def drop(self, split: str, positions: Collection[int], why: str) -> None:
        """Take rows out of a split, by their positions there."""
        gone = set(positions)
        for position in gone:
            self.fates[self.places[split][position]] = f"{split}: {why}"
        kept = [at for at in range(self.rows[split].height) if at not in gone]
        self.rows[split] = self.rows[split][kept]
        self.places[split] = [self.places[split][at] for at in kept]


def split(
    rows: pl.DataFrame,
    fractions: Mapping[str, float],
    seed: int = 0,
    group: str | None = None,
    held_where: str | None = None,
    max_rows: Mapping[str, int] | None = None,
    given: Mapping[str, pl.DataFrame] | None = None,
) -> Parts:
    """Divide rows into train and held-out splits.

    Args:
        rows: All rows.
        fractions: Share of the rows for each of train, dev and test.
        seed: Decides which groups go where and which rows are taken.
        group: Column whose groups stay whole; nothing means a file column, else single texts.
        held_where: Condition that held-out rows must meet; training rows need not.
        max_rows: Most rows of each split; more are sampled down.
        given: Held-out splits that the source has; only the others are made of `rows`.

    Raises:
        ToolError: The fractions make no sense, or a split would be empty.
    """
    given = {_word(name): part for name, part in (given or {}).items()}
    fractions = _checked(fractions)
    rows, fixed = _with_given(rows, {name: part for name, part in given.items() if name in fractions})
    most = {_word(name): count for name, count in (max_rows or {}).items()}
    if unknown := [name for name, count in most.items() if name not in fractions or count < 1]:
        raise ToolError(
            f"max_rows[{unknown[0]!r}] = {most[unknown[0]]} does not fit the splits {', '.join(fractions)}."
        )
    if group is not None:
        need(rows, [group])
    group = group or group_column(rows)
    texts = texts_of(rows)
    keys = [found[0] for found in texts]
    groups = rows[group].to_list() if group else keys
    made = len(groups) - len(fixed)
    where = assign(groups[:made], _without(fractions, fixed), seed) + fixed
    chosen: dict[str, list[int]] = {name: [] for name in fractions}
    for index, name in enumerate(where):
        chosen[name].append(index)
    candidates = _meeting(rows, {name: chosen[name] for name in chosen if name != TRAIN}, held_where)
    held = _held(candidates, keys, groups, most, seed, held_where)
    train, dropped = _train(texts, chosen[TRAIN], {keys[i] for part in held.values() for i in part})
    taken = {TRAIN: _sample(train, most.get(TRAIN), seed, TRAIN), **held}
    fates = _fates(chosen, candidates, taken, set(train), keys)
    places = {name: taken[name] for name in fractions}
    parts = Parts({name: rows[at] for name, at in places.items()}, group, dropped, fates, places)
    if small := [f"{name} has {len(part)}" for name, part in held.items() if len(part) < 30]:
        parts.notes.append(
            f"Few held-out rows ({', '.join(small)}): differences will be hard to tell from noise."
        )
    return parts


def _fates(
    chosen: Mapping[str, list[int]],
    candidates: Mapping[str, list[int]],
    taken: Mapping[str, list[int]],
    clean: set[int],
    keys: list[str],
) -> list[str]:
    """Where each row went, or why it went nowhere."""
    found = [""] * len(keys)
    held = {keys[i] for name, indices in taken.items() if name != TRAIN for i in indices}
    for name, indices in chosen.items():
        kept, met = set(taken[name]), set(candidates.get(name, ()))
        for i in indices:
            if i in kept:
                found[i] = name
            elif name == TRAIN:
                found[i] = f"{name}: {OVER if i in clean else REPEATS}"
            elif i not in met:
                found[i] = f"{name}: {UNMET}"
            elif not keys[i]:
                found[i] = f"{name}: {EMPTY}"
            else:
                found[i] = f"{name}: {REPEATS if keys[i] in held else OVER}"
    return found


def assign(groups: list[Any], fractions: Mapping[str, float], seed: int) -> list[str]:
    """For each row the name of its split: groups in random order, each to the split that lacks most rows.

    Raises:
        ToolError: There are fewer groups than splits.
    """
    sizes: dict[Any, int] = {}
    for value in groups:
        sizes[value] = sizes.get(value, 0) + 1
    if len(sizes) < len(fractions):
        raise ToolError(
            f"{len(groups)} rows in {len(sizes)} groups cannot make {len(fractions)} splits.",
            "Give more data, another group, or fewer splits.",
        )
    order = sorted(sizes, key=str)
    random.Random(seed).shuffle(order)
    lacking = {name: share * len(groups) for name, share in fractions.items()}
    home: dict[Any, str] = {}
    for value in order:
        name = max(lacking, key=lambda split: lacking[split])
        lacking[name] -= sizes[value]
        home[value] = name
    _fill_empty(home, sizes, fractions)
    return [home[value] for value in groups]


def texts_of(rows: pl.DataFrame) -> list[tuple[str, ...]]:
    """For each row its texts as they are compared: what identifies it first, then its long lines.

    A prompt identifies a row even where the completions differ; else its text, or all of its content.
    """
    if "prompt" in rows.columns:
        texts: Iterable[str] = map(text_of, rows["prompt"].to_list())
    elif MESSAGES in rows.columns:
        texts = (_asked(messages) for messages in rows[MESSAGES].to_list())
    elif name := text_column(rows):
        texts = (text for text in map(text_of, rows[name].to_list()))
    else:
        columns = content_columns(rows)
        texts = (row_text(row, columns) for row in rows.iter_rows(named=True))
    return [_compared(text) for text in texts]


def _compared(text: str) -> tuple[str, ...]:
    whole = normalise(text)
    if "\n" not in text:
        return (whole,)
    found = (normalise(line) for line in text.splitlines() if len(line) >= LONG_LINE)
    return (whole, *(line for line in found if len(line) >= LONG_LINE))


def _asked(messages: Any) -> str:
    return "\n".join(text_of(m.get("content")) for m in messages or [] if m.get("role") != "assistant")


def _with_given(rows: pl.DataFrame, given: Mapping[str, pl.DataFrame]) -> tuple[pl.DataFrame, list[str]]:
    """All rows in one frame, the given ones last, and the names of their splits."""
    import polars as pl

    if not given:
        return rows, []
    for name, part in given.items():
        if missing := [column for column in rows.columns if column not in part.columns]:
            raise ToolError(f"The source's split {name} has no column {missing[0]!r}, train has.")
    together = [rows, *(part.select(rows.columns) for part in given.values())]
    return pl.concat(together, how="vertical_relaxed"), [
        n for n, part in given.items() for _ in range(part.height)
    ]


def _without(fractions: Mapping[str, float], fixed: list[str]) -> dict[str, float]:
    """The shares of the splits that are still to be made."""
    rest = {name: share for name, share in fractions.items() if name not in set(fixed)}
    return {name: share / sum(rest.values()) for name, share in rest.items()}


def _word(name: str) -> str:
    return _OTHER_WORDS.get(name, name)


def _checked(fractions: Mapping[str, float]) -> dict[str, float]:
    found = {_word(name): float(share) for name, share in fractions.items()}
    if unknown := [name for name in found if name not in SPLITS]:
        raise ToolError(f"There is no split {unknown[0]!r}.", f"Splits are {', '.join(SPLITS)}.")
    if TRAIN not in found or len(found) < 2:
        raise ToolError(
            "A split needs train and at least one of dev and test.", "Such as {'train': .9, 'test': .1}."
        )
    total = sum(found.values())
    if not all(share > 0 for share in found.values()) or abs(total - 1) > 1e-6:
        raise ToolError(f"The fractions add up to {total:g}.", "Each is above 0 and together they are 1.")
    return {name: found[name] for name in SPLITS if name in found}


def _fill_empty(home: dict[Any, str], sizes: Mapping[Any, int], fractions: Mapping[str, float]) -> None:
    """Give a split that got no group (groups are large, its share is small) the smallest one of train."""
    for name in fractions:
        if name not in home.values():
            counts = {split: sum(1 for s in home.values() if s == split) for split in fractions}
            richest = max(counts, key=lambda split: counts[split])
            smallest = min((g for g, s in home.items() if s == richest), key=lambda g: (sizes[g], str(g)))
            home[smallest] = name


def _meeting(
    rows: pl.DataFrame, chosen: Mapping[str, list[int]], condition: str | None
) -> Mapping[str, list[int]]:
    """The rows that meet the condition; only those that could be held out are looked at."""
    if condition is None:
        return chosen
    return {
        name: [i for i, keep in zip(indices, mask(rows[indices], condition), strict=True) if keep]
        for name, indices in chosen.items()
    }


def _held(
    chosen: Mapping[str, list[int]],
    keys: list[str],
    groups: list[Any],
    most: Mapping[str, int],
    seed: int,
    condition: str | None,
) -> dict[str, list[int]]:
    """The held-out rows by split: no text twice, neither within a split nor in two of them."""
    seen: set[str] = set()
    held: dict[str, list[int]] = {}
    for name in chosen:
        fresh: dict[str, int] = {}
        for index in chosen[name]:
            if keys[index] and keys[index] not in seen:
                fresh.setdefault(keys[index], index)
        if not fresh:
            why = f" meet {condition!r}" if condition else " are there for it"
            raise ToolError(f"The split {name} would be empty: no rows{why}.", "Give it a larger fraction.")
        held[name] = _spread(list(fresh.values()), groups, most.get(name), seed, name)
        seen.update(keys[index] for index in held[name])
    return held


def _train(texts: list[tuple[str, ...]], chosen: list[int], held: set[str]) -> tuple[list[int], int]:
    kept = [index for index in chosen if held.isdisjoint(texts[index])]
    if not kept:
        raise ToolError(
            "No training row is left: every one repeats a held-out text.", "Deduplicate the source first."
        )
    return kept, len(chosen) - len(kept)


def _spread(indices: list[int], groups: list[Any], most: int | None, seed: int, name: str) -> list[int]:
    """At most so many rows, from all groups alike: else a few long files are most of an evaluation."""
    if most is None or len(indices) <= most:
        return indices
    rng = random.Random(f"{seed} {name}")
    by_group: dict[Any, list[int]] = {}
    for index in rng.sample(indices, len(indices)):
        by_group.setdefault(groups[index], []).append(index)
    rounds = zip_longest(*by_group.values())
    taken = islice((index for turn in rounds for index in turn if index is not None), most)
    return sorted(taken)


def _sample(indices: list[int], most: int | None, seed: int, name: str) -> list[int]:
    if most is None or len(indices) <= most:
        return indices
    return sorted(random.Random(f"{seed} {name}").sample(indices, most))
