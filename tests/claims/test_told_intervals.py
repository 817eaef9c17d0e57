"""Intervals told in points, differences beside their two sides, and what is known instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.measured_session import evidence_of, ledger_of, measured

from ml_intern.claims.evidence import Evidence
from ml_intern.claims.gathering import gathered
from ml_intern.claims.judging import review
from ml_intern.claims.reading import numbers_in
from ml_intern.ledger.model import Scores, VoteComparison, VotePoint, Voting


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return evidence_of(tmp_path_factory.mktemp("session"))


HONEST = [
    "exp-3 against exp-2: +1.25 points [-1.25, +3.75], which includes zero.",
    "exp-3 is not clearly apart from exp-2: +1.25 points (95 % interval -1.25 to 3.75).",
    "exp-3 is not clearly apart: +1.25 percentage points (95% CI: -1.25 to +3.75, n=400).",
    "exp-2 gained +31.5 points on dev. Longer training: +1.25 [-1.25, +3.75].",
    "exp-2 is 31.5 points better than exp-1 (0.543 to 0.858).",
    "exp-2 has 85.8 % against 54.3 %, +31.5 points.",
    "The difference is +0.0125 [-0.0125, +0.0375].",
    "| experiment | difference in points |\n|---|---|\n| exp-3 | +1.25 [-1.25, +3.75] |",
]
INVENTED = [
    ("exp-3 against exp-2: +1.25 points [-8.4, +12.9], which includes zero.", ["-8.4", "+12.9"]),
    ("exp-3 against exp-2: +1.25 points (95 % interval -8.4 to 12.9).", ["-8.4", "12.9"]),
    ("exp-2 has 85.8 % against 54.3 %, +32.5 points.", ["+32.5 points"]),
    ("exp-2 gained 31.5 points. 16 samples a prompt: 85.8 % against 54.3 %, -15.1 points.", ["-15.1 points"]),
]


@pytest.mark.parametrize("number", range(len(HONEST)))
def test_an_honest_interval_stands(evidence: Evidence, number: int) -> None:
    assert [str(f) for f in review(HONEST[number], evidence).unverified] == []


@pytest.mark.parametrize("number", range(len(INVENTED)))
def test_an_invented_interval_is_found(evidence: Evidence, number: int) -> None:
    text, shown = INVENTED[number]
    found = review(text, evidence).unverified
    assert [f.shown for f in found] == shown
    assert all("exact_match" in f.nearest or "numeric_match" in f.nearest for f in found)


def test_counts_in_brackets_keep_what_they_are() -> None:
    told = numbers_in("a gain of +9.5 points (3 seeds, 109 items) and 12 points [7]")
    assert [t.unit for t in told if t.plain in (3, 109, 7)] == ["", "", ""][: len(told) - 2]


def test_what_votes_give_is_known(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    apart = VoteComparison(
        method="majority", against="greedy", difference=-0.1468, low=-0.2502, high=-0.0441, p=0.006,
        p_corrected=0.012, verdict="worse", test="McNemar, mid-p",
    )  # fmt: skip
    methods = {"greedy": measured(0.4954, 0.4033, 0.5878), "majority": measured(0.3486, 0.2657, 0.4419)}
    voting = Voting(
        methods=methods, comparisons=[apart], curve=[VotePoint(n=16, majority=0.3486, any_right=0.9)]
    )
    scores = Scores(
        eval="chats", split="dev", model="w3", primary="exact_match", voting=voting,
        metrics={"exact_match": methods["majority"]},
    )  # fmt: skip
    ledger.record("exp-4", "chats", "dev", scores)
    told = "Voting hurts exact match: 34.9 % against 49.5 % greedy, {} points [-25.0, -4.4] (p=0.012)."
    evidence = gathered(ledger)
    assert [str(f) for f in review(told.format("-14.7"), evidence).unverified] == []
    assert [f.shown for f in review(told.format("-15.7"), evidence).unverified] == ["-15.7 points"]


def test_the_name_of_a_session_that_was_cut_off_claims_nothing() -> None:
    assert numbers_in("changed from sessions/20261121-135… to 20261121-135313-9e1f and 20261121-13...") == []
