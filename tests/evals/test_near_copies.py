"""The guard against copies that are not letter for letter, on word problems made up here."""

from __future__ import annotations

import base64
import codecs
import gzip
import html
import json
import random
import re
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from ml_intern.errors import ToolError
from ml_intern.evals import guard as guarding
from ml_intern.evals import near, rows
from ml_intern.evals.guard import Contamination, Guard
from ml_intern.evals.nearness import Nearness

_SYLLABLES = [
    "ba",
    "de",
    "fi",
    "go",
    "hu",
    "ka",
    "le",
    "mi",
    "no",
    "pu",
    "ra",
    "se",
    "ti",
    "vo",
    "wu",
    "ya",
    "ze",
    "qui",
    "dra",
    "ston",
    "plim",
    "grev",
]


def problems(count: int, seed: int) -> list[str]:
    """Texts of four sentences, of words that nobody else uses."""
    draw = random.Random(seed)
    words = ["".join(draw.choices(_SYLLABLES, k=draw.randrange(1, 4))) for _ in range(400)]

    def sentence() -> str:
        said = [*draw.choices(words, k=draw.randrange(5, 9)), str(draw.randrange(2, 900)), draw.choice(words)]
        return " ".join(said).capitalize() + "."

    return [" ".join(sentence() for _ in range(4)) for _ in range(count)]


ITEMS = problems(200, 1)
CLEAN = problems(2000, 2)


@pytest.fixture(scope="module")
def guard() -> Guard:
    return guard_of(ITEMS)


def guard_of(items: list[str], nearness: Nearness | None = None) -> Guard:
    made = Guard(nearness)
    made.add("problems", [[text] for text in items])
    return made


def renumbered(text: str) -> str:
    return re.sub(r"\d+", lambda m: str(int(m[0]) * 7 + 1), text)


def reordered(text: str) -> str:
    return " ".join(reversed(re.split(r"(?<=\.) ", text)))


def some_words_changed(text: str) -> str:
    return " ".join("otherwise" if i % 12 == 5 else word for i, word in enumerate(text.split()))


def in_document(text: str) -> str:
    return f"{' '.join(CLEAN[:40])} {text} {' '.join(CLEAN[40:90])}"


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


KINDS: dict[str, tuple[Callable[[str], Any], str]] = {
    "as it is": (lambda t: t, "word for word"),
    "case and spaces": (lambda t: t.upper().replace(" ", " \n "), "word for word"),
    "no signs": (lambda t: t.replace(".", ""), "word for word"),
    "other numbers": (renumbered, "word for word"),
    "sentences reordered": (reordered, "nearly"),
    "reordered, renumbered": (lambda t: renumbered(reordered(t)), "nearly"),
    "every twelfth word": (some_words_changed, "nearly"),
    "in a document": (lambda t: in_document(renumbered(t)), "word for word"),
    "look-alike letters": (lambda t: t.replace("a", "а").replace("e", "é"), "word for word"),
    "zero-width": (lambda t: "\u200b".join(t), "word for word"),
    "zero bytes": (lambda t: t.replace(" ", "\0"), "word for word"),
    "another column": (lambda t: {"question": "Clean?", "notes": t}, "word for word"),
    "a message": (lambda t: {"messages": [{"role": "user", "content": f"Hi. {t}"}]}, "word for word"),
    "deep inside": (lambda t: {"meta": {"a": [{"b": [t]}]}}, "word for word"),
    "over two columns": (lambda t: {"a": t[: len(t) // 2], "b": t[len(t) // 2 :]}, "word for word"),
    "JSON in a text": (lambda t: json.dumps({"q": t}), "word for word"),
    "base64": (lambda t: f"payload={coded(t)}", "encoded"),
    "base64, renumbered, in JSON": (lambda t: coded(json.dumps({"q": renumbered(t)})), "encoded"),
    "base64 in lines": (lambda t: re.sub(r"(.{76})", r"\1\n", coded(t)), "encoded"),
    "base64 twice": (lambda t: coded(coded(t)), "encoded"),
    "gzip in base64": (lambda t: base64.b64encode(gzip.compress(t.encode())).decode(), "encoded"),
    "hexadecimal": (lambda t: t.encode().hex(), "encoded"),
    "entities": (lambda t: "".join(f"&#{ord(c)};" for c in t), "encoded"),
    "escaped HTML": (lambda t: html.escape(t), "word for word"),
    "escapes": (lambda t: "".join(f"\\u{ord(c):04x}" for c in t), "encoded"),
    "rot13": (lambda t: codecs.encode(t, "rot13"), "in rot13"),
    "backwards": (lambda t: t[::-1], "backwards"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_planted_items_are_found_and_nothing_else(guard: Guard, kind: str) -> None:
    change, how = KINDS[kind]
    planted = [change(text) for text in ITEMS[:50]]
    made: list[Any] = [*CLEAN[:300], *planted, *CLEAN[300:600]]
    found = guard.check(made)
    assert found.row_numbers == list(range(300, 350))
    assert all(match.how.startswith(how) for match in found.matches)


def test_clean_rows_raise_no_alarm(guard: Guard) -> None:
    assert guard.check(CLEAN).clean
    assert guard.check([" ".join(CLEAN[i : i + 50]) for i in range(0, 2000, 50)]).clean
    assert guard.held_out(CLEAN) == {}


def test_a_table_and_its_rows_give_the_same(guard: Guard) -> None:
    made = [{"n": n, "turns": [{"role": "user", "content": text}]} for n, text in enumerate(CLEAN[:50])]
    made += [{"n": 0, "turns": [{"role": "user", "content": renumbered(text)}]} for text in ITEMS[:20]]
    made += [{"n": 0, "turns": []}, {"n": 0, "turns": None}]
    table = guard.check(pl.DataFrame(made))
    assert table == guard.check(made)
    assert table.row_numbers == list(range(50, 70))


def test_rows_are_counted_over_the_pieces_they_are_read_in(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [*CLEAN[:100], renumbered(ITEMS[3]), *CLEAN[100:205], coded(ITEMS[4])]
    whole = guard.check(made)
    monkeypatch.setattr(rows, "CHUNK_ROWS", 7)
    monkeypatch.setattr(near, "SLICE", 256)
    assert guard.check(made) == guard.check(pl.DataFrame({"text": made})) == whole
    monkeypatch.setattr(rows, "CHUNK_BYTES", 1000)
    assert guard.check(pl.DataFrame({"text": made})).row_numbers == whole.row_numbers == [100, 206]


def test_options_in_another_order() -> None:
    draw = random.Random(0)
    stems = problems(40, 5)
    options = [problems(4, 100 + n) for n in range(40)]
    made = guard_of([asked(s.split(".")[0], o) for s, o in zip(stems, options, strict=True)])
    shuffled = [asked(s.split(".")[0], draw.sample(o, len(o))) for s, o in zip(stems, options, strict=True)]
    assert made.check(shuffled).contaminated == 40


def asked(stem: str, options: list[str]) -> str:
    said = [f"{letter}) {option.split('.')[0]}" for letter, option in zip("ABCD", options, strict=True)]
    return "\n".join([f"{stem}?", *said])


def test_what_the_items_share_is_no_evidence() -> None:
    preface = "Read the following problem with care, think step by step, and answer with one number only. "
    made = guard_of([preface + text for text in ITEMS])
    assert made.check([preface + text for text in CLEAN[:500]]).clean
    assert made.check([renumbered(text) for text in ITEMS]).contaminated == len(ITEMS)


def test_a_task_of_numbers_alone_is_compared_as_it_stands() -> None:
    def sums(first: int) -> list[str]:
        return [
            f"A farmer has {n} cows and buys {n + 3} more cows. How many?" for n in range(first, first + 40)
        ]

    made = guard_of(sums(0))
    assert made.check(sums(100)).clean
    assert made.check(sums(20)).row_numbers == list(range(20))


def test_a_long_answer_counts_by_itself_and_a_short_one_does_not() -> None:
    made = Guard()
    answers = problems(30, 9)
    made.add("asked", [[text] for text in ITEMS[:30]], [*answers[:20], *["42"] * 10])
    assert made.check([renumbered(text) for text in answers]).row_numbers == list(range(20))
    assert made.check(["42", "so it is 42"]).clean


def test_a_piece_of_a_long_item() -> None:
    long = [" ".join(problems(20, 20 + n)) for n in range(5)]
    made = guard_of(long)
    piece = " ".join(long[2].split()[100:140])
    found = made.check([*CLEAN[:20], piece])
    assert (found.row_numbers, found.matches[0].how) == ([20], "as a piece of one")


def test_the_finding_tells_where_and_how_and_nothing_of_the_items(guard: Guard) -> None:
    found = guard.check([*CLEAN[:5], *[renumbered(text) for text in ITEMS[:30]]])
    with pytest.raises(ToolError) as told:
        found.demand_clean("mine@2")
    said = str(told.value)
    assert "30 of 35 training rows hold items of problems: 30 word for word, numbers aside" in said
    assert "rows 5, 6, 7" in said and "…" in said and "counted from 0" in said
    assert "filter_dataset('mine@2', where='1 = 1')" in said
    words = {word for text in ITEMS for word in re.findall("[a-z]{5,}", text.lower())}
    assert words.isdisjoint(re.findall("[a-z]{5,}", (said + found.model_dump_json()).lower()))
    assert "\n" not in said


class Hostile(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no\nitems")


def test_it_fails_closed(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ToolError, match=r"could not be compared .*RuntimeError: no items.* Nothing was started"
    ):
        guard.check([CLEAN[0], Hostile(text="x")])

    def broken(self: Any, data: bytes) -> Any:
        raise pl.exceptions.ComputeError("out of order")

    monkeypatch.setattr(guarding, "chunks", chunks_that_break)
    with pytest.raises(ToolError, match="MemoryError"):
        guard.held_out(CLEAN)


def chunks_that_break(given: Any) -> Any:
    yield from list(rows.chunks(given))[:1]
    raise MemoryError


@pytest.mark.parametrize(
    "text",
    [
        coded("x" * 3_000_000),
        base64.b64encode(gzip.compress(b"\0" * 50_000_000)).decode(),
        "A" * 1_000_000,
        "&" * 100_000,
        "\ud7ff\U0010ffff" * 1000,
        "",
        "\0",
    ],
    ids=["big", "bomb", "one letter", "signs", "odd", "empty", "zero"],
)
def test_odd_rows_are_neither_found_nor_fatal(guard: Guard, text: str) -> None:
    assert guard.check([text, CLEAN[0]]).clean
    assert guard.check([text, ITEMS[0]]).row_numbers == [1]


def test_how_near_is_a_setting() -> None:
    half = [" ".join(text.split(". ")[:2]) for text in ITEMS[:40]]
    assert guard_of(ITEMS, Nearness.of({"share": 0.9})).check(half).clean
    assert guard_of(ITEMS, Nearness.of({"share": 0.3})).check(half).contaminated == 40
    with pytest.raises(ValueError, match="there is no 'shares'"):
        Nearness.of({"shares": 1})


def test_nothing_registered_costs_nothing() -> None:
    assert Guard().check(iter(CLEAN[:5])) == Contamination(clean=True, rows=5, items=0)
