"""What a sweep may choose from, read from a plain dict with an error for each thing that is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.tooling import did_you_mean

HINT = (
    'Write each field as a list of values, "batch_size": [4, 8, 16], or as a range, '
    '"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}; whole numbers at both ends give whole '
    'numbers, "step" gives every so many.'
)
_KEYS = ("low", "high", "log", "step", "choices")
_WORDS = {"min": "low", "max": "high", "from": "low", "to": "high", "values": "choices", "scale": "log"}
_NOT_CHOSEN = {
    "seed": "seeds are not chosen by their score: confirm the winner on others",
    "validation": "trials on other held-out rows cannot be compared",
}


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]

    def ends(self) -> tuple[Any, ...]:
        """Values that a check should look at: all."""
        return self.values


@dataclass(frozen=True)
class Between:
    """A number of a range, both ends included."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def ends(self) -> tuple[Any, ...]:
        """Values that a check should look at: both ends."""
        return (self.low, self.high)


Space = dict[str, Choice | Between]


def read_space(given: Any) -> Space:
    """Read a space.

    Raises:
        ToolError: Names everything that is wrong, by field.
    """
    if not isinstance(given, Mapping) or not given:
        raise ToolError(f"The space must be a dict of fields and what they may be, not {given!r}.", HINT)
    found: Space = {}
    wrong: list[str] = []
    for name, told in given.items():
        try:
            found[str(name)] = _dimension(str(name), told)
        except ValueError as error:
            wrong.append(f"{name}: {error}")
    if wrong:
        raise ToolError(f"The space is not understood: {'; '.join(wrong)}.", HINT)
    return found


def _dimension(name: str, told: Any) -> Choice | Between:
    if name in _NOT_CHOSEN:
        raise ValueError(_NOT_CHOSEN[name])
    if isinstance(told, Mapping):
        return _choice(told["choices"]) if set(told) == {"choices"} else _between(told)
    if isinstance(told, list | tuple):
        return _choice(told)
    raise ValueError(f"{told!r} is neither a list of values nor a range; a fixed value belongs into base")


def _choice(values: Any) -> Choice:
    if not isinstance(values, list | tuple):
        raise ValueError(f"choices must be a list, not {values!r}")
    different = [v for n, v in enumerate(values) if v not in values[:n]]
    if len(different) < 2:
        raise ValueError(f"{list(values)!r} leaves no choice; a fixed value belongs into base")
    if any(isinstance(v, float) and not math.isfinite(v) for v in different):
        raise ValueError("NaN or infinity is no value")
    return Choice(tuple(different))


def _between(told: Mapping[str, Any]) -> Between:
    for key in told:
        if key not in _KEYS:
            guess = f" (did you mean {_WORDS[key]!r}?)" if key in _WORDS else did_you_mean(str(key), _KEYS)
            raise ValueError(f"unknown key {key!r}{guess}")
    if "choices" in told:
        raise ValueError("either choices or a range, not both")
    if missing := [key for key in ("low", "high") if key not in told]:
        raise ValueError(f"{' and '.join(missing)} missing")
    low, high, step = _number(told, "low"), _number(told, "high"), _number(told, "step")
    log = told.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"log = {log!r} must be True or False")
    if low is None or high is None or not low < high:
        raise ValueError(f"low = {low!r} must be below high = {high!r}")
    if log and low <= 0:
        raise ValueError(f"low = {low!r} must be above 0 on a logarithmic scale")
    if log and step is not None:
        raise ValueError("a logarithmic scale has no step")
    if step is not None and not 0 < step <= high - low:
        raise ValueError(f"step = {step!r} must be above 0 and no more than the range")
    whole = all(isinstance(n, int) for n in (low, high) if n is not None) and isinstance(step, int | None)
    return Between(low, high, log, step, whole)


def _number(told: Mapping[str, Any], key: str) -> float | int | None:
    value = told.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key} = {value!r} must be a number (write 1e-4 without quotes)")
    return value
