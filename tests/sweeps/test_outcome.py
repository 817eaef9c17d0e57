"""What is said of trials that were not the best."""

from __future__ import annotations

import pytest

from ml_intern.sweeps.model import Trial
from ml_intern.sweeps.outcome import not_apart, verdict

BEST = Trial(number=0, params={}, state="complete", value=0.9, low=0.8, high=0.95, experiment="exp-4")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.7, 0.85, "inconclusive"), (0.5, 0.79, "discarded"), (None, None, "discarded")],
)
def test_a_trial_whose_interval_overlaps_is_not_called_worse(
    low: float | None, high: float | None, expected: str
) -> None:
    other = Trial(number=1, params={}, state="complete", value=0.75, low=low, high=high)
    said, why = verdict("exact_match", other, BEST)
    assert said == expected and "0.75" in why and "exp-4" in why
    assert bool(not_apart(BEST, [BEST, other])) == (expected == "inconclusive")
