"""What is seen below the cell while the intern works: a page that is made anew a few times a second."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ml_intern import clock
from ml_intern.cli.board import OVER, Board, JobRow, prose, show_arguments, show_metrics, show_number
from ml_intern.durations import show_duration
from ml_intern.events import (
    ApprovalAnswered,
    ApprovalNeeded,
    BrainAnswered,
    CellFinished,
    CellStarted,
    Event,
    Notice,
)
from ml_intern.notebook.parts import bar, block, esc, link, spark, table, tag
from ml_intern.reports.drawing import badge

CODE_CHARS, OUTPUT_CHARS = 4000, 2000
CELLS = 100
"""Cells that are kept to be looked at; of more the newest."""
NOTICES = 40


@dataclass
class Cell:
    """A cell that ran."""

    step: int
    code: str
    ok: bool | None = None
    observation: str = ""
    seconds: float = 0.0


@dataclass
class Turn:
    """What a face has seen of one turn: from the person's words to the answer.

    Attributes:
        prompt: The words.
        board: Calls, jobs, experiments as they stand.
        cells: The cells that ran, oldest first.
        notices: Warnings and errors.
        asked: What the gate asked, by call, with its answer once there is one.
        said: What the brain said last beside its cell.
        further: The session had answered before; the page of its result then tells what is new.
    """

    prompt: str
    board: Board = field(default_factory=Board)
    cells: list[Cell] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    asked: dict[str, tuple[ApprovalNeeded, ApprovalAnswered | None]] = field(default_factory=dict)
    said: str = ""
    further: bool = False
    began: float = field(default_factory=clock.now)

    def take(self, event: Event) -> None:
        """Fold an event in."""
        self.board.take(event)
        match event:
            case ApprovalNeeded():
                self.asked[event.call] = (event, None)
            case ApprovalAnswered() if event.call in self.asked:
                self.asked[event.call] = (self.asked[event.call][0], event)
            case Notice() if event.level != "info":
                self.notices = [*self.notices, event][-NOTICES:]
            case BrainAnswered() if not event.source:
                self.said = prose(event.text).lstrip("# ")
            case CellStarted() if not event.source:
                self.cells = [*self.cells, Cell(event.step, event.code)][-CELLS:]
            case CellFinished() if not event.source and self.cells:
                cell = self.cells[-1]
                cell.ok, cell.observation, cell.seconds = event.ok, event.observation, event.seconds

    @property
    def open(self) -> list[ApprovalNeeded]:
        """Questions without an answer."""
        return [question for question, answer in self.asked.values() if answer is None]

    def shows(self, question: ApprovalNeeded) -> bool:
        """Whether a question of the gate has come here, too."""
        return any(question.call == known.call for known in self.open)


def progress(turn: Turn, spent: Mapping[str, Mapping[str, float | None]], stopping: bool = False) -> str:
    """The page of a turn that goes on.

    Args:
        turn: What was seen so far.
        spent: The budget's summary.
        stopping: The person has interrupted it.
    """
    board, now = turn.board, clock.now()
    word = "stops" if stopping else "asks" if turn.open else "works"
    told = [
        "waiting for the cell to end" if stopping else board.what_goes_on(),
        *costs(spent, board.input_tokens, board.output_tokens, now - turn.began),
    ]
    parts = [f'<p>{tag(word)} <b>{esc(turn.prompt, 200)}</b><br><span class="soft">']
    parts += [" · ".join(map(esc, told)), "</span></p>", *_step(turn)]
    parts += [_job_table(list(board.jobs.values())[-12:], now)] if board.jobs else []
    parts += [_experiments(board)] if board.experiments else []
    parts += [f"<p>published {link(p.url, p.repo)}</p>" for p in board.published]
    parts += notices(turn.notices, 3)
    parts += [_question(question) for question in turn.open]
    return block(parts)


def costs(
    spent: Mapping[str, Mapping[str, float | None]], read: int, written: int, seconds: float
) -> Iterator[str]:
    """Time, tokens and money so far, each with its ceiling where it has one.

    Args:
        spent: The budget's summary.
        read: Tokens of input.
        written: Tokens of output.
        seconds: Wall time.
    """
    limits = {unit: use["cap"] for unit, use in spent.items() if use.get("cap") is not None}
    used = {unit: use.get("spent") or 0.0 for unit, use in spent.items()}

    def of(unit: str, show: Callable[[float], str]) -> str:
        return f" of {show(cap)}" if (cap := limits.get(unit)) is not None else ""

    yield f"{show_duration(seconds)}{of('seconds', show_duration)}"
    if written:
        yield f"{read:,}+{written:,} tokens{of('tokens', show_number)}"
    if used.get("usd") or "usd" in limits:
        yield f"{used.get('usd', 0.0):.2f}{of('usd', show_number)} usd"
    for unit in ("gpu_hours", "jobs"):
        if unit in limits:
            yield f"{show_number(used[unit])}{of(unit, show_number)} {unit.replace('_', '-')}"


def notices(found: Sequence[Notice], most: int = 5) -> list[str]:
    """The newest warnings and errors, each with its mark; those before them folded."""
    told = list(dict.fromkeys((notice.level, notice.text) for notice in found))
    lines = [
        f'<p class="{"bad" if level == "error" else "warn"}">{esc(text, 600)}</p>' for level, text in told
    ]
    if not (before := lines[:-most]):
        return lines
    folded = f"<details><summary>{len(before)} earlier warnings</summary>{''.join(before)}</details>"
    return [folded, *lines[-most:]]


def _step(turn: Turn) -> Iterator[str]:
    if turn.said:
        yield f'<p class="soft">{esc(turn.said)}</p>'
    if turn.cells and turn.cells[-1].ok is None:
        yield f"<pre>{esc(_newest_lines(turn.cells[-1].code))}</pre>"
    board = turn.board
    for call in [*board.calls.values()][-8:]:
        report = board.progress.get(call.call)
        share = f" {report.fraction:.0%}" if report and report.fraction is not None else ""
        said = f" {report.message}" if report and not board.repeats(report) else ""
        arguments = show_arguments(call.arguments, 80)
        yield (
            f"<p>→ {esc(call.source)} <b>{esc(call.tool)}</b>({esc(arguments)})"
            f'<span class="soft">{share}{esc(said, 120)}</span></p>'
        )
    for name, started in board.research.items():
        yield f"<p>→ {esc(name)} <span class='soft'>{esc(started.question, 160)}</span></p>"


def _newest_lines(code: str, most: int = 14) -> str:
    lines = code.rstrip().splitlines()
    head = "\n".join(lines[:most])
    return head if len(lines) <= most else f"{head}\n# … {len(lines) - most} more lines"


def _job_table(rows: list[JobRow], now: float) -> str:
    return table(["job", "", "", "", ""], [_job(row, now) for row in rows])


def _job(row: JobRow, now: float) -> list[str]:
    left = row.seconds_left(now) if row.state not in OVER else None
    state = row.state if row.state in OVER or not row.step else ""
    done = f"{row.step:,}/{row.total_steps:,}" if row.total_steps else ""
    time = f"{show_duration(left)} left" if left is not None else state
    share = bar(1.0 if row.state == "succeeded" else row.fraction or 0.0)
    return [
        f"<code>{esc(row.id, 60)}</code>",
        f'{share} <span class="num soft">{done}</span>',
        spark(row.losses),
        f'<span class="num">{esc(row.headline(2))}</span>',
        f'<span class="soft">{esc(time)}</span>',
    ]


def _experiments(board: Board) -> str:
    rows = [
        [
            f"<code>{esc(e.experiment, 40)}</code>",
            badge(e.verdict),
            esc(e.change, 120),
            f'<span class="num">{esc(show_metrics(e.metrics), 120)}</span>',
        ]
        for e in [*board.experiments.values()][-12:]
    ]
    return table(["experiment", "", "change", ""], rows)


def _question(question: ApprovalNeeded) -> str:
    from ml_intern.cli.approvals import shown

    return f'<div class="ask"><b>allow?</b><pre>{esc(_joined(shown(question)))}</pre></div>'


def _joined(lines: Iterable[str]) -> str:
    return "\n".join(lines).strip()
