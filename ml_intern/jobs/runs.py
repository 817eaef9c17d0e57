"""What rules look at, a run, and what they say of it.

Standard library only: a job's supervisor uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ml_intern.jobs.curves import (
    Point,
    curve,
    level,
    thinned,
    window,
)
from ml_intern.jobs.thresholds import Thresholds

Kind = Literal[
    "nan", "divergence", "overfitting", "plateau", "learned_little", "still_falling", "spikes", "zero_loss",
    "zero_variance", "kl_blow_up", "entropy_collapse", "length_collapse", "cut_off", "reward_drop",
    "held_out_worse", "displaced",
]  # fmt: skip
COLLAPSE: frozenset[str] = frozenset(
    {"zero_variance", "kl_blow_up", "entropy_collapse", "length_collapse", "reward_drop", "held_out_worse"}
)
"""What the reward of a policy can go wrong by, together "reward collapse"."""
NOTES: frozenset[str] = frozenset({"still_falling", "plateau"})
"""What is worth knowing and no alarm."""

BITS = "eval_bits_per_byte"
"""What a model needs for a byte of held-out texts: the lower, the better."""
UNREWARDED = ("eval_unrewarded/", "unrewarded/")
"""A reward of weight 0, of prompts set apart and of those trained on: the higher, the better."""

Rows = Sequence[dict[str, Any]]

_NEXT_TO_NOTHING = 0.01


@dataclass(frozen=True)
class Seen:
    """One thing that a rule saw.

    Attributes:
        kind: Which rule.
        step: Where it shows.
        message: What was seen, with the numbers.
        evidence: The numbers by name.
        suggestion: What to do about it.
        change: Fields of the config to try next; empty where no field helps.
    """

    kind: Kind
    step: int
    message: str
    evidence: dict[str, float]
    suggestion: str
    change: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What the rules look at.

    Attributes:
        table: The rows of its metrics.
        over: Whether it has ended.
        fields: Of its config, as they were asked, under their full names.
        limits: When a rule speaks.
    """

    table: Rows
    over: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    limits: Thresholds = field(default_factory=Thresholds)

    def curve(self, name: str) -> Sequence[Point]:
        """A metric by step; a long one thinned."""
        return thinned(curve(self.table, name))

    @property
    def policy(self) -> bool:
        """Whether a reward is what it climbs; the loss of such a run says nothing."""
        return any("reward" in row for row in self.table)

    @property
    def settled(self) -> float:
        """Nats by which a further quarter of the steps would change a loss that has converged at most.

        Near nothing a loss falls by large shares of itself for ever, so the height it has come from counts.
        """
        values = [value for _, value in curve(self.table, "loss")]
        return min(self.limits.tiny, _NEXT_TO_NOTHING * (max(values) - min(values))) if values else 0.0

    @property
    def unrewarded(self) -> list[str]:
        """The measures of a policy that it is not rewarded for, first those of prompts set apart."""
        return sorted({name for row in self.table for name in row if name.startswith(UNREWARDED)})

    @property
    def watched(self) -> bool:
        """Whether anything of a policy is measured beside what it is rewarded for."""
        return bool(self.unrewarded) or any(BITS in row for row in self.table)

    @property
    def late(self) -> bool:
        """Whether it has ended or half of it is done: before that warmup may hide what it learns."""
        total = max((row.get("total_steps") or 0 for row in self.table), default=0)
        return self.over or bool(total and self.table[-1]["step"] >= total / 2)


def ends(run: Run, name: str, start: Callable[[list[float]], float]) -> tuple[float, float, int] | None:
    """Where a metric began, its newest level and step; None where it is too short to say.

    The start is one of the first three values: a collapse may take no more than ten steps, and a level of
    more would be that of the ruin.
    """
    points = run.curve(name)
    if len(points) < run.limits.least_rows:
        return None
    return (
        start([value for _, value in points[:3]]),
        level(points[-window(points, 0.2) :]),
        int(points[-1][0]),
    )


def sure(run: Run, count: int) -> float:
    """Standard deviations that a change must exceed: more where few points tell what the noise is."""
    return run.limits.sure * (1 + 6 / count)
