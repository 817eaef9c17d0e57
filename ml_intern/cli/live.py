"""The view for a terminal: what is done scrolls up, what runs stays below with bars, times and curves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from ml_intern import clock
from ml_intern.cli.board import (
    OVER,
    Board,
    JobRow,
    clean,
    excerpt,
    prose,
    shorten,
    show_arguments,
    show_metrics,
    show_research,
    shows_research,
    sparkline,
)
from ml_intern.cli.plain import CODE_LINES, OUTPUT_LINES
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
        # rich draws the lower part under a lock of its own and asks for `_below` there, so nothing may be
        # printed under the board's lock. `_still` orders events and questions; `_lock` guards the board.
        self._still = threading.RLock()
        self._lock = threading.Lock()
        self._closed = False
        self._spinner = Spinner("dots", style="cyan")
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
                self.console.print(piece)

    def _research(self, event: Event) -> None:
        # What it calls stands below while it runs; what comes of it stays above.
        if not isinstance(event, ToolStarted) and (line := show_research(event)):
            self._flush_output()
            style = "cyan" if isinstance(event, ResearchStarted | ResearchFinished) else "dim"
            self.console.print(Text(f"  {line}", style=style))

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
            case CellFinished() if not event.ok:
                yield from self._cell_failure(event)
            case ToolFinished():
                mark = ("  ✓ ", "green") if event.ok else ("  ✗ ", "red")
                summary = clean(event.summary) if self._verbose else shorten(clean(event.summary), 120)
                took = f" {show_duration(event.seconds)} "
                yield Text.assemble(
                    mark, (event.tool, "bold"), (took, "dim"), (summary, "" if event.ok else "red")
                )
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
            case Notice():
                yield Text(clean(event.text), style=NOTICE_COLOURS.get(event.level, ""))
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
            yield Padding(Text(said), (0, 0, 0, 2))

    def _code(self, code: str) -> RenderableType:
        lines = clean(code) if self._verbose else "\n".join(excerpt(clean(code), CODE_LINES, "# "))
        return Padding(Syntax(lines, "python", theme="ansi_dark", background_color="default"), (0, 0, 0, 4))

    def _flush_output(self) -> None:
        if self._printed:
            text, self._printed = clean("".join(self._printed)), []
            lines = text.rstrip().splitlines() if self._verbose else excerpt(text, OUTPUT_LINES)
            self.console.print(
                Padding(Text("\n".join(lines), style="dim", overflow="ellipsis"), (0, 0, 0, 4))
            )

    def _cell_failure(self, event: CellFinished) -> Iterator[RenderableType]:
        yield Text(f"  ✗ the cell failed after {show_duration(event.seconds)}", style="bold red")
        lines = clean(event.observation).rstrip().splitlines()
        yield Padding(Text("\n".join(lines if self._verbose else lines[-6:]), style="red"), (0, 0, 0, 4))

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
                rows.append(self._jobs(jobs, now))
            rows += [self._call(call, now) for call in self.board.calls]
            if self.board.began is not None and self.board.finished is None:
                rows.append(self._status(now))
            return Group(*rows)

    def _jobs(self, jobs: list[JobRow], now: float) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for row in jobs:
            left = row.seconds_left(now)
            fraction = row.fraction
            table.add_row(
                Text(f"  {row.id}", style="bold"),
                ProgressBar(
                    total=1.0, completed=fraction or 0.0, width=24, pulse=fraction is None or row.step == 0
                ),
                Text(f"{row.step}/{row.total_steps}" if row.total_steps else row.state, style="dim"),
                Text(sparkline(row.losses), style="cyan"),
                Text(row.headline(2)),
                Text(f"{show_duration(left)} left" if left is not None else "", style="dim"),
            )
        return table

    def _call(self, call: str, now: float) -> RenderableType:
        started, progress = self.board.calls[call], self.board.progress.get(call)
        share = f" {progress.fraction:.0%}" if progress and progress.fraction is not None else ""
        said = f" {shorten(clean(progress.message), 60)}" if progress else ""
        arguments = shorten(clean(show_arguments(started.arguments)), 60)
        took = f" {show_duration(now - started.at)}"
        return Text.assemble(
            "  → ",
            (f"{started.source} " if started.source else "", "dim"),
            (started.tool, "bold"),
            (f"({arguments})", "dim"),
            (took, "cyan"),
            share,
            said,
            no_wrap=True,
            overflow="ellipsis",
        )

    def _status(self, now: float) -> RenderableType:
        board = self.board
        parts = [
            board.what_goes_on(),
            show_duration(now - (board.began or now)),
        ]
        if board.output_tokens:
            parts.append(f"{board.input_tokens:,}+{board.output_tokens:,} tokens")
        if board.research:
            parts.append(f"{len(board.research)} sub-agents")
        if board.experiments:
            parts.append(f"{len(board.experiments)} experiments")
        self._spinner.update(text=Text(" · ".join(parts), style="dim"))
        return self._spinner
