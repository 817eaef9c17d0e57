"""Jobs of a session as a table, and one of them: how it stands, its log, its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ml_intern.cli.board import OVER, clean, headline, show_number, sparkline
from ml_intern.cli.sessions import SessionCard, find_session, list_sessions
from ml_intern.cli.tables import print_json, print_table
from ml_intern.clock import now
from ml_intern.durations import show_duration
from ml_intern.errors import UsageError

if TYPE_CHECKING:
    from ml_intern.jobs.local import Jobs
    from ml_intern.jobs.model import JobStatus
    from ml_intern.settings import Settings

POLL_S = 0.5
"""How often a log that is followed is looked at, in seconds."""
HEADER = ("job", "method", "state", "step", "took", "left", "where", "experiment", "newest metrics")


def show(
    settings: Settings, words: tuple[str, ...], log: bool, follow: bool, cancel: bool, as_json: bool
) -> None:
    """List the jobs of a session, or show, follow or cancel one.

    Args:
        settings: Whose state folder it is.
        words: A session, a job, or both; nothing: the newest session.
        log: Show the log of the job.
        follow: Show it until the job has ended.
        cancel: End the job.
        as_json: One JSON document in place of lines.
    """
    card, job = _meant(settings, words)
    if job is None and (log or follow or cancel):
        raise UsageError("Which job?", f"Name one: {_names(card) or 'this session has none'}.")
    if follow and as_json:
        raise UsageError("--follow shows lines while they come; --json is one document.", "Leave one out.")
    store = _store(card, settings)
    if job is None or store is None:
        _list(card, store, as_json)
        return
    status = store.cancel(job) if cancel else store.status(job)
    if as_json:
        text = {"log": "".join(_log(store, job, follow=False))} if log else {}
        print_json({"session": card.id, "job": _timed(store, status).model_dump(mode="json"), **text})
    elif log or follow:
        for piece in _log(store, job, follow):
            click.echo(clean(piece), nl=False)
    else:
        for line in _told(store, card, _timed(store, status)):
            click.echo(line)


def _meant(settings: Settings, words: tuple[str, ...]) -> tuple[SessionCard, str | None]:
    """The session and the job that are meant. One word is a session, else a job of the newest that has it."""
    if len(words) > 2:
        raise UsageError("Too many words.", "Write ml-intern jobs [SESSION] [JOB].")
    if len(words) == 2:
        card = find_session(settings.state, words[0])
        return card, _known(card, words[1])
    if not words:
        return find_session(settings.state, None), None
    try:
        return find_session(settings.state, words[0]), None
    except UsageError as error:
        for card in list_sessions(settings.state):
            if words[0] in job_ids(card.folder):
                return card, words[0]
        if "-" in words[0] and words[0][0].isalpha():  # as jobs are named, and no session
            newest = find_session(settings.state, None)
            return newest, _known(newest, words[0])
        raise error


def _known(card: SessionCard, job: str) -> str:
    from ml_intern.tooling import did_you_mean

    if job not in (known := job_ids(card.folder)):
        guess = did_you_mean(job, known)
        raise UsageError(
            f"There is no job {job!r} in session {card.id}{guess}.", "ml-intern jobs lists them."
        )
    return job


def job_ids(session: Path) -> list[str]:
    """The jobs of a session's folder, oldest first, without a look into them."""
    found = [spec.parent for spec in (session / "jobs").glob("*/spec.json")]
    return [folder.name for folder in sorted(found, key=lambda folder: folder.stat().st_mtime)]


def _names(card: SessionCard) -> str:
    return ", ".join(job_ids(card.folder)[-6:])


def _store(card: SessionCard, settings: Settings) -> Jobs | None:
    """The jobs of a session. Opening a store makes its folder: a session that has none is left as it is."""
    from ml_intern.jobs.local import Jobs

    folder = card.folder / "jobs"
    return Jobs(folder, None, settings, lambda event: None) if folder.is_dir() else None


def _list(card: SessionCard, store: Jobs | None, as_json: bool) -> None:
    found = [_timed(store, job) for job in store.list()] if store else []
    if as_json:
        print_json({"session": card.id, "jobs": [job.model_dump(mode="json") for job in found]})
    elif found:
        print_table(HEADER, [_row(job) for job in found], whole=(0, 2), spare=(6, 1, 7, 4, 3))
    else:
        click.echo(f"Session {card.id} has no jobs.")


def _timed(store: Jobs, job: JobStatus) -> JobStatus:
    from ml_intern.jobs.timing import timed

    return timed(job, now(), lambda: store.metrics(job.id))


def _row(job: JobStatus) -> tuple[str, ...]:
    took = job.ran_s if job.ended else job.seconds
    return (
        job.id,
        job.method,
        job.state,
        f"{job.step}/{job.total_steps}" if job.total_steps else "",
        show_duration(took) if took else "",
        show_duration(job.seconds_left) if job.seconds_left and job.state not in OVER else "",
        "" if job.compute == "local" else job.compute,
        job.experiment or "",
        f"{job.failure.kind}: {job.failure.message}" if job.failure else headline(job.metrics),
    )


def _told(store: Jobs, card: SessionCard, job: JobStatus) -> Iterator[str]:
    """How one job stands, a fact a line."""
    rows = store.metrics(job.id)
    losses = [row["loss"] for row in rows if isinstance(row.get("loss"), int | float)]
    facts: dict[str, Any] = dict(zip(HEADER, _row(job), strict=True))
    facts["newest metrics"] = ", ".join(f"{n} {show_number(v)}" for n, v in job.metrics.items())
    facts |= {"session": card.id, "loss": sparkline(losses, 40)}
    if job.failure:
        facts |= {"failure": f"{job.failure.kind}: {job.failure.message}", "hint": job.failure.hint}
    facts |= {"ended early": job.stopped, "notes": " ".join(job.notes), "folder": str(store.folder / job.id)}
    facts["recovered"] = "; ".join(f"{r.message}: {r.action}" for r in job.recoveries)
    width = max(len(name) for name, value in facts.items() if value)
    for name, value in facts.items():
        if value:
            yield clean(f"{name:<{width}}  {value}")


def _log(store: Jobs, job: str, follow: bool) -> Iterator[str]:
    offset = 0
    while True:
        page = store.logs(job, offset)
        if page.text:
            yield page.text
        elif page.done or not follow:
            return
        else:
            time.sleep(POLL_S)
        offset = page.next_offset
