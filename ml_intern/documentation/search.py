"""Puts what was found into the order that a person would."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from ml_intern.documentation.store import Entry, Store
from ml_intern.documentation.words import asked_words, like, pieces

PUBLIC = {2: 1.25, 1: 1.0, 0: 0.6}
KIND = {
    "class": 1.1, "function": 1.1, "method": 1.0, "field": 1.05, "parameter": 0.95, "module": 0.7,
    "page": 0.9,
}  # fmt: skip


FAME = 0.08
"""What each doubling of the number of entries that speak of something adds."""

TWICE = 2
LOOKED_AT = 12
"""Entries at the top whose classes are looked for."""


def search(store: Store, place: str, libraries: list[str], question: str, limit: int) -> list[Entry]:
    """The entries that answer a question best."""
    wanted = _wanted(asked_words(question))
    ranked = sorted(
        (replace(e, score=_score(e, wanted)) for e in store.candidates(place, libraries, question)),
        key=_order,
    )
    return _without_echoes(_with_owners(store, place, ranked), limit)


Wanted = list[tuple[str, frozenset[str]]]
"""The stems of a question's words, each with those of other words for it."""


def _wanted(words: Iterable[str]) -> Wanted:
    return [(_stem(word), frozenset(map(_stem, like(word)))) for word in words]


def _score(entry: Entry, wanted: Wanted) -> float:
    own, near = _name_stems(entry.name)
    told = near.union(_summary_stems(entry.summary))
    covered = sum(_has(word, told) for word in wanted) / len(wanted)
    named = sum(_has(word, near) for word in wanted) / len(wanted)
    exact = sum(_has(word, own) for word in wanted) / max(len(own), 1)
    score = entry.score * (0.5 + covered) + 6 * named + 4 * min(exact, 1.0)
    score *= 1 + FAME * math.log2(1 + entry.fame)
    return (
        score
        * PUBLIC.get(entry.public, 1.0)
        * KIND.get(entry.kind, 1.0)
        / math.log2(6 + entry.name.count("."))
    )


def _with_owners(store: Store, place: str, ranked: list[Entry]) -> list[Entry]:
    """Where several members of a class answer, the class itself comes right behind the first of them."""
    best: dict[str, float] = {}
    several: set[str] = set()
    for entry in ranked[:LOOKED_AT]:
        if entry.kind in ("method", "field", "parameter"):
            owner = entry.name.rpartition(".")[0]
            several |= {owner} if owner in best else set()
            best.setdefault(owner, entry.score)
    if not several:
        return ranked
    owners = {e.name: replace(e, score=best[e.name] * 0.99) for e in store.named(place, sorted(several))}
    kept = [e for e in ranked if e.name not in owners or e.score >= owners[e.name].score]
    known = {e.name for e in kept}
    return sorted([*kept, *(e for n, e in owners.items() if n not in known)], key=_order)


def _order(entry: Entry) -> tuple[float, int, str]:
    return -entry.score, len(entry.name), entry.name


def _has(word: tuple[str, frozenset[str]], among: frozenset[str]) -> float:
    """1 for the word, less for another one that means the same."""
    stem, others = word
    if stem in among:
        return 1.0
    return 0.0 if others.isdisjoint(among) else 0.6


def shared(words: Sequence[str], among: Iterable[str]) -> float:
    """The share of a question's words that are among others, as they are or in another word for it."""
    told = frozenset(_stems(among))
    return sum(_has(word, told) for word in _wanted(words)) / max(len(words), 1)


@lru_cache(maxsize=20_000)
def _summary_stems(summary: str) -> frozenset[str]:
    return frozenset(map(_stem, asked_words(summary)))


@lru_cache(maxsize=100_000)
def _name_stems(name: str) -> tuple[frozenset[str], frozenset[str]]:
    """Of the last part of a name, and of all of it."""
    own = frozenset(_stems(pieces(name.rpartition(".")[2])))
    return own, own.union(_stems(pieces(name)))


def _stems(words: Iterable[str]) -> list[str]:
    return [_stem(word) for word in words]


@lru_cache(maxsize=100_000)  # the same words stand in thousands of entries
def _stem(word: str) -> str:
    for end in ("ings", "ing", "ies", "ions", "ion", "ers", "er", "ed", "es", "s", "e"):
        if word.endswith(end) and len(word) - len(end) >= 3:
            return word.removesuffix(end)
    return word


def _without_echoes(ranked: list[Entry], limit: int) -> list[Entry]:
    """The same words in many classes, and many members of one class, count twice at the most."""
    kept: list[Entry] = []
    seen: Counter[tuple[str, str]] = Counter()
    for entry in ranked:
        above, _, own = entry.name.rpartition(".")
        keys = [("own", own)] if entry.kind == "page" else [("own", own), ("above", above)]
        if entry.kind in ("class", "function", "module"):
            keys = keys[:1]
        if all(seen[key] < TWICE for key in keys):
            kept.append(entry)
            seen.update(keys)
        if len(kept) == limit:
            break
    return kept
