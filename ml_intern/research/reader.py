"""A sub-agent's way to the session: the same router, gate, budget and journal, under a name of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.events import Event
from ml_intern.journal.journal import Entry, Journal
from ml_intern.router.calls import Outcome
from ml_intern.router.earlier import Earlier
from ml_intern.router.stopping import Stop

if TYPE_CHECKING:
    from ml_intern.router.router import Router


class Reader:
    """The router, as a sub-agent meets it.

    Args:
        router: The session's.
        source: Who calls, in the journal and for the gate: ``research:2``.
        name: The same in the keys of calls. It follows from the call that asked, not from the order in which
            threads happened to run.
        folder: The sub-agent's own.

    Attributes:
        services: The session's, with events that carry the source and with notes of its own: what a sub-agent
            has read, the session's own brain has not.
        interrupted: This sub-agent is to stop.
        stop: The switch for that.
        earlier: The journal's calls; whether cells run again is this sub-agent's own affair.
    """

    def __init__(self, router: Router, source: str, name: str, folder: Path) -> None:
        self._router = router
        self.source = source
        self.name = name
        self.interrupted = threading.Event()
        self.stop = Stop(self.interrupted)
        self.earlier = Earlier(router.earlier.recorded)
        notes = {"plan": router.services.notes.get("plan")}
        self.services = replace(router.services, folder=folder, emit=self._emit, notes=notes)

    def call(self, name: str, given: Mapping[str, object], source: str = "cell") -> Outcome:
        """Carry out a call of this sub-agent; `source` says in which of its cells."""
        place = f"research/{self.name}/{source}"
        return self._router.call(name, given, source=self.source, reader=self, place=place)

    def origin_of(self, name: str) -> str | None:
        """Who made a tool; None where there is none of that name."""
        return self._router.origin_of(name)

    def begin_rebuilding(self) -> None:
        """From here on this sub-agent's finished cells run again."""
        self._router.begin_rebuilding(self)

    def _emit(self, event: Event) -> None:
        self._router.services.emit(replace(event, source=event.source or self.source))


class OwnLines(Journal):
    """The session's journal; each line says that it is a sub-agent's."""

    def __init__(self, journal: Journal, source: str) -> None:
        self.path, self.trouble = journal.path, journal.trouble
        self._journal = journal
        self._source = source

    def append(self, kind: str, payload: dict[str, Any], *, durable: bool = False) -> int:
        """Write a line."""
        return self._journal.append(kind, {**payload, "source": self._source}, durable=durable)

    def entries(self, kind: str | None = None) -> Iterator[Entry]:
        """All lines, also those of others."""
        return self._journal.entries(kind)

    def close(self) -> None:
        """Nothing: it is the session's."""
