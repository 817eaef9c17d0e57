"""What stands outside the one column of the text, and answers that cannot be right."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from ml_intern.data.audit import audit


def _pairs(count: int = 400) -> list[dict[str, Any]]:
    """Sums with answers from 2 to 18, some far more often than others."""
    draw = random.Random(1)
    terms = [(draw.randint(1, 9), draw.randint(1, 9)) for _ in range(count)]
    return [
        {"prompt": f"pair {n}: {a} and {b} is", "completion": f" {a + b}"} for n, (a, b) in enumerate(terms)
    ]


def _frame(**changed: Mapping[int, str | None]) -> pl.DataFrame:
    rows = _pairs()
    for column, values in changed.items():
        for at, value in values.items():
            rows[at][column] = value
    return pl.DataFrame(rows)


def test_good_pairs_have_no_finding() -> None:
    """Numbers are quantities and not labels, so that they come unequally often is not wrong."""
    report = audit(_frame(), "test", near=_NoneNear())
    assert report.labels and report.findings == ["Nothing wrong was found."]


def test_labels_that_are_few_numbers_or_words_are_weighed() -> None:
    numbers = pl.DataFrame({"text": [f"text {n}" for n in range(40)], "label": [1] * 38 + [0] * 2})
    assert any("out of balance" in found for found in audit(numbers, "test").findings)
    words = [*["often"] * 190, *(f"class {n}" for n in range(11))]
    many = pl.DataFrame({"text": [f"text {n}" for n in range(201)], "label": words})
    assert any("out of balance" in found for found in audit(many, "test").findings)


@pytest.mark.parametrize("text", [None, "completion"])
def test_every_column_of_text_is_looked_at(text: str | None) -> None:
    odd = {5: "write to anna@firm.de", 7: "", 9: "  ", 11: "broken \ufffd", 13: "ask ben@example.org"}
    report = audit(_frame(prompt=odd, completion={17: None}), "test", text=text)
    assert report.personal == {"e-mail addresses": 1} and report.evidence["e-mail addresses"] == [5]
    assert report.empty == {"prompt": 2} and "2 rows have an empty 'prompt' (rows 7, 9)." in report.findings
    assert report.encoding == {"replacement characters": 1}
    assert "1 rows have no 'completion' (rows 17)." in report.findings
    assert report.placeholders == 1
    assert "1 rows hold made-up e-mail addresses, which are nobody's (rows 13)." in report.findings


def test_one_question_with_two_answers() -> None:
    asked = _pairs()[20]["prompt"]
    report = audit(_frame(prompt={30: asked, 40: asked}, completion={20: " 7", 30: " 8", 40: "7"}), "test")
    assert (report.conflicts, report.evidence["conflicting answers"]) == (3, [20, 30, 40])
    told = "3 rows have the 'prompt' of another row and a different 'completion' (rows 20, 30, 40)."
    assert told in report.findings


@pytest.mark.parametrize(
    ("columns", "conflicts"),
    [
        ({"text": ["good", "good", "bad"], "label": [1, 0, 0]}, 2),
        ({"text": ["good", "good", "bad"], "label": [1, 1, 0]}, 0),
        ({"prompt": ["a", "a"], "completion": ["b", "c"], "label": [True, False]}, 0),
        ({"prompt": ["a", "a"], "completion": ["b", "b"], "label": [True, False]}, 2),
        ({"prompt": ["a", "a"], "chosen": ["b", "c"], "rejected": ["c", "b"]}, 0),
        ({"id": ["1", "2"], "question": ["a", "a"], "answer": ["b", "c"]}, 2),
        ({"instruction": ["x", "y"], "input": ["", ""], "output": ["b", "c"]}, 0),
        ({"prompt": ["", ""], "completion": ["b", "c"]}, 0),
        ({"prompt": ["a", "a"], "completion": ["b", None]}, 0),
    ],
    ids=["labels", "same", "judged", "judged-twice", "preference", "ids", "two-inputs", "empty", "missing"],
)
def test_what_is_a_conflict(columns: dict[str, list[Any]], conflicts: int) -> None:
    assert audit(pl.DataFrame(columns), "test").conflicts == conflicts


@pytest.mark.parametrize("numbers", [True, False], ids=["numbers", "texts"])
def test_answers_far_from_all_others(numbers: bool) -> None:
    rows = _frame(completion={18: " 30", 266: "96 ", 300: " -60"})
    if numbers:
        rows = rows.with_columns(pl.col("completion").str.strip_chars().cast(pl.Int64))
    report = audit(rows, "test")
    assert report.evidence["outliers completion"] == [18, 266, 300]
    told = "3 rows have an outlier in 'completion': -60 to 96, where 99% of the others are 2 to 18"
    assert f"{told} (rows 18, 266, 300)." in report.findings


@pytest.mark.parametrize(
    "values",
    [
        [f"{1.2**n:.0f}" for n in range(100)],
        [f"{random.Random(n).gauss(70, 8):.1f}" for n in range(4_000)],
        [f"{random.Random(n).expovariate(0.01):.1f}" for n in range(4_000)],
        ["3"] * 99 + ["900"],
        ["1"] * 10 + ["900"],
        [str(n % 18) for n in range(399)] + ["about 900"],
        ["nan", "inf", "-inf", "", *(str(n % 18) for n in range(396))],
    ],
    ids=["powers", "bell", "long-tail", "all-the-same", "few", "words", "no-numbers"],
)
def test_what_is_no_outlier(values: list[str]) -> None:
    rows = pl.DataFrame({"prompt": [f"question {n}" for n in range(len(values))], "answer": values})
    assert audit(rows, "test").outliers == {}


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.thorough), 7, 399, 400])
def test_in_pieces_or_whole_it_is_the_same(size: int) -> None:
    rows = _frame(
        prompt={7: "", 30: _pairs()[20]["prompt"]}, completion={0: None, 18: "71", 266: "96", 30: " 1"}
    )
    whole = audit(rows, "test")
    pieces = audit((rows.slice(at, size) for at in range(0, rows.height, size)), "test")
    pieces.streamed = whole.streamed
    assert pieces == whole and whole.conflicts == 2 and whole.outliers["completion"].rows == 2


def test_pieces_without_the_columns_of_the_first() -> None:
    report = audit(
        [
            pl.DataFrame({"prompt": ["a"], "answer": ["b"]}),
            pl.DataFrame({"n": [1]}),
            pl.DataFrame({"prompt": ["a"]}),
        ],
        "test",
    )
    assert (report.rows, report.conflicts) == (3, 0)


class _NoneNear:
    """Sums are all near each other, which is not what is looked at here."""

    means = "are near"

    def add(self, texts: pl.Series) -> None:
        pass

    def rows(self) -> Any:
        return pl.Series([], dtype=pl.Int64).to_numpy()
