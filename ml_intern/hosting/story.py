"""The events of a hosted session by number, of which what only matters while it happens is let go."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ml_intern.events import CellFinished, CellOutput, Event, JobChanged, SessionStarted, ToolProgress

CELL_CHARS = 200_000
"""Of what one cell prints, so much is kept as pieces; the whole is in its observation and its file."""
PASSING_CHARS = 400_000
"""Pieces of output, progress and the courses of jobs together: the newest are kept. About 1 MB."""
_ROW_CHARS = 200
"""What an event takes beside its text."""


class Story:
    """A list that grows and never moves: the event with a number keeps it.

    Where there is too much of what passes, the oldest of it becomes the same without its text; one such
    object stands in all places of a cell, a call or a job.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._events: list[Event] = list(events)
        self._passing: deque[tuple[int, int]] = deque()
        self._chars = 0
        self._printed: dict[str, int] = {}
        self._short: dict[tuple[str, str, str], Event] = {}

    def __len__(self) -> int:
        return len(self._events)

    def since(self, after: int) -> list[Event]:
        """The events from a number on."""
        return self._events[after:]

    def add(self, event: Event) -> bool:
        """Take an event; False where it is left out."""
        if isinstance(event, SessionStarted) and any(isinstance(e, SessionStarted) for e in self._events):
            return False  # of each process that goes on with it there is one
        if isinstance(event, CellFinished):
            self._printed.pop(event.source, None)
        elif isinstance(event, CellOutput):
            printed = self._printed[event.source] = self._printed.get(event.source, 0) + len(event.text)
            if printed > CELL_CHARS:
                return False
        if size := _passing(event):
            self._make_room(size)
            self._passing.append((len(self._events), size))
        self._events.append(event)
        return True

    def _make_room(self, size: int) -> None:
        self._chars += size
        while self._chars > PASSING_CHARS and self._passing:
            number, freed = self._passing.popleft()
            self._events[number] = self._shortened(self._events[number])
            self._chars -= freed

    def _shortened(self, event: Event) -> Event:
        match event:
            case CellOutput():
                short: Event = CellOutput(event.step, "", at=event.at, source=event.source)
                key = ("cell", event.source, str(event.step))
            case ToolProgress():
                short = ToolProgress(event.call, "", at=event.at, source=event.source)
                key = ("call", event.source, event.call)
            case JobChanged():
                none: dict[str, float] = {}
                short = JobChanged(
                    event.job, event.name, event.state, event.step, event.total_steps, none, at=event.at
                )
                key = ("job", event.job, event.state)
            case _:
                return event
        return self._short.setdefault(key, short)


def _passing(event: Event) -> int:
    """The size of an event that only matters while it happens; 0 for all others."""
    match event:
        case CellOutput(text=text) | ToolProgress(message=text):
            return _ROW_CHARS + len(text)
        case JobChanged(metrics=metrics):
            return _ROW_CHARS + 100 * len(metrics)
    return 0
