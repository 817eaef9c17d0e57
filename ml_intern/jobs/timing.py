"""How long a job has run, and how long its steps may still take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml_intern.jobs.curves import is_number
from ml_intern.jobs.model import JobStatus

Rows = list[dict[str, Any]]


def timed(status: JobStatus, now: float, rows: Callable[[], Rows]) -> JobStatus:
    """A status with its times so far; only of a job that runs, and only where somebody asks for it.

    Args:
        status: As the job's folder tells it.
        now: The time of day.
        rows: What it measured; called for a job that runs.
    """
    if status.state != "running" or status.started is None:
        return status
    so_far = status.seconds if status.seconds is not None else round(max(0.0, now - status.started), 1)
    left = seconds_left(rows(), status.total_steps, now)
    return status.model_copy(update={"seconds": so_far, "seconds_left": left})


def seconds_left(rows: Rows, total_steps: int, now: float) -> float | None:
    """What is left at the pace since the first row that trained; the time before was imports, no training.

    A job that has fallen silent has less left only by the steps that it has told of: what has passed since
    its last row is taken off, down to nothing.
    """
    marks = [(row["time"], row["step"]) for row in rows if is_number(row.get("time")) and row["step"] > 0]
    if not total_steps or len(marks) < 2 or marks[-1][1] <= marks[0][1]:
        return None
    (began, first), (last, step) = marks[0], marks[-1]
    pace = (last - began) / (step - first)
    return round(max(0.0, pace * (total_steps - step) - max(0.0, now - last)), 1) if pace >= 0 else None
