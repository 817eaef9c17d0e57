"""The view for a terminal: what is done scrolls up, what runs stays below with bars, times and curves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.syntax import Syntax
from rich.text import Text

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
    show_call,
    show_metrics,
    show_research,
    shows_research,
    sparkline,
)
from ml_intern.cli.calm import Calm, Plan, count
from ml_intern.cli.plain import CODE_LINES, QUICK_S
from ml_intern.cli.tables import cut
from ml_intern.durations import show_duration
from ml_intern.events import (
    ApprovalAnswered,
    BrainAnswered,
    CellFinished,
    CellOutput,
    CellStarted,
    Event,
    ExperimentChanged,
    JobChanged,
    Notice,
    Published,
    ResearchFinished,
    ResearchStarted,
    SessionStarted,
    ToolFinished,
    ToolStarted,
)

JOB_COLOURS = {
    "running": "cyan",
    "queued": "dim",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
}
VERDICT_COLOURS = {"kept": "bold green", "discarded": "red", "crashed": "bold red", "inconclusive": "yellow"}
NOTICE_COLOURS = {"info": "dim", "warning": "yellow", "error": "bold red"}
REDRAWS_PER_SECOND = 5
MOST_ROWS = 6
"""Jobs, and calls, that stand below at one time; the others are counted."""
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class LiveView:
    """Events above, the running state below.

    Args:
        out: The terminal.
        verbose: Whole cells and outputs.
    """

    def __init__(self, out: TextIO, verbose: int = 0) -> None:
        self.board = Board()
        self.console = Console(file=out, highlight=False)
        self._verbose = bool(verbose)
        self._printed: list[str] = []
        self._calm, self._plan = Calm(self._verbose), Plan()
        # rich draws the lower part under a lock of its own and asks for `_below` there, so nothing may be
        # printed under the board's lock. `_still` orders events and questions; `_lock` guards the board.
        self._still = threading.RLock()
        self._lock = threading.Lock()
        self._closed = False
        self._live = Live(
            console=self.console,
            get_renderable=self._below,
            refresh_per_second=REDRAWS_PER_SECOND,
            transient=True,
        )
        self._live.start()

    def show(self, event: Event) -> None:
        """Take one event of the session."""
        with self._still:
            with self._lock:
                moved = self.board.take(event)
            if shows_research(event):
                self._research(event)
                return
            if isinstance(event, CellOutput):
                self._printed.append(event.text)
                return
            self._flush_output()
            for piece in self._pieces(event, moved):
                self.console.print(_hung(piece))

    def _research(self, event: Event) -> None:
        # What it calls stands below while it runs; what comes of it stays above.
        if not isinstance(event, ToolStarted) and (line := show_research(event)):
            self._flush_output()
            style = "cyan" if isinstance(event, ResearchStarted | ResearchFinished) else "dim"
            self.console.print(_hung(Text(f"  {line}", style=style)))

    def say(self, text: str) -> None:
        """A line of the command line's own."""
        self.console.print(Text(clean(text), style="bold yellow"))

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Take the lower part away while a question is asked."""
        with self._still:
            self._live.stop()
            try:
                yield
            finally:
                if not self._closed:
                    self._live.start()

    def close(self) -> None:
        """Give the terminal back, with its cursor."""
        self._closed = True
        self._live.stop()

    # Above: what is done.

    def _pieces(self, event: Event, moved: bool) -> Iterator[RenderableType]:
        match event:
            case SessionStarted():
                yield Text.assemble(
                    ("ml-intern ", "bold"), (event.session, "dim"), " · ", (event.model, "magenta")
                )
                yield Text(f"  sandbox {event.sandbox}: {clean(event.isolation)}", style="dim")
                yield Text(f"  workspace {event.workspace}", style="dim")
            case BrainAnswered():
                yield from self._answer(event)
            case CellStarted():
                yield self._code(event.code)
            case CellFinished():
                yield from (Text(f"    {line}", style="dim") for line in self._calm.cell_ends())
                if not event.ok:
                    yield from self._cell_failure(event)
            case ToolStarted():
                self._calm.begins(event)
            case ToolFinished() if self._calm.ends(event):
                yield self._call_end(event)
            case JobChanged() if moved and event.state in OVER:
                yield self._job_end(self.board.jobs[event.job])
            case ExperimentChanged() if moved:
                yield self._experiment(event)
            case _:
                yield from self._rest(event)

    def _rest(self, event: Event) -> Iterator[RenderableType]:
        match event:
            case ApprovalAnswered():
                word = ("  allowed", "green") if event.allowed else ("  denied", "red")
                yield Text.assemble(word, (f" {clean(event.reason)}", "dim"))
            case Published():
                kind = f"  published {event.kind_of_repo} "
                yield Text.assemble(
                    (kind, "bold green"), (event.repo, "bold"), "  ", (event.url, "underline")
                )
            case Notice() if event.text.startswith(f"{PLAN}\n"):
                for line in self._plan.news(event.text):
                    yield self._plan_line(line)
            case Notice() if self._calm.says(event):
                yield Text(f"  {clean(event.text)}", style=NOTICE_COLOURS.get(event.level, ""))
            case _:
                pass

    def _answer(self, event: BrainAnswered) -> Iterator[RenderableType]:
        # A playbook counts no tokens and takes no time.
        tokens = f"  {show_duration(event.seconds)}  {event.input_tokens:,}+{event.output_tokens:,} tokens"
        yield Text("")
        yield Text.assemble(
            (f"● step {event.step}", "bold cyan"), (tokens if event.output_tokens else "", "dim")
        )
        if said := prose(clean(event.text), 4000 if self._verbose else 400):
            yield _Hung(Text(said), 2)

    def _code(self, code: str) -> RenderableType:
        lines = clean(code) if self._verbose else "\n".join(excerpt(clean(code), CODE_LINES, "# "))
        painted = Syntax("", "python", theme="ansi_dark", background_color="default").highlight(lines)
        painted.rstrip()
        painted.no_wrap, painted.overflow = not self._verbose, "fold" if self._verbose else "ellipsis"
        return _Hung(painted, 4)

    def _flush_output(self) -> None:
        if self._printed:
            text, self._printed = clean("".join(self._printed)), []
            for line in self._calm.output(text):
                cut = not self._verbose
                shown = Text(f"    {line}", style="dim", no_wrap=cut, overflow="ellipsis" if cut else "fold")
                self.console.print(_hung(shown))

    def _call_end(self, event: ToolFinished) -> RenderableType:
        mark = ("  ✓ ", "green") if event.ok else ("  ✗ ", "red")
        began = self.board.ended
        call = show_call(event.tool, began.arguments) if began else event.tool
        name, bracket, about = call.partition("(")
        took = f" {show_duration(event.seconds)}" if event.seconds > QUICK_S or self._verbose else ""
        told = f" {clean(event.summary)}" if self._verbose or not event.ok else ""
        return Text.assemble(
            mark, (name, "bold"), bracket + about, (took, "cyan"), (told, "dim" if event.ok else "red")
        )

    def _plan_line(self, line: str) -> Text:
        mark = line.strip()[:3]
        shown = {"[x]": "✓", "[>]": "▸", "[-]": "–", "[ ]": "○"}.get(mark)
        if shown is None:
            return Text(f"  {line}", style="bold")
        style = {"[x]": "green", "[>]": "bold cyan", "[-]": "dim strike"}.get(mark, "")
        return Text(f"    {shown} {line.strip()[4:]}", style=style)

    def _cell_failure(self, event: CellFinished) -> Iterator[RenderableType]:
        yield Text(f"  ✗ the cell failed after {show_duration(event.seconds)}", style="bold red")
        lines = clean(event.observation).rstrip().splitlines()
        yield _Hung(Text("\n".join(lines if self._verbose else lines[-6:]), style="red"), 4)

    def _job_end(self, row: JobRow) -> RenderableType:
        took = f" in {show_duration(clock.now() - row.began)}" if row.began else ""
        state = (f"{row.state}{took} ", JOB_COLOURS.get(row.state, ""))
        return Text.assemble(
            "  job ", (row.id, "bold"), " ", state, (sparkline(row.losses), "cyan"), f" {row.headline()}"
        )

    def _experiment(self, event: ExperimentChanged) -> RenderableType:
        verdict = (event.verdict, VERDICT_COLOURS.get(event.verdict, "dim"))
        metrics = f"  {show_metrics(event.metrics)}" if event.metrics else ""
        return Text.assemble(
            "  ", (event.experiment, "bold"), " ", verdict, f" {clean(event.change)}", (metrics, "cyan")
        )

    # Below: what runs.

    def _below(self) -> RenderableType:
        with self._lock:
            now = clock.now()
            rows: list[RenderableType] = []
            if jobs := self.board.running_jobs():
                rows += self._jobs(jobs[:MOST_ROWS], now)
                rows += _more(len(jobs) - MOST_ROWS, "more job")
            calls = list(self.board.calls)
            rows += [self._call(call, now) for call in calls[:MOST_ROWS]]
            rows += _more(len(calls) - MOST_ROWS, "more call")
            if self.board.began is not None and self.board.finished is None:
                rows += self._status(now)
            return Group(*rows)

    def _jobs(self, jobs: list[JobRow], now: float) -> list[RenderableType]:
        """A line each, with a bar; the narrower the terminal, the less stands beside it."""
        width = self.console.width
        room = min(max(len(row.id) for row in jobs), max(10, width // 4))
        return [self._job(row, now, width, room) for row in jobs]

    def _job(self, row: JobRow, now: float, width: int, room: int) -> Text:
        left = row.seconds_left(now)
        steps = f"{row.step}/{row.total_steps}" if row.total_steps else row.state
        line = Text.assemble("  ", (cut(row.id, room).ljust(room), "bold"), " ", no_wrap=True)
        line.append_text(_bar(row.fraction or 0.0, min(24, max(6, width // 6))))
        line.append(f" {steps:>9}", "dim")
        line.append(f" {show_duration(left)} left" if left is not None else "", "dim")
        line.append(f" {sparkline(row.losses, 16 if width >= 100 else 8)}" if width >= 60 else "", "cyan")
        line.append(f" {row.headline(2 if width >= 90 else 1)}")
        line.overflow = "ellipsis"
        return line

    def _call(self, call: str, now: float) -> RenderableType:
        started, progress = self.board.calls[call], self.board.progress.get(call)
        share = f" {progress.fraction:.0%}" if progress and progress.fraction is not None else ""
        message = progress.message if progress and not self.board.tells_of_a_job(progress) else ""
        said = f" {shorten(clean(message), 60)}" if message else ""
        name, bracket, about = show_call(started.tool, started.arguments).partition("(")
        took = f" {show_duration(now - started.at)}"
        return Text.assemble(
            "  → ",
            (f"{started.source} " if started.source else "", "dim"),
            (name, "bold"),
            (bracket + about, "dim"),
            (took, "cyan"),
            share,
            said,
            no_wrap=True,
            overflow="ellipsis",
        )

    def _status(self, now: float) -> list[RenderableType]:
        """What goes on and what was spent; in two lines where one is too narrow."""
        board = self.board
        limits = board.money_and_limits(now)
        doing = [board.what_goes_on()]
        if board.budget is None or "seconds" not in board.budget.caps:
            doing.append(show_duration(now - (board.began or now)))
        if board.output_tokens:
            doing.append(f"{board.input_tokens:,}+{board.output_tokens:,} tokens")
        if board.research:
            doing.append(count(len(board.research), "sub-agent"))
        if board.experiments:
            doing.append(count(len(board.experiments), "experiment"))
        frame = FRAMES[int(now * 10) % len(FRAMES)]
        head, tail = " · ".join(doing), " · ".join(limits)
        together = f"{head} · {tail}" if tail else head
        if len(together) + 2 <= self.console.width:
            head, tail = together, ""
        lines = [Text.assemble((frame, "cyan"), " ", (head, "dim"), no_wrap=True, overflow="ellipsis")]
        if tail:
            lines.append(Text(f"  {tail}", style="dim", no_wrap=True, overflow="ellipsis"))
        return [*lines]


class _Hung:
    """A text whose further lines begin where the first does.

    Unlike rich's own padding it writes no blanks behind a line: a terminal that is made narrower would wrap
    them. And unlike a text that is printed as it is, it keeps what the text says of wrapping.
    """

    def __init__(self, text: Text, indent: int = 0) -> None:
        self._blank = len(text.plain) - len(text.plain.lstrip(" "))
        self._text = text[self._blank :]
        self._text.no_wrap = text.no_wrap  # a piece of a text forgets it
        self._indent = indent + self._blank

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = max(8, options.max_width - self._indent)
        lines = self._text.wrap(console, room, overflow=self._text.overflow, no_wrap=self._text.no_wrap)
        for line in lines:
            line.rstrip()
            yield Text.assemble(" " * self._indent, line, no_wrap=True, overflow="ignore")


def _hung(piece: RenderableType) -> RenderableType:
    return _Hung(piece) if isinstance(piece, Text) and piece.plain.strip() else piece


def _bar(share: float, width: int) -> Text:
    done = round(share * width)
    return Text.assemble(("━" * done, "cyan"), ("─" * (width - done), "dim"))


def _more(number: int, what: str) -> list[RenderableType]:
    return [Text(f"  … {count(number, what)}", style="dim")] if number > 0 else []
