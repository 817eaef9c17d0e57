"""The time that a task's own sentence names: a word to the brain, never a limit that ends anything."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ml_intern.durations import show_duration

_MINUTE, _HOUR = 60.0, 3600.0
_LENGTH = (
    r"(?:(?P<half>half an hour)|(?P<number>\d+(?:\.\d+)?|an?|one|two|three)"
    r"\s*(?P<unit>minutes?|mins?|hours?|hrs?|h|m))(?![\w-])(?!\s+(?:per|each|of\s+(?!time|wall)))"
)
"""Not "hours of audio", nor "minutes per run", nor "an hour-long recording"."""
_SPELLED = {"a": 1.0, "an": 1.0, "one": 1.0, "two": 2.0, "three": 3.0}
_ATMOST = r"(?:(?:only|about|at most|up to|exactly|a total of|no more than)\s+)*"
_NAMED = [
    re.compile(pattern, re.I)
    for pattern in (
        rf"\byou(?:'ve| have|'ll have| will have)(?: got)?\s+{_ATMOST}(?:{_LENGTH})",
        rf"\b(?:time|wall[- ]?clock) (?:limit|budget)(?: is| of|:)*\s+{_ATMOST}(?:{_LENGTH})",
        rf"\b(?:finish|be done|be ready)(?: \w+){{0,4}} (?:with)?in\s+{_ATMOST}(?:{_LENGTH})",
        rf"\b(?:take|use|spend) (?:at most|no more than|up to)\s+(?:{_LENGTH})",
    )
]


@dataclass(frozen=True)
class TaskTime:
    """The time that a task names, and what is left of it, in seconds."""

    whole: float
    left: float

    @property
    def told(self) -> str:
        """In words."""
        return f"of the {show_duration(self.whole)} that the task names, {show_duration(self.left)} are left"


def task_time(task: str, used: float) -> TaskTime | None:
    """What is left of the time that a task names; None where it names none."""
    whole = named_seconds(task)
    return None if whole is None else TaskTime(whole, max(0.0, whole - used))


def named_seconds(task: str) -> float | None:
    """Seconds that a task gives ("You have 30 minutes"); None where it names none, or two that differ."""
    found = {_seconds(hit) for pattern in _NAMED for hit in pattern.finditer(task)}
    return next(iter(found)) if len(found) == 1 else None


def _seconds(hit: re.Match[str]) -> float:
    if hit["half"]:
        return _HOUR / 2
    number = hit["number"].lower()
    amount = _SPELLED[number] if number in _SPELLED else float(number)
    return amount * (_HOUR if hit["unit"].lower().startswith("h") else _MINUTE)
