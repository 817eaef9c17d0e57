"""Reading ``metrics.jsonl``: one JSON object a line, appended by the recipe while it trains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.jobs.conditions import condition
from ml_intern.jobs.curves import is_number, last_quarter, rows, slope
from ml_intern.tooling import did_you_mean

__all__ = ["condition", "last_quarter", "names_in", "newest", "rows", "select", "slope", "summary"]

_FIXED = ("step", "total_steps", "epoch", "time")
_NO_SLOPE = re.compile(
    r"^learning_rate$|^grad_norm$|runtime|_per_second|^total_flos$|^num_input_tokens_seen$"
)


def newest(path: Path) -> dict[str, Any]:
    """``step``, ``total_steps`` and the newest finite value of each metric."""
    found: dict[str, Any] = {"step": 0, "total_steps": 0, "metrics": {}}
    for row in rows(path):
        found["step"] = row["step"]
        found["total_steps"] = row.get("total_steps") or found["total_steps"]
        values = {k: float(v) for k, v in row.items() if is_number(v) and k not in _FIXED}
        found["metrics"].update(values)
        if is_number(row.get("epoch")):
            found["metrics"]["epoch"] = row["epoch"]
    return found


def names_in(table: list[dict[str, Any]]) -> list[str]:
    """The metrics that the rows have, without step and time."""
    return sorted({name for row in table for name in row} - set(_FIXED))


def select(table: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """The rows that have one of the metrics, with these and the step.

    Raises:
        ToolError: No row has a metric of that name.
    """
    known = names_in(table)
    for name in names:
        if name not in known and name not in _FIXED:
            raise ToolError(
                f"There is no metric {name!r}{did_you_mean(name, known)}.",
                f"Metrics so far: {', '.join(known) or 'none'}.",
            )
    kept = ("step", *names)
    return [{k: row[k] for k in kept if k in row} for row in table if any(n in row for n in names)]


def summary(table: list[dict[str, Any]]) -> dict[str, dict[str, int | float]]:
    """Each metric in a few numbers.

    Returns:
        ``first``, ``last``, ``min``, ``max``, ``count``, ``slope`` (change a step over the last
        quarter of the steps, by least squares) and ``not_finite`` (values that were NaN or infinite), to
        six significant digits. What no training is steered by has no slope: see `_NO_SLOPE`.
    """
    found = {}
    for name in names_in(table):
        points = [(row["step"], row[name]) for row in table if name in row]
        good = [(float(step), float(value)) for step, value in points if is_number(value)]
        numbers: dict[str, int | float] = {"count": len(points), "not_finite": len(points) - len(good)}
        if good:
            values = [value for _, value in good]
            numbers |= {"first": values[0], "last": values[-1], "min": min(values), "max": max(values)}
        if len(good) > 1 and not _NO_SLOPE.search(name):
            numbers["slope"] = slope(last_quarter(good))
        found[name] = {k: v if isinstance(v, int) else float(f"{v:.6g}") for k, v in numbers.items()}
    return found
