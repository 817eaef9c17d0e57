"""What every place for jobs offers.

A backend keeps nothing in memory that it needs: what it has to know of a job stands in the job's folder. So a
fresh one, in another process or after a crash, goes on with every job that an earlier one has started.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ml_intern.jobs.folder import log_tail
from ml_intern.jobs.model import Failure, FailureClass, JobSpec
from ml_intern.secrets.masking import mask

if TYPE_CHECKING:
    from ml_intern.hub.client import Hub
    from ml_intern.sandbox.base import Sandbox
    from ml_intern.settings import Settings


@dataclass(frozen=True)
class Site:
    """What backends share with the jobs that they serve.

    Attributes:
        settings: Of the session.
        sandbox: The walls of the session's own jobs; None runs them without.
        hub: The Hub of the session; None where there is none.
        locked: One at a time, across threads and processes, for these jobs.
    """

    settings: Settings
    sandbox: Callable[[], Sandbox | None]
    hub: Callable[[], Hub | None]
    locked: Callable[[], AbstractContextManager[None]]


class Backend(Protocol):
    """A place where jobs run. A job's folder is made before it is submitted."""

    def check(self, spec: JobSpec) -> None:
        """Whether this place would take such a job; nothing is started.

        Raises:
            ToolError: It would not; one line that says why and what to do.
        """

    def submit(self, folders: Sequence[Path]) -> None:
        """Start jobs, together where the place has a way to. To submit a job again that it knows is harmless.

        Raises:
            ToolError: The place does not take them.
        """

    def submitted(self, folder: Path) -> bool:
        """Whether the place has been given the job."""

    def status(self, folder: Path) -> dict[str, Any]:
        """How the job stands, as ``status.json`` has it; of one that has ended all is in its folder."""

    def fetch(self, folder: Path) -> None:
        """Bring ``log.txt`` and ``metrics.jsonl`` up to date: what was there stays, new lines follow."""

    def collect(self, folder: Path) -> None:
        """Bring what the job made into its folder."""

    def cancel(self, folder: Path) -> None:
        """End the job and what it started. The file ``cancel`` in its folder is there already."""


def ended(state: str, **more: Any) -> dict[str, Any]:
    """The fields of a status that has ended, with the time now."""
    return {"state": state, "ended": time.time(), **more}


def failure(folder: Path, kind: FailureClass, message: str, hint: str = "") -> dict[str, Any]:
    """A failure that a place tells of, with the last lines of the log."""
    from ml_intern.jobs.failures import last_lines

    lines = last_lines(mask(log_tail(folder)))
    return Failure(kind=kind, message=message, last_lines=lines, hint=hint).model_dump()
