from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_intern.claims.reading import numbers_in
from ml_intern.hub.claims import claims, unresolved


class Known:
    def __init__(self, *values: float) -> None:
        self.values = values

    def numbers(self) -> list[tuple[float, str]]:
        return [(v, "somewhere") for v in self.values]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("3.21 bits per byte (3.10 to 3.32)", [3.21, 3.10, 3.32]),
        ("learning rate 3e-3, 1e+2 and 2.5E-4", [0.003, 100, 0.00025]),
        ("93% of rows, 12.5 %, 7 percent", [0.93, 0.125, 0.07]),
        ("1,024 rows and 1,000,000.", [1024, 1_000_000]),
        ("0.3M parameters, 7B, 12k, 2x faster, 3×", [300_000, 7e9, 12_000, 2, 3]),
        ("from -0.21 to −0.5, +3", [-0.21, -0.5, 3]),
        ("5-10, 5–10 and 93/100", [5, 10, 5, 10, 93, 100]),
        ("| 3.4 | **4** | _5_ | __6%__", [3.4, 4, 5, 0.06]),
        ("it took 41s and 12 ms, cost $3.50", [41, 12, 3.5]),
        ("it ends with 5. Then 6, then (7)", [5, 6, 7]),
    ],
)
def test_numbers_are_read(text: str, values: list[float]) -> None:
    found = [c.value for c in claims(text)]
    assert found == pytest.approx(values)


@pytest.mark.parametrize(
    "text",
    [
        "exp-1 beats baseline-12 on statements@2 and model_3, x16, gpt2, utf8, sha256",
        "torch 2.13.0+cpu, Python 3.11.7, v1.2.3",
        "https://hub.example:8765/a/7?x=9",
        "session 20261121-001659-ab12 on 2026-11-21 at 10:15:30, 2026-11-21T10:15:30Z",
        "commit 80a06eb15aca239d53558f56c643ccf45529b42b",
        "1. first\n2. second\n  10) tenth",
        "```\nx = 99.9\n```\nand\n~~~\n77\n~~~",
        "the 1st, 2nd, 3rd and 4th",
        "data/7/train-00001.jsonl",
        "by 2401.10001, (2403.70007v2), arXiv:0704.0001 and hep-th/9901001v1: math.GT/0309136",
        "doi:10.1145/3292500.3330701, 10.48550/arXiv.2106.09685 and 10.1000/a(b)c",
    ],
)
def test_what_claims_nothing(text: str) -> None:
    assert claims(text) == []


@pytest.mark.parametrize(
    "id", ["2401.10001v2", "hep-th/9901001", "10.1145/3292500.3330701", "(10.1000/a1.5)"]
)
def test_names_of_papers_claim_nothing_in_an_answer(id: str) -> None:
    assert numbers_in(f"As {id} says, it helps. {id}: a table.") == []


def test_what_resolves_and_what_does_not() -> None:
    ledger = Known(3.2149, 0.934, 1024, 0.003, 287_744)
    text = "3.21 at 3e-3, 93% of 1,024 rows, 0.3M parameters; but 3.2, 3.22, 94%, 99.9% and 3.2149 stay"
    assert unresolved(text, ledger) == ["3.22", "94%", "99.9%"]
    assert unresolved("95 % of 7 things", ledger, known=[0.95, 7]) == []


def test_a_percentage_is_a_share_and_no_count() -> None:
    assert unresolved("50%", Known(50)) == ["50%"]
    assert unresolved("50%", Known(0.5)) == []


def test_nothing_measured_nothing_to_say() -> None:
    assert unresolved("no numbers here", Known()) == []
    assert unresolved("7 and 7", Known()) == ["7"]
    assert unresolved("7", Known(float("nan"), float("inf"))) == ["7"]


@given(st.floats(min_value=1e-6, max_value=1e6), st.integers(0, 6))
def test_a_rounded_value_resolves_to_itself(value: float, decimals: int) -> None:
    assert unresolved(f"it is {value:.{decimals}f} now", Known(value)) == []
    assert unresolved(f"it is {value:.{decimals}e} now", Known(value)) == []
    assert unresolved(f"{value:,.{decimals}f}", Known(value)) == []
    assert unresolved(f"{value:.{decimals}%}", Known(value)) == []


@given(st.text(max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    for claim in claims(text):
        assert claim.shown and claim.slack > 0


@pytest.mark.parametrize("text", ["accuracy 2401.10001 %", "10.4321/20", "2413.10001", "91.4 by 2401.10001"])
def test_what_only_looks_like_the_name_of_a_paper_claims(text: str) -> None:
    assert len(claims(text)) == 1 + ("/" in text)
