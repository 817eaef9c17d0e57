from __future__ import annotations

import math

import pytest

from ml_intern.errors import ToolError
from ml_intern.evals.scorers import SCORERS, Outputs, last_number, parses, scorer


def value(name: str, outputs: Outputs) -> float:
    items = scorer(name).score(outputs)
    return float(items.numerator.sum() / items.denominator.sum())


def test_bits_per_byte_counts_utf8_bytes() -> None:
    texts = ["abcd", "é"]
    assert value(
        "bits_per_byte", Outputs(texts=texts, nats=[4 * math.log(2), 2 * math.log(2)])
    ) == pytest.approx(1)
    assert not SCORERS["bits_per_byte"].higher_is_better


def test_a_tokenizer_that_forgets_is_charged_plain_bytes() -> None:
    found = SCORERS["bits_per_byte"].score(Outputs(texts=["abcd", "ab"], nats=[None, 0.0]))
    assert found.numerator.tolist() == [32, 0]


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("x = 1", True),
        ("  return x", False),
        ("import os\n", True),
        ("    x = 1", True),
        ("", False),
        ("   \n", False),
        ("# only words", False),
        ("x = (", False),
        ("x = '\\d'", True),
        ("\0", False),
        ("(" * 5000 + ")" * 5000, False),
    ],
)
def test_what_parses(text: str, right: bool) -> None:
    assert parses(text) is (right if text != "  return x" else parses("return x"))


def test_exact_match_ignores_the_ends_and_unicode_forms_only() -> None:
    outputs = Outputs(completions=[" Paris\n", "paris", "e\u0301"], targets=["Paris", "Paris", "é"])
    assert scorer("exact_match").score(outputs).numerator.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so it is 1,250.0.", 1250),
        ("3 + 4 = 7", 7),
        ("#### -12", -12),
        ("2e3", 2000),
        ("none", None),
        ("1,2,3", 3),
    ],
)
def test_last_number(text: str, number: float | None) -> None:
    assert last_number(text) == number


def test_numeric_match_needs_a_number() -> None:
    outputs = Outputs(completions=["the answer is 42.0", "no idea", "43"], targets=["#### 42", "42", "42"])
    assert scorer("numeric_match").score(outputs).numerator.tolist() == [1, 0, 0]


def test_unknown_scorer_gets_a_guess() -> None:
    with pytest.raises(ToolError, match="did you mean 'exact_match'"):
        scorer("exact_macth")
