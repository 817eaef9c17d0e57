"""Follow jobs: what they do, what they print, what they measure, why they failed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from ml_intern.context import ToolContext
from ml_intern.durations import parse_duration
from ml_intern.errors import InternError, ToolError
from ml_intern.jobs import metrics as reading
from ml_intern.jobs.diagnosis import Diagnosis, diagnose
from ml_intern.jobs.model import FINISHED, JobStatus, LogPage
from ml_intern.jobs.offers import offers
from ml_intern.jobs.record import record_end
from ml_intern.tooling import tool

_BAR = 20


class Metrics(BaseModel):
    """A job's metrics.

    Attributes:
        rows: One dict a logged step.
        summary: By metric: first, last, min, max, count, slope (a step, over the last quarter), not_finite;
            six significant digits.
        names: All metrics that the job has written.
    """

    job: str
    rows: list[dict[str, Any]]
    summary: dict[str, dict[str, int | float]]
    names: list[str]


class Hardware(BaseModel):
    """A place where jobs run, and how much of it is taken.

    Attributes:
        name: What `hardware` takes.
        job_slots: Jobs that may run at one time; 0 where a queue of its own decides.
        usd_per_hour: Of a rented machine, while a job starts or runs.
        note: What else there is to know.
    """

    name: str
    kind: str
    cores: int
    memory_gb: float
    gpu: str
    job_slots: int
    jobs_running: int
    jobs_queued: int
    usd_per_hour: float = 0.0
    note: str = ""


@tool(effect="read")
def list_jobs(ctx: ToolContext) -> list[JobStatus]:
    """All jobs of the session, oldest first, with their state, step and newest metrics."""
    return ctx.jobs.list()


@tool(effect="read")
def job_status(ctx: ToolContext, job: str) -> JobStatus:
    """How one job stands; a failed one says why, with its last lines and the line of code.

    Args:
        job: Its id.
    """
    return _noted(ctx, ctx.jobs.status(job))


@tool(effect="read")
def job_logs(ctx: ToolContext, job: str, offset: int = 0, limit: int = 20_000) -> LogPage:
    """Read a stretch of a job's log. Reading on from next_offset gives each line once.

    Args:
        job: Its id.
        offset: Byte to start at; negative counts from the end.
        limit: Bytes at the most.
    """
    return ctx.jobs.logs(job, offset, min(limit, 200_000))


@tool(effect="read")
def read_metrics(ctx: ToolContext, job: str, names: list[str] | None = None) -> Metrics:
    """Read what a job measured, as rows for pandas and as a summary of each metric.

    Args:
        job: Its id.
        names: Only these metrics, such as ["loss", "grad_norm"].
    """
    every = ctx.jobs.metrics(job)
    rows = reading.select(every, names) if names else every
    return Metrics(job=job, rows=rows, summary=reading.summary(rows), names=reading.names_in(every))


@tool(effect="read")
def wait_for_job(
    ctx: ToolContext, job: str | list[str], timeout: float | str = 600, until: str | None = None
) -> JobStatus | list[JobStatus]:
    """Wait for one job or several; a list of ids gives a list of statuses in its order.

    A training that succeeded has its model in the folder result.output + "/model", which a cell may read. A
    failed job is returned as failed, with its `failure`. When the time is over the jobs run on, and their
    statuses come back as they are; waiting again goes on.

    Args:
        job: An id or a list of ids.
        timeout: How long to wait at the most: seconds, or "10m".
        until: Stop waiting when this holds, such as "loss < 3.5" or "step >= 100".
    """
    ids = [job] if isinstance(job, str) else list(job)
    newest = {id: ctx.jobs.status(id) for id in ids}

    def show(status: JobStatus) -> None:
        newest[status.id] = status
        ctx.progress(progress_line(status), share_done(list(newest.values())))

    found = ctx.jobs.wait(ids, seconds_of(timeout), until, ctx.cancelled, show)
    statuses = [_noted(ctx, status) for status in found]
    return statuses[0] if isinstance(job, str) else statuses


@tool(effect="write", repeatable="a job that has ended stays as it is")
def cancel_job(ctx: ToolContext, job: str) -> JobStatus:
    """End a job and everything that it started. One that has ended stays as it is.

    Args:
        job: Its id.
    """
    return _noted(ctx, ctx.jobs.cancel(job))


@tool(effect="read")
def diagnose_job(ctx: ToolContext, job: str) -> Diagnosis:
    """Read a job's curves for trouble: NaN, divergence, a plateau, a loss that still falls, overfitting.

    Overfitting is seen where the training's config has validation: 0.02, which logs eval_loss.

    Args:
        job: Its id.
    """
    return diagnose(ctx.jobs.status(job), ctx.jobs.metrics(job))


@tool(effect="read")
def list_hardware(ctx: ToolContext) -> list[Hardware]:
    """Where jobs can run, what each place has and costs, and how many of the session's jobs are there.

    The names are what `hardware` of launch_training and launch_script takes.
    """
    found = ctx.jobs.list()

    def count(place: str, state: str) -> int:
        return sum(job.compute == place and job.state == state for job in found)

    return [
        Hardware(
            **row,
            job_slots=ctx.settings.slots if row["name"] in ("local", "docker") else 0,
            jobs_running=count(row["name"], "running"),
            jobs_queued=count(row["name"], "queued"),
        )
        for row in offers(ctx.settings, ctx.services.hub)
    ]


def progress_line(status: JobStatus) -> str:
    """A job in one line with a bar: ``baseline-1 ████░░ 40/160 loss 4.213``."""
    if status.state == "queued":
        return f"{status.id} waits for a slot"
    if status.failure:
        return f"{status.id} failed: {status.failure.message}"
    done = round(_BAR * share_done([status]))
    bar = "█" * done + "░" * (_BAR - done)
    loss = f" loss {status.metrics['loss']:.3f}" if "loss" in status.metrics else ""
    steps = f" {status.step}/{status.total_steps}" if status.total_steps else ""
    return f"{status.id} {bar}{steps}{loss}"


def seconds_of(duration: float | str) -> float:
    """Seconds of a duration as a cell writes it.

    Raises:
        ToolError: It is none.
    """
    try:
        return parse_duration(duration, "timeout")
    except InternError as error:
        raise ToolError(error.message, error.hint) from None


def share_done(statuses: list[JobStatus]) -> float:
    """How much of several jobs is done, between 0 and 1; one that has ended counts whole."""
    shares = [
        1.0 if s.state in FINISHED else min(1.0, s.step / s.total_steps) if s.total_steps else 0.0
        for s in statuses
    ]
    return sum(shares) / len(shares) if shares else 1.0


def _noted(ctx: ToolContext, status: JobStatus) -> JobStatus:
    """The ledger learns what a job cost when somebody sees that it has ended."""
    record_end(ctx.ledger, ctx.jobs, status)
    return status
