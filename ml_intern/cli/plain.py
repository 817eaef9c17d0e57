"""The view for pipes, files and logs: line after line, and never a long silence while something runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from ml_intern import clock
from ml_intern.cli.board import (
    OVER,
    PLAN,
    Board,
    JobRow,
    clean,
    excerpt,
    prose,
    shorten,
    show_arguments,
    show_call,
    show_metrics,
    show_research,
    shows_research,
)
from ml_intern.cli.calm import LINES as OUTPUT_LINES
from ml_intern.cli.calm import Calm, Plan, gap, running_calls
from ml_intern.durations import show_duration
from ml_intern.events import (
    ApprovalAnswered,
    ApprovalNeeded,
    BrainAnswered,
    CellFinished,
    CellOutput,
    CellStarted,
    Event,
    ExperimentChanged,
    JobChanged,
    Notice,
    Published,
    SessionFinished,
    SessionStarted,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)

PULSE_S = 4.0
"""Something is said this often while the session works; less often of what goes on for long."""
CODE_LINES = 12
__all__ = ["CODE_LINES", "OUTPUT_LINES", "PULSE_S", "QUICK_S", "PlainView", "SilentView", "View"]


class View(Protocol):
    """What shows a session to a person."""

    def show(self, event: Event) -> None:
        """Take one event of the session."""

    def say(self, text: str) -> None:
        """A line of the command line's own."""

    def pause(self) -> AbstractContextManager[None]:
        """A context in which the view is still, so that a question can be asked."""

    def close(self) -> None:
        """Give the terminal back. Closing twice does no harm."""


class SilentView:
    """Shows nothing but what must reach a person: for `-q` and `--json`."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def show(self, event: Event) -> None:
        """Nothing: what went wrong is told at the end."""

    def say(self, text: str) -> None:
        """A line of the command line's own."""
        self._write(text)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Nothing to still."""
        yield

    def close(self) -> None:
        """Nothing to give back."""


QUICK_S = 1.0
"""A call that took less and went well needs no second line."""


class PlainView:
    """One line an event, with the time since the start.

    Args:
        write: Takes each line, without its end.
        verbose: Whole cells and outputs.
        pulse_s: First silence, in seconds, while the session works; further ones grow up to half a minute.
    """

    def __init__(self, write: Callable[[str], None], verbose: int = 0, pulse_s: float = PULSE_S) -> None:
        self.board = Board()
        self._write = write
        self._verbose = bool(verbose)
        self._pulse_s = pulse_s
        self._began = clock.now()
        self._last_line = time.monotonic()
        self._told: dict[str, tuple[float, float]] = {}
        """When a thing was told first, and last."""
        self._since = self._last_line
        self._calm, self._plan = Calm(self._verbose), Plan()
        self._printed: list[str] = []
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._pulse = threading.Thread(target=self._keep_talking, name="view-pulse", daemon=True)
        self._pulse.start()

    def show(self, event: Event) -> None:
        """Take one event of the session."""
        with self._lock:
            repeated = isinstance(event, ToolProgress) and self.board.repeats(event)
            moved = self.board.take(event)
            if shows_research(event):
                self._tell_research(event)
                return
            if not isinstance(event, CellOutput):
                self._flush_output()
            if not repeated:
                self._tell(event, moved)

    def say(self, text: str) -> None:
        """A line of the command line's own."""
        with self._lock:
            self._line(text)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Hold every line back while a question is asked."""
        with self._lock:
            yield

    def close(self) -> None:
        """End the pulse."""
        self._over.set()
        with self._lock:
            self._flush_output()

    def _tell_research(self, event: Event) -> None:
        if line := show_research(event):
            self._flush_output()
            self._line(line)

    def _tell(self, event: Event, moved: bool) -> None:
        match event:
            case SessionStarted():
                self._line(
                    f"session {event.session} · {event.model} · sandbox {event.sandbox}: {event.isolation}"
                )
                self._line(f"workspace {event.workspace}")
            case BrainAnswered():
                self._tell_answer(event)
            case CellStarted():
                self._block(clean(event.code), CODE_LINES, "  | ")
            case CellOutput():
                self._printed.append(event.text)
            case CellFinished():
                self._tell_cell_end(event)
            case ToolStarted():
                if self._calm.begins(event):
                    self._line(f"→ {self._call(event)}")
            case ToolProgress():
                if self._due(event.call):
                    share = f" {event.fraction:.0%}" if event.fraction is not None else ""
                    self._line(f"  {event.message}{share}")
            case ToolFinished():
                self._tell_call_end(event)
            case JobChanged():
                if self._due(f"job {event.job}") or moved:
                    self._line(self._job(self.board.jobs[event.job]))
            case ExperimentChanged():
                if moved:
                    self._line(
                        f"experiment {event.experiment} {event.verdict}: {event.change} · "
                        f"{show_metrics(event.metrics) or 'not measured yet'}"
                    )
            case _:
                self._tell_rest(event)

    def _tell_rest(self, event: Event) -> None:
        match event:
            case ApprovalNeeded():
                call = f"{event.tool}({show_arguments(event.arguments)})"
                self._line(
                    f"? {call} needs a yes: {event.reason}; effect {event.effect}, price {event.price}"
                )
            case ApprovalAnswered():
                self._line(f"  {'allowed' if event.allowed else 'denied'} {event.reason}".rstrip())
            case Published():
                self._line(f"published {event.kind_of_repo} {event.repo}: {event.url}")
            case Notice() if event.text.startswith(f"{PLAN}\n"):
                self._lines(self._plan.news(event.text))
            case Notice() if self._calm.says(event):
                self._line(event.text if event.level == "info" else f"{event.level}: {event.text}")
            case SessionFinished():
                self._line(f"session {event.status}")
            case _:
                pass

    def _tell_answer(self, event: BrainAnswered) -> None:
        # A playbook counts no tokens and takes no time.
        tokens = f" · {event.input_tokens:,}+{event.output_tokens:,} tokens" if event.output_tokens else ""
        spent = "".join(f" · {part}" for part in self.board.money_and_limits(clock.now()))
        took = f" · {show_duration(event.seconds)}" if tokens else ""
        self._line(f"step {event.step}{tokens}{took}{spent}")
        for line in prose(event.text, 4000 if self._verbose else 400).splitlines():
            if line.strip():
                self._line(f"  {line}")

    def _tell_call_end(self, event: ToolFinished) -> None:
        """What went wrong, and what took its time; the result itself is the cell's to print."""
        told = self._calm.ends(event)
        call = self._call(self.board.ended) if self.board.ended else event.tool
        if self._verbose or not event.ok:
            mark = "✓" if event.ok else "✗"
            self._line(f"{mark} {call} {show_duration(event.seconds)}: {self._cut(event.summary)}")
        elif told and event.seconds > QUICK_S:
            self._line(f"✓ {call} {show_duration(event.seconds)}")

    def _call(self, event: ToolStarted) -> str:
        if self._verbose:
            return f"{event.tool}({show_arguments(event.arguments)})"
        return show_call(event.tool, event.arguments)

    def _tell_cell_end(self, event: CellFinished) -> None:
        self._lines(f"  {line}" for line in self._calm.cell_ends())
        if event.ok:
            return
        self._line(f"✗ the cell failed after {show_duration(event.seconds)}")
        lines = event.observation.rstrip().splitlines()
        for line in lines if self._verbose else lines[-6:]:
            self._line(f"  ! {line}")

    def _flush_output(self) -> None:
        if self._printed:
            text, self._printed = clean("".join(self._printed)), []
            for line in self._calm.output(text):
                self._line(f"  < {line if self._verbose else shorten_line(line)}")

    def _block(self, text: str, lines: int, margin: str) -> None:
        for line in text.rstrip().splitlines() if self._verbose else excerpt(text, lines):
            self._line(margin + (line if self._verbose else shorten_line(line)))

    def _cut(self, text: str) -> str:
        return text if self._verbose else shorten(text, 100)

    def _due(self, what: str) -> bool:
        """Whether a thing is told again: the longer it goes on, the less often."""
        now = time.monotonic()
        first, last = self._told.get(what, (now, -1e9))
        if now - last < gap(last - first, self._pulse_s):
            return False
        self._told[what] = (first, now)
        return True

    def _job(self, row: JobRow) -> str:
        share = f" {row.step}/{row.total_steps}" if row.total_steps else ""
        left = row.seconds_left(clock.now()) if row.state not in OVER else None
        parts = [
            f"job {row.id} {row.state}{share}",
            row.headline(),
            f"{show_duration(left)} left" if left else "",
        ]
        return " · ".join(filter(None, parts))

    def _keep_talking(self) -> None:
        while not self._over.wait(self._pulse_s / 4):
            with self._lock:
                if self.board.session is None or self.board.finished is not None:
                    continue
                if self._printed and self._printed[-1].endswith("\n"):
                    self._flush_output()
                if self._pulse_is_due():
                    since = self._since
                    self._line(self._what_runs())
                    self._since = since  # the pulse is no news

    def _pulse_is_due(self) -> bool:
        now = time.monotonic()
        if now - self._last_line < self._pulse_s:
            return False
        if jobs := self.board.running_jobs():
            due = [self._due(f"job {row.id}") for row in jobs]  # each notes that it was told
            return any(due)
        return now - self._last_line >= gap(self._last_line - self._since, self._pulse_s)

    def _what_runs(self) -> str:
        if jobs := self.board.running_jobs():
            return " | ".join(self._job(row) for row in jobs)
        if calls := list(self.board.calls.values()):
            return f"  … {running_calls(calls, clock.now())}"
        return f"  … {self.board.what_goes_on()}"

    def _lines(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._line(text)

    def _line(self, text: str) -> None:
        self._last_line = self._since = time.monotonic()
        stamp = f"[{max(0.0, clock.now() - self._began):6.1f}s]"
        for line in clean(text).splitlines() or [""]:
            self._write(f"{stamp} {line}")


def shorten_line(line: str, limit: int = 160) -> str:
    """A line cut at its end; its indent stays."""
    return line if len(line) <= limit else line[: limit - 1] + "…"
