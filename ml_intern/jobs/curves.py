"""The arithmetic of noisy curves. Standard library only: a job's supervisor uses it.

Everything is made of medians and of differences between neighbours: one wild batch moves neither, and no
shape has to be assumed of what lies below the noise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

Point = tuple[float, float]
"""A step and a value."""

_TAIL_BYTES = 1 << 18
_MOST_POINTS = 600
_NORMAL = 1.4826
"""From a median of absolute deviations to a standard deviation, for normal noise."""


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl`` by step. A line that is still being written is left for the next
    reading.

    After a resume steps repeat: what was written last for a step wins, value by value.
    """
    by_step: dict[int, dict[str, Any]] = {}
    if not path.is_file():
        return []
    for row in parsed(path.read_bytes()):
        by_step.setdefault(row["step"], {}).update(row)
    return [by_step[step] for step in sorted(by_step)]


def parsed(text: bytes) -> Iterator[dict[str, Any]]:
    """The rows in a stretch of a ``metrics.jsonl``; a last line without its end is left out."""
    for line in text.split(b"\n")[:-1]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue  # Cut by a kill; the resumed run writes the step again. Or written to do harm.
        if isinstance(row, dict) and _is_count(row.get("step", "")) and _is_count(row.get("total_steps", 0)):
            yield row


def newest_step(path: Path) -> int:
    """The last step that a ``metrics.jsonl`` tells of, from its last part: a job may have written much."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return max((row["step"] for row in parsed(file.read())), default=0)


def curve(table: Sequence[dict[str, Any]], name: str) -> list[Point]:
    """The finite values of a metric by step."""
    return [(float(row["step"]), float(row[name])) for row in table if is_number(row.get(name))]


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """A long curve in fewer points, medians of neighbours: rules look at a run again and again."""
    size = math.ceil(len(points) / _MOST_POINTS)
    if size <= 1:
        return points
    blocks = (points[n : n + size] for n in range(0, len(points) - size + 1, size))
    return [(block[-1][0], level(block)) for block in blocks]


def median(values: Iterable[float]) -> float:
    """The middle value; NaN where there are none. `statistics` takes long to import."""
    found = sorted(values)
    middle = len(found) // 2
    if not found:
        return math.nan
    return found[middle] if len(found) % 2 else (found[middle - 1] + found[middle]) / 2


def level(points: Sequence[Point]) -> float:
    """The median of the values; NaN where there are none."""
    return median(value for _, value in points)


def window(points: Sequence[Point], share: float = 0.125, least: int = 3) -> int:
    """How many points make up the newest of it: a share of all, and enough for a median to be worth
    something."""
    return max(least, math.ceil(len(points) * share))


def noise(points: Sequence[Point]) -> float:
    """The standard deviation of one value around a smooth curve, from second differences.

    A straight line has none of these, and white noise of deviation s has some of deviation s * sqrt(6). The
    newest half of a long curve counts, as noise shrinks with the loss.
    """
    return _bend([value for _, value in points[-max(12, len(points) // 2) :]])


def _bend(values: Sequence[float]) -> float:
    bends = [abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return _NORMAL * median(bends) / math.sqrt(6) if bends else 0.0


def uncertainty(points: Sequence[Point], size: int) -> float:
    """The standard deviation of the median of `size` neighbours.

    The larger of two: what white noise gives, and what medians of shorter blocks really differ by, which
    tells of noise that lasts.
    """
    white = 1.2533 * noise(points) / math.sqrt(size)
    tail = points[len(points) // 4 :]  # The first fall is no noise.
    part = max(2, size // 3)  # Small enough that the curve's own bend is no noise.
    blocks = [level(tail[n : n + part]) for n in range(0, len(tail) - part + 1, part)]
    lasting = _bend(blocks) * math.sqrt(part / size) if len(blocks) >= 5 else 0.0
    return max(white, lasting)


def lowest(points: Sequence[Point], size: int) -> Point:
    """Where the median of `size` neighbours is lowest: the step of the middle one, and the median."""
    found = [
        (points[n + size // 2][0], level(points[n : n + size])) for n in range(max(1, len(points) - size + 1))
    ]
    return min(found, key=lambda point: point[1])


def last_quarter(points: Sequence[Point]) -> list[Point]:
    """The points in the last quarter of the steps, three at least where there are so many."""
    since = points[-1][0] - (points[-1][0] - points[0][0]) / 4
    found = [p for p in points if p[0] >= since]
    return found if len(found) >= 3 else list(points[-3:])


def slope(points: Sequence[Point]) -> float:
    """Least squares; 0 for fewer than two points."""
    return trend(points)[0]


def trend(points: Sequence[Point]) -> tuple[float, float]:
    """The slope by least squares and its standard error; zeros where there are too few points for one."""
    if len(points) < 2:
        return 0.0, 0.0
    x0 = sum(x for x, _ in points) / len(points)
    y0 = sum(y for _, y in points) / len(points)
    spread = sum((x - x0) ** 2 for x, _ in points)
    if not spread:
        return 0.0, 0.0
    found = sum((x - x0) * (y - y0) for x, y in points) / spread
    if len(points) < 3:
        return found, 0.0
    left = sum((y - y0 - found * (x - x0)) ** 2 for x, y in points)
    return found, math.sqrt(left / (len(points) - 2) / spread)


def is_number(value: Any) -> bool:
    """Whether it is a finite number; a job may write what it likes."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _is_count(value: Any) -> bool:
    """Whether it can be a number of steps."""
    return type(value) is int and 0 <= value < 1 << 53
