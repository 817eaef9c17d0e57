from __future__ import annotations

import random

import polars as pl
import pytest

from ml_intern.data import duplicates
from ml_intern.errors import ToolError

_WORDS = [
    a + b + c
    for a in ["ba", "fe", "gi", "lo", "mu"]
    for b in ["rin", "tal", "vex", "sor"]
    for c in ["ka", "po", "da"]
]


def texts(count: int, seed: int, words: int = 40) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(_WORDS, k=words)) for _ in range(count)]


def find(rows: list[str], near: bool = True, **more: float) -> duplicates.Duplicates:
    return duplicates.find(pl.Series("text", rows, dtype=pl.String), near, **more)


def test_texts_of_their_own_stay() -> None:
    found = find(texts(3000, 0))
    assert found.keep.all() and (found.exact, found.near, found.pairs) == (0, 0, [])


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.upper(),
        lambda t: t.replace(" ", ",  "),
        lambda t: t.replace(t.split()[7], "another", 1),
        lambda t: f"{t} and so on",
    ],
    ids=["case", "signs", "a word", "an end"],
)
def test_near_copies_go_and_the_first_stays(change: object) -> None:
    first = texts(200, 1)
    found = find([*first, *[change(t) for t in first]])  # type: ignore[operator]
    assert found.keep.tolist() == [True] * 200 + [False] * 200
    assert found.near == 200
    assert found.pairs == [(200 + n, n) for n in range(duplicates.SHOWN)]


def test_exactly_looks_at_every_letter() -> None:
    found = find(["a b", "a b", "A b", "", ""], near=False)
    assert found.keep.tolist() == [True, False, True, True, False]
    assert (found.exact, found.near) == (2, 0)


def test_other_numbers_are_another_text() -> None:
    draw = random.Random(0)
    rows = [
        f"{draw.randrange(10**9)} plus {draw.randrange(10**9)} is {draw.randrange(10**9)}" for _ in range(500)
    ]
    assert find(rows).keep.all()


def test_short_texts_are_compared_exactly_and_counted() -> None:
    found = find(["x = 1", "x = 2", "x = 1", "X = 1"])
    assert found.keep.tolist() == [True, True, False, True]
    assert (found.exact, found.near, found.short) == (1, 0, 3)


def test_how_alike_is_told() -> None:
    first = texts(100, 3)
    half = [
        " ".join([*t.split()[:33], *other.split()[33:]])
        for t, other in zip(first, texts(100, 4), strict=True)
    ]
    assert find([*first, *half]).near == 0
    assert find([*first, *half], similarity=0.55).near > 97
    with pytest.raises(ToolError, match="is usual"):
        find(first, similarity=80)


def test_copies_far_apart_and_in_crowds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "CHUNK_ROWS", 64)
    [one] = texts(1, 5)
    crowd = [f"{one} {n}" for n in range(300)]
    rows = [one, *texts(500, 6), *crowd]
    found = find(rows)
    assert found.near == 300 and found.keep[:501].all()


@pytest.mark.parametrize("rows", [[], [""], ["", ""], ["ab\0cd" * 20, "x"]])
def test_next_to_nothing(rows: list[str]) -> None:
    assert find(rows).keep.sum() == len(set(rows))


def test_columns_are_kept_apart() -> None:
    rows = pl.DataFrame({"a": ["ab", "a", "a"], "b": ["", "b", "b"], "n": [1, 2, 3]})
    found = duplicates.find(duplicates.texts_of(rows), near=False)
    assert found.keep.tolist() == [True, True, False]
    assert duplicates.find(duplicates.texts_of(rows, ["n"]), near=False).keep.all()


def test_what_is_compared_is_the_content_or_the_columns_that_are_named() -> None:
    rows = pl.DataFrame({"text": ["a 1", "b", "a 1", "A 2"], "file": ["w", "x", "y", "z"]})
    assert duplicates.find(duplicates.texts_of(rows), False).keep.tolist() == [True, True, False, True]
    assert duplicates.find(duplicates.texts_of(rows, ["file"]), False).keep.all()
    pairs = pl.DataFrame({"a": ["x y", "x"], "b": ["z", "y z"]})
    assert duplicates.find(duplicates.texts_of(pairs), False).keep.all()
