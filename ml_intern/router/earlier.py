"""What earlier processes of a session did: the results of their calls, and what became of the last ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ml_intern.router.calls import Call, Outcome
from ml_intern.router.recorded import Recorded
from ml_intern.tooling import to_json

NOBODY_KNOWS = "Nobody knows whether {} was carried out: the process ended while it ran."
LOOK = "Look at what is there before you call it again."

Attempt = Callable[[Call, Callable[[], Any]], Outcome]
"""Runs something for a call, with its retries and errors."""


class Earlier:
    """The calls that the journal knows.

    Attributes:
        recorded: The journal.
        rebuilding: Finished cells run again: what the journal does not know is answered, not carried out.
        on_unknown: Done instead of noting such a call, while a cell runs again that was stopped then.
        unknown: Names of tools that were called so for the first time meanwhile.
        rebuilt: What the keys of the calls were made from meanwhile: a second try counts them anew.
    """

    def __init__(self, recorded: Recorded | None) -> None:
        self.recorded = recorded or Recorded()
        self.rebuilding = False
        self.unknown: list[str] = []
        self.on_unknown: Callable[[], object] | None = None
        self.rebuilt: set[str] = set()
        self._lock = threading.Lock()

    def answer(self, key: str, name: str) -> Outcome | None:
        """What came of a call that has ended; None where it is to be made.

        Args:
            key: Of the call.
            name: Of the tool.
        """
        if (known := self.recorded.calls.get(key)) is not None:
            return Outcome(known.ok, known.value, known.message, known.hint, known.denied)
        return self._not_recorded(name) if self.rebuilding else None

    def id_of(self, key: str) -> str:
        """What a call was called that an earlier process began or asked about; else an empty string."""
        begun = self.recorded.open.get(key) or {}
        return str(begun.get("call") or self.recorded.ids.get(key, ""))

    def begun(self, key: str) -> dict[str, Any]:
        """The intent of a call whose end nobody has written down; empty where there was none."""
        return self.recorded.open.pop(key, {})

    def put_off(self, key: str, begun: dict[str, Any]) -> None:
        """The run is being stopped: what became of the call is asked when it goes on."""
        self.recorded.open[key] = begun

    def became_of(self, call: Call, attempt: Attempt) -> Outcome | None:
        """What became of a call that was allowed and begun; None where it has not happened."""
        reconcile = call.spec.reconcile
        if reconcile is None and call.spec.repeatable:
            return None
        if reconcile is None:
            return Outcome(False, message=NOBODY_KNOWS.format(call.spec.name), hint=LOOK)
        found = attempt(call, lambda: to_json(reconcile(call.ctx, call.key)))
        return None if found.ok and found.value is None else found

    def _not_recorded(self, name: str) -> Outcome:
        """The answer to a call of a cell that runs again and made no such call when it ran first."""
        if self.on_unknown is not None:
            self.on_unknown()
        else:
            with self._lock:
                self.unknown.append(name[:100])
        told = f"{name[:100]} was not called so when this cell ran first: its work is not repeated."
        return Outcome(False, message=told)
