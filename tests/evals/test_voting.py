"""Votes and the ceiling against what they are by definition, and against simulation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from ml_intern.evals import voting

N = -1


@pytest.mark.parametrize(
    ("answers", "weights", "chosen"),
    [
        ([0, 1, 1, 2], [1, 1, 1, 1], 1),
        ([0, 1, 1, 0], [1, 1, 1, 1], 0),  # a tie goes to what was drawn first
        ([2, 1, 1, 0], [9, 1, 1, 1], 0),
        ([N, N, N, 0], [1, 1, 1, 1], 3),  # what is no answer has no vote
        ([N, N, N, N], [1, 1, 1, 1], 0),
        ([0, 0, 0, 1], [0.1, 0.1, 0.1, 0.9], 3),
    ],
)
def test_a_vote(answers: list[int], weights: list[float], chosen: int) -> None:
    assert voting.vote(np.array([answers]), np.array([weights], dtype=float)).tolist() == [chosen]


def test_the_three_rules_on_one_row() -> None:
    answers, rewards = np.array([[0, 0, 0, 1, 1, 2]]), np.array([[-3.0, -3.0, -3.0, 1.0, 1.0, 1.2]])
    picks = {rule: int(voting.choose(rule, answers, rewards)[0]) for rule in ("majority", "best", "weighted")}
    assert picks == {"majority": 0, "best": 5, "weighted": 3}
    with pytest.raises(ValueError, match="needs rewards"):
        voting.choose("best", answers, None)


def test_a_negative_reward_takes_no_vote_away() -> None:
    """Raw sums would give the answer that was drawn once: -1 is more than -3."""
    answers, rewards = np.array([[0, 1, 1, 1]]), np.full((1, 4), -1.0)
    assert int(voting.choose("weighted", answers, rewards)[0]) == 1
    assert voting.sigmoid(np.array([-1e6, 0.0, 1e6])).tolist() == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize(("p", "k"), [(0.1, 4), (0.3, 2), (0.6, 8)], ids=["a tenth", "a third", "most"])
def test_the_ceiling_is_not_biased(p: float, k: int) -> None:
    """pass@k of Chen et al. from 8 samples, where the truth is known; 1 - (1 - c/n)^k would be too low."""
    right = (np.random.default_rng(1).random((20_000, 8)) < p).astype(float)
    found, truth = voting.any_right(right, k), 1 - (1 - p) ** k
    assert abs(found.mean() - truth) < 4 * found.std() / 20_000**0.5 + 1e-12
    assert voting.any_right(right, 1) == pytest.approx(right.mean(axis=1))
    assert voting.any_right(right, 8).tolist() == right.max(axis=1).tolist()


def drawn(rng: np.random.Generator, rows: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answers of which 0 is right, with a chance of its own in each row, and rewards that know a little."""
    chance = rng.beta(2, 2, size=(rows, 1))
    answers = np.where(rng.random((rows, n)) < chance, 0, rng.integers(1, 4, size=(rows, n)))
    right = (answers == 0).astype(float)
    return answers, rng.normal(size=(rows, n)) + 1.5 * right, right


@pytest.mark.parametrize("rule", ["majority", "best", "weighted"])
def test_the_curve_tells_what_fewer_samples_would_have_given(rule: str) -> None:
    """A mean over subsets of 16 samples has the expectation of a fresh draw of so few."""
    rng = np.random.default_rng(5)
    answers, rewards, right = drawn(rng, 1500, 16)
    curve = dict(zip(voting.sizes(16), voting.curve(rule, answers, rewards, right, 0), strict=True))
    assert list(curve) == [1, 2, 4, 8, 16]
    for k in (1, 4):
        fewer, marks, truth = drawn(np.random.default_rng(k), 20_000, k)
        chosen = voting.choose(rule, fewer, marks)
        assert curve[k] == pytest.approx(truth[np.arange(20_000), chosen].mean(), abs=0.03)
    whole = voting.choose(rule, answers, rewards)
    assert curve[16] == pytest.approx(right[np.arange(1500), whole].mean())


def test_few_subsets_are_all_taken() -> None:
    answers, rewards, right = drawn(np.random.default_rng(2), 5, 5)
    by_hand = []
    for row in range(5):
        for some in combinations(range(5), 2):
            [at] = voting.choose("best", answers[row : row + 1, some], rewards[row : row + 1, some])
            by_hand.append(right[row, some[at]])
    assert voting.curve("best", answers, rewards, right, 0)[1] == pytest.approx(np.mean(by_hand))
    assert voting.sizes(5) == [1, 2, 4, 5]
    assert voting.sizes(1) == [1]


def test_how_often_the_reward_prefers_what_is_right() -> None:
    rewards = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 0.0], [5.0, 5.0, 5.0]])
    right = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert voting.reward_accuracy(rewards, right) == pytest.approx((1 + 0.75) / 2)
    assert voting.reward_accuracy(rewards[2:], right[2:]) is None
