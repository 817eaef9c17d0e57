"""Answers whose shape says more than their score: none at all, or none that end."""

from __future__ import annotations

import pytest

from ml_intern.evals.model import EvalInfo, Item
from ml_intern.evals.results import scored


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
