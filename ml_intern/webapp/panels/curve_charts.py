"""The curves of some jobs, one picture a metric, as SVG that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml_intern.jobs.curves import thinned
from ml_intern.reports.drawing import line_chart
from ml_intern.webapp.panels.job_folders import JobView, names_of, points_of
from ml_intern.webapp.panels.markup import empty

DRAWN = 8
"""Curves of a picture, as many as can be told apart."""
MOST_CHARTS = 12
MOST_CHOICES = 60
_FIRST_METRICS = 4
_MARKED = ("loss", "reward")
_LONGEST = 60


@dataclass(frozen=True)
class Chosen:
    """What is drawn and how.

    Attributes:
        jobs: Ids; nothing: the newest.
        metrics: Names; nothing: those that say how it goes.
        smoothing: Share of a curve's points, in percent, whose median is drawn; 0: none.
        log: Whether the values are on a logarithmic axis.
    """

    jobs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    smoothing: int = 2
    log: bool = False


def measured(jobs: Sequence[JobView]) -> list[JobView]:
    """The jobs that have curves, the newest first."""
    return [job for job in reversed(jobs) if job.status.metrics][:MOST_CHOICES]


def choices(jobs: Sequence[JobView]) -> tuple[list[tuple[str, str]], list[str]]:
    """What there is to choose: jobs with their names, and metrics."""
    known = measured(jobs)
    named = [(f"{job.status.name[:_LONGEST]} ({job.id})", job.id) for job in known]
    return named, [name for name in names_of(known) if len(name) <= 200][:MOST_CHOICES]


def settled(jobs: Sequence[JobView], chosen: Chosen) -> tuple[list[JobView], list[str]]:
    """The jobs and metrics that are drawn: what was chosen of what is there, else what is worth a look."""
    known = measured(jobs)
    of = [job for job in known if job.id in chosen.jobs][:DRAWN] or known[:DRAWN]
    of.reverse()  # oldest first: a new job leaves the others their colours
    every = choices(of)[1]
    names = [name for name in every if name in chosen.metrics]
    return of, names[:MOST_CHARTS] or [n for n in every if n not in ("learning_rate", "epoch")][
        :_FIRST_METRICS
    ]


def curve_charts(jobs: Sequence[JobView], chosen: Chosen) -> str:
    """One picture a metric."""
    if not measured(jobs):
        return empty(
            "No curves yet. They are drawn while a job trains, as soon as it writes its first metrics."
        )
    of, names = settled(jobs, chosen)
    drawn = [_chart(of, name, chosen) for name in names]
    return (
        f'<div class="charts">{"".join(drawn)}</div>' if any(drawn) else empty("Nothing that can be drawn.")
    )


def _chart(jobs: Sequence[JobView], name: str, chosen: Chosen) -> str:
    series = {job.id: list(thinned(points_of(job, name))) for job in jobs}
    longest = max((len(points) for points in series.values()), default=0)
    half = round(longest * chosen.smoothing / 200)
    marks = [
        (float(seen.step), f"{job.id}: {seen.kind.replace('_', ' ')}")
        for job in jobs
        for seen in job.alerts
        if name in _MARKED
    ]
    return line_chart(name[:_LONGEST], series, marks, 0, chosen.log or None, half)
