"""A training that goes well, in one sentence with its numbers."""

from __future__ import annotations

from collections.abc import Set

from ml_intern.jobs.curves import curve, level, window
from ml_intern.jobs.model import FINISHED, JobStatus
from ml_intern.jobs.runs import Run

_TOLD = ("loss", "eval_loss", "reward", "eval_reward")


def how_it_went(run: Run, status: JobStatus, notes: Set[str]) -> str:
    """How a training stands in which nothing looks wrong: ``loss 2.1 → 0.0013, eval_loss 0.027``.

    Args:
        run: What it measured.
        status: How it stands.
        notes: The kinds of what is worth knowing of it.
    """
    told = ", ".join(filter(None, (_course(run, name) for name in _shown(run)))) or "it measured no loss"
    if status.state not in FINISHED:
        flat = ", flat by now" if "plateau" in notes else ""
        where = f"step {status.step} of {status.total_steps}" if status.total_steps else f"step {status.step}"
        return f"Nothing looks wrong so far, at {where}: {told}{flat}."
    if "plateau" in notes:
        return f"Nothing looks wrong: {told}, flat at the end: it has converged."
    if "still_falling" in notes:
        return f"Nothing looks wrong: {told}, and the loss was still falling: more steps would help."
    return f"Nothing looks wrong: {told}."


def _shown(run: Run) -> list[str]:
    """A policy's loss says nothing."""
    return [name for name in _TOLD if not (run.policy and name.endswith("loss"))]


def _course(run: Run, name: str) -> str:
    points = curve(run.table, name)
    if not points:
        return ""
    # Rows set apart are the same each time; of a loss of batches neighbours are taken together.
    last = points[-1][1] if name.startswith("eval") else level(points[-window(points) :])
    return f"{name} {points[0][1]:.3g} → {last:.3g}"
