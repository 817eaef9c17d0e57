"""How a session tells what happens: without credentials, written down first, then handed to who looks on."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from dataclasses import fields, replace

from ml_intern.events import (
    BrainAnswered,
    BudgetChanged,
    Event,
    JobChanged,
    Notice,
    Published,
    SessionStarted,
    ToolFinished,
)
from ml_intern.journal.journal import Journal
from ml_intern.notifying import Notifier
from ml_intern.router.budget import Budget
from ml_intern.secrets.masking import mask_all
from ml_intern.workspace.disk import DiskTrouble


class Telling:
    """The events of a session.

    Attributes:
        queue: What the session's faces read; None after the last one.
        published: What was published, a row a repository: ``repo``, ``url``, ``type``.
        errors: The texts of notices that are errors.
        journal: Where events are written down, once it is open.
        closed: Set at the end: from then on nothing is written down.
    """

    def __init__(self, budget: Budget, notifier: Notifier) -> None:
        self.queue: queue.Queue[Event | None] = queue.Queue()
        self.published: list[dict[str, str]] = []
        self.errors: list[str] = []
        self.journal: Journal | None = None
        self.closed = threading.Event()
        self._budget = budget
        self._notifier = notifier
        self._spent: list[tuple[str, float, float]] = []

    def emit(self, event: Event) -> None:
        """Put an event on the stream, without the credentials that a text in it may hold."""
        event = replace(event, **{f.name: mask_all(getattr(event, f.name)) for f in fields(event)})
        if isinstance(event, Published):
            self.publish(event.repo, event.url, event.kind_of_repo)
        if isinstance(event, Notice) and event.level == "error":
            self.errors.append(event.text)
        if self.journal is not None and not _chatty(event) and not self.closed.is_set():
            with suppress(DiskTrouble):  # it ends the run, and whoever tells something is not in the way
                self.journal.append("event", event.to_json())
        self.show(event)

    def show(self, event: Event) -> None:
        """Hand an event that is written down to the faces, and to who is told outside."""
        self.queue.put(event)
        self._notifier.take(event)
        if isinstance(event, SessionStarted | BrainAnswered | ToolFinished | JobChanged):
            self._tell_budget()

    def publish(self, repo: str, url: str, kind: str) -> None:
        """Note what was published; told again after a resume, an embedded Hub has another port."""
        row = {"repo": repo, "url": url, "type": kind}
        for known in self.published:
            if (known["repo"], known["type"]) == (repo, kind):
                known["url"] = url
                return
        self.published.append(row)

    def _tell_budget(self) -> None:
        """Tell what is spent where it is another amount; time alone is no news."""
        rows = self._budget.summary()
        amounts = {name: {u: row[name] or 0.0 for u, row in rows.items()} for name in ("spent", "reserved")}
        news = [(u, amounts["spent"][u], amounts["reserved"][u]) for u in rows if u != "seconds"]
        if news != self._spent:
            self._spent = news
            caps = {str(u): cap for u, cap in self._budget.caps.items()}
            self.queue.put(BudgetChanged(amounts["spent"], amounts["reserved"], caps))


def _chatty(event: Event) -> bool:
    """Events that the journal does not keep: they repeat what cells, results and jobs record."""
    if event.source and event.kind in ("ToolStarted", "ToolFinished"):
        return True
    return event.kind in (
        "CellOutput",
        "ToolProgress",
        "JobChanged",
        "BrainAnswered",
        "CellStarted",
        "CellFinished",
        "PersonSaid",
    )
