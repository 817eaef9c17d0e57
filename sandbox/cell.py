"""A cell as the host sees it: its clock while it runs, what is heard of it, and what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ml_intern.sandbox.frames import text

STREAMED_CHARS = 4 << 20
"""Of one cell, what `on_output` is given at the most; the cell's file has the rest."""


@dataclass(frozen=True)
class CallReply:
    """A tool's answer. Where it is not ok, the cell gets a `ToolError` with message and hint."""

    ok: bool
    value: Any = None
    message: str = ""
    hint: str = ""


@dataclass(frozen=True)
class CellResult:
    """What came of a cell.

    Attributes:
        ok: It ran to its end or gave the final answer.
        output: What it printed, whole or head and tail with the path of the whole.
        value: The repr of its last expression, or nothing.
        error: Its traceback, or why it was stopped.
        final: It gave the final answer.
        answer: The final answer.
        variables: New and changed variables in words; a deleted one is an empty text.
        seconds: How long it took, calls included.
        lost: What a restart of the kernel lost and what survived; nothing where there was none.
        stopped_s: After how long it was asked to stop; None where it was not.
        stopped_chars: How much of its output had come by then.
    """

    ok: bool
    output: str = ""
    value: str = ""
    error: str = ""
    final: bool = False
    answer: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    lost: str = ""
    stopped_s: float | None = None
    stopped_chars: int = 0


class Stopwatch:
    """A cell's own time: stands still while the host works for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own = 0.0
        self._since = time.monotonic()
        self._calls = 0

    @property
    def own(self) -> float:
        """Seconds the cell itself has used."""
        with self._lock:
            return self._own + (time.monotonic() - self._since if self._calls == 0 else 0.0)

    def enter(self) -> None:
        """A call begins."""
        with self._lock:
            if self._calls == 0:
                self._own += time.monotonic() - self._since
            self._calls += 1

    def leave(self) -> None:
        """A call ended."""
        with self._lock:
            self._calls -= 1
            if self._calls == 0:
                self._since = time.monotonic()


class Cell:
    """A cell that runs."""

    def __init__(self, number: int, on_output: Callable[[str], None] | None) -> None:
        self.number = number
        self.began = time.monotonic()
        self.clock = Stopwatch()
        self.changed = threading.Condition()
        self.done: dict[str, Any] | None = None
        self.died = False
        self.stop_asked: float | None = None
        self.chars_at_stop = 0
        self.heard: list[str] = []
        self.heard_bytes = 0
        self._chars = 0
        self._on_output = on_output
        self.trouble: Exception | None = None

    def hear(self, frame: dict[str, Any]) -> None:
        """Take a piece of output."""
        piece = text(frame.get("text"), STREAMED_CHARS - self._chars)
        offset = frame.get("offset")
        if type(offset) is int and self.heard_bytes <= offset < 1 << 62:
            self.heard_bytes = offset
        self.say(piece)

    def say(self, piece: str) -> None:
        """Keep a piece of output and pass it on."""
        if not piece:
            return
        self._chars += len(piece)
        self.heard.append(piece)
        if self._on_output is not None:
            try:
                self._on_output(piece)
            except Exception as error:  # noqa: BLE001 - the reader thread must go on; `run` raises it
                self._on_output, self.trouble = None, error

    @property
    def progress(self) -> tuple[float, int]:
        """How long it has run, in seconds, and how much of its output has come, in characters."""
        return time.monotonic() - self.began, self._chars

    def settle(self, done: dict[str, Any] | None) -> None:
        """The cell ended, or its kernel did."""
        with self.changed:
            self.done, self.died = self.done or done, done is None
            self.changed.notify_all()

    def ask_to_stop(self) -> None:
        """Remember when the cell was first asked to stop, and how far it was."""
        with self.changed:
            if self.stop_asked is None:
                self.stop_asked, self.chars_at_stop = time.monotonic(), self._chars
            self.changed.notify_all()

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.done is not None or self.died
