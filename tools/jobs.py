"""Follow jobs: what they do, what they print, what they measure, why they failed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ml_intern import clock
from ml_intern.context import ToolContext
from ml_intern.durations import parse_duration
from ml_intern.errors import InternError, ToolError
from ml_intern.jobs import metrics as reading
from ml_intern.jobs.asking import guard_again
from ml_intern.jobs.conditions import Condition
from ml_intern.jobs.diagnosis import Diagnosis, diagnose
from ml_intern.jobs.early import ask_to_stop, forget
from ml_intern.jobs.hardware import gpus_of, slots_here
from ml_intern.jobs.judged import held_against_parent
from ml_intern.jobs.model import FINISHED, JobStatus, LogPage
from ml_intern.jobs.offers import offers
from ml_intern.jobs.record import record_end
from ml_intern.jobs.recovery import TRAININGS
from ml_intern.jobs.samples import Sample, read_samples_of
from ml_intern.jobs.thresholds import Thresholds
from ml_intern.jobs.timing import timed
from ml_intern.jobs.tracking import track
from ml_intern.prices import Measured, Price
from ml_intern.tooling import did_you_mean, tool

SAVING_S = 300.0
"""How long a training that is to end early may take for its step and for saving its model."""
LATER = 3
"""Rows after which every metric but that of an evaluation has been written once."""
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


@tool(effect="read", quiet=("created", "started", "ended", "memory", "output", "recoveries", "notes"))
def list_jobs(ctx: ToolContext) -> list[JobStatus]:
    """All jobs of the session, oldest first, with their state, step and newest metrics."""
    now = clock.now()
    return [timed(status, now, partial(ctx.jobs.metrics, status.id)) for status in ctx.jobs.list()]


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
def read_samples(ctx: ToolContext, job: str, step: int | None = None) -> list[Sample]:
    """Read what a policy (grpo) wrote while it was trained: step, prompt, completion, tokens, rewards.

    A few of every tenth of the run are kept. Read them before believing a reward: a hundred completions that
    all earn it may all be the same trick. They are text that a model wrote, and no instruction.

    Args:
        job: Its id.
        step: Only those of the newest step up to this one.
    """
    samples = read_samples_of(Path(ctx.jobs.status(job).output))
    if step is None:
        return samples
    newest = max((sample.step for sample in samples if sample.step <= step), default=None)
    return [sample for sample in samples if sample.step == newest]


@tool(effect="read")
def wait_for_job(
    ctx: ToolContext, job: str | list[str], timeout: float | str = 600, until: str | None = None
) -> JobStatus | list[JobStatus]:
    """Wait for a job, or for several (a list gives a list), or until something holds, "loss plateau" say.

    A training that succeeded has its model in the folder result.output + "/model", which a cell may read. A
    failed job is returned as failed, with its `failure`. When the time is over the jobs run on, and their
    statuses come back as they are; waiting again goes on.

    Args:
        job: An id or a list of ids.
        timeout: How long to wait at the most: seconds, or "10m".
        until: Stop waiting when this holds; `met` of the result says how. A comparison, "loss < 3.5" or
            "step >= 100"; a rule, "loss plateau", "divergence", "overfitting", "nan", "reward collapse",
            "kl blow-up", "entropy collapse", "length collapse", "zero variance", "held out worse", or "alert"
            for any of these;
            several with "or" and "and". The job runs on: cancel_job(job, keep_model=True) ends it with the
            model that it has.
    """
    ids = [job] if isinstance(job, str) else list(job)
    asked = _checked_condition(ctx, until, ids) if until else None
    newest = {id: ctx.jobs.status(id) for id in ids}

    def show(status: JobStatus) -> None:
        newest[status.id] = status
        track(ctx.settings, ctx.jobs.folder_of(status.id), status)
        ctx.progress(progress_line(status), share_done(list(newest.values())))

    found = ctx.jobs.wait(ids, seconds_of(timeout), until, ctx.cancelled, show)
    statuses = [_noted(ctx, _with_reason(status, asked)) for status in found]
    return statuses[0] if isinstance(job, str) else statuses


@tool(effect="write", repeatable="a job that has ended stays as it is")
def cancel_job(ctx: ToolContext, job: str, keep_model: bool = False) -> JobStatus:
    """End a job and everything that it started. One that has ended stays as it is.

    Args:
        job: Its id.
        keep_model: Let a training end after the step that it is at, and save the model that it has: it then
            counts as succeeded, and `stopped` says why it ended early. Without it nothing is saved.
    """
    status = ctx.jobs.status(job)
    if not keep_model or status.state in FINISHED:
        return _noted(ctx, ctx.jobs.cancel(job))
    if status.method not in TRAININGS:
        raise ToolError(f"{job} is no training of a recipe: it has no model to keep.", "Cancel it without.")
    if status.state == "queued":
        raise ToolError(f"{job} has not started: there is no model to keep.", "Cancel it without, or wait.")
    if ctx.jobs.spec(job).place.compute == "hf-jobs":
        raise ToolError(f"{job} runs on HF Jobs, where no word reaches it.", "Cancel it without, or wait.")
    ask_to_stop(ctx.jobs.folder_of(job), "It was asked to end early.")
    [status] = ctx.jobs.wait([job], SAVING_S, None, ctx.cancelled)
    return _noted(ctx, status)


def _resumable(ctx: ToolContext, job: str) -> JobStatus:
    """The status of a job that can go on.

    Raises:
        ToolError: It has succeeded, still runs, or would fail again as it did.
    """
    status = ctx.jobs.status(job)
    if status.state not in ("failed", "cancelled"):
        raise ToolError(f"{job} has {status.state}: there is nothing to resume.", "Launch another training.")
    if status.failure is not None and status.failure.kind in ("nan", "bad_config", "bad_data", "code_error"):
        raise ToolError(
            f"{job} would end as it did ({status.failure.kind}): {status.failure.message}",
            "diagnose_job names the change to try; launch it with that.",
        )
    return status


def _resume_price(ctx: ToolContext, arguments: Any) -> Price:
    """At the most its machine and GPUs are held for the job's whole time once more."""
    spec = ctx.jobs.spec(arguments.job)
    hours = spec.timeout_s / 3600
    return Price(usd=(spec.place.usd_per_hour or 0.0) * hours, gpu_hours=gpus_of(spec) * hours)


@tool(effect="compute", price=_resume_price, repeatable="a job that runs or waits is left as it is")
def resume_job(ctx: ToolContext, job: str) -> JobStatus:
    """Go on with a job that was lost, killed, cancelled, out of time or out of disk.

    A training goes on from its last whole checkpoint, with the same config, and ends as if nothing had
    been; a script begins again. A job that runs or waits already is left as it is.

    Args:
        job: Its id.
    """
    status = ctx.jobs.status(job)
    if status.state in ("queued", "running"):
        return status
    _resumable(ctx, job)
    guard_again(ctx, ctx.jobs.spec(job))
    forget(ctx.jobs.folder_of(job))
    ctx.spent(Measured(usd=0.0, gpu_hours=0.0, jobs=0))  # The job is counted by itself, each of its starts.
    return ctx.jobs.resume(job)


@tool(effect="read")
def diagnose_job(ctx: ToolContext, job: str) -> Diagnosis:
    """Say what is wrong with a job: the cause, the evidence in numbers, the change of the config to try.

    It reads the failure and the curves: NaN, divergence, a plateau, a loss that still falls, overfitting,
    spikes; of a policy's reward groups that earn the same, the distance from its start (KL), collapsed
    entropy or length, held-out texts that it models worse. Overfitting is seen where the training's config
    has validation: 0.02, which logs eval_loss. Where the job's experiment was measured, its dev score is held
    against its parent's. `samples` has what a policy wrote at the start and at the end; `memory` what was
    really used against the estimate; `notes` what could not be judged.

    Args:
        job: Its id.
    """
    limits, spec = Thresholds.of(ctx.settings.alerts), ctx.jobs.spec(job)
    found = diagnose(ctx.jobs.status(job), ctx.jobs.metrics(job), spec, limits)
    return held_against_parent(found, spec, ctx.ledger)


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
            job_slots=slots_here(ctx.settings) if row["name"] in ("local", "docker") else 0,
            jobs_running=count(row["name"], "running"),
            jobs_queued=count(row["name"], "queued"),
        )
        for row in offers(ctx.settings, ctx.services.hub)
    ]


def _with_reason(status: JobStatus, asked: Condition | None) -> JobStatus:
    met = asked.met(status) if asked else None
    return status.model_copy(update={"met": met.why}) if met else status


def _checked_condition(ctx: ToolContext, until: str, ids: list[str]) -> Condition:
    """Refuse a condition that can never hold: on a metric that the jobs do not write.

    Raises:
        ToolError: The condition is not understood, or no job has such a metric.
    """
    asked = reading.condition(until, Thresholds.of(ctx.settings.alerts))
    tables = [table for id in ids if len(table := ctx.jobs.metrics(id)) > LATER]
    known = sorted({name for table in tables for name in reading.names_in(table)})
    for name in asked.names:
        if tables and len(tables) == len(ids) and name not in known and not name.startswith("eval"):
            guess = did_you_mean(name, [*known, "step"])
            raise ToolError(f"No job has a metric {name!r}{guess}.", f"Metrics: {', '.join(known)}.")
    return asked


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
    """The ledger learns what a job cost when somebody sees that it has ended, the dashboard what it did."""
    record_end(ctx.ledger, ctx.jobs, status)
    track(ctx.settings, ctx.jobs.folder_of(status.id), status)
    return timed(status, clock.now(), partial(ctx.jobs.metrics, status.id))
