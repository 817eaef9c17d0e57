"""The end of a run: why it ended, and how that is told and written down."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from ml_intern.durations import show_duration
from ml_intern.errors import Denied, InternError, Interrupted, LimitReached
from ml_intern.events import Notice, SessionFinished
from ml_intern.jobs.model import FINISHED
from ml_intern.secrets.masking import mask
from ml_intern.session.sharing import share_at_the_end
from ml_intern.workspace.disk import DiskTrouble

if TYPE_CHECKING:
    from ml_intern.session.session import Session

CLOSE_S = 30.0
"""How long the end of a session waits for calls that still run: a publication is told, not lost."""

STATUS = {0: "done", 1: "failed", 2: "usage", 3: "limit", 4: "denied", 5: "no_brain", 130: "interrupted"}


def why(session: Session, error: InternError | None) -> InternError | None:
    """Why the run ended: of several reasons the one that was first."""
    if not session.router.interrupted.is_set() or error is None:
        return error
    if session.journal.trouble is not None:
        return session.journal.trouble
    if session.kernel is not None and not session.kernel.wait_for_calls(CLOSE_S):
        session.emit(Notice("error", "A call still runs; the Hub and the jobs tell what came of it."))
    if session.over is not None:
        return session.over
    if session.wall_time.late:
        cap = show_duration(session.budget.caps["seconds"])
        return LimitReached(f"The budget of {cap} is used up.", "Raise --budget to go on.")
    return Interrupted("Stopped by the person.")


def finish(session: Session, answer: str, error: InternError | None) -> None:
    """Tell the end: jobs that run on, what was denied, the error; then the card, the report, the journal."""
    session.journal.give_up_room()
    session.router.meter.settle()
    error = error or _denied(session)
    if left := [job.id for job in session.services.jobs.list() if job.state not in FINISHED]:
        told = f"{len(left)} job{'s run' if len(left) > 1 else ' runs'} on: {', '.join(left)}"
        session.emit(Notice("warning", f"{told} (ml-intern jobs shows how they go)."))
    if error is None and session.inbox.messages(session.recorded.heard):
        session.emit(Notice("info", "A message came after the answer: ml-intern resume goes on with it."))
    code = error.exit_code if error else 0
    if error is not None:
        _tell_end(session, str(error))
    answer = checked(session, answer)
    session.finished = SessionFinished(session.id, STATUS.get(code, "failed"), code, mask(answer))
    share_at_the_end(session, session.finished.answer, session.finished.status)
    session.notifier.take(session.finished)
    session.notifier.flush()  # before the last event, so that the person reads where that fails
    session.write_card(session.finished.status, code)
    renew_report(session, session.finished.answer)
    with session.budget.books:
        line = {**session.finished.to_json(), "budget": session.budget.snapshot()}
        session.journal.append("finished", line, durable=True)
    session.telling.queue.put(session.finished)


def _denied(session: Session) -> Denied | None:
    if not session.router.denied:
        return None
    return Denied("The run ended, but something it asked for was denied: " + session.router.denied[0])


def standing(session: Session, answer: str) -> SessionFinished:
    """The end as it would be, were this answer the last one."""
    error = session.brain.verdict() or _denied(session)
    code = error.exit_code if error else 0
    return SessionFinished(session.id, STATUS.get(code, "failed"), code, mask(answer))


def checked(session: Session, answer: str) -> str:
    """The answer with marks at numbers that nobody measured, of which the person is told."""
    from ml_intern.claims.answers import marked, warning

    try:
        found = session.claims = session.reviewed(answer) if answer else None
    except (InternError, sqlite3.Error, OSError) as trouble:
        session.emit(Notice("warning", f"The numbers of the answer were not checked: {trouble}"))
        return answer
    if found is None or found.stands:
        return answer
    session.emit(Notice("warning", warning(found)))
    return marked(answer, found)


def _tell_end(session: Session, text: str) -> None:
    """Why the run ended. Of a session that goes on it is no error any more."""
    notice = Notice("error", mask(text))
    session.errors.append(notice.text)
    session.journal.append("event", {**notice.to_json(), "end": True})
    session.telling.show(notice)


def renew_report(session: Session, answer: str) -> None:
    """A report that a publication left in the workspace was written before the end: tell the end, too."""
    copy = session.workspace / "report" / "report.html"
    if not copy.is_file():
        return
    from ml_intern.hub.report import write_report
    from ml_intern.workspace.safe_files import write_file

    try:
        whole = write_report(session.folder, answer=answer)
        for name in ("report.html", "report.md"):
            write_file(session.workspace, copy.with_name(name), whole.with_name(name).read_bytes())
    except (OSError, InternError) as error:
        session.emit(Notice("warning", f"The report in the workspace was not renewed: {error}"))


def unexpected(session: Session, failure: Exception) -> InternError:
    """An error that nobody has put into words: one of the disk, or a defect of ours."""
    if isinstance(failure, InternError):
        return failure
    if trouble := DiskTrouble.of(failure):
        return trouble
    with suppress(DiskTrouble):
        session.journal.append("bug", {"error": repr(failure)})
    told = f"The intern failed inside: {type(failure).__name__}: {failure}."
    return InternError(told, "Please report this.")


def finish_untold(session: Session, error: InternError) -> None:
    """The end of a run that cannot write it down: the person at least is told."""
    if mask(str(error)) not in session.errors:
        session.errors.append(mask(str(error)))
        session.telling.show(Notice("error", session.errors[-1]))
    code = error.exit_code
    session.finished = SessionFinished(session.id, STATUS.get(code, "failed"), code, "")
    session.telling.show(session.finished)
