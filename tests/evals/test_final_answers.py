from __future__ import annotations

import time

import pytest

from ml_intern.evals.final_answers import final_answer


@pytest.mark.parametrize(
    ("texts", "answer"),
    [
        (
            [
                "so \\boxed{\\frac{1}{2}}",
                "the answer is 0.5.",
                "#### 1/2",
                "\\boxed{\\dfrac12}",
                "1 / 2",
                "it is .5",
            ],
            "1/2",
        ),
        (
            ["1,250.0 in all", "\\boxed{1250}", "\\boxed{x = 1250}", "$1250$", "1 then \\boxed{1{,}250}"],
            "1250",
        ),
        (["\\boxed{(1, 2)}", "a \\boxed{\\left( 1,2 \\right)}", "Answer: (1,2)"], "(1,2)"),
        (["\\boxed{\\text{Tuesday}}", "The answer is Tuesday."], "tuesday"),
        (["\\boxed{5\\text{ cm}}", "5", "first 7, the answer is 5"], "5"),
        (["\\boxed{12\\%}", "12%"], "12"),
        (["\\boxed{\\sqrt{2}}", "answer is: $\\sqrt{2}$"], "\\sqrt{2}"),
        (["nothing", "", "\\boxed{never closed"], None),
    ],
    ids=["half", "thousands", "pair", "word", "unit", "percent", "root", "none"],
)
def test_one_answer_in_all_its_forms(texts: list[str], answer: str | None) -> None:
    assert {text: final_answer(text) for text in texts} == dict.fromkeys(texts, answer)


def test_what_is_made_to_take_long_does_not() -> None:
    began = time.monotonic()
    for text in (
        "\\boxed{1e999999999}",
        "\\boxed{" + "{" * 50_000,
        "9" * 50_000,
        "answer is " * 5_000,
        "1/0",
    ):
        final_answer(text)
    assert time.monotonic() - began < 20
