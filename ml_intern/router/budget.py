"""The ceiling of a session, and what is spent and promised below it.

Money, GPU time and jobs are reserved before a call and reconciled after it; a job that a call started keeps
the reservation until it has ended and was measured. Tokens are charged as the brain's provider counts them;
wall time runs by itself. Every path to a tool reserves here, so nothing goes round it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ml_intern.durations import parse_duration, show_duration
from ml_intern.errors import LimitReached, UsageError
from ml_intern.prices import Measured, Price

Unit = Literal["usd", "gpu_hours", "tokens", "jobs", "seconds"]
UNITS: tuple[Unit, ...] = ("usd", "gpu_hours", "tokens", "jobs", "seconds")
PRICED: tuple[Unit, ...] = ("usd", "gpu_hours", "jobs")
"""What a tool's price speaks of; the others are counted by the session itself."""

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


class BudgetSpent(LimitReached):
    """Time, tokens or money are gone."""


NEVER_RAN = Measured(0.0, 0.0, 0)
"""Of what was to start and never did: nothing was used, and that is known."""


@dataclass
class Budget:
    """What may be spent, what is spent, and what running calls and jobs have reserved. Thread-safe."""

    caps: dict[Unit, float] = field(default_factory=dict)
    spent: dict[Unit, float] = field(default_factory=lambda: dict.fromkeys(UNITS, 0.0))
    started: float | None = field(default_factory=time.monotonic)
    _reserved: dict[str, Price] = field(default_factory=dict)
    _brain_costs: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)
    books: threading.RLock = field(default_factory=threading.RLock)
    """Held while something is counted and written down: no line of the journal tells an older state."""

    def used(self, unit: Unit) -> float:
        """Spent and reserved of one unit."""
        with self._lock:
            return self._spent(unit) + self.reserved(unit)

    def reserved(self, unit: Unit) -> float:
        """Set aside for what runs."""
        with self._lock:
            return sum(_amount(price, unit) for price in self._reserved.values())

    def _spent(self, unit: Unit) -> float:
        runs = unit == "seconds" and self.started is not None
        clock = time.monotonic() - (self.started or 0.0) if runs else 0.0
        return self.spent[unit] + clock

    def rest(self) -> None:
        """Wall time stands still: nothing is done until the person says more."""
        with self._lock:
            self.spent["seconds"], self.started = self._spent("seconds"), None

    def go_on(self) -> None:
        """Wall time runs again."""
        with self._lock:
            self.started = self.started or time.monotonic()

    def left(self) -> dict[str, float | None]:
        """What is left by unit; None where there is no ceiling."""
        with self._lock:
            return {u: max(0.0, self.caps[u] - self.used(u)) if u in self.caps else None for u in UNITS}

    def shortfall(self, price: Price) -> str:
        """Why the price does not fit under the ceiling, or an empty string."""
        with self._lock:
            return next(filter(None, (self._short_of(unit, price) for unit in PRICED)), "")

    def _short_of(self, unit: Unit, price: Price) -> str:
        cap = self.caps.get(unit)
        if cap is None:
            return ""
        name, left = unit.replace("_", "-"), max(0.0, cap - self.used(unit))
        if (unit == "usd" and price.usd is None) or (unit == "gpu_hours" and price.gpu_hours is None):
            return "" if left > 0 else f"has no known price in {name}, and nothing of {cap:g} is left"
        wanted = _amount(price, unit)
        if wanted <= 0 or wanted <= left + 1e-9:
            return ""
        return f"needs {wanted:g} {name}, {left:g} of {cap:g} left"

    def reserve(self, holder: str, price: Price) -> str:
        """Set the price aside for a call; answers why not when it does not fit."""
        with self._lock:
            short = self.shortfall(price)
            if not short:
                self._reserved[holder] = self._known(price)
            return short

    def hold(self, holder: str, price: Price) -> None:
        """Set the price aside for what has happened already, whether or not it fits."""
        with self._lock:
            self._reserved[holder] = self._known(price)

    def _known(self, price: Price) -> Price:
        """A price that is not known is not zero: somebody allowed it, so it takes all that is left."""
        left = self.left()
        usd = price.usd if price.usd is not None else left["usd"] or 0.0
        gpu_hours = price.gpu_hours if price.gpu_hours is not None else left["gpu_hours"] or 0.0
        return Price(usd, gpu_hours, price.jobs)

    def held(self, holder: str) -> Price:
        """What is set aside for it."""
        with self._lock:
            return self._reserved.get(holder, Price())

    def move(self, holder: str, to: str) -> None:
        """Hand a reservation on, from a call to the job that it started."""
        with self._lock:
            if holder in self._reserved:
                self._reserved[to] = self._reserved.pop(holder)

    def reconcile(self, holder: str, measured: Measured | None) -> Price:
        """End a reservation: what was measured is spent, and where nothing was, the estimate.

        Without a reservation only what was measured is spent. Answers what was added.
        """
        with self._lock:
            price = (measured or Measured()).over(self._reserved.pop(holder, Price()))
            for unit in PRICED:
                self.spent[unit] += _amount(price, unit)
            return price

    def release(self, holder: str) -> None:
        """Give a reservation back: the call did not happen."""
        with self._lock:
            self._reserved.pop(holder, None)

    def charge(self, tokens: int = 0, usd: float = 0.0) -> None:
        """Count what a brain's answer cost."""
        with self._lock:
            self.spent["tokens"] += max(0, tokens)
            self.spent["usd"] += max(0.0, usd)
            self._brain_costs = self._brain_costs or usd > 0

    def check(self) -> None:
        """Stop the run when time, tokens or money are gone.

        Money that is set aside for jobs counts as gone only for a brain that costs money itself.

        Raises:
            BudgetSpent: Names the ceiling.
        """
        with self._lock:
            for unit in ("seconds", "tokens", "usd"):
                cap = self.caps.get(unit)
                if cap is not None and self._gone(unit) >= cap and self._spendable(unit):
                    shown = show_duration(cap) if unit == "seconds" else f"{cap:g} {unit}"
                    raise BudgetSpent(f"The budget of {shown} is used up.", "Raise --budget to go on.")

    def _gone(self, unit: Unit) -> float:
        return self.used(unit) if unit != "usd" or self._brain_costs else self.spent["usd"]

    def _spendable(self, unit: Unit) -> bool:
        # A ceiling of nothing ("0 usd") forbids spending; it does not forbid work that is free.
        return not (self.caps[unit] == 0 and self.used(unit) == 0)

    def summary(self) -> dict[str, dict[str, float | None]]:
        """Spent, reserved and ceiling of each unit, for people and machines."""
        with self._lock:
            return {
                u: {
                    "spent": round(self._spent(u), 6),
                    "reserved": round(self.reserved(u), 6),
                    "cap": self.caps.get(u),
                }
                for u in UNITS
            }

    def snapshot(self) -> dict[str, Any]:
        """What a session that goes on has to know: spent, with the time, and what jobs still hold."""
        with self._lock:
            held = {name: asdict(price) for name, price in self._reserved.items()}
            return {"spent": {u: self._spent(u) for u in UNITS}, "reserved": held}

    def restore(self, given: Mapping[str, Any]) -> None:
        """Go on from a snapshot. Calls of the earlier process ended with it; its jobs run on."""
        with self._lock:
            self.spent = {u: float(given["spent"].get(u, 0.0)) for u in UNITS}
            held = {name: Price(**price) for name, price in given["reserved"].items()}
            self._reserved = {name: price for name, price in held.items() if ":" in name}


def _amount(price: Price, unit: Unit) -> float:
    """What a price says of a unit; never below zero, so that no tool can fill the purse."""
    amounts = {"usd": price.usd, "gpu_hours": price.gpu_hours, "jobs": float(price.jobs)}
    return max(0.0, amounts.get(unit) or 0.0)
