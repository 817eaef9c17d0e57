"""The smallest difference that an evaluation can see, told before anybody trusts it.

Seen means: called better or worse at the 5 % level in four of five repetitions (a power of 80 %, as Cohen
1988 has it).
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from pydantic import BaseModel

from ml_intern.evals.distributions import student_quantile
from ml_intern.evals.statistics import LEVEL, mcnemar

POWER = 0.8
CHURN = 0.5
"""How often an item turns wrong beside the gain, as a share of how often it would between unrelated models:
a guess, until two models were scored."""
_EXACT_TO = 150
"""Up to so many items the power of McNemar's test is counted out; beyond, it is near enough to normal."""


class Detectable(BaseModel):
    """What differences an evaluation can see, in units of its metric. None: nobody can know yet.

    Attributes:
        n: Items, or groups of items.
        floor: No smaller difference is ever called better or worse.
        at_best: Seen four times in five, where nothing turns wrong that was right.
        paired: Seen four times in five, where both models answer the same items and differ as models do.
        unpaired: The same for two models that share no items.
        says: The same in a sentence.
    """

    n: int
    floor: float | None = None
    at_best: float | None = None
    paired: float | None = None
    unpaired: float | None = None
    says: str = ""


def of_answers(n: int, share: float = 0.5, churn: float | None = None, what: str = "items") -> Detectable:
    """What n items that are right or wrong can tell.

    Args:
        n: Items, or groups of items.
        share: Share that the older model gets right.
        churn: Share of items that only the older of two models got right, where that was measured.
        what: What is counted.
    """
    found = Detectable(
        n=n,
        floor=floor_of_answers(n),
        at_best=paired_of_answers(n, share, 0.0),
        paired=paired_of_answers(n, share, churn),
        unpaired=unpaired_of_answers(n, share),
    )
    best, paired, unpaired = (_points(x) for x in (found.at_best, found.paired, found.unpaired))
    usual = "as these models differ" if churn is not None else "as models usually differ"
    found.says = (
        f"With {n} {what} you cannot count on seeing less than {best}, even where nothing turns wrong; "
        f"{paired} {usual}; {unpaired} for two models on different {what}. Less than "
        f"{_points(found.floor)} is never called better or worse."
    )
    return found


def of_errors(
    n: int, error: float | None, paired_error: float | None, metric: str, what: str = "items"
) -> Detectable:
    """What n items with a real score can tell, from the standard errors that were measured.

    Args:
        n: Items, or groups of items.
        error: Standard error of one model's score.
        paired_error: Standard error of the difference of two models on the same items.
        metric: Its name.
        what: What is counted.
    """
    unpaired = reach(error * math.sqrt(2), 2 * n - 2) if error else None
    paired = reach(paired_error, n - 1) if paired_error else None
    told = [f"{paired:.3g} for two models on the same {what}"] if paired else []
    told += [f"{unpaired:.3g} for two on different ones"] if unpaired else []
    says = f"What {n} {what} can see of {metric} is known once a model was scored on them."
    if told:
        says = f"With {n} {what} a difference in {metric} is seen four times in five from {', '.join(told)}."
    if unpaired and not paired:
        says += " On the same items less is seen; how much, two models' scores will tell."
    return Detectable(n=n, paired=paired, unpaired=unpaired, says=says)


def reach(error: float, freedom: float, level: float = LEVEL) -> float:
    """The difference that is seen four times in five with this standard error."""
    return (
        student_quantile(0.5 + level / 2, max(freedom, 1)) + student_quantile(POWER, max(freedom, 1))
    ) * error


def floor_of_answers(n: int) -> float:
    """The smallest paired difference that McNemar's test can call one: all that changed is for the better."""
    fewest = next(k for k in range(1, 100) if mcnemar(0, k) < 1 - LEVEL)
    return min(1.0, fewest / n)


@lru_cache(maxsize=256)
def paired_of_answers(n: int, share: float = 0.5, churn: float | None = None) -> float:
    """Paired difference that is seen four times in five.

    Args:
        n: Items that both answer.
        share: Share that the older model gets right.
        churn: Share that turns wrong beside the gain; nothing: `CHURN` of what it is for unrelated models.
    """
    power = _power_counted if n <= _EXACT_TO else _power_normal
    room = max(share, 1 - share)  # A gain from low shares, a loss from high ones: what there is room for.

    def turned(difference: float) -> float:
        wanted = CHURN * (1 - room) * max(0.0, room - difference) if churn is None else churn
        return max(0.0, min(wanted, (1 - difference) / 2))

    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if power(n, turned(middle), middle) >= POWER else (middle, high)
    return high


def unpaired_of_answers(n: int, share: float = 0.5) -> float:
    """Difference of two shares of n answers each that is seen four times in five (Fleiss 1981)."""
    normal = NormalDist()
    za, zb = normal.inv_cdf(0.5 + LEVEL / 2), normal.inv_cdf(POWER)

    def enough(difference: float) -> bool:
        start = share if difference <= max(share, 1 - share) else (1 - difference) / 2
        end = start + difference if start + difference <= 1 else start - difference
        middle = (start + end) / 2
        null = za * math.sqrt(2 * middle * (1 - middle))
        other = zb * math.sqrt(start * (1 - start) + end * (1 - end))
        return n * difference**2 >= (null + other) ** 2

    return next((d for k in range(1, 1000) if enough(d := k / 1000)), 1.0)


def _power_normal(n: int, churn: float, difference: float) -> float:
    """Miettinen's (1968) power of McNemar's test."""
    moved = 2 * churn + difference
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    spread = math.sqrt(max(moved - difference**2, 1e-12))
    return NormalDist().cdf((difference * math.sqrt(n) - z * math.sqrt(moved)) / spread)


def _power_counted(n: int, churn: float, difference: float) -> float:
    """Chance of a small p in the right direction, over all numbers of items that can move."""
    moved = min(1.0, 2 * churn + difference)
    better = (churn + difference) / moved
    many = _binomial(n, moved)
    return float(sum(many[m] * _tail(m, better) for m in range(1, n + 1) if many[m] > 1e-9))


def _tail(m: int, better: float) -> float:
    fewest = _needed(m)
    return float(_binomial(m, better)[fewest:].sum()) if fewest <= m else 0.0


@lru_cache(maxsize=1024)
def _needed(m: int) -> int:
    """Of m items that moved, how many must be for the better."""
    return next((k for k in range(m // 2 + 1, m + 1) if mcnemar(m - k, k) < 1 - LEVEL), m + 1)


def _binomial(n: int, share: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    k = np.arange(n + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(k == 0, 0.0, k * np.log(share)) if share > 0 else np.where(k == 0, 0.0, -np.inf)
        right = (n - k) * math.log1p(-share) if share < 1 else np.where(k == n, 0.0, -np.inf)
    return np.asarray(np.exp(_log_choose(n) + left + right))


@lru_cache(maxsize=1024)
def _log_choose(n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Logarithm of the ways to choose 0 to n of n; the same for all shares, and asked for again and again."""
    ways = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n + 1)]
    logs = np.array(ways)
    logs.flags.writeable = False
    return logs


def _points(share: float | None) -> str:
    points = 100 * (share or 0.0)
    return f"{points:.0f} points" if points >= 10 else f"{points:.1f} points"
