"""Several seeds of two configurations against each other: items and seeds both count as luck.

The model of a run's item is ``configuration + item + item within configuration + seed + rest``: items are
crossed with seeds. The variance of the difference of two configurations is then the variance between the
seeds of each, and what the items add to it beyond that. It is put together from the mean squares, with
Satterthwaite's (1946) degrees of freedom, and the interval is Student's t. A bootstrap over two or three
seeds would cover far less than it says; benchmarks/simulated_statistics.py shows both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml_intern.evals.distributions import student_quantile, student_tail
from ml_intern.evals.power import reach
from ml_intern.evals.statistics import (
    LEVEL,
    Difference,
    Floats,
    by_group,
    check_same,
    compare,
    influence,
    verdict_of,
)
from ml_intern.ledger.model import ItemScores

MOST_SEEDS = 200
"""Beyond this many seeds nobody counts."""


@dataclass(frozen=True)
class _Runs:
    """The runs of one configuration: metric of each, influences of shape (runs, items or groups)."""

    values: Floats
    items: Floats
    rest: float
    """Mean square of what is left when item and seed are taken out; zero for one run."""

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def spread(self) -> float:
        """Variance between runs."""
        return float(self.values.var(ddof=1))


def compare_runs(
    a: Sequence[ItemScores],
    b: Sequence[ItemScores],
    higher_is_better: bool,
    fixed_a: bool = False,
) -> Difference:
    """How the configuration with the runs `b` stands against that with the runs `a`.

    Args:
        a: One scoring for each seed; of one seed each on both sides only the items are compared.
        b: The same of the other.
        higher_is_better: Which way is up.
        fixed_a: `a` was not trained, so no seed moves it.

    Raises:
        ValueError: The items are not the same.
    """
    for other in (*a[1:], *b):
        check_same(a[0], other)
    if len(b) == 1 and (len(a) == 1 or fixed_a):
        return compare(a[-1], b[0], higher_is_better)
    left, right = _runs(a[-1:] if fixed_a else a), _runs(b)
    parts = _seed_parts(left, right, fixed_a)
    n = left.items.shape[1]
    variance, freedom = _put_together(parts, _of_the_items(a[0], left, right, parts), n)
    found = _concluded(left, right, variance, freedom, n, higher_is_better)
    shares = all(scoring.right_or_wrong for scoring in (*a, *b))
    # Student's t of two seeds reaches far beyond what two shares can differ by.
    return replace(found, low=max(found.low, -1.0), high=min(found.high, 1.0)) if shares else found


def seeds_needed(
    a: Sequence[ItemScores],
    b: Sequence[ItemScores],
    gain: float,
    fixed_a: bool = False,
    looks: int = 1,
) -> int:
    """About how many seeds of each configuration would show a gain four times in five.

    It goes by the spread of the seeds that were measured, of which two or three know little.

    Args:
        a: The scorings of one configuration, by seed.
        b: The same of the other; of one of both more than one.
        gain: The difference of their metrics that is to be seen.
        fixed_a: `a` was not trained, so no seed moves it.
        looks: How many comparisons the level is shared by.

    Returns:
        The number; 0 where no number of seeds helps, since the items are too few. `MOST_SEEDS` and more is
        `MOST_SEEDS`.
    """
    left, right = _runs(a[-1:] if fixed_a else a), _runs(b)
    parts, n = _seed_parts(left, right, fixed_a), left.items.shape[1]
    shared, level = _of_the_items(a[0], left, right, parts), 1 - (1 - LEVEL) / looks

    def enough(count: int) -> bool:
        spread = sum(p.spread for p in parts) / len(parts) if parts else 0.0
        each = [_Part(spread / count, count - 1, 0.0)] * (1 if fixed_a else 2)
        variance, freedom = _put_together(each, shared, n)
        return reach(math.sqrt(variance), _rounded(freedom), level) <= abs(gain)

    if gain == 0 or reach(math.sqrt(shared), n - 1, level) > abs(gain):
        return 0
    return next((k for k in (*range(2, 41), *range(45, MOST_SEEDS, 5)) if enough(k)), MOST_SEEDS)


def _of_the_items(like: ItemScores, left: _Runs, right: _Runs, parts: Sequence[_Part]) -> float:
    """What the items add to the variance of the difference, beyond what the seeds do."""
    n = left.items.shape[1]
    per_item = right.items.mean(0) - left.items.mean(0)
    shared: float = float((per_item**2).sum()) / (n - 1) / n if n > 1 else 0.0
    if like.right_or_wrong and like.groups is None:
        # Answers that are all alike say that differences are rare, not that there are none.
        shared = max(shared, 2 / (n + 2) ** 2)
    # What runs differ by on single items stands in the seeds' part already.
    found: float = max(0.0, shared - sum(part.of_items for part in parts) / n)
    return found


def _put_together(parts: Sequence[_Part], shared: float, n: int) -> tuple[float, float]:
    """Variance of the difference and its degrees of freedom."""
    variance = sum(p.variance for p in parts) + shared
    weights = sum(p.variance**2 / p.freedom for p in parts) + shared**2 / max(n - 1, 1)
    return variance, variance**2 / weights if weights > 0 else 1.0


def _concluded(
    left: _Runs, right: _Runs, variance: float, freedom: float, n: int, higher_is_better: bool
) -> Difference:
    va, vb, error = float(left.values.mean()), float(right.values.mean()), math.sqrt(variance)
    difference = vb - va
    half = student_quantile(0.5 + LEVEL / 2, _rounded(freedom)) * error
    p = 2 * student_tail(abs(difference) / error, max(freedom, 1.0)) if error > 0 else float(difference == 0)
    low, high = difference - half, difference + half
    verdict = verdict_of(low, high, p, n, higher_is_better)
    method = f"items and seeds ({left.count} against {right.count}), Satterthwaite's t"
    return Difference(va, vb, difference, low, high, p, n, verdict, method, error, freedom)


def _rounded(freedom: float) -> float:
    """Down to what makes a difference in Student's t, so that its quantiles are found once."""
    step = 0.1 if freedom < 10 else 1.0 if freedom < 100 else 100.0
    return max(1.0, math.floor(freedom / step) * step)


@dataclass(frozen=True)
class _Part:
    """What seeds add: variance of the mean, its degrees of freedom, and how much of it is of single items."""

    variance: float
    freedom: float
    of_items: float
    spread: float = 0.0
    """Variance between its seeds."""


def _seed_parts(left: _Runs, right: _Runs, fixed_a: bool) -> list[_Part]:
    sides = [right] if fixed_a else [left, right]
    several = [runs for runs in sides if runs.count > 1]
    parts = []
    for runs in several:
        # Where the other side has one seed alone, its luck is taken to be as large as this side's.
        share = 1 / runs.count + (len(sides) - len(several))
        parts.append(_Part(runs.spread * share, runs.count - 1, runs.rest * share, runs.spread))
    return parts


def _runs(scorings: Sequence[ItemScores]) -> _Runs:
    sums = [by_group(items) for items in scorings]
    values = np.array([n.sum() / d.sum() for n, d in sums])
    items = np.stack([influence(n, d) for n, d in sums])
    runs, n = items.shape
    rest = float(((items - items.mean(0)) ** 2).sum()) / ((runs - 1) * (n - 1)) if runs > 1 and n > 1 else 0.0
    return _Runs(values, items, rest)


def holm(ps: Sequence[float]) -> list[float]:
    """p values corrected for having looked so often (Holm 1979): no more than 5 % of such families err."""
    order = sorted(range(len(ps)), key=lambda k: ps[k])
    corrected, worst = [0.0] * len(ps), 0.0
    for rank, k in enumerate(order):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[k]))
        corrected[k] = worst
    return corrected


def luck_of_the_best(k: int) -> float:
    """By how many standard errors the best of k equal ones looks better than it is, on average."""
    x = np.linspace(-8, 8, 4001)
    below = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    density = k * below ** (k - 1) * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return float((x * density).sum() * (x[1] - x[0]))
