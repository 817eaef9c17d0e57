"""Where a replay differs from what was recorded: step, line, what was expected, what came."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from ml_intern.brains.replies import CELL_FAILED

LONGEST = 200
"""Characters of a line that are told; the beginning of what differs is among them."""
NOTHING = "(nothing)"
_RAISED = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit)\b")


@dataclass(frozen=True)
class Difference:
    """The first line of an observation that is another than it was; `line` 0: there is no observation."""

    step: int
    line: int
    expected: str
    got: str

    def __str__(self) -> str:
        where = f"step {self.step}, line {self.line}" if self.line else f"step {self.step}"
        return f"{where}: expected {self.expected!r}, got {self.got!r}"

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def compare(step: int, expected: str, got: str) -> Difference | None:
    """The first difference of two observations of one step, or None."""
    pairs = zip_longest(expected.splitlines(), got.splitlines())
    for line, (then, now) in enumerate(pairs, 1):
        if then != now:
            told = f"{now} {_error_in(got)}".strip() if now == CELL_FAILED else now
            return Difference(step, line, *_around(then, told))
    return None if expected == got else Difference(step, 1, repr(expected[-20:]), repr(got[-20:]))


def not_reached(step: int, expected: str) -> Difference:
    """A step that the replay did not come to."""
    return Difference(step, 0, (expected.splitlines() or [NOTHING])[0][:LONGEST], NOTHING)


def summary(differences: Sequence[Difference], steps: int) -> str:
    """All in one line, with the first place of each of the first steps."""
    word = "step" if steps == 1 else "steps"
    shown = "; ".join(map(str, differences[:3]))
    more = f"; and {len(differences) - 3} more" if len(differences) > 3 else ""
    return f"The replay differs in {len(differences)} of {steps} {word}: {shown}{more}."


def _error_in(observation: str) -> str:
    """What a cell raised."""
    raised = [line for line in observation.splitlines() if _RAISED.match(line)]
    return raised[-1] if raised else ""


def _around(then: str | None, now: str | None) -> tuple[str, str]:
    """Both lines, shortened so that the place where they part can be seen."""
    if then is None or now is None:
        return (then or NOTHING)[:LONGEST], (now or NOTHING)[:LONGEST]
    same = next(
        (n for n, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), min(len(then), len(now))
    )
    start = max(0, same - LONGEST // 2) if max(len(then), len(now)) > LONGEST else 0
    cut = "…" if start else ""
    return cut + then[start : start + LONGEST], cut + now[start : start + LONGEST]
