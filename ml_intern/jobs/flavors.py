"""Machines of HF Jobs and their prices: from a table with its date, or from the Hub where it tells them."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.tooling import did_you_mean

TABLE = Path(__file__).with_name("flavors.toml")


@dataclass(frozen=True)
class Flavor:
    """One kind of machine.

    Attributes:
        name: As HF Jobs calls it.
        cores: Of the CPU.
        memory_gb: Main memory.
        gpus: How many.
        gpu: Their type.
        gpu_gb: Memory of one.
        tflops: Of one GPU, or of the CPU where there is none: peak, in the format of trainings.
        usd_per_hour: What it costs while a job starts or runs.
    """

    name: str
    cores: int
    memory_gb: float
    gpus: int
    gpu: str
    gpu_gb: float
    tflops: float
    usd_per_hour: float


@lru_cache(maxsize=1)
def taken() -> datetime.date:
    """The day when the prices of the table were read."""
    day: datetime.date = _table()["taken"]
    return day


@lru_cache(maxsize=1)
def flavors() -> Mapping[str, Flavor]:
    """The table, cheapest first."""
    rows = [Flavor(name, **row) for name, row in _table()["flavors"].items()]
    return {row.name: row for row in sorted(rows, key=lambda row: row.usd_per_hour)}


def flavor(name: str, known: Mapping[str, Flavor] | None = None) -> Flavor:
    """One machine by its name.

    Raises:
        ToolError: There is none; one line with the nearest name.
    """
    known = flavors() if known is None else known
    if name not in known:
        raise ToolError(
            f"HF Jobs has no flavor {name!r}{did_you_mean(name, known)}.",
            f"Flavors: {', '.join(known)}.",
        )
    return known[name]


def told(rows: list[Any]) -> Mapping[str, Flavor]:
    """The flavors as a Hub lists them (``JobHardwareInfo``), with its prices; the rest is the table's."""
    found: dict[str, Flavor] = {}
    for row in rows:
        a = row.accelerator
        unit = {"second": 3600, "minute": 60, "hour": 1}.get(str(row.unit_label))
        if unit is None:
            continue  # a price that cannot be read is none: the table's stands
        base = flavors().get(row.name) or Flavor(
            row.name, _number(row.cpu), _number(row.ram), _number(a.quantity) if a else 0,
            str(a.model) if a else "", _number(a.vram) / max(1, _number(a.quantity)) if a else 0, 0.0, 0.0,
        )  # fmt: skip
        found[row.name] = replace(base, usd_per_hour=round(row.unit_cost_usd * unit, 4))
    return {**flavors(), **found} if found else flavors()


def _number(text: Any) -> int:
    digits = "".join(c for c in str(text).split()[0] if c.isdigit()) if str(text).split() else ""
    return int(digits or 0)


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))
