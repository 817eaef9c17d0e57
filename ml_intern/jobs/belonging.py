"""Which experiment a model belongs to: what it is measured for is what its training was launched for."""

from __future__ import annotations

from pathlib import Path

from ml_intern.context import ToolContext
from ml_intern.errors import ToolError
from ml_intern.jobs.preflight import METHODS
from ml_intern.jobs.record import record_start
from ml_intern.models import TRAINING


def bring_in(ctx: ToolContext, experiment: str, model: str) -> None:
    """A training that was launched without an experiment belongs to the one that it is measured for.

    So its configuration is known, and a seed that was picked among many is seen to be one.
    """
    found = next((job for job in ctx.jobs.list() if job.id == model and job.method in TRAINING), None)
    if found is None:
        return
    if found.method in METHODS:
        record_start(ctx.ledger, ctx.jobs.spec(model).model_copy(update={"experiment": experiment}), model)
    else:
        ctx.ledger.attach(experiment, job=model)


def demand_own(ctx: ToolContext, experiment: str, model: str, path: Path) -> None:
    """Refuse to measure an experiment that has trained by weights that it has not made.

    Raises:
        ToolError: They come from elsewhere.
    """
    jobs = [job for job in ctx.ledger.get(experiment).jobs if ctx.jobs.spec(job).method in TRAINING]
    if jobs and not any(ctx.jobs.folder_of(job) in path.parents for job in jobs):
        raise ToolError(
            f"{experiment} is what {', '.join(jobs)} trained, and {model!r} is not of it.",
            f"evaluate({experiment!r}, …) scores its own model; open another experiment for this one.",
        )
