"""What a person does to a job from a page: through the session's router and gate wherever one is live."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import InternError
from ml_intern.jobs.diagnosis import Diagnosis, diagnose
from ml_intern.jobs.folder import read_spec
from ml_intern.session.resuming import read_card, settings_of

if TYPE_CHECKING:
    from ml_intern.hosting import Hosted
    from ml_intern.jobs.local import Jobs
    from ml_intern.session.session import Session


def cancel(hosted: Hosted, job: str, keep_model: bool = False) -> str:
    """End a job; with `keep_model` after its step, saving what it has. What came of it, in words.

    Raises:
        InternError: It was refused, or there is no such job.
    """
    if (session := hosted.session) is not None:
        found = _call(session, "cancel_job", job=job, keep_model=keep_model)
        return f"{job}: {found['state']}."
    if keep_model:
        raise InternError("No process works on this session.", "Go on with it first, or cancel without.")
    return f"{job}: {_jobs_of(hosted, job).cancel(job).state}."


def diagnosis(hosted: Hosted, job: str) -> Diagnosis:
    """What the rules say of a job.

    Raises:
        InternError: It was refused, or there is no such job.
    """
    if (session := hosted.session) is not None:
        return Diagnosis.model_validate(_call(session, "diagnose_job", job=job))
    jobs = _jobs_of(hosted, job)
    return diagnose(jobs.status(job), jobs.metrics(job), jobs.spec(job))


def _call(session: Session, tool: str, **given: Any) -> Any:
    """A call as a cell makes it; each click is a call of its own, also after the session was resumed."""
    outcome = session.router.call(tool, given, source="web", place=f"web:{secrets.token_hex(8)}")
    if not outcome.ok:
        raise InternError(outcome.message, outcome.hint)
    return outcome.value


def _jobs_of(hosted: Hosted, job: str) -> Jobs:
    """The jobs of a session that no process of ours works on."""
    from ml_intern.hub.client import Hub
    from ml_intern.jobs.local import Jobs

    if hosted.folder is None:
        raise InternError("There is no session yet.")
    settings, _ = settings_of(hosted.folder, read_card(hosted.folder), hosted.given)
    hub = Hub(settings, settings.state, os.environ) if _on_hub(hosted.folder / "jobs" / job) else None
    return Jobs(hosted.folder / "jobs", None, settings, lambda event: None, hub)


def _on_hub(folder: Path) -> bool:
    try:
        return read_spec(folder).place.compute == "hf-jobs"
    except (OSError, ValueError):
        return False
