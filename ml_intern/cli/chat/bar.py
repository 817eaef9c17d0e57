"""The bar below the line: how the session stands, what it spent, which jobs run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit.formatted_text import StyleAndTextTuples

from ml_intern import clock
from ml_intern.cli.board import Board, JobRow, clean, shorten, show_number, sparkline
from ml_intern.durations import show_duration

if TYPE_CHECKING:
    from ml_intern.hosting import Hosted

BAR = 16
MOST_JOBS = 4
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
STATES = {"new": "new", "working": "working", "waiting": "your turn", "over": "your turn"}


def bar(hosted: Hosted, board: Board, doing: str, asked: bool, width: int) -> StyleAndTextTuples:
    """The bar: a line for each of the running jobs, then one for the session.

    Args:
        hosted: The session.
        board: How it stands, as its events told it.
        doing: What the chat itself does at this moment; nothing, mostly.
        asked: A question waits for its answer.
        width: Of the terminal.
    """
    now = clock.now()
    rows: list[StyleAndTextTuples] = [[("class:bar.rule", "─" * width)]]
    running = board.running_jobs()
    rows += [_job(row, now, width) for row in running[:MOST_JOBS]]
    if len(running) > MOST_JOBS:
        rows.append([("class:bar", f" {len(running) - MOST_JOBS} more jobs: /jobs")])
    rows.append(_session(hosted, board, doing, asked, now))
    shown: StyleAndTextTuples = []
    for place, row in enumerate(rows):
        shown += [*([("", "\n")] if place else []), *row]
    return shown


def _job(row: JobRow, now: float, width: int) -> StyleAndTextTuples:
    done = round(BAR * (row.fraction or 0.0))
    left = row.seconds_left(now)
    said = [
        f"{row.step}/{row.total_steps}" if row.total_steps else row.state,
        f"{show_duration(left)} left" if left is not None else "",
        sparkline(row.losses, 12),
        row.headline(2),
    ]
    name = shorten(row.id, 24)
    told = "  ".join(filter(None, said))
    return [
        ("class:bar.job", f" {name} "),
        ("class:bar.on", "━" * done),
        ("class:bar.off", "─" * (BAR - done)),
        ("class:bar", f" {told}"[: max(0, width - len(name) - BAR - 3)]),
    ]


def _session(hosted: Hosted, board: Board, doing: str, asked: bool, now: float) -> StyleAndTextTuples:
    state = hosted.state
    if asked:
        first = ("class:bar.ask", " ? your word ")
    elif doing or state == "working":
        turn = SPINNER[int(now * 4) % len(SPINNER)]
        first = ("class:bar.state", f" {turn} {doing or _work(board)} ")
    else:
        first = ("class:bar.wait", f" ● {STATES[state]} ")
    parts = [*_spent(hosted, board), *_counts(board)]
    parts.append("Ctrl-C stops" if hosted.works else "/help")
    return [first, ("class:bar", " · ".join(["", *parts])[1:])]


def _work(board: Board) -> str:
    if board.calls:
        return clean(", ".join(dict.fromkeys(call.tool for call in board.calls.values())))[:40]
    return board.what_goes_on()


def _spent(hosted: Hosted, board: Board) -> list[str]:
    parts = [f"step {board.step}"] if board.step else []
    if board.output_tokens:
        parts.append(f"{_short(board.input_tokens)}+{_short(board.output_tokens)} tokens")
    if (session := hosted.session) is None:
        return parts
    for unit, use in session.budget.summary().items():
        spent, cap = (use["spent"] or 0.0) + (use["reserved"] or 0.0), use["cap"]
        if cap is None and not (unit == "usd" and spent):
            continue
        name = {"usd": "usd", "gpu_hours": "gpu-h", "seconds": "", "tokens": "tokens", "jobs": "jobs"}[unit]
        show = show_duration if unit == "seconds" else _short
        parts.append(f"{show(spent)}{f'/{show(cap)}' if cap is not None else ''} {name}".rstrip())
    return parts


def _counts(board: Board) -> list[str]:
    parts = []
    if running := len(board.running_jobs()):
        parts.append(f"{running} job{'s' if running > 1 else ''}")
    if board.experiments:
        parts.append(f"{len(board.experiments)} exp")
    return parts


def _short(value: float) -> str:
    """Digits that fit a bar: 1.2k tokens, 0.04 usd."""
    if value >= 1e6:
        return f"{value / 1e6:.3g}M"
    return f"{value / 1e3:.3g}k" if value >= 1e4 else show_number(value)
