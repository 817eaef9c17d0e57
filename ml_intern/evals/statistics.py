"""Intervals and paired comparisons of ratios of sums. Pure numpy; the host owns the seeds.

A metric here is ``sum(numerator) / sum(denominator)`` over items: bits over bytes, right answers over
answers. Items that belong together (statements of one file) come with a group, and whole groups are drawn.

- Means of right and wrong: Wilson's score interval. A bootstrap of 200 wrong answers would say [0, 0].
- Everything else: the percentile bootstrap, widened for few items as in Hesterberg (2015), "What teachers
  should know about the bootstrap": the plain percentile interval of 10 items covers 90 %, not 95 %.
- Right or wrong, paired: McNemar's exact test, with the interval of Bonett and Price (2012).

What these intervals do not hold: the luck of the training seed. That is why winners are confirmed on others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ml_intern.ledger.model import Finding, ItemScores, Measured

Floats = npt.NDArray[np.float64]

SEED = 20_240_229
DRAWS = 4_000
LEVEL = 0.95
FEW = 5
"""Below this many items (or groups) nothing is called better or worse."""
_MOST = 4_000
"""More items than this are first summed into so many lots, which keeps the variance and bounds the work."""
_CELLS = 2_000_000
"""Counts drawn at one time, to bound memory."""


@dataclass(frozen=True)
class Difference:
    """A paired difference ``b - a`` and what it says about ``b``."""

    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    p: float
    n: int
    verdict: Finding
    method: str


def measure(items: ItemScores, higher_is_better: bool, seed: int = SEED) -> Measured:
    """The metric over all items with its 95 % interval."""
    numerator, denominator = _by_group(items)
    value = float(numerator.sum() / denominator.sum())
    if items.right_or_wrong and items.groups is None:
        low, high = wilson(float(items.numerator.sum()), len(items))
    else:
        draws = _draw(len(numerator), seed, numerator, denominator)
        low, high = _percentiles(draws[0] / draws[1], len(numerator))
    return Measured(
        value=value,
        low=min(low, value),
        high=max(high, value),
        n=len(items),
        higher_is_better=higher_is_better,
    )


def compare(a: ItemScores, b: ItemScores, higher_is_better: bool, seed: int = SEED) -> Difference:
    """How the scoring `b` stands against the scoring `a` of the same items.

    Raises:
        ValueError: The items are not the same.
    """
    if len(a) != len(b) or (a.groups is None) != (b.groups is None):
        raise ValueError("the two were measured on different items")
    if a.right_or_wrong and b.right_or_wrong and a.groups is None:
        return _compare_answers(a.numerator, b.numerator, higher_is_better)
    return _compare_ratios(a, b, higher_is_better, seed)


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p of McNemar's test from the items that only one of the two got right."""
    n = only_a + only_b
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        for k in range(min(only_a, only_b) + 1)
    ]
    tail = math.fsum(math.exp(x - n * math.log(2)) for x in logs)
    return min(1.0, 2 * tail)


def wilson(right: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a share."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, middle = right / n, (right + z * z / 2) / (n + z * z)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def _compare_answers(a: Floats, b: Floats, higher_is_better: bool) -> Difference:
    n = len(a)
    only_a, only_b = int(np.sum(a > b)), int(np.sum(b > a))
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    # Bonett and Price: one imagined item more on either side keeps the interval honest at 0 and at 1.
    pa, pb = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = z * math.sqrt(max(0.0, pa + pb - (pa - pb) ** 2) / (n + 2))
    low, high = max(-1.0, pb - pa - half), min(1.0, pb - pa + half)
    p = mcnemar(only_a, only_b)
    verdict = _verdict(low, high, p, n, higher_is_better)
    va, vb = float(a.mean()), float(b.mean())
    return Difference(va, vb, vb - va, min(low, vb - va), max(high, vb - va), p, n, verdict, "McNemar, exact")


def _compare_ratios(a: ItemScores, b: ItemScores, higher_is_better: bool, seed: int) -> Difference:
    an, ad = _by_group(a)
    bn, bd = _by_group(b)
    n = len(an)
    # One draw of groups serves both sides: that is what makes it paired.
    draws = _draw(n, seed, an, ad, bn, bd)
    differences = draws[2] / draws[3] - draws[0] / draws[1]
    low, high = _percentiles(differences, n)
    va, vb = float(an.sum() / ad.sum()), float(bn.sum() / bd.sum())
    low, high = min(low, vb - va), max(high, vb - va)
    below, above = int(np.sum(differences <= 0)), int(np.sum(differences >= 0))
    p = min(1.0, 2 * (min(below, above) + 1) / (len(differences) + 1))
    method = "paired bootstrap" + (" of groups" if a.groups is not None else "")
    return Difference(va, vb, vb - va, low, high, p, n, _verdict(low, high, p, n, higher_is_better), method)


def _verdict(low: float, high: float, p: float, n: int, higher_is_better: bool) -> Finding:
    if n < FEW or p >= 1 - LEVEL or low <= 0 <= high:
        return "inconclusive"
    return "better" if (low > 0) == higher_is_better else "worse"


def _by_group(items: ItemScores) -> tuple[Floats, Floats]:
    """Sums by group; the items themselves where there are no groups."""
    if items.groups is None:
        return items.numerator, items.denominator
    _, codes = np.unique(items.groups, return_inverse=True)
    sums = [np.bincount(codes, column).astype(np.float64) for column in (items.numerator, items.denominator)]
    return sums[0], sums[1]


def _draw(n: int, seed: int, *columns: Floats) -> Floats:
    """Sums of each column over `DRAWS` resamples of n rows; shape (columns, DRAWS)."""
    rng = np.random.default_rng(seed)
    table = np.stack(columns, axis=1)
    if n > _MOST:
        lots = rng.permutation(n) % _MOST
        table = np.stack([np.bincount(lots, column, _MOST) for column in columns], axis=1)
        n = _MOST
    at_once = max(1, _CELLS // n)
    parts = []
    for start in range(0, DRAWS, at_once):
        draws = min(at_once, DRAWS - start)
        # How often each row was drawn; adding at flat positions is faster than a multinomial.
        flat = rng.integers(0, n, size=(draws, n)) + np.arange(draws)[:, None] * n
        counts = np.bincount(flat.ravel(), minlength=draws * n).reshape(draws, n)
        parts.append(counts @ table)
    return np.concatenate(parts).T


def _percentiles(draws: Floats, n: int) -> tuple[float, float]:
    """The interval of bootstrap draws, widened for small n."""
    if n < 2:
        return float(draws.min()), float(draws.max())
    tail = NormalDist().cdf(-math.sqrt(n / (n - 1)) * _student(0.5 + LEVEL / 2, n - 1))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _student(share: float, freedom: int) -> float:
    """Quantile of Student's t by the expansion of Fisher and Cornish; within 1 % from 4 degrees on."""
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))
