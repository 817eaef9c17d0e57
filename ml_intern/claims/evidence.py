"""What a session knows: values, each with what it is, where it stands and who may vouch for what with it."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Kind = Literal["score", "change", "curve", "fact", "step", "time", "money", "tool", "said", "own"]

VOUCHED: frozenset[str] = frozenset(
    {"score", "change", "curve", "fact", "step", "time", "money", "tool", "said"}
)
"""Kinds that the host or the person answers for; `own` is what the brain's own code has printed."""

_IN_TEXT = re.compile(
    r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?(?P<unit>\s?%|[kKMBG](?!\w))?|(?<=@)\d+"
)
_SCALES = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9}
IN_A_TEXT = ":text"
MOST_TEXT = 200_000
"""Characters of one text whose numbers are taken."""


@dataclass(frozen=True)
class Known:
    """A value that may be told.

    Attributes:
        value: The number.
        source: Where it stands, in words: ``exp-2 dev exact_match``.
        kind: What it is.
        metric: Name of the metric or the field.
        split: ``dev`` or ``test``, of a score.
        owner: The experiment or job that it is of.
        part: Of a score ``value``, ``low``, ``high``, ``1-value`` …, ``half`` (of its interval) or
            ``count``; of a
            change ``difference``, ``ratio``, ``relative``, ``errors`` or ``spread``; ``text`` of a number
            that stood in one; ``point`` of a curve between its ends; empty for others.
        other: Of a change, the experiment or job that it is held against.
    """

    value: float
    source: str
    kind: Kind
    metric: str = ""
    split: str = ""
    owner: str = ""
    part: str = ""
    other: str = ""


class Replaced(NamedTuple):
    """A value of a comparison whose place another one has taken.

    Attributes:
        known: The value.
        until: When it was replaced, seconds since the epoch.
        now: What stands in its place, in words.
    """

    known: Known
    until: float
    now: str


@dataclass
class Evidence:
    """All that is known, to be looked up by value.

    Attributes:
        known: The values.
        metrics: Names of the evals' metrics.
        parents: By experiment what it is held against.
        seeds: By run on another seed the experiment whose configuration it runs again.
        series: Points of curves, sorted, each with what they are.
        verdicts: By pair of experiments and metric what a comparison found: a, b, metric, verdict, confirmed.
        replaced: What comparisons have said that others have replaced: true in a text of that time alone.
        active: Whether anything was measured or looked at, so that there is something to hold a text against.
    """

    known: list[Known] = field(default_factory=list)
    metrics: set[str] = field(default_factory=set)
    parents: dict[str, str] = field(default_factory=dict)
    seeds: dict[str, str] = field(default_factory=dict)
    verdicts: list[tuple[str, str, str, str, bool | None]] = field(default_factory=list)
    replaced: list[Replaced] = field(default_factory=list)
    active: bool = False
    series: list[tuple[Known, npt.NDArray[np.float64]]] = field(default_factory=list)
    _seen: set[Known] = field(default_factory=set)

    def at(self, when: float) -> Evidence:
        """The same for a text that was written at a time: what was replaced later was true then."""
        then = [r.known for r in self.replaced if r.until > when]
        if not then:
            return self
        left = [r for r in self.replaced if r.until <= when]
        return replace(self, known=[*self.known, *then], replaced=left)

    def were(self, value: float, slack: float) -> Iterator[Replaced]:
        """The replaced values within the slack, whatever their sign."""
        slack = slack * (1 + 1e-9) + 1e-12 * abs(value)
        return (r for r in self.replaced if abs(abs(r.known.value) - abs(value)) <= slack)

    def add(self, found: Iterable[Known]) -> None:
        """Take further values, each once; what is not finite says nothing."""
        for known in found:
            if math.isfinite(known.value) and known not in self._seen:
                self._seen.add(known)
                self.known.append(known)
        self.__dict__.pop("_sorted", None)

    def add_series(self, like: Known, values: Iterable[float]) -> None:
        """Take the points of a curve, of which there may be hundreds of thousands.

        Args:
            like: What each of them is.
            values: Theirs.
        """
        held = np.unique(np.abs(np.fromiter(values, np.float64)))
        self.series.append((like, held[np.isfinite(held)]))

    @cached_property
    def _sorted(self) -> tuple[list[float], list[Known]]:
        ordered = sorted(self.known, key=lambda k: abs(k.value))
        return [abs(k.value) for k in ordered], ordered

    def near(self, value: float, slack: float) -> Iterator[Known]:
        """The values within the slack, whatever their sign."""
        values, ordered = self._sorted
        value, slack = abs(value), slack * (1 + 1e-9) + 1e-12 * abs(value)
        i = bisect.bisect_left(values, value - slack)
        while i < len(values) and values[i] <= value + slack:
            yield ordered[i]
            i += 1
        for like, points in self.series:
            first = int(np.searchsorted(points, value - slack))
            if first < len(points) and points[first] <= value + slack:
                yield replace(like, value=float(points[first]))

    def nearest(self, value: float, allowed: Callable[[Known], bool]) -> Known | None:
        """Of the values that are allowed the one that is nearest, for who asks what is there instead."""
        fitting = (k for k in self.known if allowed(k))
        return min(fitting, key=lambda k: abs(abs(k.value) - abs(value)), default=None)


def inside(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[float, str]]:
    """The numbers in what JSON can carry, each with its path; lists count with their length.

    The path of a number that stands in a text ends in `IN_A_TEXT`.
    """
    if isinstance(value, bool) or value is None or depth > 40:
        return
    if isinstance(value, int | float):
        yield float(value), path
    elif isinstance(value, str):
        for match in _IN_TEXT.finditer(value[:MOST_TEXT]):
            yield from _of_text(match, path + IN_A_TEXT)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from inside(re.sub(r"^p(?=\d\d$)", "", str(key)), path, depth + 1)  # "p95" is of 95 %
            yield from inside(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list | tuple):
        yield float(len(value)), f"{path} length".strip()
        for inner in value:
            yield from inside(inner, path, depth + 1)


def _of_text(match: re.Match[str], path: str) -> Iterator[tuple[float, str]]:
    unit = (match["unit"] or "").strip()
    digits = match[0].removesuffix(match["unit"] or "").replace(",", "")
    try:
        number = float(digits)
    except (OverflowError, ValueError):
        return
    yield number, path
    if unit == "%":
        yield number / 100, path
    elif unit:
        yield number * _SCALES[unit], path
