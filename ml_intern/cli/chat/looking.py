"""Commands that show something: jobs, experiments, the plan, sessions, the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from ml_intern import clock
from ml_intern.agent.notes import Notes, plan_of
from ml_intern.cli.board import clean, show_measured, show_number
from ml_intern.cli.chat.jobs import jobs_of
from ml_intern.cli.chat.slash import Command, Known
from ml_intern.cli.live import JOB_COLOURS, VERDICT_COLOURS
from ml_intern.cli.sessions import list_sessions
from ml_intern.durations import show_duration
from ml_intern.errors import UsageError
from ml_intern.secrets.masking import mask
from ml_intern.tooling import did_you_mean

if TYPE_CHECKING:
    from ml_intern.cli.chat.talk import Chat
    from ml_intern.jobs.local import Jobs
    from ml_intern.jobs.model import JobStatus
    from ml_intern.ledger import Experiment

LOG_BYTES = 6_000
LOG_LINES = 30
MOST_SESSIONS = 15
MOST_WIDE = 36
"""A column that is wider gives way before the others do."""
MARKS = {
    "todo": ("○", ""),
    "doing": ("▸", "bold cyan"),
    "done": ("✓", "green"),
    "dropped": ("-", "dim strike"),
}


def _jobs(chat: Chat, rest: str) -> None:
    found = jobs_of(chat.hosted, chat.state)
    rows = found.list() if found else []
    if not rows or found is None:
        chat.view.note("This session has no jobs.")
        return
    words = rest.split()
    if not words:
        chat.view.print(_table(_JOB, [_job_row(row) for row in rows]))
        return
    job = next((row for row in rows if row.id == words[0]), None)
    if job is None:
        raise UsageError(
            f"There is no job {words[0]!r}{did_you_mean(words[0], [r.id for r in rows])}.",
            "/jobs lists them.",
        )
    match words[1:]:
        case []:
            _one_job(chat, job)
        case ["logs" | "log"]:
            _log(chat, found, job.id)
        case ["cancel"]:
            chat.doing(f"cancelling {job.id}")
            chat.view.note(f"{job.id} is {found.cancel(job.id).state}.")
        case _:
            raise UsageError(
                f"What is {words[1]!r}{did_you_mean(words[1], ('logs', 'cancel'))}?",
                "/jobs ID logs, /jobs ID cancel",
            )


_JOB = ("job", "method", "state", "step", "took", "newest metrics")


def _job_row(job: JobStatus) -> list[Text]:
    began = job.started
    took = job.ran_s if job.ended else clock.now() - began if began else 0.0
    told = (
        f"{job.failure.kind}: {job.failure.message}"
        if job.failure
        else ", ".join(f"{name} {show_number(value)}" for name, value in list(job.metrics.items())[:3])
    )
    return [
        Text(job.id, style="bold"),
        Text(job.method),
        Text(job.state, style=JOB_COLOURS.get(job.state, "")),
        Text(f"{job.step}/{job.total_steps}" if job.total_steps else ""),
        Text(show_duration(took) if took else ""),
        Text(_line(told)),
    ]


def _one_job(chat: Chat, job: JobStatus) -> None:
    shown: dict[str, Any] = {
        "state": job.state,
        "step": f"{job.step} of {job.total_steps}" if job.total_steps else "",
        "experiment": job.experiment,
        "where": job.compute,
        "metrics": ", ".join(f"{name} {show_number(value)}" for name, value in job.metrics.items()),
        "failed": f"{job.failure.kind}: {job.failure.message} {job.failure.hint}" if job.failure else "",
        "stopped": job.stopped,
        "output": job.output,
    }
    chat.view.print(Text(job.id, style="bold"))
    chat.view.print(_facts({name: value for name, value in shown.items() if value}))
    chat.view.note(f"  /jobs {job.id} logs, /jobs {job.id} cancel")


def _log(chat: Chat, jobs: Jobs, job: str) -> None:
    lines = clean(jobs.logs(job, -LOG_BYTES).text).splitlines()[-LOG_LINES:]
    chat.view.print(Text("\n".join(lines) or "The log is empty.", style="dim"))
    chat.view.note(f"The whole log: ml-intern jobs {chat.hosted.id} --log {job}")


def _jobs_known(chat: Chat, words: Sequence[str]) -> Known:
    if len(words) == 1:
        return [("logs", "the end of its log"), ("cancel", "end it")]
    if words:
        return []
    return [(row.id, f"{row.state} {row.headline(1)}") for row in chat.view.board.jobs.values()]


def _experiments(chat: Chat, rest: str) -> None:
    rows = _ledger(chat)
    if not rows:
        chat.view.note("This session has no experiments.")
        return
    if rest:
        chosen = next((row for row in rows if row.id == rest), None)
        if chosen is None:
            raise UsageError(f"There is no experiment {rest!r}{did_you_mean(rest, [r.id for r in rows])}.")
        _one_experiment(chat, chosen)
        return
    chat.view.print(
        _table(("experiment", "verdict", "dev", "sealed test", "change"), [_experiment_row(r) for r in rows])
    )


def _ledger(chat: Chat) -> list[Experiment]:
    if (session := chat.hosted.session) is not None:
        return session.services.ledger.list()
    folder = chat.hosted.folder
    if folder is None or not (folder / "ledger.sqlite").is_file():
        return []
    from ml_intern.ledger import Ledger

    ledger = Ledger(folder / "ledger.sqlite")
    try:
        return ledger.list()
    finally:
        ledger.close()


def _experiment_row(e: Experiment) -> list[Text]:
    shown = e.model_dump(mode="json", include={"dev", "test"})
    return [
        Text(e.id, style="bold"),
        Text(e.verdict, style=VERDICT_COLOURS.get(e.verdict, "dim")),
        Text(show_measured(shown["dev"])),
        Text(show_measured(shown["test"])),
        Text(_line(e.change)),
    ]


def _one_experiment(chat: Chat, e: Experiment) -> None:
    shown = e.model_dump(mode="json")
    facts = {
        name: shown.get(name)
        for name in ("hypothesis", "change", "parent", "verdict", "seed", "jobs", "notes")
    }
    facts |= {"dev": show_measured(shown["dev"]), "test": show_measured(shown["test"])}
    chat.view.print(Text(e.id, style="bold"))
    chat.view.print(_facts({name: value for name, value in facts.items() if value not in ("", None, [])}))


def _experiments_known(chat: Chat, words: Sequence[str]) -> Known:
    if words:
        return []
    return [(row.experiment, f"{row.verdict}: {row.change}") for row in chat.view.board.experiments.values()]


def _plan(chat: Chat, rest: str) -> None:
    session, folder = chat.hosted.session, chat.hosted.folder
    notes = session.services.notes if session else Notes(folder / "notes.json") if folder else {}
    items = plan_of(notes)
    if not items:
        chat.view.note("There is no plan yet.")
    for text, status in items:
        mark, style = MARKS.get(status, ("○", ""))
        chat.view.print(Text(f"  {mark} {_line(text)}", style=style))


def _sessions(chat: Chat, rest: str) -> None:
    cards = list_sessions(chat.state)
    if not cards:
        chat.view.note(f"No sessions yet in {chat.state}.")
        return
    rows = [
        [
            Text(str(c.index), style="bold"),
            Text(c.id + (" *" if c.folder == chat.hosted.folder else "")),
            Text(c.status),
            Text(c.created[:16].replace("T", " "), style="dim"),
            Text(_line(c.prompt)),
        ]
        for c in cards[:MOST_SESSIONS]
    ]
    chat.view.print(_table(("#", "session", "status", "created", "prompt"), rows))
    if len(cards) > MOST_SESSIONS:
        chat.view.note(f"  {len(cards) - MOST_SESSIONS} older ones: ml-intern sessions")


def _report(chat: Chat, rest: str) -> None:
    folder = chat.hosted.folder
    if folder is None or not _ledger(chat):
        raise UsageError("There are no experiments to report on.")
    from ml_intern.hub.report import write_report

    chat.doing("writing the report")
    chat.view.note(f"report {write_report(folder)}")


def _table(head: Sequence[str], rows: Sequence[Sequence[Text]]) -> Table:
    """One line a row: what does not fit is cut in the last column."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for place, name in enumerate(head[:-1]):
        widest = max(cell_len(name), *(row[place].cell_len for row in rows))
        table.add_column(name, no_wrap=True, min_width=min(widest, MOST_WIDE))
    table.add_column(head[-1], no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row)
    return table


def _facts(facts: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        said = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        table.add_row(Text(f"  {name}", style="dim"), Text(clean(mask(said))))
    return table


def _line(text: str) -> str:
    return " ".join(clean(mask(text)).split())


COMMANDS = [
    Command(
        "jobs",
        "[ID [logs|cancel]]",
        "list the jobs; one of them, its log, its end",
        _jobs,
        "Jobs run on when the chat is left.",
        _jobs_known,
    ),
    Command(
        "experiments", "[ID]", "list what was tried, with intervals", _experiments, known=_experiments_known
    ),
    Command("plan", "", "show the plan", _plan),
    Command("sessions", "", "list the sessions", _sessions),
    Command("report", "", "write the report; its path", _report),
]
