"""Ends a training early and keeps its model. Standard library only: a job's supervisor uses it.

The word is a file in the job's folder, which the job cannot write. Its supervisor reads it, and lays an empty
one beside the checkpoints. A recipe looks for that after each step, and then ends as if the step had been the
last: it saves its model and writes down what it did. Nothing that a job writes is read here but its metrics,
and of these no more than is good for a small process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import ToolError
from ml_intern.jobs.curves import is_number, rows

if TYPE_CHECKING:
    from ml_intern.jobs.conditions import Condition

STOP_FILE = "stop"
PAUSE_S = 1.0
_MOST_BYTES = 64 << 20
_LONGEST = 500


def ask_to_stop(folder: Path, why: str) -> None:
    """Ask a training to end after its step; the first reason that is given stays."""
    if not (folder / STOP_FILE).exists():
        fresh = folder / f"{STOP_FILE}.new"
        fresh.write_text(why[:_LONGEST])
        fresh.replace(folder / STOP_FILE)


def forget(folder: Path) -> None:
    """Take the word back, before a job goes on."""
    for place in (folder, folder / "checkpoints"):
        with suppress(OSError):  # The job may have put whatever it likes into its own folder.
            (place / STOP_FILE).unlink(missing_ok=True)


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
        if (self._folder / STOP_FILE).exists():
            self._told = (self._folder / STOP_FILE).read_text() or "It was asked to stop."
            self._pass_on()
        return self._told

    def _pass_on(self) -> None:
        """Tell the job. What is there already is the job's own doing, and no link of its is followed."""
        how = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY
        with suppress(OSError):
            os.close(os.open(self._folder / "checkpoints" / STOP_FILE, how, 0o644))

    def _met(self, asked: Condition) -> str:
        from ml_intern.jobs.runs import Run

        path = self._folder / "metrics.jsonl"
        size = path.stat().st_size
        if size == self._size or size > _MOST_BYTES:
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
