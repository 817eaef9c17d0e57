"""Jobs of a chat's session, also while no process works on it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ml_intern.errors import InternError
from ml_intern.events import JobChanged

if TYPE_CHECKING:
    from ml_intern.cli.board import Board
    from ml_intern.hosting import Hosted
    from ml_intern.jobs.local import Jobs


def jobs_of(hosted: Hosted, state: Path) -> Jobs | None:
    """The jobs of a session; None where it has none."""
    if (session := hosted.session) is not None:
        return session.services.jobs
    if hosted.folder is None or not (hosted.folder / "jobs").is_dir():
        return None
    from ml_intern.jobs.local import Jobs
    from ml_intern.settings import Settings

    return Jobs(hosted.folder / "jobs", None, Settings.load(state=state), lambda event: None)


def look_at_jobs(hosted: Hosted, board: Board, state: Path) -> None:
    """Bring the board up to date while no process of the session does."""
    if not board.running_jobs():
        return
    with suppress(InternError, OSError, ValueError):  # the next look tells
        found = jobs_of(hosted, state)
        for job in found.list() if found else []:
            board.take(JobChanged(job.id, job.name, job.state, job.step, job.total_steps, job.metrics))
