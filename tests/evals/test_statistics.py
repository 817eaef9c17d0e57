from __future__ import annotations

import numpy as np
import pytest

from ml_intern.evals import statistics
from ml_intern.evals.statistics import compare, mcnemar, measure, wilson
from ml_intern.ledger import ItemScores

TRIALS = 300


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", 800)


def ratios(rng: np.random.Generator, n: int, mean: float = 4.0) -> ItemScores:
    sizes = rng.integers(10, 80, n).astype(float)
    return ItemScores(sizes * rng.gamma(4, mean / 4, n), sizes)


def answers(values: np.ndarray) -> ItemScores:
    return ItemScores(values.astype(float), np.ones(len(values)))


def test_the_metric_is_a_ratio_of_sums_not_a_mean_of_ratios() -> None:
    found = measure(ItemScores(np.array([10.0, 1.0]), np.array([10.0, 4.0])), higher_is_better=False)
    assert found.value == pytest.approx(11 / 14)
    assert found.low <= found.value <= found.high
    assert found.n == 2


@pytest.mark.parametrize("n", [10, 100])
def test_intervals_of_ratios_cover_the_truth(n: int) -> None:
    rng = np.random.default_rng(n)
    held = [measure(ratios(rng, n), False, seed=k) for k in range(TRIALS)]
    assert 0.90 <= np.mean([m.low <= 4 <= m.high for m in held]) <= 0.985


def test_intervals_of_groups_cover_the_truth_and_those_of_items_do_not() -> None:
    rng = np.random.default_rng(3)
    grouped, single = [], []
    for k in range(TRIALS):
        groups = np.repeat(np.arange(20), 10)
        sizes = np.full(200, 40.0)
        bits = sizes * (4 + rng.normal(0, 1, 20)[groups] + rng.normal(0, 0.3, 200))
        a = measure(ItemScores(bits, sizes, groups), False, seed=k)
        b = measure(ItemScores(bits, sizes), False, seed=k)
        grouped.append(a.low <= 4 <= a.high)
        single.append(b.low <= 4 <= b.high)
    assert np.mean(grouped) >= 0.90
    assert np.mean(single) < 0.7


def test_equal_models_are_seldom_called_different() -> None:
    rng = np.random.default_rng(5)
    called = []
    for k in range(TRIALS):
        a = ratios(rng, 60)
        b = ItemScores(a.numerator + a.denominator * rng.normal(0, 0.3, 60), a.denominator)
        called.append(compare(a, b, False, seed=k).verdict != "inconclusive")
    assert np.mean(called) <= 0.09


def test_pairing_finds_a_gain_that_two_intervals_would_hide() -> None:
    rng = np.random.default_rng(6)
    a = ratios(rng, 200)
    b = ItemScores(a.numerator - a.denominator * rng.normal(0.1, 0.2, 200), a.denominator)
    found = compare(a, b, higher_is_better=False)
    assert found.verdict == "better"
    assert found.low < found.difference < found.high < 0
    assert found.p < 0.01
    assert measure(a, False).low < measure(b, False).high
    assert compare(b, a, higher_is_better=False).verdict == "worse"
    assert compare(a, b, higher_is_better=True).verdict == "worse"


def test_the_same_seed_gives_the_same_interval() -> None:
    items = ratios(np.random.default_rng(7), 50)
    assert measure(items, False) == measure(items, False)


def test_right_and_wrong_are_compared_exactly() -> None:
    # 10 items that only one side got right: 2 * (1/2)^10, of which the mid-p takes half.
    assert mcnemar(10, 0) == pytest.approx(1 / 1024)
    # Table 1 of Fagerland, Lydersen and Laake (2013): 1 against 7.
    assert mcnemar(1, 7) == pytest.approx(0.0391, abs=5e-5)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == pytest.approx(1 - 0.5 * 252 / 1024)
    assert mcnemar(3000, 3200) == pytest.approx(0.0115, abs=0.001)
    a = answers(np.r_[np.zeros(20), np.ones(30)])
    b = answers(np.r_[np.ones(18), np.zeros(2), np.ones(30)])
    found = compare(a, b, higher_is_better=True)
    assert (found.verdict, found.method, found.n) == ("better", "McNemar, mid-p", 50)
    assert found.difference == pytest.approx(0.36)
    assert 0 < found.low < found.difference < found.high < 1


def test_equal_answers_are_seldom_called_different() -> None:
    rng = np.random.default_rng(8)
    called, covered = [], []
    for _ in range(TRIALS):
        a = rng.random(80) < 0.4
        b = np.where(rng.random(80) < 0.5, a, rng.random(80) < 0.4)
        found = compare(answers(a), answers(b), higher_is_better=True)
        called.append(found.verdict != "inconclusive")
        covered.append(found.low <= 0 <= found.high)
    assert np.mean(called) <= 0.06
    assert np.mean(covered) >= 0.92


def test_no_right_answer_at_all_is_not_certainty() -> None:
    found = measure(answers(np.zeros(200)), higher_is_better=True)
    assert (found.value, found.low) == (0, 0)
    assert 0.01 < found.high < 0.03
    low, high = wilson(200, 200)
    assert 0.97 < low < 0.99
    assert high == 1


def test_a_handful_of_items_decides_nothing() -> None:
    a, b = answers(np.zeros(4)), answers(np.ones(4))
    assert compare(a, b, higher_is_better=True).verdict == "inconclusive"
    few = ItemScores(np.full(8, 4.0), np.ones(8), np.repeat([0, 1], 4))
    less = ItemScores(np.full(8, 3.0), np.ones(8), np.repeat([0, 1], 4))
    assert compare(few, less, higher_is_better=False).verdict == "inconclusive"


def test_other_items_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="different items"):
        compare(answers(np.zeros(4)), answers(np.zeros(5)), higher_is_better=True)


def test_many_items_are_summed_into_lots_without_changing_the_interval() -> None:
    rng = np.random.default_rng(9)
    many = ratios(rng, 40_000)
    found = measure(many, higher_is_better=False)
    # The linearised standard error of a ratio.
    residual = many.numerator - found.value * many.denominator
    error = np.sqrt((residual**2).sum()) / many.denominator.sum()
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.15)
