"""Reading ``metrics.jsonl``: one JSON object a line, appended by the recipe while it trains."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_intern.errors import ToolError
from ml_intern.jobs.model import JobStatus
from ml_intern.tooling import did_you_mean

_FIXED = ("step", "total_steps", "epoch", "time")
_NO_SLOPE = re.compile(
    r"^learning_rate$|^grad_norm$|runtime|_per_second|^total_flos$|^num_input_tokens_seen$"
)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows by step. A line that is still being written is left for the next reading.

    After a resume steps repeat: what was written last for a step wins, value by value.
    """
    by_step: dict[int, dict[str, Any]] = {}
    if not path.is_file():
        return []
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue  # Cut by a kill; the resumed run writes the step again. Or written to do harm.
        if isinstance(row, dict) and _is_count(row.get("step", "")) and _is_count(row.get("total_steps", 0)):
            by_step.setdefault(row["step"], {}).update(row)
    return [by_step[step] for step in sorted(by_step)]


def newest(path: Path) -> dict[str, Any]:
    """``step``, ``total_steps`` and the newest finite value of each metric."""
    found: dict[str, Any] = {"step": 0, "total_steps": 0, "metrics": {}}
    for row in rows(path):
        found["step"] = row["step"]
        found["total_steps"] = row.get("total_steps") or found["total_steps"]
        values = {k: float(v) for k, v in row.items() if _is_number(v) and k not in _FIXED}
        found["metrics"].update(values)
        if _is_number(row.get("epoch")):
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
        good = [(float(step), float(value)) for step, value in points if _is_number(value)]
        numbers: dict[str, int | float] = {"count": len(points), "not_finite": len(points) - len(good)}
        if good:
            values = [value for _, value in good]
            numbers |= {"first": values[0], "last": values[-1], "min": min(values), "max": max(values)}
        if len(good) > 1 and not _NO_SLOPE.search(name):
            numbers["slope"] = slope(last_quarter(good))
        found[name] = {k: v if isinstance(v, int) else float(f"{v:.6g}") for k, v in numbers.items()}
    return found


def last_quarter(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points in the last quarter of the steps, three at least where there are so many."""
    since = points[-1][0] - (points[-1][0] - points[0][0]) / 4
    return [p for p in points if p[0] >= since] if sum(p[0] >= since for p in points) >= 3 else points[-3:]


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares; 0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    x0 = sum(x for x, _ in points) / len(points)
    y0 = sum(y for _, y in points) / len(points)
    spread = sum((x - x0) ** 2 for x, _ in points)
    return sum((x - x0) * (y - y0) for x, y in points) / spread if spread else 0.0


def condition(text: str) -> Callable[[JobStatus], bool]:
    """Read ``loss < 3.5`` or ``step >= 100``; the function says whether a status meets it.

    Raises:
        ToolError: The text is not such a comparison.
    """
    found = re.fullmatch(r"\s*([\w/.-]+?)\s*(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?(?:e-?\d+)?)\s*", text)
    if not found:
        raise ToolError(
            f"The condition {text!r} is not understood.", "Write it as 'loss < 3.5' or 'step >= 100'."
        )
    name, compare, bound = found[1], _COMPARE[found[2]], float(found[3])

    def holds(status: JobStatus) -> bool:
        value = status.step if name == "step" else status.metrics.get(name)
        return value is not None and compare(value, bound)

    return holds


def _is_count(value: Any) -> bool:
    """Whether it can be a number of steps: a job may write what it likes."""
    return type(value) is int and 0 <= value < 1 << 53


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False
