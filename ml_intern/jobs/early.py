"""Ends a training early and keeps its model. Standard library only: a job's supervisor uses it.

The word is a file beside the checkpoints. A recipe looks for it after each step, and then ends as if that
step had been the last: it saves its model and writes down what it did.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.jobs.curves import is_number, rows

if TYPE_CHECKING:
    from ml_intern.jobs.conditions import Condition

STOP_FILE = "stop"
PAUSE_S = 1.0


def stop_file(folder: Path) -> Path:
    """Where a job looks for the word."""
    return folder / "checkpoints" / STOP_FILE


def ask_to_stop(folder: Path, why: str) -> None:
    """Ask a training to end after its step; the first reason that is given stays."""
    if not stop_file(folder).exists():
        stop_file(folder).write_text(why)


class StopRule:
    """The condition on which a supervisor ends a training, and whether somebody else has asked for it.

    Args:
        folder: The job's.
        plan: What its supervisor was told.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        self._folder = folder
        self._condition = _read(plan)
        self._told = ""
        self._size = -1
        self._next = 0.0

    def told(self) -> str:
        """Why the training is to end, once; empty as long as it goes on, and after it was told."""
        if self._told:
            return ""
        now = time.monotonic()
        if self._condition is not None and now >= self._next:
            self._next = now + PAUSE_S
            if why := self._met(self._condition):
                ask_to_stop(self._folder, why)
        if stop_file(self._folder).exists():
            self._told = stop_file(self._folder).read_text(errors="replace")[:500] or "It was asked to stop."
        return self._told

    def _met(self, asked: Condition) -> str:
        from ml_intern.jobs.rules import Run

        path = self._folder / "metrics.jsonl"
        size = path.stat().st_size
        if size == self._size:
            return ""
        self._size = size
        table = rows(path)
        newest = {k: float(v) for row in table for k, v in row.items() if is_number(v)}
        step = table[-1]["step"] if table else 0
        met = asked.check(step, newest, Run(table, limits=asked.limits))
        return f"{asked.text}: {met.why}" if met else ""


def _read(plan: Mapping[str, Any]) -> Condition | None:
    if not plan.get("stop_when"):
        return None  # Most jobs: their supervisors start without the rules.
    from ml_intern.jobs.conditions import condition
    from ml_intern.jobs.thresholds import Thresholds

    try:
        limits = Thresholds.of(plan.get("alerts") or {})
        return condition(plan["stop_when"], limits)
    except (ToolError, ValueError):
        return None  # It was checked when it was asked; a file that somebody changed is no order.
