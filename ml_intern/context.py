"""What the host hands to a tool: services and this call's own key and reporter, nothing above them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any

from ml_intern.errors import InternError
from ml_intern.events import Event, ToolProgress
from ml_intern.router.receipts import Receipt

if TYPE_CHECKING:
    from ml_intern.agent.consulting import Ask as AskBrain
    from ml_intern.agent.task_time import TaskTime
    from ml_intern.claims.gathering import Heard
    from ml_intern.data.store import DatasetStore
    from ml_intern.documentation.library import Documentation
    from ml_intern.evals.store import Evals
    from ml_intern.hub.client import Hub
    from ml_intern.jobs.local import Jobs
    from ml_intern.ledger import Ledger
    from ml_intern.prices import Measured
    from ml_intern.research.model import Ask
    from ml_intern.secrets.credentials import Credential
    from ml_intern.secrets.secrets import Secrets
    from ml_intern.settings import Settings
    from ml_intern.web.client import Web
    from ml_intern.workspace.files import Files


class Undeclared(InternError):
    """A tool's defect: it uses a credential that its declaration does not name."""


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
    task_time: Callable[[], TaskTime | None] = lambda: None
    """The time that the task's sentence names, where there is no ceiling of it and nobody is there."""
    run_in_sandbox: Callable[[list[str], float], CompletedProcess[str]] | None = None
    """Runs a command in the session's sandbox: argv, seconds. None where there is no sandbox."""
    python: str = "python3"
    """The interpreter in the sandbox."""
    docs: Documentation | None = None
    """What is installed in the sandbox, to look up and to search."""
    anew: Callable[[], bool] = bool
    """Whether a cell that was cut off runs again from its start, in the workspace as it was before it."""
    spent: Callable[[str, Measured], None] | None = None
    """Takes what a call has really cost."""
    secrets: Secrets | None = None
    """Where credentials come from; tools ask their context, which gives what they have declared."""
    research: Ask | None = None
    """Has sub-agents answer questions. None where there are none."""
    heard: Callable[[], Heard | None] = lambda: None
    """What tools gave back, what the person said and what cells have shown, as evidence for claims."""
    consult: AskBrain | None = None
    """Asks the session's brain for one text. None where there is none."""
    notify: Callable[[str], None] = lambda text: None
    """Sends words to where the person is told things outside of the faces."""
    web: Web | None = None
    """Pages of the internet; tools ask their context. None: made from the settings at the first use."""


@dataclass
class ToolContext:
    """The first argument of every tool.

    Attributes:
        services: The session's services.
        call: Id of this call, as in the event stream.
        key: Idempotency key: the same after a crash, so that work is not done twice.
        cancelled: True once the person interrupts; a tool that waits looks at it.
        needs: The credentials that the tool declares; None: it is no tool that asks but the host itself.
    """

    services: Services
    call: str
    key: str
    cancelled: Callable[[], bool] = lambda: False
    needs: Collection[str] | None = None

    @property
    def settings(self) -> Settings:
        """The session's settings."""
        return self.services.settings

    @property
    def receipt(self) -> Receipt:
        """What this call notes for itself, and finds again after a crash."""
        return Receipt(self.services.folder, self.key)

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
    def web(self) -> Web:
        """Pages of the internet, fetched politely; a wait ends when the person interrupts."""
        if self.services.web is None:
            from ml_intern.web.client import Web

            self.services.web = Web.of(self.settings)
        return self.services.web.for_call(self.cancelled, self.progress)

    @property
    def hub(self) -> Hub:
        """The Hub that this session publishes to, for tools with ``hub:read`` or ``hub:write`` in `needs`.

        Raises:
            Undeclared: The tool declares neither.
        """
        self._declared("hub", "hub:read")
        return self.services.hub

    def credential(self, service: str) -> Credential | None:
        """The credential of a service, bound to its hosts; None where the person has none.

        Args:
            service: A name of `ml_intern.secrets.secrets.SERVICES` (``github``), or the variable of a need
                that is written ``VARIABLE@host``, such as ``WEATHER_API_KEY@api.weather.example``.

        Raises:
            Undeclared: The tool's `needs` do not name it.
        """
        hosts = self._declared(service, service)
        return self.services.secrets.credential(service, hosts) if self.services.secrets else None

    def _declared(self, service: str, example: str) -> tuple[str, ...]:
        """The hosts that the declaration names for a service.

        Raises:
            Undeclared: It does not name the service.
        """
        if self.needs is None:
            return ()
        for need in self.needs:
            name, _, host = need.partition("@")
            if name == service or name.partition(":")[0] == service:
                return tuple(h for h in host.split(",") if h)
        declared = ", ".join(self.needs) or "none"
        raise Undeclared(
            f"The tool uses the credential {service!r}, and its declaration does not name it ({declared}).",
            f"Write @tool(…, needs=[{example!r}]).",
        )

    def spent(self, measured: Measured) -> None:
        """Say what this call has really cost; without a word its estimate stands."""
        if self.services.spent is not None:
            self.services.spent(self.call, measured)

    def progress(self, message: str, fraction: float | None = None) -> None:
        """Tell the person how far this call is."""
        self.services.emit(ToolProgress(self.call, message, fraction))

    def emit(self, event: Event) -> None:
        """Put an event on the session's stream."""
        self.services.emit(event)
