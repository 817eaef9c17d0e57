"""Lengths of time as people write them."""

from __future__ import annotations

import re

from ml_intern.errors import UsageError

_UNITS = {
    1.0: ("s", "sec", "secs", "second", "seconds"),
    60.0: ("m", "min", "mins", "minute", "minutes"),
    3600.0: ("h", "hr", "hrs", "hour", "hours"),
    86400.0: ("d", "day", "days"),
}
_SECONDS = {word: seconds for seconds, words in _UNITS.items() for word in words}
# The longest word first: "m" must not take the beginning of "min", nor of "months", which is no unit here.
_PART = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(sorted(_SECONDS, key=len, reverse=True))})(?![a-z])", re.I)


def parse_duration(text: str | float, name: str = "duration") -> float:
    """Seconds from ``"30m"``, ``"1h 30m"``, ``"2 days"`` or a plain number of seconds.

    Raises:
        UsageError: It is not a length of time, or not above zero.
    """
    if isinstance(text, bool):
        raise _no_duration(text, name)
    if isinstance(text, int | float) or re.fullmatch(r"\s*\d+(\.\d+)?\s*", text):
        seconds = float(text)
    elif re.fullmatch(rf"\s*({_PART.pattern}[\s,]*)+", text, re.I):
        seconds = sum(float(n) * _SECONDS[unit.lower()] for n, unit in _PART.findall(text))
    else:
        raise _no_duration(text, name)
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{name} {text!r} must be above zero.")
    return seconds


def _no_duration(text: object, name: str) -> UsageError:
    shown = repr(text) if len(repr(text)) <= 80 else repr(text)[:79] + "…"
    return UsageError(
        f"{name} {shown} is not a length of time.", 'Write "90s", "30m", "3h" or a number of seconds.'
    )


def show_duration(seconds: float) -> str:
    """``75`` as ``1m 15s``; two units at the most."""
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {whole % 60}s"
