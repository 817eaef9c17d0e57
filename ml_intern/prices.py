"""What a call is expected to cost, and what it has cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

N = TypeVar("N", int, float)


def _sum(a: N | None, b: N | None) -> N | None:
    return b if a is None else a if b is None else a + b


@dataclass(frozen=True)
class Price:
    """What a call is expected to spend. ``None`` means unknown, which the gate asks about.

    Attributes:
        usd: Dollars.
        gpu_hours: Hours of one GPU.
        jobs: Jobs started.
    """

    usd: float | None = 0.0
    gpu_hours: float | None = 0.0
    jobs: int = 0


@dataclass(frozen=True)
class Measured:
    """What something has really cost. ``None`` means not measured: there the estimate stands.

    A zero has to be measured, too: a provider that has not sent its bill yet has not said "nothing".
    """

    usd: float | None = None
    gpu_hours: float | None = None
    jobs: int | None = None

    def over(self, reserved: Price) -> Price:
        """The cost: measured where it was, else reserved."""
        usd = reserved.usd if self.usd is None else self.usd
        hours = reserved.gpu_hours if self.gpu_hours is None else self.gpu_hours
        return Price(usd, hours, reserved.jobs if self.jobs is None else self.jobs)

    def plus(self, other: Measured) -> Measured:
        """Both together."""
        return Measured(
            _sum(self.usd, other.usd), _sum(self.gpu_hours, other.gpu_hours), _sum(self.jobs, other.jobs)
        )
