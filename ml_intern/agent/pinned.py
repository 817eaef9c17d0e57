"""What stays in sight when old steps leave the prompt: how things stand, and where long texts are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.agent.notes import plan_of
from ml_intern.agent.view import Spill
from ml_intern.jobs.model import FINISHED

if TYPE_CHECKING:
    from ml_intern.context import Services

SPILLED = Path("long-texts")
"""In the workspace, so that cells and read_file reach it."""


def pinned(services: Services) -> str:
    """Budget, plan, best experiment, running jobs and sealed evals, as they stand now."""
    left = {unit: amount for unit, amount in services.left().items() if amount is not None}
    lines = [f"- Budget left: {left or 'no ceiling'}."]
    if plan := plan_of(services.notes):
        lines.append("- Plan: " + "; ".join(f"{text} ({status})" for text, status in plan))
    if best := services.ledger.best():
        metrics = ", ".join(f"{name} {m.value:.4g}" for name, m in best.dev.items())
        lines.append(f"- Best experiment: {best.id} ({best.change}): {metrics}.")
    if running := [job.id for job in services.jobs.list() if job.state not in FINISHED]:
        lines.append(f"- Jobs that run: {', '.join(running)}.")
    if evals := [known.name for known in services.evals.list()]:
        lines.append(f"- Sealed evals: {', '.join(evals)}.")
    return "\n".join(lines)


def spill(services: Services, whose: str = "") -> Spill:
    """Keeps a text that is too long for the window in the workspace; `whose` stands before its name."""

    def keep(name: str, text: str) -> Path:
        from ml_intern.workspace.safe_files import write_file

        path = services.files.writable(SPILLED / f"{whose}{name}.txt")
        write_file(services.files.workspace, path, text.encode("utf-8", "replace"))
        return path

    return keep
