"""What keeps a long log readable: what says the same again is counted and not told. `-v` shows everything."""

from __future__ import annotations

from collections import Counter

from ml_intern.cli.board import PLAN, clean, excerpt
from ml_intern.durations import show_duration
from ml_intern.events import Notice, ToolFinished, ToolStarted

CALLS = 3
"""Calls of one tool that a cell tells one by one; the others are counted at its end."""
LINES = 9
"""Lines of a piece of what a cell prints."""
LINES_A_CELL = 24
"""Lines of all that a cell prints."""
SLOW_S = 10.0
"""A call that took this long is told in any case."""
LONGEST_GAP_S = 30.0
TOLD_ELSEWHERE = frozenset({"plan", "notify", "start_experiment", "finish_experiment", "wait_for_job"})
"""Calls whose end needs no line where all went well: a notice, an experiment or a job tells of it."""
_SLOWER = 3.0
"""What goes on for long is repeated seldom: after this share of the time that it takes already."""


class Calm:
    """Decides what of a cell's calls and output is told.

    Args:
        verbose: All of it.
    """

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._called: Counter[str] = Counter()
        self._folded: set[str] = set()
        self._untold: Counter[str] = Counter()
        self._lines = 0
        self._hidden = 0
        self._said: set[str] = set()

    def says(self, event: Notice) -> bool:
        """Whether a notice is told: one that says the same as an earlier one is not."""
        known = event.text in self._said
        self._said.add(event.text)
        return self._verbose or event.level != "info" or not known

    def begins(self, event: ToolStarted) -> bool:
        """Whether the begin of a call is told."""
        if event.tool in TOLD_ELSEWHERE and not self._verbose:
            return event.tool == "wait_for_job"
        self._called[event.tool] += 1
        if self._verbose or self._called[event.tool] <= CALLS:
            return True
        self._folded.add(event.call)
        self._untold[event.tool] += 1
        return False

    def ends(self, event: ToolFinished) -> bool:
        """Whether the end of a call is told: of one that was folded only where it failed or was slow."""
        if event.tool in TOLD_ELSEWHERE and not self._verbose:
            return not event.ok
        folded = event.call in self._folded
        self._folded.discard(event.call)
        if not folded or (event.ok and event.seconds < SLOW_S):
            return not folded
        self._untold[event.tool] -= 1
        return True

    def output(self, text: str) -> list[str]:
        """The lines of a piece of output that are shown."""
        lines = [line for line in text.rstrip().splitlines() if self._verbose or line.strip()]
        if self._verbose:
            return lines
        room = min(LINES, LINES_A_CELL - self._lines)
        if room < 2:
            self._hidden += len(lines)
            return []
        shown = excerpt("\n".join(lines), room)
        self._lines += len(shown)
        return shown

    def cell_ends(self) -> list[str]:
        """What was left out of the cell, in words; the next cell begins anew."""
        told = []
        if self._hidden:
            told.append(f"… {count(self._hidden, 'more line')} of output (-v shows all)")
        if calls := [f"{n} of {tool}" for tool, n in self._untold.items() if n > 0]:
            told.append(f"… more calls: {', '.join(calls)} (-v shows all)")
        self._called.clear()
        self._untold.clear()
        self._lines = self._hidden = 0
        return told


class Plan:
    """The plan as it was told last."""

    def __init__(self) -> None:
        self._items: list[str] = []

    def news(self, text: str) -> list[str]:
        """The lines to show of a notice with a plan: all of a new one, of a known one what has changed."""
        items = clean(text).splitlines()[1:]
        known = {item[4:] for item in self._items}
        same = bool(items) and all(item[4:] in known for item in items)
        shown = [item for item in items if item not in self._items] if same else items
        self._items = items
        done = sum(item.startswith("[x]") for item in items)
        head = f"{PLAN} {done} of {len(items)} done" if same or done else PLAN.rstrip(":")
        return [head, *(f"  {item}" for item in shown)]


def gap(so_far: float, least: float) -> float:
    """Seconds until something that goes on is told again."""
    return min(max(least, so_far / _SLOWER), max(least, LONGEST_GAP_S))


def count(number: int, what: str) -> str:
    """``1 step``, ``3 steps``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def running_calls(calls: list[ToolStarted], now: float) -> str:
    """Calls that run, those of one tool together, with the time of the longest."""
    longest: dict[str, float] = {}
    for call in calls:
        longest[call.tool] = max(longest.get(call.tool, 0.0), now - call.at)
    counts = Counter(call.tool for call in calls)
    return ", ".join(
        f"{tool}{f' ×{counts[tool]}' if counts[tool] > 1 else ''} {show_duration(took)}"
        for tool, took in longest.items()
    )
