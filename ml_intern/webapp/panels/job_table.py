"""The table of a session's jobs and what there is to say of one, as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from ml_intern.cli.board import JobRow, clean
from ml_intern.durations import show_duration
from ml_intern.jobs.diagnosis import Diagnosis
from ml_intern.reports.words import escape
from ml_intern.webapp.panels.job_folders import MOST_JOBS, JobView, points_of
from ml_intern.webapp.panels.markup import badge, bar, empty, note, pickable, sparkline, table

_HEAD = ("Job", "State", "Progress", "Time", "Newest metrics", ">Cost")
_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "grey", "queued": "grey"}
_LONGEST = 120
_MOST_ALERTS = 8


def job_table(jobs: Sequence[JobView], picked: str, now: float) -> str:
    """All jobs, the newest first."""
    if not jobs:
        return empty("No jobs yet. Trainings and scripts of the session appear here as soon as they start.")
    rows = [pickable(job.id, job.id == picked, _cells(job, now)) for job in reversed(jobs)]
    more = f'<p class="soft">The newest {MOST_JOBS} jobs.</p>' if len(jobs) >= MOST_JOBS else ""
    return table(_HEAD, rows, tall=True) + more


def _cells(job: JobView, now: float) -> str:
    s = job.status
    named = f'<div class="name">{escape(s.name[:_LONGEST])}</div>'
    named += f'<div class="soft">{escape(job.id)} · {escape(s.method)} · {escape(s.compute)}</div>'
    why = f"{s.failure.kind}: {s.failure.message}" if s.failure else s.stopped
    state = badge(s.state, why)
    if job.alerts:
        told = "; ".join(seen.message for seen in job.alerts[:_MOST_ALERTS])
        state += f' <span title="{escape(told)}" aria-label="alerts">⚠ {len(job.alerts)}</span>'
    usd = job.usd(now)
    cost = "–" if usd is None else f"${usd:,.2f}"
    return (
        f'<td class="wide">{named}</td><td class="line">{state}</td><td>{_progress(job)}</td>'
        f'<td class="line">{_time(job, now)}</td><td>{_metrics(job)}</td><td class="num">{cost}</td>'
    )


def _progress(job: JobView) -> str:
    s = job.status
    if not s.total_steps:
        return f"step {s.step:,}" if s.step else '<span class="soft">–</span>'
    told = f'<span class="line">{s.step:,} of {s.total_steps:,}</span>'
    return told + bar(s.step / s.total_steps, _COLOURS.get(s.state, "blue"))


def _time(job: JobView, now: float) -> str:
    ran = job.ran_s(now)
    if job.status.state == "queued":
        return '<span class="soft">waits for a slot</span>'
    left = job.seconds_left
    below = f'<div class="soft">{show_duration(left)} left</div>' if left else ""
    return f"<div>{show_duration(ran)}</div>{below}"


def _metrics(job: JobView) -> str:
    metrics = {name[:_LONGEST]: value for name, value in job.status.metrics.items()}
    told = JobRow(job.id, job.status.name, metrics=metrics).headline()
    course = [v for _, v in points_of(job, "reward" if "reward" in metrics else "loss")]
    return f"<span>{escape(told) or '–'}</span> {sparkline(course)}"


def job_detail(job: JobView | None) -> str:
    """What there is to say of one job beyond its row: failure, alerts, recoveries, notes."""
    if job is None:
        return '<p class="soft">Pick a job to see its log and its alerts.</p>'
    s = job.status
    parts = [f"<h4>{escape(s.name[:_LONGEST])} {badge(s.state)}</h4>"]
    if s.experiment:
        parts.append(f'<p class="soft">Experiment <code>{escape(s.experiment)}</code></p>')
    if s.failure:
        where = f" {s.failure.line}" if s.failure.line else ""
        parts.append(note(f"{s.failure.kind}: {s.failure.message}{where}", "red", s.failure.hint))
    if s.stopped:
        parts.append(note(f"Ended early: {s.stopped}"))
    for seen in job.alerts[:_MOST_ALERTS]:
        parts.append(note(f"⚠ {seen.kind.replace('_', ' ')}: {seen.message}", "amber", seen.suggestion))
    parts += [note(f"Step {r.step:,}: {r.message} {r.action}", "amber") for r in s.recoveries]
    parts += [note(text) for text in s.notes]
    return "".join(parts)


def job_log(job: JobView | None, text: str) -> str:
    """The end of a job's log."""
    if job is None:
        return ""
    told = escape(clean(text)).strip() or "Nothing was printed yet."
    return f'<pre class="log" tabindex="0" aria-label="log" data-job="{escape(job.id)}">{told}</pre>'


def diagnosis_html(found: Diagnosis) -> str:
    """What the rules say of a job."""
    parts = [note(found.cause or "Nothing looks wrong.", "green" if found.healthy else "amber")]
    parts += [note(f.message, "amber", f.suggestion) for f in found.findings if f.message != found.cause]
    if found.change:
        told = ", ".join(f"{name} = {value}" for name, value in found.change.items())
        parts.append(note(f"To try next: {told}"))
    parts += [note(text) for text in found.notes]
    return f"<h4>Diagnosis of {escape(found.job)}</h4>" + "".join(parts)
