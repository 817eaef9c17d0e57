"""The Python API: `MLIntern(...).run(prompt)`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ml_intern.events import Event
from ml_intern.settings import Settings

if TYPE_CHECKING:
    from ml_intern.result import RunResult
    from ml_intern.router import Approver


class MLIntern:
    """The intern.

    Args:
        model: ``SCHEME:NAME`` of the brain; nothing: Inference Providers with a token, else the playbooks.
        approver: Answers the gate's questions; without one they are answered no.
        **settings: Any field of `Settings`.
    """

    def __init__(
        self, model: str | None = None, *, approver: Approver | None = None, **settings: Any
    ) -> None:
        self.settings = Settings.load(model=model, **settings)
        self.approver = approver

    def run(self, prompt: str) -> RunResult:
        """Do what the sentence says and answer with what came of it."""
        for _ in self.stream(prompt):
            pass
        return self.last

    def stream(self, prompt: str) -> Iterator[Event]:
        """The same as `run`, event by event; afterwards `last` holds the result."""
        from ml_intern.session import Session

        session = Session.create(self.settings, prompt, self.approver)
        try:
            yield from session.run()
            self.last = session.result()
        finally:
            session.close()
