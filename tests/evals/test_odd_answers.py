"""Answers whose shape says more than their score: none at all, or none that end."""

from __future__ import annotations

import pytest

from ml_intern.evals.model import EvalInfo, Item
from ml_intern.evals.results import another_form, scored


def warnings(texts, finished):
    info = EvalInfo.model_construct(
        name="reverse", scorers=["exact_match"], primary="exact_match", grouped=False
    )
    items = [Item(split="dev", input=f"p{n}", target="x") for n in range(len(texts))]
    rows = [
        {"row": n, "sample": 0, "text": text, "tokens": 3, "finished": done}
        for n, (text, done) in enumerate(zip(texts, finished, strict=True))
    ]
    return scored(info, "dev", "m", items, {"completions": rows}, 1.0).warnings


@pytest.mark.parametrize(
    ("texts", "finished", "expected"),
    [
        ([""] * 100, [True] * 100, ["All answers are empty"]),
        ([""] * 20 + ["x"] * 80, [True] * 100, ["20% of the answers are empty"]),
        (["x"] * 100, [n >= 9 for n in range(100)], ["9% of the answers were cut off"]),
        (["x"] * 100, [n >= 1 for n in range(100)], []),
    ],
    ids=["all-empty", "some-empty", "cut-off", "well"],
)
def test_odd_answers_are_warned_of(texts, finished, expected):
    found = warnings(texts, finished)
    assert len(found) == len(expected) and all(map(str.startswith, found, expected))


@pytest.mark.parametrize(
    ("exact", "numeric", "told"),
    [(0.0, 1.0, True), (0.04, 0.3, True), (0.06, 1.0, False), (0.0, 0.2, False), (0.0, 0.0, False)],
)
def test_right_answers_in_another_form_are_warned_of(exact, numeric, told):
    found = another_form({"exact_match": exact, "numeric_match": numeric})
    assert bool(found) == told
    assert not told or found[0].startswith(
        f"exact_match finds {exact:.0%} of the answers right, numeric_match"
    )
    assert another_form({"exact_match": exact}) == another_form({}) == []


def test_a_number_among_words_is_right_by_one_metric_and_told():
    info = EvalInfo.model_construct(
        name="sums", scorers=["exact_match", "numeric_match"], primary="exact_match", grouped=False
    )
    items = [Item(split="dev", input=f"p{n}", target=str(n)) for n in range(100)]
    rows = [
        {"row": n, "sample": 0, "text": f"so it is {n}", "tokens": 3, "finished": True} for n in range(100)
    ]
    [told] = scored(info, "dev", "m", items, {"completions": rows}, 1.0).warnings
    assert "another form than the target's" in told
