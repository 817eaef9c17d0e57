"""The statistics against data whose truth is known: 2,000 trials each, drawn from fixed seeds."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import numpy as np
import pytest

from ml_intern.evals import statistics
from ml_intern.evals.replicates import compare_runs, holm, luck_of_the_best
from ml_intern.evals.statistics import compare, measure
from ml_intern.ledger import ItemScores

TRIALS = int(os.environ.get("ML_INTERN_TEST_TRIALS", "2000"))
NEAR = 0.02
"""How far from nominal: two points, as promised. Of 2,000 trials the luck is half a point (one sigma)."""

Rng = np.random.Generator


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", 1000)


def answers(right: np.ndarray) -> ItemScores:
    return ItemScores(right.astype(float), np.ones(len(right)))


def bits(rng: Rng, n: int, each: np.ndarray) -> ItemScores:
    sizes = rng.integers(10, 80, n).astype(float)
    return ItemScores(sizes * each, sizes)


def grouped(rng: Rng, n: int) -> ItemScores:
    right = (rng.random((n, 10)) < rng.beta(3.2, 0.8, n)[:, None]).ravel()
    return ItemScores(right.astype(float), np.ones(10 * n), np.repeat(np.arange(n), 10))


ONE: dict[str, tuple[Callable[[Rng, int], ItemScores], float]] = {
    "share 0.5": (lambda rng, n: answers(rng.random(n) < 0.5), 0.5),
    "share 0.8": (lambda rng, n: answers(rng.random(n) < 0.8), 0.8),
    "grouped": (grouped, 0.8),
    "bits": (lambda rng, n: bits(rng, n, rng.gamma(16, 1 / 4, n)), 4.0),
    "skewed bits": (lambda rng, n: bits(rng, n, 4 * rng.lognormal(-0.125, 0.5, n)), 4.0),
    "reward": (lambda rng, n: ItemScores(rng.normal(0, 1, n), np.ones(n)), 0.0),
    "reward with heavy tails": (lambda rng, n: ItemScores(rng.standard_t(3, n), np.ones(n)), 0.0),
}


LONG = pytest.mark.thorough
DEAR = ("bits", "skewed bits", "reward", "reward with heavy tails")
"""Each of their intervals is 1,000 draws; with 20 items it has more to lose than with 100."""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("metric", "n"),
    [
        pytest.param(metric, n, marks=LONG if n > 20 and metric in DEAR else ())
        for metric in ONE
        for n in (20, 100)
    ],
)
def test_intervals_of_one_model_cover_the_truth(metric: str, n: int) -> None:
    draw, truth = ONE[metric]
    rng = np.random.default_rng(n)
    held = [(found := measure(draw(rng, n), True)).low <= truth <= found.high for _ in range(TRIALS)]
    assert np.mean(held) == pytest.approx(0.95, abs=NEAR)


def equal_answers(rng: Rng, n: int, agree: float) -> tuple[ItemScores, ItemScores]:
    a = rng.random(n) < 0.5
    return answers(a), answers(np.where(rng.random(n) < agree, a, rng.random(n) < 0.5))


def equal_bits(rng: Rng, n: int, agree: float) -> tuple[ItemScores, ItemScores]:
    sizes, text = rng.integers(10, 80, n).astype(float), rng.gamma(16, 1 / 4, n)
    scores = (text + math.sqrt(1 - agree) * rng.normal(0, 1, n) for _ in range(2))
    a, b = (ItemScores(sizes * score, sizes) for score in scores)
    return a, b


@pytest.mark.parametrize(
    ("draw", "agree"),
    [
        (equal_answers, 0.2),
        (equal_answers, 0.8),
        (equal_bits, 0.2),
        pytest.param(equal_bits, 0.8, marks=LONG),
    ],
)
@pytest.mark.parametrize("n", [100, pytest.param(200, marks=LONG)])
def test_equal_models_are_called_different_as_often_as_said(
    draw: Callable[[Rng, int, float], tuple[ItemScores, ItemScores]], n: int, agree: float
) -> None:
    rng = np.random.default_rng(n)
    found = [compare(*draw(rng, n, agree), True) for _ in range(TRIALS)]
    assert np.mean([d.verdict != "inconclusive" for d in found]) == pytest.approx(0.05, abs=NEAR)
    assert np.mean([d.low <= 0 <= d.high for d in found]) == pytest.approx(0.95, abs=NEAR)


@pytest.mark.parametrize("agree", [0.2, 0.5, 0.8])
def test_twenty_answers_err_on_the_side_of_saying_nothing(agree: float) -> None:
    # So few answers that move have few p values: no test that does not throw dice comes nearer to 5 %.
    rng = np.random.default_rng(20)
    found = [compare(*equal_answers(rng, 20, agree), True) for _ in range(TRIALS)]
    assert np.mean([d.verdict != "inconclusive" for d in found]) <= 0.05 + NEAR
    assert np.mean([d.low <= 0 <= d.high for d in found]) >= 0.95 - NEAR


@pytest.mark.parametrize("gain", [0.05, 0.1])
def test_intervals_of_a_true_gain_cover_it(gain: float) -> None:
    rng = np.random.default_rng(2)
    held = []
    for _ in range(TRIALS):
        u = rng.random(200)
        wrong = rng.random(200) < 0.1
        a, b = (u < 0.4) & ~wrong, (u < 0.4 + gain) & ~(wrong & (rng.random(200) < 0.5))
        truth = (0.4 + gain) * 0.95 - 0.4 * 0.9
        found = compare(answers(a), answers(b), True)
        held.append(found.low <= truth <= found.high)
    assert np.mean(held) == pytest.approx(0.95, abs=NEAR)


def runs(rng: Rng, seeds: int, shared: np.ndarray, luck: float, binary: bool) -> list[ItemScores]:
    """One configuration: what its items, its seeds and each answer add. `luck` in standard errors of items."""
    n = len(shared)
    own = shared + rng.normal(0, 0.5, n)
    made = [own + luck * rng.normal() / math.sqrt(n) + rng.normal(0, 0.8, n) for _ in range(seeds)]
    return [answers(score > 0) if binary else ItemScores(score, np.ones(n)) for score in made]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("seeds", "luck", "binary"),
    [
        pytest.param(
            *(seeds, luck, binary),
            marks=() if (seeds, binary) in ((2, True), (3, False)) and luck else LONG,
            id=f"{seeds}-{luck}-{'right or wrong' if binary else 'real'}",
        )
        for seeds, luck in [(2, 1.0), (3, 3.0), (3, 0.0), (5, 1.0)]
        for binary in (True, False)
    ],
)
def test_equal_configurations_are_called_different_as_often_as_said(
    seeds: int, luck: float, binary: bool
) -> None:
    rng = np.random.default_rng(seeds)
    called = []
    for _ in range(TRIALS):
        shared = rng.normal(0.3, 1, 100)
        a, b = (runs(rng, seeds, shared, luck, binary) for _ in range(2))
        called.append(compare_runs(a, b, True).verdict != "inconclusive")
    assert np.mean(called) == pytest.approx(0.05, abs=NEAR)


def test_one_seed_each_calls_the_luck_of_the_seed_a_difference() -> None:
    # What the items alone cannot know: this is why a gain is to be confirmed on new seeds.
    rng = np.random.default_rng(1)
    called = []
    for _ in range(TRIALS // 4):
        shared = rng.normal(0.3, 1, 100)
        a, b = (runs(rng, 1, shared, 3.0, False) for _ in range(2))
        called.append(compare_runs(a, b, True).verdict != "inconclusive")
    assert np.mean(called) > 0.3


def test_the_best_of_many_equal_ones_is_seldom_called_better() -> None:
    rng = np.random.default_rng(4)
    bare, corrected = [], []
    for _ in range(TRIALS // 8):
        base = rng.random(200) < 0.5
        others = [np.where(rng.random(200) < 0.5, base, rng.random(200) < 0.5) for _ in range(10)]
        ps = [compare(answers(base), answers(other), True).p for other in others]
        bare.append(min(ps) < 0.05)
        corrected.append(min(holm(ps)) < 0.05)
    assert np.mean(bare) > 0.2
    assert np.mean(corrected) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(corrected))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9]) == [0.9]
    assert holm([]) == []


def test_the_luck_of_the_best_is_that_of_the_largest_of_normals() -> None:
    drawn = np.random.default_rng(0).normal(size=(20_000, 8)).max(axis=1).mean()
    assert luck_of_the_best(8) == pytest.approx(drawn, abs=0.03)
    assert luck_of_the_best(1) == pytest.approx(0, abs=1e-9)
