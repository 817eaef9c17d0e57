"""Lengths of time as people write them."""

from __future__ import annotations

import re

from ml_intern.errors import UsageError

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)[a-z]*", re.I)


def parse_duration(text: str | float, name: str = "duration") -> float:
    """Seconds from ``"30m"``, ``"1h 30m"``, ``"2 days"`` or a plain number of seconds.

    Raises:
        UsageError: It is not a length of time, or not above zero.
    """
    if isinstance(text, int | float) or re.fullmatch(r"\s*\d+(\.\d+)?\s*", text):
        seconds = float(text)
    elif re.fullmatch(rf"\s*({_PART.pattern}[\s,]*)+", text, re.I):
        seconds = sum(float(n) * _SECONDS[unit.lower()] for n, unit in _PART.findall(text))
    else:
        raise UsageError(
            f"{name} {text!r} is not a length of time.", 'Write "90s", "30m", "3h" or a number of seconds.'
        )
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{name} {text!r} must be above zero.")
    return seconds


def show_duration(seconds: float) -> str:
    """``75`` as ``1m 15s``; two units at the most."""
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {whole % 60}s"
