"""The ceiling of a session, and what is spent and promised below it.

Money, GPU time and jobs are reserved before a call and reconciled after it; tokens are charged as the brain's
provider counts them; wall time runs by itself. Every path to a tool reserves here, so nothing goes round it.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

from ml_intern.durations import parse_duration, show_duration
from ml_intern.errors import LimitReached, UsageError
from ml_intern.tooling import Price

Unit = Literal["usd", "gpu_hours", "tokens", "jobs", "seconds"]
UNITS: tuple[Unit, ...] = ("usd", "gpu_hours", "tokens", "jobs", "seconds")

_UNITS_HINT = 'Write "5 usd", "2 gpu-hours", "1h", "500k tokens" or "20 jobs".'
_THOUSANDS = {"": 1.0, "k": 1e3, "m": 1e6}
_COUNTED = re.compile(r"(\d+(?:\.\d+)?)\s*([km]?)\s*(tokens?|jobs?)", re.I)
_MONEY = re.compile(r"(?:(\d+(?:\.\d+)?)\s*(?:usd|dollars?|\$)|\$\s*(\d+(?:\.\d+)?))", re.I)
_GPU = re.compile(r"(\d+(?:\.\d+)?)\s*gpu[- ]?(?:hours?|h)", re.I)


def parse_budget(text: str) -> dict[Unit, float]:
    """Ceilings from words such as ``"5 usd, 2 gpu-hours, 1h, 500k tokens, 20 jobs"``; nothing: no ceiling.

    Raises:
        UsageError: A part is not understood, or a unit is named twice.
    """
    caps: dict[Unit, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        unit, amount = _parse_part(part)
        if unit in caps:
            raise UsageError(f"The budget names {unit.replace('_', '-')} twice.")
        caps[unit] = amount
    return caps


def _parse_part(part: str) -> tuple[Unit, float]:
    if m := _MONEY.fullmatch(part):
        return "usd", float(m[1] or m[2])
    if m := _GPU.fullmatch(part):
        return "gpu_hours", float(m[1])
    if m := _COUNTED.fullmatch(part):
        unit: Unit = "tokens" if m[3].lower().startswith("token") else "jobs"
        return unit, float(m[1]) * _THOUSANDS[m[2].lower()]
    if re.fullmatch(r"\d+(\.\d+)?", part):
        raise UsageError(f"The budget says {part} of what?", _UNITS_HINT)
    try:
        return "seconds", parse_duration(part)
    except UsageError:
        raise UsageError(f"The budget's part {part!r} is not understood.", _UNITS_HINT) from None


@dataclass
class Budget:
    """What may be spent, what is spent, and what running calls have reserved."""

    caps: dict[Unit, float] = field(default_factory=dict)
    spent: dict[Unit, float] = field(default_factory=lambda: dict.fromkeys(UNITS, 0.0))
    started: float = field(default_factory=time.monotonic)
    _reserved: dict[str, Price] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def used(self, unit: Unit) -> float:
        """Spent and reserved of one unit."""
        if unit == "seconds":
            return self.spent["seconds"] + time.monotonic() - self.started
        reserved = sum(_amount(price, unit) for price in self._reserved.values())
        return self.spent[unit] + reserved

    def left(self) -> dict[str, float | None]:
        """What is left by unit; None where there is no ceiling."""
        return {u: max(0.0, self.caps[u] - self.used(u)) if u in self.caps else None for u in UNITS}

    def shortfall(self, price: Price) -> str:
        """Why the price does not fit under the ceiling, or an empty string."""
        for unit in ("usd", "gpu_hours", "jobs"):
            cap = self.caps.get(unit)
            wanted = _amount(price, unit)
            if cap is not None and wanted > 0 and self.used(unit) + wanted > cap + 1e-9:
                name = unit.replace("_", "-")
                return f"needs {wanted:g} {name}, {max(0.0, cap - self.used(unit)):g} of {cap:g} left"
        return ""

    def reserve(self, call: str, price: Price) -> str:
        """Set the price aside for a call; answers why not when it does not fit."""
        with self._lock:
            short = self.shortfall(price)
            if not short:
                self._reserved[call] = self._known(price)
            return short

    def _known(self, price: Price) -> Price:
        """A price that is not known is not zero: somebody allowed it, so it takes all that is left."""
        left = self.left()
        usd = price.usd if price.usd is not None else left["usd"] or 0.0
        gpu_hours = price.gpu_hours if price.gpu_hours is not None else left["gpu_hours"] or 0.0
        return Price(usd, gpu_hours, price.jobs)

    def reconcile(self, call: str, actual: Price | None) -> None:
        """Replace a reservation by what was measured; without a measurement the estimate stands as spent."""
        with self._lock:
            reserved = self._reserved.pop(call, Price())
            price = actual or reserved
            for unit in ("usd", "gpu_hours", "jobs"):
                self.spent[unit] += _amount(price, unit)

    def release(self, call: str) -> None:
        """Give a reservation back: the call did not happen."""
        with self._lock:
            self._reserved.pop(call, None)

    def charge(self, tokens: int = 0, usd: float = 0.0) -> None:
        """Count what a brain's answer cost."""
        with self._lock:
            self.spent["tokens"] += tokens
            self.spent["usd"] += usd

    def check(self) -> None:
        """Stop the run when time, tokens or money are gone.

        Raises:
            LimitReached: Names the ceiling.
        """
        for unit in ("seconds", "tokens", "usd"):
            cap = self.caps.get(unit)
            if cap is not None and self.used(unit) >= cap and self._spendable(unit):
                shown = show_duration(cap) if unit == "seconds" else f"{cap:g} {unit}"
                raise LimitReached(f"The budget of {shown} is used up.", "Raise --budget to go on.")

    def _spendable(self, unit: Unit) -> bool:
        # A ceiling of nothing ("0 usd") forbids spending; it does not forbid work that is free.
        return not (self.caps[unit] == 0 and self.used(unit) == 0)

    def summary(self) -> dict[str, dict[str, float | None]]:
        """Spent and ceiling of each unit, for people and machines."""
        return {u: {"spent": round(self.used(u), 6), "cap": self.caps.get(u)} for u in UNITS}


def _amount(price: Price, unit: Unit) -> float:
    if unit == "usd":
        return price.usd or 0.0
    if unit == "gpu_hours":
        return price.gpu_hours or 0.0
    return float(price.jobs) if unit == "jobs" else 0.0
