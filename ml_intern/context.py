"""What the host hands to a tool: services and this call's own key and reporter, nothing above them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any

from ml_intern.events import Event, ToolProgress

if TYPE_CHECKING:
    from ml_intern.data.store import DatasetStore
    from ml_intern.evals.store import Evals
    from ml_intern.files import Files
    from ml_intern.hub.client import Hub
    from ml_intern.jobs.local import Jobs
    from ml_intern.ledger import Ledger
    from ml_intern.settings import Settings


@dataclass
class Services:
    """One session's services. Tools reach them through their context."""

    session: str
    folder: Path
    settings: Settings
    files: Files
    datasets: DatasetStore
    jobs: Jobs
    ledger: Ledger
    evals: Evals
    hub: Hub
    emit: Callable[[Event], None]
    notes: dict[str, Any] = field(default_factory=dict)
    """What small tools keep between calls (the plan)."""
    left: Callable[[], dict[str, float | None]] = dict
    """What is left of the budget, by unit; None where there is no ceiling."""
    run_in_sandbox: Callable[[list[str], float], CompletedProcess[str]] | None = None
    """Runs a command in the session's sandbox: argv, seconds. None where there is no sandbox."""


@dataclass
class ToolContext:
    """The first argument of every tool.

    Attributes:
        services: The session's services.
        call: Id of this call, as in the event stream.
        key: Idempotency key: the same after a crash, so that work is not done twice.
        cancelled: True once the person interrupts; a tool that waits looks at it.
    """

    services: Services
    call: str
    key: str
    cancelled: Callable[[], bool] = lambda: False

    @property
    def settings(self) -> Settings:
        """The session's settings."""
        return self.services.settings

    @property
    def files(self) -> Files:
        """The paths that tools may read and write."""
        return self.services.files

    @property
    def datasets(self) -> DatasetStore:
        """Versioned datasets."""
        return self.services.datasets

    @property
    def jobs(self) -> Jobs:
        """Running and finished jobs."""
        return self.services.jobs

    @property
    def ledger(self) -> Ledger:
        """Experiments."""
        return self.services.ledger

    @property
    def evals(self) -> Evals:
        """Sealed evaluations."""
        return self.services.evals

    @property
    def hub(self) -> Hub:
        """The Hub that this session publishes to."""
        return self.services.hub

    def progress(self, message: str, fraction: float | None = None) -> None:
        """Tell the person how far this call is."""
        self.services.emit(ToolProgress(self.call, message, fraction))

    def emit(self, event: Event) -> None:
        """Put an event on the session's stream."""
        self.services.emit(event)
