"""The events of a session that ran before, read from its journal: what a face shows of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ml_intern.errors import UsageError
from ml_intern.events import (
    BrainAnswered,
    CellFinished,
    CellStarted,
    Event,
    PersonSaid,
    SessionStarted,
    ToolFinished,
    ToolStarted,
)
from ml_intern.journal.reading import JOURNAL, salvage
from ml_intern.router.calls import summarise

RESEARCH = "research:"
"""How the source of what a sub-agent did begins."""


def past_events(folder: Path) -> list[Event]:
    """What the journal of a session tells, as the events that its faces saw; turns that were undone left out.

    Pieces of output, progress, the courses of jobs and what was spent meanwhile are not there: cells tell
    their observation, and jobs have folders of their own. How long a brain took is not known any more.

    Raises:
        UsageError: There is no journal, or nothing of it can be read.
    """
    found = salvage(folder / JOURNAL)
    if found.problem and not found.entries:
        raise UsageError(
            f"The journal of {folder.name} cannot be read: {found.problem}.", "ml-intern sessions lists all."
        )
    told = _Told()
    for entry in found.entries:
        try:
            told.take(entry.at, entry.kind, entry.payload)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            continue  # a damaged line: what can be read is shown
    return told.events


class _Told:
    """Takes the lines of a journal one by one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._step = 0
        self._steps: list[int] = []
        """The step that each event belongs to."""
        self._began: dict[str, float] = {}
        self._calls: dict[str, tuple[str, str]] = {}
        """Tool and source of each call of a sub-agent that runs."""

    def take(self, at: float, kind: str, payload: dict[str, Any]) -> None:
        """Take a line."""
        if kind == "undo":
            kept = [i for i, step in enumerate(self._steps) if step < int(payload["step"])]
            self.events = [self.events[i] for i in kept]
            self._steps = [self._steps[i] for i in kept]
            return
        if kind in ("brain", "turn") and not payload.get("source"):
            self._step = int(payload["step"])
        for event in self._of(at, kind, payload):
            if isinstance(event, SessionStarted) and self._steps:
                continue  # of each process that went on with it there is one
            self.events.append(event)
            self._steps.append(self._step)

    def _of(self, at: float, kind: str, payload: dict[str, Any]) -> Iterator[Event]:
        source = str(payload.get("source", ""))
        match kind:
            case "brain":
                used = payload.get("tokens") or (0, 0)
                step, text = int(payload["step"]), str(payload["text"])
                yield BrainAnswered(step, text, int(used[0]), int(used[1]), 0.0, at=at, source=source)
            case "message" | "turn":
                if payload.get(
                    "ids"
                ):  # without: something that the brain was told and the person did not say
                    ids = [str(said) for said in payload["ids"]]
                    yield PersonSaid(str(payload["text"]), kind == "turn", ids, at=at)
            case "cell":
                self._began[f"cell {source}"] = at
                yield CellStarted(int(payload["step"]), str(payload["code"]), at=at, source=source)
            case "cell_done":
                took = at - self._began.get(f"cell {source}", at)
                seen = str(payload.get("observation", ""))
                yield CellFinished(
                    int(payload["step"]), bool(payload.get("ok")), seen, took, at=at, source=source
                )
            case "intent" if source.startswith(RESEARCH):
                call, tool = str(payload["call"]), str(payload["tool"])
                self._calls[call] = (tool, source)
                given = {**payload["arguments"]}
                yield ToolStarted(call, tool, str(payload["effect"]), given, at=at, source=source)
            case "result" if payload["call"] in self._calls:
                yield self._finished(at, payload)
            case "event":
                yield _made(str(payload["event"]), payload, float(payload.get("at", at)))
            case "finished":
                yield _made("SessionFinished", payload, at)

    def _finished(self, at: float, payload: dict[str, Any]) -> ToolFinished:
        """The end of a call of a sub-agent; of the session's own calls the journal keeps the event."""
        call, ok = str(payload["call"]), bool(payload["ok"])
        tool, source = self._calls.pop(call)
        told = summarise(payload.get("value")) if ok else str(payload.get("message", ""))
        return ToolFinished(call, tool, ok, told, float(payload.get("seconds", 0.0)), at=at, source=source)


def _made(name: str, payload: dict[str, Any], at: float) -> Event:
    """An event as it was.

    Raises:
        ValueError: There is no such event, or the line does not say what it says.
    """
    kind = _KINDS.get(name)
    if kind is None:
        raise ValueError(name)
    known = {f.name for f in fields(kind)} - {"at"}
    given = {key: value for key, value in payload.items() if key in known}
    return _reader(name).validate_python({**given, "at": at})


_KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in Event.__subclasses__()}


@cache
def _reader(name: str) -> TypeAdapter[Event]:
    return TypeAdapter(_KINDS[name])
