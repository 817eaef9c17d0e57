"""Student's t and the binomial tails that the statistics need, so that no further library is needed."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_NORMAL_FROM = 1e6
"""From so many degrees of freedom on Student's t is the normal distribution to six digits."""


def student_tail(t: float, freedom: float) -> float:
    """Share of Student's t beyond `t` on one side; `freedom` may be a fraction."""
    if freedom >= _NORMAL_FROM:
        return NormalDist().cdf(-t)
    half = 0.5 * _beta(freedom / 2, 0.5, freedom / (freedom + t * t))
    return half if t >= 0 else 1 - half


@lru_cache(maxsize=4096)
def student_quantile(share: float, freedom: float) -> float:
    """The t that leaves `share` below it, for shares from one half on; found by halving."""
    low, high = 0.0, 2.0
    while student_tail(high, freedom) > 1 - share:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, freedom) > 1 - share else (low, middle)
    return (low + high) / 2


def halves(n: int) -> list[float]:
    """Chances of 0 … n heads in n throws of a fair coin."""
    whole = n * math.log(2)
    return [math.exp(_log_choose(n, k) - whole) for k in range(n + 1)]


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, 1 - x)  # There the fraction converges fast.
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    # From the innermost term out; a hundred are far more than double precision can tell apart.
    fraction = 1.0
    for m in range(100, 0, -1):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        fraction = 1 + odd / (1 + even / fraction)
    return front / (a * fraction)
