"""Whatever is in a text, its numbers are read soon, and where they stand in it is right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_intern.claims.evidence import Evidence, Known
from ml_intern.claims.judging import review
from ml_intern.claims.reading import numbers_in

LENGTH = 20_000
KNOWN = Evidence(
    known=[Known(0.5, "exp-1 dev exact_match", "score", "exact_match", "dev", "exp-1", "value")], active=True
)


LONGEST = ("1 ", "`1", "one point ")
"""They take seconds each; "[1, " stands for them in the short suite."""
PIECES = ("x", "1 ", "1-", "a/", "| ", "a-", "a1", "\\$", "`1", "\n", "```\n", "[1, ", "one point ")


@pytest.mark.parametrize(
    "piece", [pytest.param(piece, marks=pytest.mark.thorough if piece in LONGEST else ()) for piece in PIECES]
)
def test_long_and_odd_texts_take_no_long_time(piece: str) -> None:
    """Times that grow with the square of the length would be minutes here; the test's own limit would end it."""
    review(piece * (LENGTH // len(piece)), KNOWN)


@given(st.text(max_size=300))
def test_no_text_breaks_the_reading(text: str) -> None:
    for told in numbers_in(text):
        assert text[told.start : told.end].strip() == told.shown and told.slack > 0
    review(text, KNOWN)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("97%, 97 percent, ninety-seven percent, ９７％", [0.97] * 4),
        ("10k, 1.2e-3, 1,319, 3x", [10_000, 0.0012, 1319, 3]),
        ("12 minutes, 1.5 h, 30 s", [720, 5400, 30]),
        ("$0.42, 3 dollars, 50 cents", [0.42, 3, 0.5]),
        ("3.1 points, 2 percentage points", [0.031, 0.02]),
        ("27.0 → 24.5, −0.4", [27.0, 24.5, -0.4]),
        ("0,83 und 83,3 %", [0.83, 0.833]),
    ],
)
def test_numbers_are_read_as_they_are_written(text: str, values: list[float]) -> None:
    assert [told.value for told in numbers_in(text)] == pytest.approx(values)
